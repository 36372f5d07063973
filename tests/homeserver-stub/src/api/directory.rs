//! Room aliases.

use crate::auth::Requester;
use crate::error::{ApiError, ApiResult};
use crate::journal::Record;
use crate::server::Server;
use crate::sync::lock;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn in_use() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "M_ROOM_IN_USE", "Room alias already taken")
}

/// Only the bridge may use aliases of its exclusive namespace.
pub(crate) fn check_exclusive(server: &Server, requester: &Requester, alias: &str) -> ApiResult<()> {
    if !requester.is_as && server.owns_alias(alias) {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "M_EXCLUSIVE",
            "This alias belongs to an application service",
        ));
    }
    Ok(())
}

pub(crate) async fn get(State(server): State<Arc<Server>>, Path(alias): Path<String>) -> ApiResult {
    let room = lock(&server.aliases).get(&alias).cloned();
    let room = room.ok_or_else(|| ApiError::not_found(format!("Room alias {alias} not found")))?;
    Ok(Json(json!({"room_id": room, "servers": [server.options.server_name]})))
}

pub(crate) async fn put(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(alias): Path<String>,
    body: Bytes,
) -> ApiResult {
    check_exclusive(&server, &requester, &alias)?;
    let body = super::object(&body)?;
    let room_id = body.get("room_id").and_then(Value::as_str).unwrap_or_default();
    let room = server.room(room_id).ok_or_else(|| ApiError::not_found("Room does not exist"))?;
    {
        let mut aliases = lock(&server.aliases);
        if aliases.contains_key(&alias) {
            return Err(ApiError::unknown(
                StatusCode::CONFLICT,
                format!("Room alias {alias} already exists"),
            ));
        }
        aliases.insert(alias.clone(), room.id.clone());
    }
    server.record(&Record::Alias { alias: alias.as_str().into(), room: Some(room.id.as_str().into()) });
    Ok(Json(json!({})))
}

pub(crate) async fn delete(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(alias): Path<String>,
) -> ApiResult {
    check_exclusive(&server, &requester, &alias)?;
    let removed = lock(&server.aliases).remove(&alias);
    removed.ok_or_else(|| ApiError::not_found(format!("Room alias {alias} not found")))?;
    server.record(&Record::Alias { alias: alias.as_str().into(), room: None });
    Ok(Json(json!({})))
}

pub(crate) async fn of_room(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(room): Path<String>,
) -> ApiResult {
    let room = super::room(&server, &room, requester.id())?;
    super::must_be_joined(&lock(&room.inner), requester.id(), &room.id)?;
    let aliases = lock(&server.aliases);
    let aliases: Vec<_> = aliases.iter().filter(|(_, id)| **id == room.id).map(|(alias, _)| alias).collect();
    Ok(Json(json!({"aliases": aliases})))
}
