//! A `/sync` that is good enough for a client that polls: timelines, invites, departures.

use super::state::all_state;
use super::timeline::{parse_token, token};
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
use std::collections::BTreeMap;
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
    let limit = timeline_limit(&params);
    let tail = limit.unwrap_or(TAIL);
    let Some(since) = params.get("since") else { return Ok(Json(everything(&server, &requester, tail))) };
    let mut since = parse_token(since)?;
    let wait = params.number("timeout").unwrap_or(0).min(LONGEST_WAIT_MS);
    let until = Instant::now() + Duration::from_millis(wait);
    loop {
        let grew = server.log_grew.notified();
        let (next, rooms) = news(&server, &requester, since, limit);
        let left = until.saturating_duration_since(Instant::now());
        if !rooms.is_empty() || left.is_zero() {
            return Ok(Json(json!({"next_batch": token(next), "rooms": rooms})));
        }
        since = next;
        let _ = tokio::time::timeout(left, grew).await;
    }
}

/// `room.timeline.limit` of a filter given in the address.
fn timeline_limit(params: &Params) -> Option<usize> {
    let filter: Value = serde_json::from_str(params.get("filter")?).ok()?;
    let limit = filter.pointer("/room/timeline/limit")?.as_u64()?;
    Some(usize::try_from(limit).unwrap_or(LARGEST).clamp(1, LARGEST))
}

fn everything(server: &Server, requester: &Requester, tail: usize) -> Value {
    let next = lock(&server.log).len() as u64;
    let (joined, invited) = {
        let user = lock(&requester.user.inner);
        (user.joined.clone(), user.invited.clone())
    };
    let join: Map<_, _> = joined
        .into_iter()
        .filter_map(|id| Some((id.clone(), whole_room(&*server.room(&id)?, next, tail))))
        .collect();
    let invite: Map<_, _> =
        invited.into_iter().filter_map(|id| Some((id.clone(), invitation(&*server.room(&id)?)))).collect();
    let prefix = format!("{}\n\n", requester.id());
    let data = lock(&server.account_data);
    let own = data.iter().filter_map(|(key, content)| Some((key.strip_prefix(&prefix)?, content)));
    let own: Vec<_> = own.map(|(kind, content)| json!({"type": kind, "content": content})).collect();
    json!({"next_batch": token(next), "rooms": {"join": join, "invite": invite, "leave": {}},
        "account_data": {"events": own}})
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

fn news(
    server: &Server,
    requester: &Requester,
    since: u64,
    limit: Option<usize>,
) -> (u64, Map<String, Value>) {
    let (next, fresh) = {
        let log = lock(&server.log);
        let from = usize::try_from(since).unwrap_or(usize::MAX).min(log.len());
        (log.len() as u64, log[from..].to_vec())
    };
    // Read after the log: whoever is in the log by now is here too, or its own event below tells.
    let joined = lock(&requester.user.inner).joined.clone();
    let mut by_room: BTreeMap<&str, Vec<&Arc<Event>>> = BTreeMap::new();
    let mut own: BTreeMap<&str, (Membership, &Arc<Event>)> = BTreeMap::new();
    for event in &fresh {
        let about_me = event.kind == "m.room.member" && event.state_key.as_deref() == Some(requester.id());
        if about_me {
            let membership = event.content_value().get("membership").cloned().unwrap_or_default();
            if let Ok(membership) = serde_json::from_value(membership) {
                own.insert(&event.room_id, (membership, event));
            }
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
    (next, sections.map(|(name, section)| (name.to_owned(), Value::Object(section))).collect())
}

/// Whether a join only changes name or picture.
fn was_joined(event: &Event) -> bool {
    let before =
        event.prev_content.as_ref().and_then(|content| serde_json::from_str::<Value>(content.get()).ok());
    before.is_some_and(|content| content.get("membership").and_then(Value::as_str) == Some("join"))
}
