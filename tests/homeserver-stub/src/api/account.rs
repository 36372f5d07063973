//! Versions, who am I, registration, login, devices.

use crate::auth::{Params, Requester, is_bridge};
use crate::error::{ApiError, ApiResult};
use crate::journal::Record;
use crate::server::Server;
use crate::sync::{lock, write};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) async fn versions(State(server): State<Arc<Server>>) -> Json<Value> {
    let last = if server.is_palpo() { 12 } else { 15 };
    let mut versions = vec!["r0.6.1".to_owned()];
    versions.extend((1..=last).map(|minor| format!("v1.{minor}")));
    let unstable = if server.is_palpo() {
        json!({})
    } else {
        json!({"fi.mau.msc2659.stable": true, "uk.tcpip.msc4133.stable": true, "org.matrix.msc3202": false,
            "org.matrix.msc2409": false, "com.beeper.msc4169": false})
    };
    Json(json!({"versions": versions, "unstable_features": unstable}))
}

pub(crate) fn default_room_version(server: &Server) -> &str {
    let default = if server.is_palpo() { "11" } else { "12" };
    server.options.room_version.as_deref().unwrap_or(default)
}

pub(crate) async fn capabilities(State(server): State<Arc<Server>>, _: Requester) -> Json<Value> {
    let available: serde_json::Map<_, _> = (1..=12).map(|n| (n.to_string(), "stable".into())).collect();
    Json(json!({"capabilities": {
        "m.room_versions": {"default": default_room_version(&server), "available": available},
        "m.change_password": {"enabled": true},
        "m.set_displayname": {"enabled": true},
        "m.set_avatar_url": {"enabled": true},
    }}))
}

pub(crate) async fn whoami(requester: Requester) -> Json<Value> {
    let mut body = json!({"user_id": requester.id(), "is_guest": false});
    if let Some(device) = &requester.device {
        body["device_id"] = device.as_str().into();
    }
    Json(body)
}

/// Palpo limits registrations by address: a few at once, then one in six seconds.
pub(crate) struct RegisterLimit {
    free_at: Option<Instant>,
}

impl RegisterLimit {
    const BURST: u32 = 3;

    pub(crate) const fn new() -> Self {
        Self { free_at: None }
    }

    fn take(&mut self, every: Duration) -> Result<(), ApiError> {
        let now = Instant::now();
        let free_at = self.free_at.unwrap_or(now).max(now) + every;
        let ahead = free_at - now;
        let wait = ahead.saturating_sub(every * Self::BURST);
        if !wait.is_zero() {
            return Err(ApiError::limited(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)));
        }
        self.free_at = Some(free_at);
        Ok(())
    }
}

pub(crate) async fn register(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    params: Params,
    body: Bytes,
) -> ApiResult {
    let body = super::object(&body)?;
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let for_bridge = text("type") == Some("m.login.application_service");
    if server.is_palpo() {
        let every = Duration::from_secs(6).mul_f64(server.options.retry_scale);
        lock(&server.register_limit).take(every)?;
    }
    if for_bridge && !is_bridge(&server, &headers, &params)? {
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "Unrecognised access token"));
    }
    let name = text("username").map_or_else(|| server.ids.opaque().to_lowercase(), str::to_owned);
    if name.is_empty() || name.len() + server.options.server_name.len() + 2 > 255 {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "M_INVALID_USERNAME",
            "User ID may not be longer than 255",
        ));
    }
    let user_id = server.user_id(&name);
    if server.user(&user_id).is_some() {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_USER_IN_USE", "User ID already taken."));
    }
    if server.in_namespace(&user_id) != for_bridge {
        let text = "This user ID is not in the exclusive namespace of the application service.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_EXCLUSIVE", text));
    }
    let Some(user) = server.add_user(&user_id, text("password")) else {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_USER_IN_USE", "User ID already taken."));
    };
    let mut answer = json!({"user_id": user_id, "home_server": server.options.server_name});
    if body.get("inhibit_login") != Some(&Value::Bool(true)) {
        let (token, device) = server.add_token(&user, text("device_id"));
        answer["access_token"] = token.into();
        answer["device_id"] = device.into();
    }
    Ok(Json(answer))
}

