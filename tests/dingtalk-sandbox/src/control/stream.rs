//! Stream connections on command.

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::get};
use serde_json::json;

use super::{Body, Outcome, Shared, body};
use crate::{
    stream::{StreamInfo, StreamOrder},
    world::World,
};

pub(super) fn router() -> Router<Arc<World>> {
    Router::new().route("/stream", get(list).post(order))
}

async fn list(State(world): Shared) -> Json<Vec<StreamInfo>> {
    Json(world.stream.list())
}

async fn order(State(world): Shared, given: Body<StreamOrder>) -> Outcome {
    let met = world.stream.order(&body(given)?);
    Ok(Json(json!({"met": met})))
}
