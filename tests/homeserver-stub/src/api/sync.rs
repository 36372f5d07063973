//! A `/sync` that is good enough for a client that polls: timelines, invites, departures, and what is for its device.

use super::inbox::{self, Place};
use super::state::all_state;
use super::timeline::token;
use crate::auth::{Params, Requester};
use crate::error::{ApiError, ApiResult};
use crate::event::Event;
use crate::ids::now_us;
use crate::room::{Membership, Room};
use crate::server::Server;
use crate::sync::lock;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LONGEST_WAIT_MS: u64 = 60_000;
/// Events of a room that is new to the client, unless its filter says otherwise.
const TAIL: usize = 20;
/// Most events of one room in one answer.
const LARGEST: usize = 1000;

pub(crate) async fn sync(
    State(server): State<Arc<Server>>,
    requester: Requester,
    params: Params,
) -> ApiResult {
    if requester.is_as && requester.id() == server.sender && !server.is_palpo() {
        return Err(ApiError::unknown(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"));
    }
    let filter = Filter::of(&params);
    let Some(since) = params.get("since") else { return Ok(Json(everything(&server, &requester, &filter))) };
    let mut since = Place::parse(since)?;
    inbox::acknowledge(&server, &requester, since);
    let wait = params.number("timeout").unwrap_or(0).min(LONGEST_WAIT_MS);
    let until = Instant::now() + Duration::from_millis(wait);
    loop {
        let grew = server.log_grew.notified();
        let News { log, rooms, met } = news(&server, &requester, since.log, &filter);
        let (next, mut body) = inbox::news(&server, &requester, Place { log, ..since }, met);
        let left = until.saturating_duration_since(Instant::now());
        if !rooms.is_empty() || inbox::is_worth_an_answer(&body) || left.is_zero() {
            body.insert("next_batch".to_owned(), next.token().into());
            body.insert("rooms".to_owned(), rooms.into());
            return Ok(Json(body.into()));
        }
        since = next;
        let _ = tokio::time::timeout(left, grew).await;
    }
}

/// What is taken of a filter given in the address.
#[derive(Default)]
struct Filter {
    /// `room.timeline.limit`
    limit: Option<usize>,
    /// `room.rooms`: only these.
    rooms: Option<BTreeSet<String>>,
}

impl Filter {
    fn of(params: &Params) -> Self {
        let filter = params.get("filter").and_then(|filter| serde_json::from_str::<Value>(filter).ok());
        let Some(filter) = filter else { return Self::default() };
        let limit = filter.pointer("/room/timeline/limit").and_then(Value::as_u64);
        let rooms = filter.pointer("/room/rooms").and_then(Value::as_array);
        Self {
            limit: limit.map(|limit| usize::try_from(limit).unwrap_or(LARGEST).clamp(1, LARGEST)),
            rooms: rooms.map(|rooms| rooms.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        }
    }

    fn wants(&self, room: &str) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.contains(room))
    }
}

fn everything(server: &Server, requester: &Requester, filter: &Filter) -> Value {
    let tail = filter.limit.unwrap_or(TAIL);
    // Whose devices changed before is asked for where it matters.
    let now = Place::now(server);
    let (place, mut body) = inbox::news(server, requester, Place { messages: 0, ..now }, BTreeSet::new());
    let next = now.log;
    let (joined, invited) = {
        let user = lock(&requester.user.inner);
        (user.joined.clone(), user.invited.clone())
    };
    let join: Map<_, _> = joined
        .into_iter()
        .filter(|id| filter.wants(id))
        .filter_map(|id| Some((id.clone(), whole_room(&*server.room(&id)?, next, tail))))
        .collect();
    let invited = invited.into_iter().filter(|id| filter.wants(id));
    let invite: Map<_, _> =
        invited.filter_map(|id| Some((id.clone(), invitation(&*server.room(&id)?)))).collect();
    let prefix = format!("{}\n\n", requester.id());
    let data = lock(&server.account_data);
    let own = data.iter().filter_map(|(key, content)| Some((key.strip_prefix(&prefix)?, content)));
    let own: Vec<_> = own.map(|(kind, content)| json!({"type": kind, "content": content})).collect();
    body.insert("next_batch".to_owned(), place.token().into());
    body.insert("rooms".to_owned(), json!({"join": join, "invite": invite, "leave": {}}));
    body.insert("account_data".to_owned(), json!({"events": own}));
    body.into()
}

fn to_json<'a>(events: impl Iterator<Item = &'a Arc<Event>>) -> Vec<Value> {
    let now = now_us();
    events.map(|event| json!(event.client(now))).collect()
}

