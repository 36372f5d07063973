//! Typing, receipts and account data: what is told but is not part of the timeline.

use crate::auth::Requester;
use crate::error::{ApiError, ApiResult};
use crate::ids::now_us;
use crate::journal::Record;
use crate::room::{Receipt, Room, RoomInner};
use crate::server::Server;
use crate::sync::lock;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

const DEFAULT_TYPING_MS: u64 = 30_000;

pub(crate) async fn typing(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((room_id, user)): Path<(String, String)>,
    body: Bytes,
) -> ApiResult {
    if user != requester.id() {
        let text = "Cannot set another user's typing state";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_FORBIDDEN", text));
    }
    let body = super::object(&body)?;
    let Some(typing) = body.get("typing").and_then(Value::as_bool) else {
        return Err(ApiError::bad_json("Missing 'typing'"));
    };
    let room = super::room(&server, &room_id, &user)?;
    let mut inner = lock(&room.inner);
    super::must_be_joined(&inner, &user, &room_id)?;
    let now = now_us();
    if typing {
        let ms = body.get("timeout").and_then(Value::as_u64).unwrap_or(DEFAULT_TYPING_MS);
        inner.typing.insert(user, now + ms.saturating_mul(1000));
    } else {
        inner.typing.remove(&user);
    }
    let users = inner.typing_at(now);
    tell(&server, &room, &inner, "m.typing", &json!({"user_ids": users}));
    Ok(Json(json!({})))
}

fn tell(server: &Server, room: &Room, inner: &RoomInner, kind: &str, content: &Value) {
    if inner.as_joined > 0 {
        server.push.add_ephemeral(json!({"type": kind, "room_id": room.id, "content": content}));
    }
}

pub(crate) async fn receipt(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((room_id, kind, event)): Path<(String, String, String)>,
    body: Bytes,
) -> ApiResult {
    let body = super::object(&body)?;
    let thread = body.get("thread_id").cloned();
    if thread.as_ref().is_some_and(|thread| !thread.is_string()) {
        return Err(ApiError::invalid_param("thread_id must be a string"));
    }
    mark(&server, &requester, &room_id, &kind, &event, thread)?;
    Ok(Json(json!({})))
}

pub(crate) async fn read_markers(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path(room_id): Path<String>,
    body: Bytes,
) -> ApiResult {
    let body = super::object(&body)?;
    for kind in ["m.fully_read", "m.read", "m.read.private"] {
        if let Some(event) = body.get(kind).and_then(Value::as_str) {
            mark(&server, &requester, &room_id, kind, event, None)?;
        }
    }
    Ok(Json(json!({})))
}

fn mark(
    server: &Server,
    requester: &Requester,
    room_id: &str,
    kind: &str,
    event: &str,
    thread: Option<Value>,
) -> ApiResult<()> {
    if !matches!(kind, "m.read" | "m.read.private" | "m.fully_read") {
        return Err(ApiError::invalid_param(format!("Receipt type must be 'm.read', not '{kind}'")));
    }
    let user = requester.id();
    let room = super::room(server, room_id, user)?;
    let mut inner = lock(&room.inner);
    super::must_be_joined(&inner, user, room_id)?;
    let ts = now_us() / 1000;
    let receipt = Receipt { kind: kind.to_owned(), event_id: event.to_owned(), ts };
    inner.receipts.insert(user.to_owned(), receipt);
    // Private receipts of others are nobody's business.
    if kind == "m.read" || (kind == "m.read.private" && requester.user.is_as) {
        let mut data = json!({"ts": ts});
        if let Some(thread) = thread {
            data["thread_id"] = thread;
        }
        tell(server, &room, &inner, "m.receipt", &json!({ event: {kind: {user: data}} }));
    }
    Ok(())
}

fn key(user: &str, room: &str, kind: &str) -> String {
    format!("{user}\n{room}\n{kind}")
}

fn own(requester: &Requester, user: &str) -> ApiResult<()> {
    if user == requester.id() {
        Ok(())
    } else {
        Err(ApiError::forbidden("Cannot use other users' account data."))
    }
}

fn read_data(server: &Server, key: &str) -> ApiResult {
    let value = lock(&server.account_data).get(key).cloned();
    value.map(Json).ok_or_else(|| ApiError::not_found("Account data not found"))
}

fn write_data(server: &Server, key: String, body: &[u8]) -> ApiResult {
    let value = super::object(body)?;
    server.record(&Record::AccountData { key: key.as_str().into(), value: Cow::Borrowed(&value) });
    lock(&server.account_data).insert(key, value);
    Ok(Json(json!({})))
}

pub(crate) async fn account_data(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((user, kind)): Path<(String, String)>,
) -> ApiResult {
    own(&requester, &user)?;
    read_data(&server, &key(&user, "", &kind))
}

pub(crate) async fn put_account_data(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((user, kind)): Path<(String, String)>,
    body: Bytes,
) -> ApiResult {
    own(&requester, &user)?;
    write_data(&server, key(&user, "", &kind), &body)
}

pub(crate) async fn room_account_data(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((user, room, kind)): Path<(String, String, String)>,
) -> ApiResult {
    own(&requester, &user)?;
    read_data(&server, &key(&user, &room, &kind))
}

pub(crate) async fn put_room_account_data(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((user, room, kind)): Path<(String, String, String)>,
    body: Bytes,
) -> ApiResult {
    own(&requester, &user)?;
    write_data(&server, key(&user, &room, &kind), &body)
}
