//! `/livez`, `/readyz` and `/metrics`, on a port of their own; `/status` beside them is in [`super::report`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::get;
use bridge_config::REPORT_PATH;

use crate::app::App;
use crate::http::{body, report};
use crate::observe::standing::Standing;

/// How long the runtime's hand may stand still.
const STUCK: Duration = Duration::from_secs(15);

/// The routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route(REPORT_PATH, get(report::handle))
        .with_state(app)
}

async fn livez(State(app): State<Arc<App>>) -> Response<Body> {
    let last = bridge_core::clock::Timestamp(app.health.heartbeat.load(Ordering::Relaxed));
    if app.now().since(last) > STUCK {
        return body::text(StatusCode::SERVICE_UNAVAILABLE, "stuck\n");
    }
    body::text(StatusCode::OK, "ok\n")
}

async fn readyz(State(app): State<Arc<App>>) -> Response<Body> {
    let problems = Standing::read(&app).await.problems();
    if problems.is_empty() {
        return body::text(StatusCode::OK, "ok\n");
    }
    body::text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", problems.join("\n")))
}

async fn metrics(State(app): State<Arc<App>>) -> Response<Body> {
    let standing = Standing::read(&app).await;
    let page = app.metrics.page(&standing);
    body::typed(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", page)
}