/// A room the client has not seen: its state and the end of its timeline, nothing of what comes after `next`.
fn whole_room(room: &Room, next: u64, tail: usize) -> Value {
    let inner = lock(&room.inner);
    let last = inner.timeline.partition_point(|event| event.seq < next);
    let first = last.saturating_sub(tail);
    let timeline = to_json(inner.timeline[first..last].iter());
    let prev = inner.timeline.get(first).map_or(next, |event| event.seq);
    json!({
        "state": {"events": all_state(&inner)},
        "timeline": {"events": timeline, "limited": first > 0, "prev_batch": token(prev)},
    })
}

fn invitation(room: &Room) -> Value {
    let inner = lock(&room.inner);
    json!({"invite_state": {"events": all_state(&inner)}})
}

/// What happened in rooms.
struct News {
    /// The position after it.
    log: u64,
    rooms: Map<String, Value>,
    /// Who is in a room with the client since then.
    met: BTreeSet<String>,
}

fn news(server: &Server, requester: &Requester, since: u64, filter: &Filter) -> News {
    let limit = filter.limit;
    let (next, fresh) = {
        let log = lock(&server.log);
        let from = usize::try_from(since).unwrap_or(usize::MAX).min(log.len());
        (log.len() as u64, log[from..].to_vec())
    };
    // Read after the log: whoever is in the log by now is here too, or its own event below tells.
    let joined = lock(&requester.user.inner).joined.clone();
    let mut by_room: BTreeMap<&str, Vec<&Arc<Event>>> = BTreeMap::new();
    let mut own: BTreeMap<&str, (Membership, &Arc<Event>)> = BTreeMap::new();
    let mut met = BTreeSet::new();
    for event in &fresh {
        let target = event.state_key.as_deref().filter(|_| event.kind == "m.room.member");
        let about_me = target == Some(requester.id());
        if let Some(target) = target.filter(|_| about_me || joined.contains(&event.room_id)) {
            let membership = event.content_value().get("membership").cloned().unwrap_or_default();
            let Ok(membership) = serde_json::from_value(membership) else { continue };
            if membership == Membership::Join && !was_joined(event) {
                meet(server, &event.room_id, target, requester.id(), &mut met);
            }
            if about_me {
                own.insert(&event.room_id, (membership, event));
            }
        }
        if !filter.wants(&event.room_id) {
            continue;
        }
        if about_me || joined.contains(&event.room_id) {
            by_room.entry(&event.room_id).or_default().push(event);
        }
    }
    let (mut join, mut invite, mut leave) = (Map::new(), Map::new(), Map::new());
    for (id, events) in by_room {
        let Some(room) = server.room(id) else { continue };
        match own.get(id) {
            Some((Membership::Invite | Membership::Knock, _)) => {
                invite.insert(id.to_owned(), invitation(&room));
            }
            Some((Membership::Leave | Membership::Ban, event)) => {
                leave
                    .insert(id.to_owned(), json!({"timeline": {"events": to_json(std::iter::once(*event))}}));
            }
            Some((Membership::Join, event)) if !was_joined(event) => {
                join.insert(id.to_owned(), whole_room(&room, next, limit.unwrap_or(TAIL)));
            }
            Some((Membership::Join, _)) | None => {
                let skipped = events.len().saturating_sub(limit.unwrap_or(LARGEST));
                let prev = events.get(skipped).map_or(since, |event| event.seq);
                let timeline = to_json(events[skipped..].iter().copied());
                join.insert(
                    id.to_owned(),
                    json!({"timeline": {"events": timeline, "limited": skipped > 0, "prev_batch": token(prev)}}),
                );
            }
        }
    }
    let sections = [("join", join), ("invite", invite), ("leave", leave)];
    let sections = sections.into_iter().filter(|(_, section)| !section.is_empty());
    let rooms = sections.map(|(name, section)| (name.to_owned(), Value::Object(section))).collect();
    News { log: next, rooms, met }
}

/// Notes whom somebody meets by a join: the one who came, or all others of the room where that is oneself.
fn meet(server: &Server, room: &str, target: &str, own: &str, met: &mut BTreeSet<String>) {
    if target != own {
        met.insert(target.to_owned());
    } else if let Some(room) = server.room(room) {
        let room = lock(&room.inner);
        let others = room.members.iter().filter(|(user, member)| *user != own && member.is_joined());
        met.extend(others.map(|(user, _)| user.clone()));
    }
}

/// Whether a join only changes name or picture.
fn was_joined(event: &Event) -> bool {
    let before =
        event.prev_content.as_ref().and_then(|content| serde_json::from_str::<Value>(content.get()).ok());
    before.is_some_and(|content| content.get("membership").and_then(Value::as_str) == Some("join"))
}
