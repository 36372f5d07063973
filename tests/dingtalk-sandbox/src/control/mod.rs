//! The control API under `/_sandbox/`: what no DingTalk has and every test needs. See the crate's README.

mod files;
pub(crate) mod live;
pub(crate) mod setup;
mod stream;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Query, State, rejection::JsonRejection},
    http::{
        StatusCode, Uri,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    },
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    events::NewEvent,
    faults::Fault,
    messages::{self, NewMessage},
    model::{Message, Sent},
    state::Entry,
    world::World,
};

/// A control call that cannot be done.
#[derive(Clone, Debug)]
pub struct ControlError {
    status: u16,
    message: String,
}

impl ControlError {
    pub(crate) fn unknown(kind: &str, id: &str) -> Self {
        Self { status: 404, message: format!("unknown {kind} {id:?}") }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self { status: 400, message: message.into() }
    }
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ControlError {}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        (status, Json(json!({"error": self.message}))).into_response()
    }
}

type Outcome = Result<Json<Value>, ControlError>;
type Params = Query<HashMap<String, String>>;
type Shared = State<Arc<World>>;
/// A JSON body, or the reason it is none.
type Body<T> = Result<Json<T>, JsonRejection>;

fn body<T: DeserializeOwned>(body: Body<T>) -> Result<T, ControlError> {
    body.map(|Json(value)| value).map_err(|rejection| ControlError::refused(rejection.body_text()))
}

/// Routes of the control API and of the page.
pub(crate) fn router() -> Router<Arc<World>> {
    let own = Router::new()
        .route("/world", get(|State(world): Shared| async move { Json(world.info()) }))
        .route("/sent", get(sent))
        .route("/stats", get(stats))
        .route("/messages", get(written).post(write))
        .route("/deliveries", get(deliveries))
        .route("/redeliver", post(redeliver))
        .route("/events", get(events).post(happen))
        .route("/faults", get(faults).post(add_fault).delete(remove_faults))
        .route("/tokens/expire", post(expire_tokens))
        .route("/sent/expire", post(expire_sent))
        .route("/sessions/expire", post(expire_sessions))
        .route("/files/expire", post(files::expire))
        .route("/files", get(files::attached))
        .route("/media/{id}", get(files::upload))
        .route("/pictures/{name}", get(files::picture))
        .route("/live", get(live::live))
        .merge(setup::router())
        .merge(stream::router())
        .fallback(|uri: Uri| async move { ControlError::unknown("control path", uri.path()).into_response() })
        .layer(DefaultBodyLimit::max(256 << 20));
    Router::new()
        .route("/", get(page))
        .route("/page.js", get(|| async { script(include_str!("../page/page.js")) }))
        .route("/content.js", get(|| async { script(include_str!("../page/content.js")) }))
        .route("/_sandbox/", get(|| async { text(include_str!("../../README.md")) }))
        .nest("/_sandbox", own)
}

/// The page loads and calls nothing but the sandbox.
async fn page() -> Response {
    const POLICY: &str = "default-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    ([(CONTENT_SECURITY_POLICY, POLICY)], Html(include_str!("../page/index.html"))).into_response()
}

fn script(text: &'static str) -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], text).into_response()
}

