//! Profiles; a new name or picture is written into every room of its user.

use super::membership::{self, Change};
use crate::auth::Requester;
use crate::error::{ApiError, ApiResult};
use crate::journal::Record;
use crate::room::Membership;
use crate::server::Server;
use crate::sync::lock;
use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

pub(crate) async fn all(State(server): State<Arc<Server>>, Path(user): Path<String>) -> ApiResult {
    let user = server.user(&user).ok_or_else(|| ApiError::not_found("Profile was not found"))?;
    Ok(Json(Value::Object(lock(&user.inner).profile.clone())))
}

pub(crate) async fn one(
    State(server): State<Arc<Server>>,
    Path((user, key)): Path<(String, String)>,
) -> ApiResult {
    let user = server.user(&user).ok_or_else(|| ApiError::not_found("Profile was not found"))?;
    let user = lock(&user.inner);
    Ok(Json(user.profile.get(&key).map_or_else(|| json!({}), |value| json!({ key: value }))))
}

pub(crate) async fn put(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((user, key)): Path<(String, String)>,
    body: Bytes,
) -> ApiResult {
    if user != requester.id() {
        return Err(ApiError::forbidden("Cannot set another user's profile"));
    }
    let body = super::object(&body)?;
    let value = body.get(&key).cloned().ok_or_else(|| ApiError::bad_json(format!("Missing key '{key}'")))?;
    let shown = matches!(key.as_str(), "displayname" | "avatar_url");
    if shown && !value.is_string() && !value.is_null() {
        return Err(ApiError::invalid_param(format!("'{key}' must be a string")));
    }
    if value.as_str().is_some_and(|text| text.len() > if key == "displayname" { 256 } else { 1000 }) && shown
    {
        return Err(ApiError::invalid_param(format!("'{key}' is too long")));
    }
    server.record(&Record::Profile {
        user: requester.id().into(),
        key: key.as_str().into(),
        value: Cow::Borrowed(&value),
    });
    let rooms = {
        let mut user = lock(&requester.user.inner);
        user.profile.insert(key, value);
        user.joined.clone()
    };
    for room in rooms.iter().filter(|_| shown).filter_map(|id| server.room(id)) {
        let mut inner = lock(&room.inner);
        if inner.is_joined(requester.id()) {
            let (sender, target) = (requester.id(), requester.id());
            let wish = Change { sender, target, to: Membership::Join, content: None, ts: None };
            membership::change(&server, &room, &mut inner, wish)?;
        }
    }
    Ok(Json(json!({})))
}
