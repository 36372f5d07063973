//! The client-server calls, one topic per file.

pub(crate) mod account;
pub(crate) mod create;
pub(crate) mod data;
pub(crate) mod directory;
pub(crate) mod files;
pub(crate) mod inbox;
pub(crate) mod keys;
pub(crate) mod membership;
pub(crate) mod ping;
pub(crate) mod profile;
pub(crate) mod send;
pub(crate) mod signing;
pub(crate) mod state;
pub(crate) mod sync;
pub(crate) mod timeline;
pub(crate) mod to_device;

use crate::error::{ApiError, ApiResult};
use crate::room::{Room, RoomInner};
use crate::server::Server;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::Value;
use std::sync::Arc;

/// All routes, each under the current and the old version prefix.
pub(crate) fn routes() -> Router<Arc<Server>> {
    let mut router = Router::new()
        .route("/_matrix/client/versions", get(account::versions))
        .route("/_matrix/client/v1/appservice/{id}/ping", post(ping::ping))
        .route("/_matrix/client/unstable/fi.mau.msc2659/appservice/{id}/ping", post(ping::ping))
        .merge(files::routes());
    for version in ["v3", "r0"] {
        router = router.nest(&format!("/_matrix/client/{version}"), client_routes());
    }
    router.fallback(unrecognized).method_not_allowed_fallback(wrong_method)
}

fn client_routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/capabilities", get(account::capabilities))
        .route("/account/whoami", get(account::whoami))
        .route("/register", post(account::register))
        .route("/login", get(account::login_flows).post(account::login))
        .route("/logout", post(account::logout))
        .route("/devices", get(account::devices))
        .route(
            "/devices/{device}",
            get(account::device).put(account::put_device).delete(account::delete_device),
        )
        .route("/delete_devices", post(account::delete_devices))
        .route("/profile/{user}", get(profile::all))
        .route("/profile/{user}/{key}", get(profile::one).put(profile::put))
        .route("/createRoom", post(create::create_room))
        .route("/directory/room/{alias}", get(directory::get).put(directory::put).delete(directory::delete))
        .route("/join/{room}", post(membership::join))
        .route("/joined_rooms", get(membership::joined_rooms))
        .route("/rooms/{room}/join", post(membership::join))
        .route("/rooms/{room}/invite", post(membership::invite))
        .route("/rooms/{room}/leave", post(membership::leave))
        .route("/rooms/{room}/forget", post(membership::forget))
        .route("/rooms/{room}/kick", post(membership::kick))
        .route("/rooms/{room}/ban", post(membership::ban))
        .route("/rooms/{room}/unban", post(membership::unban))
        .route("/rooms/{room}/joined_members", get(state::joined_members))
        .route("/rooms/{room}/members", get(state::members))
        .route("/rooms/{room}/aliases", get(directory::of_room))
        .route("/rooms/{room}/state", get(state::all))
        .route("/rooms/{room}/state/{kind}", get(state::get_unkeyed).put(state::put_unkeyed))
        .route("/rooms/{room}/state/{kind}/", get(state::get_unkeyed).put(state::put_unkeyed))
        .route("/rooms/{room}/state/{kind}/{key}", get(state::get).put(state::put))
        .route("/rooms/{room}/send/{kind}/{txn}", put(send::send))
        .route("/rooms/{room}/redact/{event}/{txn}", put(send::redact))
        .route("/rooms/{room}/typing/{user}", put(data::typing))
        .route("/rooms/{room}/receipt/{kind}/{event}", post(data::receipt))
        .route("/rooms/{room}/read_markers", post(data::read_markers))
        .route("/rooms/{room}/messages", get(timeline::messages))
        .route("/rooms/{room}/context/{event}", get(timeline::context))
        .route("/rooms/{room}/event/{event}", get(timeline::event))
        .route("/user/{user}/account_data/{kind}", get(data::account_data).put(data::put_account_data))
        .route(
            "/user/{user}/rooms/{room}/account_data/{kind}",
            get(data::room_account_data).put(data::put_room_account_data),
        )
        .route("/keys/upload", post(keys::upload))
        .route("/keys/query", post(keys::query))
        .route("/keys/claim", post(keys::claim))
        .route("/keys/device_signing/upload", post(signing::upload_identity))
        .route("/keys/signatures/upload", post(signing::upload_signatures))
        .route("/sendToDevice/{kind}/{txn}", put(to_device::send))
        .route("/sync", get(sync::sync))
}

async fn unrecognized() -> Response {
    ApiError::new(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", "Unrecognized request").into_response()
}

async fn wrong_method() -> Response {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED", "Unrecognized request").into_response()
}

/// Whether it has the form of a user's id.
fn is_user_id(text: &str) -> bool {
    text.starts_with('@') && text.contains(':')
}

/// The body as a JSON object; an empty body counts as `{}`.
pub(crate) fn object(body: &[u8]) -> ApiResult<Value> {
    if body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(ApiError::bad_json("Content must be a JSON object.")),
        Err(_) => Err(ApiError::new(StatusCode::BAD_REQUEST, "M_NOT_JSON", "Content not JSON.")),
    }
}

/// The room, or the answer Synapse gives for one it does not know.
pub(crate) fn room(server: &Server, room_id: &str, user: &str) -> ApiResult<Arc<Room>> {
    server.room(room_id).ok_or_else(|| not_in_room(user, room_id))
}

pub(crate) fn not_in_room(user: &str, room_id: &str) -> ApiError {
    ApiError::forbidden(format!("User {user} not in room {room_id}"))
}

pub(crate) fn must_be_joined(inner: &RoomInner, user: &str, room_id: &str) -> ApiResult<()> {
    if inner.is_joined(user) { Ok(()) } else { Err(not_in_room(user, room_id)) }
}
