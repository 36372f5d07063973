//! `/livez`, `/readyz` and `/metrics`, on a port of their own; `/status` beside them is in [`super::report`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::get;
use bridge_config::REPORT_PATH;

use crate::http::front::Front;
use crate::http::{body, report};
use crate::observe::metrics::waiting_page;
use crate::observe::standing::Standing;

/// How long the runtime's hand may stand still.
const STUCK: Duration = Duration::from_secs(15);

/// The routes.
pub(crate) fn router(front: Arc<Front>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route(REPORT_PATH, get(status))
        .with_state(front)
}

async fn livez(State(front): State<Arc<Front>>) -> Response<Body> {
    // One that waits for its turn is alive: to start it anew would change nothing.
    let Some(app) = front.app() else { return body::text(StatusCode::OK, "ok\n") };
    let last = bridge_core::clock::Timestamp(app.health.heartbeat.load(Ordering::Relaxed));
    if app.now().since(last) > STUCK {
        return body::text(StatusCode::SERVICE_UNAVAILABLE, "stuck\n");
    }
    body::text(StatusCode::OK, "ok\n")
}

async fn readyz(State(front): State<Arc<Front>>) -> Response<Body> {
    let problems = match front.app() {
        Some(app) => Standing::read(app).await.problems(),
        None => vec![front.problem()],
    };
    if problems.is_empty() {
        return body::text(StatusCode::OK, "ok\n");
    }
    body::text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", problems.join("\n")))
}

async fn metrics(State(front): State<Arc<Front>>) -> Response<Body> {
    let page = match front.app() {
        Some(app) => app.metrics.page(&Standing::read(app).await),
        None => waiting_page(front.stands_by()),
    };
    body::typed(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", page)
}

async fn status(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response<Body> {
    match front.app() {
        Some(app) => report::handle(app, &headers).await,
        None => body::empty(StatusCode::SERVICE_UNAVAILABLE),
    }
}
