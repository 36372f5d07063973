//! `keys/upload`, `keys/query`, `keys/claim`.

use crate::auth::Requester;
use crate::devices::OneTimeKey;
use crate::error::{ApiError, ApiResult};
use crate::server::Server;
use crate::sync::lock;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(crate) async fn upload(
    State(server): State<Arc<Server>>,
    requester: Requester,
    body: Bytes,
) -> ApiResult {
    let body = super::object(&body)?;
    let device_keys = body.get("device_keys");
    if let Some(keys) = device_keys {
        check_device_keys(keys)?;
    }
    let one_time_keys = named_keys(&body, "one_time_keys")?;
    let fallback_keys = named_keys(&body, "fallback_keys")?;
    let user = requester.id();
    let Some(device) = requester.device.as_deref() else {
        let text = "To upload keys, you must pass device_id when authenticating";
        return Err(ApiError::unknown(StatusCode::BAD_REQUEST, text));
    };
    for (member, own) in [("user_id", user), ("device_id", device)] {
        if device_keys.is_some_and(|keys| keys[member] != own) {
            let text = format!("Provided `{member}` in `device_keys` is not that of who asks");
            return Err(ApiError::bad_json(text));
        }
    }
    let (differs, counts) = {
        let mut devices = lock(&server.devices);
        devices.add_one_time_keys(user, device, one_time_keys)?;
        for key in fallback_keys {
            devices.set_fallback_key(user, device, key);
        }
        let differs = device_keys.is_some_and(|keys| devices.set_keys(user, device, keys));
        (differs, devices.counts(user, device))
    };
    if differs {
        server.device_changed(&requester.user);
    }
    Ok(Json(json!({"one_time_key_counts": counts})))
}

fn check_device_keys(keys: &Value) -> ApiResult<()> {
    let text = |member: &str| keys.get(member).is_some_and(Value::is_string);
    let algorithms = keys.get("algorithms").and_then(Value::as_array);
    let good = text("user_id")
        && text("device_id")
        && algorithms.is_some_and(|list| list.iter().all(Value::is_string))
        && keys.get("keys").is_some_and(are_texts)
        && keys.get("signatures").is_some_and(are_signatures);
    if good { Ok(()) } else { Err(ApiError::bad_json("'device_keys' is not as specified")) }
}

/// Whether all members are texts.
fn are_texts(value: &Value) -> bool {
    value.as_object().is_some_and(|members| members.values().all(Value::is_string))
}

/// Whether it has texts by user and key.
fn are_signatures(value: &Value) -> bool {
    value.as_object().is_some_and(|users| users.values().all(are_texts))
}

/// Keys under names of the form `<algorithm>:<id>`.
fn named_keys(body: &Value, member: &str) -> ApiResult<Vec<OneTimeKey>> {
    let wrong = |text: String| Err(ApiError::bad_json(text));
    let keys = match body.get(member) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(keys)) => keys,
        Some(_) => return wrong(format!("{member} must be a mapping")),
    };
    let mut named = Vec::with_capacity(keys.len());
    for (name, key) in keys {
        let parts: Vec<&str> = name.split(':').collect();
        let [algorithm, id] = parts[..] else {
            return wrong(format!("Invalid {member} key '{name}'. Expected \"<algorithm>:<device_id>\"."));
        };
        let is_object = key.get("key").is_some_and(Value::is_string)
            && key.get("signatures").is_some_and(are_signatures)
            && key.get("fallback").is_none_or(|fallback| fallback.is_boolean() || fallback.is_null());
        if !key.is_string() && !is_object {
            return wrong(format!("{member}: '{name}' is not as specified"));
        }
        named.push(OneTimeKey { algorithm: algorithm.to_owned(), id: id.to_owned(), key: key.clone() });
    }
    Ok(named)
}

/// The failure of a server that is not this one: there is no other.
fn elsewhere(failures: &mut Map<String, Value>, user: &str) {
    let server = user.split_once(':').map_or("", |(_, server)| server);
    failures.insert(server.to_owned(), json!({"status": 503, "message": "Not ready for retry"}));
}

pub(crate) async fn query(State(server): State<Arc<Server>>, requester: Requester, body: Bytes) -> ApiResult {
    let body = super::object(&body)?;
    let wanted = body.get("device_keys").and_then(Value::as_object);
    let wanted = wanted.ok_or_else(|| ApiError::bad_json("'device_keys' must be a JSON object"))?;
    let is_list = |list: &Value| list.as_array().is_some_and(|devices| devices.iter().all(Value::is_string));
    if !wanted.values().all(is_list) {
        return Err(ApiError::bad_json("'device_keys' values must be a list of strings"));
    }
    let (mut keys, mut failures) = (Map::new(), Map::new());
    let (mut master, mut self_signing, mut user_signing) = (Map::new(), Map::new(), Map::new());
    for (user, ids) in wanted.iter().filter(|(user, _)| super::is_user_id(user)) {
        if !server.is_local(user) {
            elsewhere(&mut failures, user);
            continue;
        }
        let names = server.user(user).map(|user| lock(&user.inner).devices.clone()).unwrap_or_default();
        let ids = ids.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        let devices = lock(&server.devices);
        let mut found = Map::new();
        for (id, mut device) in devices.keys(user) {
            if ids.is_empty() || ids.contains(&id) {
                let name = names.get(id).and_then(Option::as_ref);
                device["unsigned"] = name.map_or_else(|| json!({}), |n| json!({"device_display_name": n}));
                found.insert(id.to_owned(), device);
            }
        }
        keys.insert(user.clone(), found.into());
        let Some(identity) = devices.identity(user) else { continue };
        // Whom somebody has signed is nobody else's business.
        let signing = identity.user_signing.as_ref().filter(|_| user == requester.id());
        let seen = [
            (identity.master.as_ref(), &mut master),
            (identity.self_signing.as_ref(), &mut self_signing),
            (signing, &mut user_signing),
        ];
        for (key, into) in seen {
            into.extend(key.map(|key| (user.clone(), key.clone())));
        }
    }
    Ok(Json(json!({
        "device_keys": keys,
        "failures": failures,
        "master_keys": master,
        "self_signing_keys": self_signing,
        "user_signing_keys": user_signing,
    })))
}

pub(crate) async fn claim(State(server): State<Arc<Server>>, _: Requester, body: Bytes) -> ApiResult {
    let body = super::object(&body)?;
    let wrong = || ApiError::bad_json("'one_time_keys' must have an algorithm by user and device");
    let no_keys = Value::Object(Map::new());
    let wanted = body.get("one_time_keys").unwrap_or(&no_keys).as_object().ok_or_else(wrong)?;
    let (mut keys, mut failures) = (Map::new(), Map::new());
    for (user, devices) in wanted {
        if !super::is_user_id(user) {
            return Err(ApiError::invalid_param(format!("Expected UserID string to start with '@': {user}")));
        }
        let mut found = Map::new();
        for (device, algorithm) in devices.as_object().ok_or_else(wrong)? {
            let algorithm = algorithm.as_str().ok_or_else(wrong)?;
            if let Some((name, key)) = lock(&server.devices).claim(user, device, algorithm) {
                found.insert(device.clone(), json!({ name: key }));
            }
        }
        if !server.is_local(user) {
            elsewhere(&mut failures, user);
        } else if !found.is_empty() {
            keys.insert(user.clone(), found.into());
        }
    }
    Ok(Json(json!({"one_time_keys": keys, "failures": failures})))
}
