//! What the control calls and the library's [`crate::Stub`] have in common.

use crate::api::membership::{self, Change};
use crate::api::{create, must_be_joined, not_in_room, state};
use crate::auth::Requester;
use crate::error::{ApiError, ApiResult};
use crate::event::{Content, Event};
use crate::ids::now_us;
use crate::room::{Membership, Receipt, Room};
use crate::server::{Draft, Server};
use crate::sync::{lock, read};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A person with an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Human {
    /// `@localpart:server`
    pub user_id: String,
    /// For `/login`.
    pub password: String,
    /// Token for the Matrix calls.
    pub access_token: String,
    /// Device the token belongs to.
    pub device_id: String,
}

/// An event to be put into a room; its sender has to be in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// Room id.
    pub room: String,
    /// User id of a human or of one of the bridge's users.
    pub sender: String,
    /// Event type.
    #[serde(rename = "type", default = "message")]
    pub kind: String,
    /// Makes it a state event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_key: Option<String>,
    /// Content as in the Matrix call.
    pub content: Value,
}

fn message() -> String {
    "m.room.message".to_owned()
}

impl NewEvent {
    /// A text message.
    pub fn text(room: &str, sender: &str, body: &str) -> Self {
        Self {
            room: room.to_owned(),
            sender: sender.to_owned(),
            kind: message(),
            state_key: None,
            content: json!({"msgtype": "m.text", "body": body}),
        }
    }
}

/// What is known about a room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoomInfo {
    /// `!…`
    pub room_id: String,
    /// Room version.
    pub version: String,
    /// `m.room.name`
    pub name: Option<String>,
    /// `m.room.canonical_alias`
    pub alias: Option<String>,
    /// Membership by user id.
    pub members: BTreeMap<String, Membership>,
    /// Length of the timeline.
    pub events: usize,
    /// Who is typing.
    pub typing: Vec<String>,
    /// Last receipt of each user.
    pub receipts: BTreeMap<String, Receipt>,
}

/// Makes a human, or a further token of one that is there. Without a password it is the localpart.
pub(crate) fn create_human(server: &Server, localpart: &str, password: Option<&str>) -> ApiResult<Human> {
    let user_id = server.user_id(localpart);
    if localpart.is_empty() || server.in_namespace(&user_id) {
        return Err(ApiError::invalid_param(format!("{user_id} belongs to the bridge")));
    }
    let user =
        server.add_user(&user_id, Some(password.unwrap_or(localpart))).or_else(|| server.user(&user_id));
    let user = user.ok_or_else(|| ApiError::not_found("no such user"))?;
    let (access_token, device_id) = server.add_token(&user, None);
    let password = lock(&user.inner).password.clone().unwrap_or_default();
    Ok(Human { user_id, password, access_token, device_id })
}

/// `createRoom` as any user; the users of `join` are in the room afterwards.
pub(crate) fn create_room<'a>(
    server: &Server,
    creator: &str,
    wish: &Value,
    join: impl Iterator<Item = &'a str>,
) -> ApiResult<String> {
    let user = server.user(creator).ok_or_else(|| ApiError::not_found(format!("no user {creator}")))?;
    let is_as = user.is_as;
    let requester = Requester { user, device: None, is_as, txn_owner: String::new() };
    let room_id = create::create(server, &requester, wish)?;
    for target in join {
        self::join(server, &room_id, target)?;
    }
    Ok(room_id)
}

