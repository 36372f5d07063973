//! `/livez`, `/readyz` and `/metrics`, on a port of their own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::get;
use bridge_store::Depth;

use crate::app::App;
use crate::http::body;

/// How long the runtime's hand may stand still.
const STUCK: Duration = Duration::from_secs(15);

/// How long the oldest message may wait while the bridge is ready.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// The routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
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
    let problems = problems(&app, &app.store.depth().await.map_err(|error| error.code()));
    if problems.is_empty() {
        return body::text(StatusCode::OK, "ok\n");
    }
    body::text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", problems.join("\n")))
}

async fn metrics(State(app): State<Arc<App>>) -> Response<Body> {
    let depth = app.store.depth().await.map_err(|error| error.code());
    let ready = problems(&app, &depth).is_empty();
    let page = app.metrics.page(depth.as_ref().ok(), app.now(), app.linked().is_some(), ready);
    body::typed(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", page)
}

/// Why the bridge is not ready, a line each.
fn problems(app: &App, depth: &Result<Depth, &'static str>) -> Vec<String> {
    let mut problems = Vec::new();
    match depth {
        Err(code) => problems.push(format!("database: {code}")),
        Ok(depth) => {
            let now = app.now();
            let waiting = [
                depth.from_dingtalk.oldest,
                depth.from_matrix.oldest,
                depth.to_matrix.oldest,
                depth.to_dingtalk.oldest,
            ];
            if let Some(oldest) = waiting.into_iter().flatten().min()
                && now.since(oldest) > LONGEST_WAIT
            {
                problems
                    .push(format!("queue: the oldest message has waited {} s", now.since(oldest).as_secs()));
            }
        }
    }
    problems.extend(app.health.homeserver().map(|problem| format!("homeserver: {problem}")));
    if app.linked().is_some() {
        problems.extend(app.health.dingtalk().map(|problem| format!("dingtalk: {problem}")));
    }
    problems
}
