//! `/_stub/`: what tests and benchmarks do behind the back of the Matrix calls.

use crate::auth::Params;
use crate::error::{ApiError, ApiResult};
use crate::faults::Fault;
use crate::operate::{self, Human, NewEvent};
use crate::server::Server;
use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const LONGEST_WAIT_MS: u64 = 60_000;

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/_stub/humans", post(humans))
        .route("/_stub/rooms", get(rooms).post(create_room))
        .route("/_stub/join", post(join))
        .route("/_stub/send", post(send))
        .route("/_stub/events", get(events))
        .route("/_stub/stats", get(stats))
        .route("/_stub/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/_stub/faults/{id}", delete(remove_fault))
        .route("/_stub/pause", post(pause))
        .route("/_stub/resume", post(resume))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> ApiResult<T> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_json(error.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewHuman {
    localpart: String,
    password: Option<String>,
}

async fn humans(State(server): State<Arc<Server>>, body: Bytes) -> ApiResult<Json<Human>> {
    let wish: NewHuman = parse(&body)?;
    operate::create_human(&server, &wish.localpart, wish.password.as_deref()).map(Json)
}

async fn rooms(State(server): State<Arc<Server>>, params: Params) -> ApiResult {
    match params.get("room") {
        Some(id) => {
            let room = server.room(id).ok_or_else(|| ApiError::not_found("no such room"))?;
            Ok(Json(json!(operate::room_info(&room))))
        }
        None => Ok(Json(json!({"rooms": operate::rooms(&server)}))),
    }
}

async fn create_room(State(server): State<Arc<Server>>, body: Bytes) -> ApiResult {
    let wish = crate::api::object(&body)?;
    let creator = wish.get("creator").and_then(Value::as_str);
    let creator = creator.ok_or_else(|| ApiError::bad_json("'creator' is missing"))?;
    let join = wish.get("join").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    Ok(Json(json!({"room_id": operate::create_room(&server, creator, &wish, join)?})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    room: String,
    user: String,
}

async fn join(State(server): State<Arc<Server>>, body: Bytes) -> ApiResult {
    let wish: Join = parse(&body)?;
    operate::join(&server, &wish.room, &wish.user)?;
    Ok(Json(json!({"room_id": wish.room})))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<NewEvent>),
    One(NewEvent),
}

async fn send(State(server): State<Arc<Server>>, body: Bytes) -> ApiResult {
    let events = match parse(&body)? {
        OneOrMany::Many(events) => events,
        OneOrMany::One(event) => vec![event],
    };
    let mut sent = Vec::with_capacity(events.len());
    for event in events {
        let event = operate::send(&server, event)?;
        sent.push(Value::String(event.event_id.clone()));
    }
    Ok(Json(json!({"event_ids": sent})))
}

async fn events(State(server): State<Arc<Server>>, params: Params) -> ApiResult {
    let since = params.number("since").unwrap_or(0);
    let limit = params.number("limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let wait = Duration::from_millis(params.number("timeout").unwrap_or(0).min(LONGEST_WAIT_MS));
    let until = tokio::time::Instant::now() + wait;
    loop {
        let grew = server.log_grew.notified();
        let (next, events) = operate::events(&server, params.get("room"), since, limit)?;
        if !events.is_empty() || tokio::time::timeout_at(until, grew).await.is_err() {
            let events: Vec<&crate::Event> = events.iter().map(|event| &**event).collect();
            return Ok(Json(json!({"next": next, "events": events})));
        }
    }
}

async fn stats(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(operate::stats(&server))
}

async fn faults(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(json!({"faults": server.faults.to_json()}))
}

async fn add_fault(State(server): State<Arc<Server>>, body: Bytes) -> ApiResult {
    let fault: Fault = parse(&body)?;
    Ok(Json(json!({"id": server.faults.add(fault)})))
}

async fn remove_fault(State(server): State<Arc<Server>>, Path(id): Path<u64>) -> Json<Value> {
    server.faults.remove(Some(id));
    Json(json!({}))
}

async fn clear_faults(State(server): State<Arc<Server>>) -> Json<Value> {
    server.faults.remove(None);
    Json(json!({}))
}

async fn pause(State(server): State<Arc<Server>>) -> Json<Value> {
    server.push.pause(true);
    Json(json!({}))
}

async fn resume(State(server): State<Arc<Server>>) -> Json<Value> {
    server.push.pause(false);
    Json(json!({}))
}
