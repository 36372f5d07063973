//! `sendToDevice`.

use crate::auth::Requester;
use crate::devices::Message;
use crate::error::{ApiError, ApiResult};
use crate::push::ToDevice;
use crate::server::Server;
use crate::signed::canonical;
use crate::sync::lock;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Largest content of a message, in canonical JSON.
const MAX_CONTENT: usize = 65_536;

pub(crate) async fn send(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((kind, txn)): Path<(String, String)>,
    body: Bytes,
) -> ApiResult {
    let request = requester.request_key(&format!("sendToDevice/{kind}"), &txn);
    if lock(&server.devices).is_done(&request) {
        return Ok(Json(json!({})));
    }
    let body = super::object(&body)?;
    let Some(messages) = body.get("messages") else {
        let text = "Missing params: ['messages']";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAM", text));
    };
    let wrong = || ApiError::bad_json("'messages' must have an object by user and device");
    let mut wanted = Vec::new();
    for (user, contents) in messages.as_object().ok_or_else(wrong)? {
        let contents = contents.as_object().ok_or_else(wrong)?;
        if !contents.values().all(Value::is_object) {
            return Err(wrong());
        }
        if !super::is_user_id(user) {
            continue;
        }
        let too_large = |(_, content): &(&String, &Value)| canonical(content).len() > MAX_CONTENT;
        if let Some((device, _)) = contents.iter().find(too_large) {
            let text = format!("To-device message for {user}:{device} is too large to send");
            return Err(ApiError::too_large(text));
        }
        wanted.push((user, contents));
    }
    let mut arrivals = Vec::new();
    for (user, contents) in wanted {
        for (device, content) in targets(&server, user, contents) {
            let content = serde_json::value::to_raw_value(content);
            let content = content.map_err(|error| ApiError::bad_json(error.to_string()))?;
            let message = Message { sender: requester.id().to_owned(), kind: kind.clone(), content };
            arrivals.push(ToDevice { user: user.clone(), device, message: Arc::new(message) });
        }
    }
    {
        let mut devices = lock(&server.devices);
        // A repetition may have come meanwhile.
        if !devices.begin(request) {
            return Ok(Json(json!({})));
        }
        for ToDevice { user, device, message } in &arrivals {
            devices.deliver(user, device, Arc::clone(message));
        }
    }
    server.log_grew.notify_waiters();
    for arrival in arrivals {
        if server.is_as_id(&arrival.user) {
            server.push.add_to_device(arrival);
        }
    }
    Ok(Json(json!({})))
}

/// The devices that are there, each with what it gets. `*` alone is all of them.
fn targets<'a>(server: &Server, user: &str, contents: &'a Map<String, Value>) -> Vec<(String, &'a Value)> {
    let Some(user) = server.user(user) else { return Vec::new() };
    let user = lock(&user.inner);
    if let Some(content) = contents.get("*").filter(|_| contents.len() == 1) {
        return user.devices.keys().map(|device| (device.clone(), content)).collect();
    }
    let there = contents.iter().filter(|(device, _)| user.devices.contains_key(*device));
    there.map(|(device, content)| (device.clone(), content)).collect()
}
