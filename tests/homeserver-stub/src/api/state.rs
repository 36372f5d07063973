//! State of a room and its members.

use super::membership::{self, Change};
use super::send::timestamp;
use crate::auth::{Params, Requester};
use crate::error::{ApiError, ApiResult};
use crate::event::Content;
use crate::ids::now_us;
use crate::room::{Membership, Room, RoomInner};
use crate::server::{Draft, Server};
use crate::sync::lock;
use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(crate) async fn put(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((room_id, kind, key)): Path<(String, String, String)>,
    params: Params,
    body: Bytes,
) -> ApiResult {
    let room = super::room(&server, &room_id, requester.id())?;
    let ts = timestamp(&params, &requester)?;
    let content = Content::parse(&body)?;
    let mut inner = lock(&room.inner);
    let event_id = write_state(&server, &room, &mut inner, requester.id(), &kind, &key, content, ts)?;
    Ok(Json(json!({"event_id": event_id})))
}

pub(crate) async fn put_unkeyed(
    server: State<Arc<Server>>,
    requester: Requester,
    Path((room_id, kind)): Path<(String, String)>,
    params: Params,
    body: Bytes,
) -> ApiResult {
    put(server, requester, Path((room_id, kind, String::new())), params, body).await
}

/// Writes one state event if the sender may; equal content gives the event that is there already.
#[allow(clippy::too_many_arguments, reason = "the parts of one event, used twice")]
pub(crate) fn write_state(
    server: &Server,
    room: &Room,
    inner: &mut RoomInner,
    sender: &str,
    kind: &str,
    key: &str,
    content: Content,
    ts: Option<u64>,
) -> ApiResult<String> {
    if kind == "m.room.member" {
        let to = content.value.get("membership").cloned().unwrap_or_default();
        let to: Membership =
            serde_json::from_value(to).map_err(|_| ApiError::bad_json("Unknown membership value"))?;
        let change = Change { sender, target: key, to, content: Some(content.value), ts };
        return membership::change(server, room, inner, change);
    }
    super::must_be_joined(inner, sender, &room.id)?;
    if inner.level(sender) < inner.power.needed(kind, true) {
        return Err(ApiError::forbidden(format!("You don't have permission to post {kind}")));
    }
    if key.starts_with('@') && key != sender {
        return Err(ApiError::forbidden("You are not allowed to set others state"));
    }
    content.check(kind, sender, &room.id, Some(key))?;
    if kind == "m.room.power_levels" {
        check_power(inner, &content.value)?;
    }
    if let Some(old) = inner.state_event(kind, key)
        && old.sender == sender
        && old.content_value() == content.value
    {
        return Ok(old.event_id.clone());
    }
    let event = server.append(room, inner, Draft { ts, ..Draft::state(kind, sender, key, content) });
    Ok(event.event_id.clone())
}

/// Creators of version 12 stand above all levels and must not be listed.
pub(crate) fn check_power(inner: &RoomInner, content: &Value) -> ApiResult<()> {
    let users = content.get("users").and_then(Value::as_object);
    match users.and_then(|users| inner.creators.iter().find(|creator| users.contains_key(*creator))) {
        Some(creator) => {
            Err(ApiError::bad_json(format!("Creator user {creator} must not appear in content.users")))
        }
        None => Ok(()),
    }
}

/// Reading needs a membership, present or past.
pub(crate) fn may_read(inner: &RoomInner, user: &str, room_id: &str) -> ApiResult<()> {
    if inner.membership(user).is_some() { Ok(()) } else { Err(super::not_in_room(user, room_id)) }
}

pub(crate) async fn get(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((room_id, kind, key)): Path<(String, String, String)>,
    params: Params,
) -> ApiResult {
    let room = super::room(&server, &room_id, requester.id())?;
    let inner = lock(&room.inner);
    may_read(&inner, requester.id(), &room_id)?;
    let event = inner.state_event(&kind, &key).ok_or_else(|| ApiError::not_found("Event not found."))?;
    if params.get("format") == Some("event") {
        return Ok(Json(json!(event.client(now_us()))));
    }
    Ok(Json(event.content_value()))
}

pub(crate) async fn get_unkeyed(
    server: State<Arc<Server>>,
    requester: Requester,
    Path((room_id, kind)): Path<(String, String)>,
    params: Params,
) -> ApiResult {
    get(server, requester, Path((room_id, kind, String::new())), params).await
}

pub(crate) fn all_state(inner: &RoomInner) -> Vec<Value> {
    let now = now_us();
    let mut events: Vec<_> = inner.state.values().flat_map(|keys| keys.values()).collect();
    events.sort_by_key(|event| event.seq);
    events.into_iter().map(|event| json!(event.client(now))).collect()
}

pub(crate) async fn all(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(room_id): Path<String>,
) -> ApiResult {
    let room = super::room(&server, &room_id, requester.id())?;
    let inner = lock(&room.inner);
    may_read(&inner, requester.id(), &room_id)?;
    Ok(Json(all_state(&inner).into()))
}

pub(crate) async fn joined_members(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(room_id): Path<String>,
) -> ApiResult {
    let room = super::room(&server, &room_id, requester.id())?;
    let inner = lock(&room.inner);
    super::must_be_joined(&inner, requester.id(), &room_id)?;
    let mut joined = Map::new();
    for (user, _) in inner.members.iter().filter(|(_, member)| member.membership == Membership::Join) {
        let content = inner.state_event("m.room.member", user).map(|event| event.content_value());
        let content = content.unwrap_or_default();
        let entry =
            json!({"display_name": content.get("displayname"), "avatar_url": content.get("avatar_url")});
        joined.insert(user.clone(), entry);
    }
    Ok(Json(json!({"joined": joined})))
}

pub(crate) async fn members(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(room_id): Path<String>,
    params: Params,
) -> ApiResult {
    let room = super::room(&server, &room_id, requester.id())?;
    let inner = lock(&room.inner);
    may_read(&inner, requester.id(), &room_id)?;
    let (only, not) = (params.get("membership"), params.get("not_membership"));
    let now = now_us();
    let wanted = |user: &str| {
        let membership = inner.membership(user).map(Membership::as_str);
        (only.is_none() || only == membership) && (not.is_none() || not != membership)
    };
    let events = inner.state.get("m.room.member").into_iter().flatten();
    let chunk: Vec<_> =
        events.filter(|(user, _)| wanted(user)).map(|(_, event)| json!(event.client(now))).collect();
    Ok(Json(json!({"chunk": chunk})))
}
