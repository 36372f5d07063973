//! The HTTP API for a platform's dashboard, on a listener of its own. It does what the commands do, through
//! [`crate::actions`]; its types and its list of operations are in `bridge-reference`.
//!
//! Every request shows the token first: without it nobody learns even which addresses exist.

mod answer;
mod handlers;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{get, post, put};
use bridge_core::secret::Secret;
use bridge_reference::api::{BASE, OPERATIONS};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::http::api::answer::{problem, refuse};
use crate::http::report::presented;
use crate::relay::lanes::Lanes;

/// Requests that are worked on at the same time. Each may ask the homeserver and DingTalk several things.
const AT_ONCE: usize = 8;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    app: Arc<App>,
    lanes: Arc<Lanes>,
    token: Arc<Secret>,
    places: Arc<Semaphore>,
}

/// The routes.
pub(crate) fn router(app: Arc<App>, lanes: Arc<Lanes>, token: Secret) -> Router {
    let api = Api { app, lanes, token: Arc::new(token), places: Arc::new(Semaphore::new(AT_ONCE)) };
    let routes = Router::new()
        .route("/status", get(handlers::status))
        .route("/link", put(handlers::link).delete(handlers::unlink))
        .route("/chats", get(handlers::chats))
        .route("/chats/{chatId}/bridge", put(handlers::bridge).delete(handlers::unbridge))
        .route("/failures", get(handlers::failures))
        .route("/failures/retry", post(handlers::retry_all))
        .route("/failures/{number}/retry", post(handlers::retry_one));
    Router::new()
        .nest(BASE, routes)
        .fallback(async || {
            problem(StatusCode::NOT_FOUND, "unknown_path", "The API has nothing at this address.")
        })
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "This address does not know this method.")
        })
        .layer(from_fn_with_state(api.clone(), guard))
        .with_state(api)
}

/// Lets in who shows the token, as long as there is a place.
async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response<Body> {
    let code = match presented(request.headers()) {
        Some(token) if api.token.matches(token) => None,
        Some(_) => Some("wrong_token"),
        None => Some("missing_token"),
    };
    if let Some(code) = code {
        let mut answer = refuse(
            &api.app,
            StatusCode::UNAUTHORIZED,
            code,
            "Send the token as Authorization: Bearer <token>.",
        );
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return answer;
    }
    let Ok(_place) = api.places.try_acquire() else {
        let mut answer = refuse(
            &api.app,
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "Too many requests are under way; ask again in a second.",
        );
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return answer;
    };
    let operation = operation(&request);
    let mut answer = next.run(request).await;
    if let Some(operation) = operation {
        api.app.metrics.api_request(operation, answer.status());
    }
    // Nobody on the way keeps a copy.
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The operation a request is for, as the document names it.
fn operation(request: &Request) -> Option<&'static str> {
    let path = request.extensions().get::<MatchedPath>()?.as_str().strip_prefix(BASE)?;
    let method = request.method().as_str().to_ascii_lowercase();
    OPERATIONS
        .iter()
        .find(|operation| operation.path == path && operation.method == method)
        .map(|found| found.id)
}
