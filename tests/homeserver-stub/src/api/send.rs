//! `send` and `redact`: transaction ids, rights, and what a homeserver refuses.

use crate::auth::{Params, Requester};
use crate::error::{ApiError, ApiResult};
use crate::event::Content;
use crate::room::{RoomInner, annotation, redacts_in_content};
use crate::server::{Draft, Server};
use crate::sync::lock;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// `ts` of the request: only the bridge may set it.
pub(crate) fn timestamp(params: &Params, requester: &Requester) -> ApiResult<Option<u64>> {
    let Some(ts) = params.get("ts").filter(|_| requester.is_as) else { return Ok(None) };
    let ts: i64 =
        ts.parse().map_err(|_| ApiError::invalid_param("Query parameter 'ts' must be an integer"))?;
    u64::try_from(ts)
        .map(Some)
        .map_err(|_| ApiError::invalid_param("Query parameter 'ts' must not be negative"))
}

pub(crate) async fn send(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((room_id, kind, txn)): Path<(String, String, String)>,
    params: Params,
    body: Bytes,
) -> ApiResult {
    let room = super::room(&server, &room_id, requester.id())?;
    let request_key = requester.request_key(&kind, &txn);
    let device_key = requester.device_key(&server, &txn);
    let parsed = timestamp(&params, &requester).and_then(|ts| Ok((ts, Content::parse(&body)?)));
    let mut inner = lock(&room.inner);
    // The first answer counts, whatever the body of the repetition says.
    if let Some(event_id) = known(&mut inner, &request_key, device_key.as_deref()) {
        return Ok(Json(json!({"event_id": event_id})));
    }
    let (ts, content) = parsed?;
    let user = requester.id();
    super::must_be_joined(&inner, user, &room_id)?;
    if inner.level(user) < inner.power.needed(&kind, false) {
        return Err(ApiError::forbidden(format!("You don't have permission to post {kind}")));
    }
    content.check(&kind, user, &room_id, None)?;
    if kind == "m.reaction"
        && annotation(user, &content.value).is_some_and(|a| inner.annotations.contains(&a))
    {
        let text = "Can't send same reaction twice";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_DUPLICATE_ANNOTATION", text));
    }
    let mut redacts = None;
    if kind == "m.room.redaction" {
        if !redacts_in_content(&room.version) {
            return Err(ApiError::unknown(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"));
        }
        let target = content.value.get("redacts").and_then(Value::as_str).unwrap_or_default();
        may_redact(&inner, user, target)?;
        redacts = Some(target.to_owned());
    }
    let draft =
        Draft { kind: &kind, sender: user, state_key: None, content, redacts, ts, device_txn: device_key };
    let event = server.append(&room, &mut inner, draft);
    inner.requests.insert(request_key, event.event_id.clone());
    Ok(Json(json!({"event_id": event.event_id})))
}

/// The event that an earlier request with the same transaction id made.
fn known(inner: &mut RoomInner, request_key: &str, device_key: Option<&str>) -> Option<String> {
    if let Some(event_id) = inner.requests.get(request_key) {
        return Some(event_id.clone());
    }
    let event_id = inner.device_txns.get(device_key?)?.clone();
    inner.requests.insert(request_key.to_owned(), event_id.clone());
    Some(event_id)
}

fn may_redact(inner: &RoomInner, user: &str, target: &str) -> ApiResult<()> {
    let target = inner.event(target).ok_or_else(|| ApiError::not_found("Could not find event"))?;
    if target.sender != user && inner.level(user) < inner.power.redact {
        return Err(ApiError::forbidden("You don't have permission to redact events"));
    }
    Ok(())
}

pub(crate) async fn redact(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((room_id, target, txn)): Path<(String, String, String)>,
    params: Params,
    body: Bytes,
) -> ApiResult {
    let room = super::room(&server, &room_id, requester.id())?;
    let request_key = requester.request_key(&format!("redact/{target}"), &txn);
    let device_key = requester.device_key(&server, &txn);
    let mut content = super::object(&body)?;
    let ts = timestamp(&params, &requester)?;
    let mut inner = lock(&room.inner);
    if let Some(event_id) = known(&mut inner, &request_key, device_key.as_deref()) {
        return Ok(Json(json!({"event_id": event_id})));
    }
    let user = requester.id();
    super::must_be_joined(&inner, user, &room_id)?;
    if inner.level(user) < inner.power.needed("m.room.redaction", false) {
        return Err(ApiError::forbidden("You don't have permission to post m.room.redaction"));
    }
    may_redact(&inner, user, &target)?;
    if redacts_in_content(&room.version) {
        content["redacts"] = target.as_str().into();
    }
    let content = Content::from_value(content)?;
    let kind = "m.room.redaction";
    let redacts = Some(target);
    let draft = Draft { kind, sender: user, state_key: None, content, redacts, ts, device_txn: device_key };
    let event = server.append(&room, &mut inner, draft);
    inner.requests.insert(request_key, event.event_id.clone());
    Ok(Json(json!({"event_id": event.event_id})))
}