pub(crate) async fn login_flows() -> Json<Value> {
    Json(json!({"flows": [{"type": "m.login.password"}, {"type": "m.login.application_service"}]}))
}

pub(crate) async fn login(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    params: Params,
    body: Bytes,
) -> ApiResult {
    let body = super::object(&body)?;
    let name = body.pointer("/identifier/user").or_else(|| body.get("user")).and_then(Value::as_str);
    let name = name.ok_or_else(|| ApiError::bad_json("Missing identifier"))?;
    let user_id = if name.starts_with('@') { name.to_owned() } else { server.user_id(name) };
    let wrong = || ApiError::forbidden("Invalid username or password");
    let user = server.user(&user_id).ok_or_else(wrong)?;
    match body.get("type").and_then(Value::as_str) {
        Some("m.login.application_service") => {
            if !user.is_as || !is_bridge(&server, &headers, &params)? {
                return Err(wrong());
            }
        }
        Some("m.login.password") => {
            let given = body.get("password").and_then(Value::as_str);
            if given.is_none() || lock(&user.inner).password.as_deref() != given {
                return Err(wrong());
            }
        }
        _ => return Err(ApiError::unknown(StatusCode::BAD_REQUEST, "Unknown login type")),
    }
    let (token, device) = server.add_token(&user, body.get("device_id").and_then(Value::as_str));
    Ok(Json(json!({"user_id": user_id, "access_token": token, "device_id": device})))
}

pub(crate) async fn logout(State(server): State<Arc<Server>>, requester: Requester) -> Json<Value> {
    write(&server.tokens).remove(&requester.txn_owner);
    Json(json!({}))
}

fn device_json(user: &str, device: &str, name: Option<&String>) -> Value {
    json!({"device_id": device, "display_name": name, "user_id": user})
}

pub(crate) async fn devices(requester: Requester) -> Json<Value> {
    let user = lock(&requester.user.inner);
    let devices = user.devices.iter().map(|(id, name)| device_json(requester.id(), id, name.as_ref()));
    Json(json!({"devices": devices.collect::<Vec<_>>()}))
}

pub(crate) async fn device(requester: Requester, Path(device): Path<String>) -> ApiResult {
    let user = lock(&requester.user.inner);
    let name = user.devices.get(&device).ok_or_else(|| ApiError::not_found("No device found"))?;
    Ok(Json(device_json(requester.id(), &device, name.as_ref())))
}

pub(crate) async fn put_device(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(device): Path<String>,
    body: Bytes,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let body = super::object(&body)?;
    let name = body.get("display_name").and_then(Value::as_str).map(str::to_owned);
    let known = lock(&requester.user.inner).devices.contains_key(&device);
    if !known && !requester.is_as {
        return Err(ApiError::not_found("No device found"));
    }
    server.record(&Record::Device {
        user: requester.id().into(),
        device: device.as_str().into(),
        name: name.as_deref().map(Into::into),
    });
    lock(&requester.user.inner).devices.insert(device.clone(), name);
    if !known {
        lock(&server.devices).add(requester.id(), &device);
        server.device_changed(&requester.user);
    }
    let status = if known { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(json!({}))))
}

pub(crate) async fn delete_devices(
    State(server): State<Arc<Server>>,
    requester: Requester,
    body: Bytes,
) -> ApiResult {
    let body = super::object(&body)?;
    let devices = body.get("devices").and_then(Value::as_array);
    let devices = devices.ok_or_else(|| ApiError::bad_json("Missing 'devices'"))?;
    for device in devices.iter().filter_map(Value::as_str) {
        forget_device(&server, &requester, device);
    }
    Ok(Json(json!({})))
}

fn forget_device(server: &Server, requester: &Requester, device: &str) {
    server.record(&Record::DeviceGone { user: requester.id().into(), device: device.into() });
    let there = lock(&requester.user.inner).devices.remove(device).is_some();
    if there {
        lock(&server.devices).remove(requester.id(), device);
        server.device_changed(&requester.user);
    }
}

pub(crate) async fn delete_device(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(device): Path<String>,
) -> Json<Value> {
    forget_device(&server, &requester, &device);
    Json(json!({}))
}
