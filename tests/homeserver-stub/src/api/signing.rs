//! `keys/device_signing/upload` and `keys/signatures/upload`: somebody's identity, and what is signed with it. Signatures
//! of other people's identities are not kept.

use crate::auth::Requester;
use crate::devices::{Devices, Identity, sign};
use crate::error::{ApiError, ApiResult};
use crate::server::Server;
use crate::signed::{VerifyKey, unsigned};
use crate::sync::lock;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The keys of an identity: the member of a request, and the usage that the key must have.
const KEYS: [(&str, &str); 3] =
    [("master_key", "master"), ("self_signing_key", "self_signing"), ("user_signing_key", "user_signing")];

fn slot<'a>(identity: &'a mut Identity, usage: &str) -> &'a mut Option<Value> {
    match usage {
        "master" => &mut identity.master,
        "self_signing" => &mut identity.self_signing,
        _ => &mut identity.user_signing,
    }
}

pub(crate) async fn upload_identity(
    State(server): State<Arc<Server>>,
    requester: Requester,
    body: Bytes,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let body = super::object(&body)?;
    let user = requester.id();
    let done = (StatusCode::OK, Json(json!({})));
    let mut identity = lock(&server.devices).identity(user).cloned().unwrap_or_default();
    let is_set_up = identity.master.is_some();
    let given = KEYS.into_iter().filter_map(|(member, usage)| Some((usage, body.get(member)?)));
    let given: Vec<(&str, &Value)> = given.collect();
    let differs = |(usage, key): &(&str, &Value)| slot(&mut identity.clone(), usage).as_ref() != Some(*key);
    if !given.iter().any(differs) {
        return Ok(done);
    }
    if is_set_up && !requester.is_as && !knows_password(&requester, &body) {
        let flows = json!({"session": server.ids.opaque(), "params": {},
            "flows": [{"stages": ["m.login.password"]}]});
        return Ok((StatusCode::UNAUTHORIZED, Json(flows)));
    }
    let new_master = given.iter().find(|(usage, _)| *usage == "master").map(|(_, key)| *key);
    if let Some(key) = new_master {
        check_form(key, user, "master")?;
    }
    let Some(master) = new_master.or(identity.master.as_ref()) else {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAM", "No master key available"));
    };
    let master = VerifyKey::of(master).ok_or_else(|| ApiError::invalid_param("Invalid master key"))?;
    for (usage, key) in given.iter().filter(|(usage, _)| *usage != "master") {
        check_form(key, user, usage)?;
        if !master.has_signed(key, user) {
            let text = format!("Invalid signature on {usage} key");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", text));
        }
        if VerifyKey::of(key).is_none() {
            return Err(ApiError::invalid_param(format!("Invalid {usage} key")));
        }
    }
    for (usage, key) in given {
        *slot(&mut identity, usage) = Some(key.clone());
    }
    *lock(&server.devices).identity_mut(user) = identity;
    server.device_changed(&requester.user);
    Ok(done)
}

/// Whether a person has shown the password as well.
fn knows_password(requester: &Requester, body: &Value) -> bool {
    let auth = body.get("auth");
    let text = |member: &str| auth.and_then(|auth| auth.get(member)?.as_str());
    let password = text("password").filter(|_| text("type") == Some("m.login.password"));
    password.is_some() && lock(&requester.user.inner).password.as_deref() == password
}

fn check_form(key: &Value, user: &str, usage: &str) -> ApiResult<()> {
    let usages = key.get("usage").and_then(Value::as_array);
    let good = key.get("user_id").and_then(Value::as_str) == Some(user)
        && usages.is_some_and(|usages| usages.iter().any(|found| found == usage))
        && key.get("keys").and_then(Value::as_object).is_some_and(|keys| keys.len() == 1);
    if good { Ok(()) } else { Err(ApiError::invalid_param(format!("Invalid {usage} key"))) }
}

pub(crate) async fn upload_signatures(
    State(server): State<Arc<Server>>,
    requester: Requester,
    body: Bytes,
) -> ApiResult {
    let body = super::object(&body)?;
    let user = requester.id();
    let mut failures = Map::new();
    let mut is_news = false;
    for (target, signed) in body.as_object().into_iter().flatten() {
        let wrong = || ApiError::invalid_param("Invalid parameter");
        let signed = signed.as_object().ok_or_else(wrong)?;
        if !signed.values().all(Value::is_object) {
            return Err(wrong());
        }
        let mut failed = Map::new();
        for (id, object) in signed {
            let taken = if target == user {
                take(&mut lock(&server.devices), user, id, object)
            } else {
                Err(ApiError::not_found("Unknown device"))
            };
            match taken {
                Ok(new) => is_news |= new,
                Err(error) => {
                    let ApiError { status, errcode, message, .. } = error;
                    let failure = json!({"status": status.as_u16(), "errcode": errcode, "message": message});
                    failed.insert(id.clone(), failure);
                }
            }
        }
        if !failed.is_empty() {
            failures.insert(target.clone(), failed.into());
        }
    }
    if is_news {
        server.device_changed(&requester.user);
    }
    Ok(Json(json!({"failures": failures})))
}

/// Keeps the signature of somebody's own device or master key, if it is good; answers whether it is new.
fn take(devices: &mut Devices, user: &str, id: &str, object: &Value) -> ApiResult<bool> {
    let invalid = || ApiError::new(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", "Invalid signature");
    let identity = devices.identity(user).cloned().unwrap_or_default();
    let part = |key: &Option<Value>, usage: &str| {
        let key = key.clone().and_then(|key| Some((VerifyKey::of(&key)?, key)));
        key.ok_or_else(|| ApiError::not_found(format!("No {usage} key found for {user}")))
    };
    let (self_signing, _) = part(&identity.self_signing, "self_signing")?;
    let (master, mut master_key) = part(&identity.master, "master")?;
    let signatures = object.get("signatures").and_then(|all| all.get(user)?.as_object());
    let signatures = signatures.ok_or_else(invalid)?;

    if id == master.version() {
        for (by, signature) in signatures.iter().filter(|(by, _)| by.starts_with("ed25519:")) {
            let device = by.split_once(':').map_or("", |(_, device)| device);
            let keys = devices.keys(user);
            let key = keys.get(device).and_then(|keys| keys.get("keys")?.get(by)?.as_str());
            let key = key.and_then(|base64| VerifyKey::new(by, base64)).ok_or_else(invalid)?;
            check(&key, user, object, &master_key)?;
            sign(&mut master_key, user, by, signature);
        }
        let is_new = identity.master.as_ref() != Some(&master_key);
        devices.identity_mut(user).master = Some(master_key);
        return Ok(is_new);
    }
    let signature = signatures.get(&self_signing.id).ok_or_else(invalid)?;
    let keys = devices.keys(user);
    let stored = keys.get(id).ok_or_else(|| ApiError::not_found("Unknown device"))?;
    if stored.get("signatures").is_some_and(|all| all[user].get(&self_signing.id).is_some()) {
        return Ok(false);
    }
    check(&self_signing, user, object, stored)?;
    devices.sign_device(user, id, &self_signing.id, signature);
    Ok(true)
}

/// Whether what was signed is what is there, and the signature is good.
fn check(key: &VerifyKey, user: &str, signed: &Value, stored: &Value) -> ApiResult<()> {
    if unsigned(signed) != unsigned(stored) {
        return Err(ApiError::unknown(StatusCode::BAD_REQUEST, "Key does not match"));
    }
    if key.has_signed(signed, user) {
        Ok(())
    } else {
        Err(ApiError::new(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", "Invalid signature"))
    }
}