fn text(text: &'static str) -> Response {
    ([(CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response()
}

fn number(query: &HashMap<String, String>, name: &str, default: usize) -> Result<usize, ControlError> {
    match query.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| ControlError::refused(format!("{name} must be a number"))),
    }
}

async fn sent(State(world): Shared, Query(query): Params) -> Result<Response, ControlError> {
    let since = number(&query, "since", 0)?;
    let most = number(&query, "limit", usize::MAX)?;
    let list = world.sent_since(since, query.get("chat_id").map(String::as_str), most);
    let list: Vec<&Sent> = list.iter().map(AsRef::as_ref).collect();
    Ok(Json(list).into_response())
}

impl World {
    pub(crate) fn sent_since(&self, since: usize, chat_id: Option<&str>, most: usize) -> Vec<Arc<Sent>> {
        let state = self.state();
        let tail = state.sent.get(since..).unwrap_or_default().iter();
        tail.filter(|sent| chat_id.is_none_or(|id| id == sent.chat_id)).take(most).cloned().collect()
    }
}

async fn stats(State(world): Shared) -> Json<Value> {
    let state = world.state();
    Json(json!({"sent": state.sent.len(), "messages": state.messages.len(), "answered": state.answered}))
}

async fn written(State(world): Shared, Query(query): Params) -> Outcome {
    list(&world, &query, messages::view)
}

async fn deliveries(State(world): Shared, Query(query): Params) -> Outcome {
    list(&world, &query, |message| {
        let mut view = serde_json::to_value(&message.progress).unwrap_or_default();
        view["msg_id"] = json!(message.msg_id);
        view["chat_id"] = json!(message.chat_id);
        view["to_bot"] = json!(message.body.is_some());
        view["time"] = json!(message.time);
        view
    })
}

fn list(world: &World, query: &HashMap<String, String>, view: impl Fn(&Message) -> Value) -> Outcome {
    let state = world.state();
    if let Some(msg_id) = query.get("msg_id") {
        let message = state.message(msg_id).ok_or_else(|| ControlError::unknown("message", msg_id))?;
        return Ok(Json(json!([view(message)])));
    }
    let tail = state.messages.get(number(query, "since", 0)?..).unwrap_or_default().iter();
    let chat_id = query.get("chat_id");
    Ok(Json(tail.filter(|m| chat_id.is_none_or(|id| *id == m.chat_id)).map(view).collect()))
}

/// One message or an array of them.
async fn write(State(world): Shared, given: Body<Value>) -> Outcome {
    let given = body(given)?;
    let bulk = given.is_array();
    let refused = |error: serde_json::Error| ControlError::refused(error.to_string());
    let all: Vec<NewMessage> = if bulk {
        serde_json::from_value(given).map_err(refused)?
    } else {
        vec![serde_json::from_value(given).map_err(refused)?]
    };
    let mut posted = Vec::with_capacity(all.len());
    for new in &all {
        posted.push(serde_json::to_value(world.post(new)?).map_err(refused)?);
    }
    Ok(Json(if bulk { Value::Array(posted) } else { posted.pop().unwrap_or_default() }))
}

async fn redeliver(State(world): Shared) -> Json<Value> {
    world.wake.notify_waiters();
    Json(json!({"ok": true}))
}

async fn events(State(world): Shared, Query(query): Params) -> Outcome {
    let since = number(&query, "since", 0)?;
    let state = world.state();
    Ok(Json(json!(state.events.get(since..).unwrap_or_default())))
}

async fn happen(State(world): Shared, given: Body<NewEvent>) -> Outcome {
    Ok(Json(json!({"event_id": world.happen(&body(given)?)?})))
}

async fn faults(State(world): Shared) -> Json<Value> {
    Json(json!(world.faults.list()))
}

async fn add_fault(State(world): Shared, given: Body<Fault>) -> Outcome {
    Ok(Json(json!({"id": world.faults.add(body(given)?)})))
}

async fn remove_faults(State(world): Shared, Query(query): Params) -> Outcome {
    let id = match query.get("id") {
        Some(text) => Some(text.parse().map_err(|_| ControlError::refused("id must be a number"))?),
        None => None,
    };
    world.faults.remove(id);
    Ok(Json(json!({"ok": true})))
}

async fn expire_tokens(State(world): Shared, Query(query): Params) -> Json<Value> {
    world.state().record(Entry::TokensExpired { app_key: query.get("app_key").cloned() });
    Json(json!({"ok": true}))
}

/// The time in which something sent can be taken back is over.
async fn expire_sent(State(world): Shared, Query(query): Params) -> Outcome {
    let index = number(&query, "index", usize::MAX)?;
    let mut state = world.state();
    if state.sent.get(index).is_none() {
        return Err(ControlError::unknown("place in the log", &index.to_string()));
    }
    state.record(Entry::RecallExpired { index });
    Ok(Json(json!({"ok": true})))
}

async fn expire_sessions(State(world): Shared) -> Json<Value> {
    world.state().record(Entry::SessionsExpired);
    Json(json!({"ok": true}))
}
