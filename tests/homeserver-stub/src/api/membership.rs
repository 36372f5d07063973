//! Join, invite, leave, kick, ban: one rule for all of them.

use crate::auth::Requester;
use crate::error::{ApiError, ApiResult};
use crate::event::Content;
use crate::room::{Membership, Room, RoomInner};
use crate::server::{Draft, Server};
use crate::sync::lock;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// A wish to change somebody's membership.
pub(crate) struct Change<'a> {
    pub(crate) sender: &'a str,
    pub(crate) target: &'a str,
    pub(crate) to: Membership,
    /// Content as the client gave it; otherwise it is made from the profile.
    pub(crate) content: Option<Value>,
    pub(crate) ts: Option<u64>,
}

/// Checks and writes a membership; one that is there already gives its event.
pub(crate) fn change(
    server: &Server,
    room: &Room,
    inner: &mut RoomInner,
    change: Change<'_>,
) -> ApiResult<String> {
    let Change { sender, target, to, content, ts } = change;
    check(inner, room, sender, target, to)?;
    let content = content.unwrap_or_else(|| from_profile(server, target, to));
    if let Some(old) = inner.state_event("m.room.member", target)
        && inner.membership(target) == Some(to)
        && (to != Membership::Join || old.content_value() == content)
    {
        return Ok(old.event_id.clone());
    }
    let content = Content::from_value(content)?;
    content.check("m.room.member", sender, &room.id, Some(target))?;
    let event =
        server.append(room, inner, Draft { ts, ..Draft::state("m.room.member", sender, target, content) });
    Ok(event.event_id.clone())
}

fn from_profile(server: &Server, target: &str, to: Membership) -> Value {
    let mut content = json!({"membership": to});
    if matches!(to, Membership::Join | Membership::Invite)
        && let Some(user) = server.user(target)
    {
        let user = lock(&user.inner);
        for key in ["displayname", "avatar_url"] {
            if let Some(value) = user.profile.get(key) {
                content[key] = value.clone();
            }
        }
    }
    content
}

fn check(inner: &RoomInner, room: &Room, sender: &str, target: &str, to: Membership) -> ApiResult<()> {
    let now = inner.membership(target);
    let own = sender == target;
    let forbidden = |text: String| Err(ApiError::forbidden(text));
    if !own {
        super::must_be_joined(inner, sender, &room.id)?;
    }
    let level = inner.level(sender);
    let above_target = level > inner.level(target) || level == i64::MAX;
    match to {
        Membership::Join if !own => forbidden("Cannot force another user to join.".to_owned()),
        Membership::Join => match now {
            Some(Membership::Join | Membership::Invite) => Ok(()),
            Some(Membership::Ban) => forbidden("You are banned from this room".to_owned()),
            _ if inner.public => Ok(()),
            _ => forbidden("You are not invited to this room.".to_owned()),
        },
        Membership::Invite if matches!(now, Some(Membership::Join)) => {
            forbidden(format!("{target} is already in the room."))
        }
        Membership::Invite if now == Some(Membership::Ban) => {
            forbidden(format!("{target} is banned from the room"))
        }
        Membership::Invite if level < inner.power.invite => {
            forbidden("You don't have permission to invite users".to_owned())
        }
        Membership::Leave if own => match now {
            Some(Membership::Join | Membership::Invite | Membership::Knock | Membership::Leave) => Ok(()),
            _ => forbidden(format!("User {target} not in room {}", room.id)),
        },
        Membership::Leave if now == Some(Membership::Ban) && level < inner.power.ban => {
            forbidden(format!("You cannot unban user {target}."))
        }
        Membership::Leave if now != Some(Membership::Ban) && (level < inner.power.kick || !above_target) => {
            forbidden(format!("You cannot kick user {target}."))
        }
        Membership::Leave if now.is_none() => forbidden("The target user is not in the room".to_owned()),
        Membership::Ban if level < inner.power.ban || !above_target => {
            forbidden("You don't have permission to ban".to_owned())
        }
        Membership::Knock => forbidden("You don't have permission to knock".to_owned()),
        _ => Ok(()),
    }
}

pub(crate) async fn join(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(target): Path<String>,
) -> ApiResult {
    let unknown =
        || ApiError::unknown(StatusCode::NOT_FOUND, "Can't join remote room: no servers could be contacted");
    let room_id = if target.starts_with('#') {
        let room_id = lock(&server.aliases).get(&target).cloned();
        room_id.ok_or_else(|| ApiError::not_found(format!("Room alias {target} not found")))?
    } else {
        target
    };
    let room = server.room(&room_id).ok_or_else(unknown)?;
    let user = requester.id();
    let mut inner = lock(&room.inner);
    if !inner.is_joined(user) {
        let wish = Change { sender: user, target: user, to: Membership::Join, content: None, ts: None };
        change(&server, &room, &mut inner, wish)?;
    }
    Ok(Json(json!({"room_id": room_id})))
}

pub(crate) async fn joined_rooms(requester: Requester) -> Json<Value> {
    Json(json!({"joined_rooms": lock(&requester.user.inner).joined}))
}

fn other(server: &Server, requester: &Requester, room_id: &str, body: &[u8], to: Membership) -> ApiResult {
    let body = super::object(body)?;
    let target = body.get("user_id").and_then(Value::as_str);
    let target = target.ok_or_else(|| ApiError::bad_json("Missing params: ['user_id']"))?;
    if !super::is_user_id(target)
        || (server.is_local(target) && to == Membership::Invite && target.len() > 255)
    {
        return Err(ApiError::invalid_param("user_id is not a valid user id"));
    }
    let room = super::room(server, room_id, requester.id())?;
    let mut inner = lock(&room.inner);
    let mut content = from_profile(server, target, to);
    if let Some(reason) = body.get("reason").filter(|reason| reason.is_string()) {
        content["reason"] = reason.clone();
    }
    let wish = Change { sender: requester.id(), target, to, content: Some(content), ts: None };
    change(server, &room, &mut inner, wish)?;
    Ok(Json(json!({})))
}

pub(crate) async fn invite(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(room): Path<String>,
    body: Bytes,
) -> ApiResult {
    other(&server, &requester, &room, &body, Membership::Invite)
}

pub(crate) async fn kick(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(room): Path<String>,
    body: Bytes,
) -> ApiResult {
    other(&server, &requester, &room, &body, Membership::Leave)
}

pub(crate) async fn ban(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(room): Path<String>,
    body: Bytes,
) -> ApiResult {
    other(&server, &requester, &room, &body, Membership::Ban)
}

pub(crate) async fn unban(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(room): Path<String>,
    body: Bytes,
) -> ApiResult {
    other(&server, &requester, &room, &body, Membership::Leave)
}

pub(crate) async fn leave(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(room_id): Path<String>,
) -> ApiResult {
    let room = super::room(&server, &room_id, requester.id())?;
    let user = requester.id();
    let wish = Change { sender: user, target: user, to: Membership::Leave, content: None, ts: None };
    change(&server, &room, &mut lock(&room.inner), wish)?;
    Ok(Json(json!({})))
}

pub(crate) async fn forget(_: Requester, Path(_): Path<String>) -> Json<Value> {
    Json(json!({}))
}