/// Joins a user; who may not come in alone is invited by the most powerful user in the room.
pub(crate) fn join(server: &Server, room_id: &str, user: &str) -> ApiResult<()> {
    let room = server.room(room_id).ok_or_else(|| not_in_room(user, room_id))?;
    let mut inner = lock(&room.inner);
    let inside = |membership| matches!(membership, Some(Membership::Join | Membership::Invite));
    if !inner.public && !inside(inner.membership(user)) {
        let joined = inner.members.iter().filter(|(_, member)| member.membership == Membership::Join);
        let host = joined.max_by_key(|(user, _)| inner.level(user)).map(|(user, _)| user.clone());
        let host = host.ok_or_else(|| ApiError::forbidden("nobody is in the room"))?;
        let wish = Change { sender: &host, target: user, to: Membership::Invite, content: None, ts: None };
        membership::change(server, &room, &mut inner, wish)?;
    }
    let wish = Change { sender: user, target: user, to: Membership::Join, content: None, ts: None };
    membership::change(server, &room, &mut inner, wish)?;
    Ok(())
}

pub(crate) fn send(server: &Server, event: NewEvent) -> ApiResult<Arc<Event>> {
    let NewEvent { room: room_id, sender, kind, state_key, content } = event;
    let room = server.room(&room_id).ok_or_else(|| not_in_room(&sender, &room_id))?;
    let content = Content::from_value(content)?;
    let mut inner = lock(&room.inner);
    if let Some(key) = state_key {
        let id = state::write_state(server, &room, &mut inner, &sender, &kind, &key, content, None)?;
        return inner.event(&id).cloned().ok_or_else(|| ApiError::not_found("Event not found."));
    }
    must_be_joined(&inner, &sender, &room_id)?;
    if inner.level(&sender) < inner.power.needed(&kind, false) {
        return Err(ApiError::forbidden(format!("{sender} may not post {kind}")));
    }
    content.check(&kind, &sender, &room_id, None)?;
    let (kind, sender) = (kind.as_str(), sender.as_str());
    let draft = Draft { kind, sender, state_key: None, content, redacts: None, ts: None, device_txn: None };
    Ok(server.append(&room, &mut inner, draft))
}

/// Events of one room or of all from stream position `since` on, and where to go on.
pub(crate) fn events(
    server: &Server,
    room_id: Option<&str>,
    since: u64,
    limit: usize,
) -> ApiResult<(u64, Vec<Arc<Event>>)> {
    let tail = |events: &[Arc<Event>]| -> Vec<_> {
        let from = events.partition_point(|event| event.seq < since);
        events[from..].iter().take(limit).cloned().collect()
    };
    let events = match room_id {
        None => tail(&lock(&server.log)),
        Some(id) => {
            let room = server.room(id).ok_or_else(|| ApiError::not_found("no such room"))?;
            let inner = lock(&room.inner);
            tail(&inner.timeline)
        }
    };
    Ok((events.last().map_or(since, |event| event.seq + 1), events))
}

pub(crate) fn room_info(room: &Room) -> RoomInfo {
    let inner = lock(&room.inner);
    let text = |kind: &str, key: &str| {
        let content = inner.state_event(kind, "")?.content_value();
        content.get(key)?.as_str().map(str::to_owned)
    };
    RoomInfo {
        room_id: room.id.clone(),
        version: room.version.clone(),
        name: text("m.room.name", "name"),
        alias: text("m.room.canonical_alias", "alias"),
        members: inner.members.iter().map(|(user, member)| (user.clone(), member.membership)).collect(),
        events: inner.timeline.len(),
        typing: inner.typing_at(now_us()),
        receipts: inner.receipts.iter().map(|(user, receipt)| (user.clone(), receipt.clone())).collect(),
    }
}

pub(crate) fn rooms(server: &Server) -> Vec<RoomInfo> {
    let mut rooms: Vec<_> = read(&server.rooms).values().cloned().collect();
    rooms.sort_by(|a, b| a.id.cmp(&b.id));
    rooms.iter().map(|room| room_info(room)).collect()
}

pub(crate) fn stats(server: &Server) -> Value {
    json!({
        "uptime_ms": server.stats.uptime_ms(),
        "users": read(&server.users).len(),
        "rooms": read(&server.rooms).len(),
        "events": lock(&server.log).len(),
        "media": server.media.count(),
        "push": server.push.to_json(),
        "requests": server.stats.to_json(),
    })
}
