//! Reading back: `messages`, `context`, single events.
//!
//! A token is `s` and a stream position: everything below it is before, the rest after. Tokens of `/sync` go on with
//! `_` and other positions, and are good here as well.

use super::state::may_read;
use crate::auth::{Params, Requester};
use crate::error::{ApiError, ApiResult};
use crate::event::Event;
use crate::ids::now_us;
use crate::server::Server;
use crate::sync::lock;
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::sync::Arc;

const DEFAULT_LIMIT: usize = 10;
const LARGEST_LIMIT: usize = 1000;

pub(crate) fn token(seq: u64) -> String {
    format!("s{seq}")
}

pub(crate) fn parse_token(text: &str) -> ApiResult<u64> {
    let seq = text.strip_prefix('s').and_then(|seq| seq.split('_').next()?.parse().ok());
    seq.ok_or_else(|| ApiError::invalid_param(format!("Invalid stream token '{text}'")))
}

fn limit(params: &Params) -> usize {
    let wanted =
        params.number("limit").map_or(DEFAULT_LIMIT, |n| usize::try_from(n).unwrap_or(LARGEST_LIMIT));
    wanted.min(LARGEST_LIMIT)
}

fn to_json<'a>(events: impl Iterator<Item = &'a Arc<Event>>) -> Vec<Value> {
    let now = now_us();
    events.map(|event| json!(event.client(now))).collect()
}

pub(crate) async fn messages(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(room_id): Path<String>,
    params: Params,
) -> ApiResult {
    let room = super::room(&server, &room_id, requester.id())?;
    let place = |key: &str| params.get(key).map(parse_token).transpose();
    let (from, to) = (place("from")?, place("to")?);
    let limit = limit(&params);
    let inner = lock(&room.inner);
    may_read(&inner, requester.id(), &room_id)?;
    let timeline = &inner.timeline;
    let below = |seq: u64| timeline.partition_point(|event| event.seq < seq);
    let next_of =
        |at: usize| timeline.get(at).map_or_else(|| timeline.last().map_or(0, |e| e.seq + 1), |e| e.seq);
    match params.get("dir") {
        Some("b") => {
            let last = from.map_or(timeline.len(), below);
            let first = last.saturating_sub(limit).max(to.map_or(0, below)).min(last);
            let start = from.unwrap_or_else(|| next_of(last));
            let mut answer =
                json!({"start": token(start), "chunk": to_json(timeline[first..last].iter().rev())});
            if first > 0 {
                answer["end"] = token(next_of(first)).into();
            }
            Ok(Json(answer))
        }
        Some("f") => {
            let first = from.map_or(0, below);
            let last = (first + limit).min(to.map_or(timeline.len(), below)).max(first).min(timeline.len());
            let mut chunk = to_json(timeline[first..last].iter());
            if server.is_palpo() {
                chunk.reverse();
            }
            let start = from.unwrap_or_else(|| next_of(first));
            let mut answer = json!({"start": token(start), "chunk": chunk});
            if last < timeline.len() {
                answer["end"] = token(next_of(last)).into();
            }
            Ok(Json(answer))
        }
        _ => Err(ApiError::invalid_param("Query parameter 'dir' must be one of 'b', 'f'")),
    }
}

pub(crate) async fn context(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((room_id, event_id)): Path<(String, String)>,
    params: Params,
) -> ApiResult {
    let room = super::room(&server, &room_id, requester.id())?;
    let inner = lock(&room.inner);
    may_read(&inner, requester.id(), &room_id)?;
    let at = *inner.index.get(&event_id).ok_or_else(|| ApiError::not_found("Event not found."))?;
    let half = limit(&params) / 2;
    let timeline = &inner.timeline;
    let first = at.saturating_sub(half);
    let last = (at + 1 + half).min(timeline.len());
    Ok(Json(json!({
        "event": timeline[at].client(now_us()),
        "events_before": to_json(timeline[first..at].iter().rev()),
        "events_after": to_json(timeline[at + 1..last].iter()),
        "start": token(timeline[first].seq),
        "end": token(timeline[last - 1].seq + 1),
        "state": super::state::all_state(&inner),
    })))
}

pub(crate) async fn event(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((room_id, event_id)): Path<(String, String)>,
) -> ApiResult {
    let room = super::room(&server, &room_id, requester.id())?;
    let inner = lock(&room.inner);
    may_read(&inner, requester.id(), &room_id)?;
    let event = inner.event(&event_id).ok_or_else(|| ApiError::not_found("Event not found."))?;
    Ok(Json(json!(event.client(now_us()))))
}
