//! What the homeserver asks of an application service (Matrix specification, application service API).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, header};
use bridge_matrix::wire::route::{Route, TokenError, presented_token};
use bridge_matrix::wire::transaction::envelopes;

use crate::app::App;
use crate::encryption::arrivals;
use crate::http::body;
use crate::relay::intake;

/// How long a transaction waits for a database that is away. Homeservers wait a minute; then the connection is
/// closed, which no homeserver takes for an answer.
const PATIENCE: Duration = Duration::from_secs(50);

/// Every request that is not the webhook's.
pub(crate) async fn handle(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    let (head, content) = request.into_parts();
    let route = Route::of(&head.method, head.uri.path());
    if route == Route::Unknown {
        return error(StatusCode::NOT_FOUND, "M_UNRECOGNIZED");
    }
    match presented_token(head.headers.get(header::AUTHORIZATION), head.uri.query()) {
        Ok(token) if app.registrations.is_homeserver(token.expose()) => {}
        Err(TokenError::Missing) => {
            return refuse(&app, "missing_token", StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN");
        }
        Ok(_) | Err(TokenError::Conflict) => {
            return refuse(&app, "wrong_token", StatusCode::FORBIDDEN, "M_FORBIDDEN");
        }
    }
    match route {
        Route::Transaction { txn_id } => transaction(&app, &txn_id, content).await,
        Route::Ping => done(),
        Route::ThirdPartySearch => body::json(StatusCode::OK, "[]"),
        // Ghosts and portals are made when somebody speaks, never because somebody asks.
        Route::User { .. } | Route::Alias { .. } | Route::Protocol { .. } => {
            error(StatusCode::NOT_FOUND, "M_NOT_FOUND")
        }
        Route::WrongMethod => error(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED"),
        Route::Unknown => error(StatusCode::NOT_FOUND, "M_UNRECOGNIZED"),
    }
}

async fn transaction(app: &App, txn_id: &str, content: Body) -> Response<Body> {
    let bounds = &app.config.http;
    let limit = bounds.transaction_body_limit.as_usize();
    let content = match body::read(content, limit, bounds.request_timeout.get()).await {
        Ok(content) => content,
        Err(problem) => {
            tracing::error!(txn = txn_id, code = problem.code(), "a transaction could not be read");
            app.metrics.refused("transactions", problem.code());
            // What is too large stays too large; everything else may go better next time.
            return if problem == body::BodyError::TooLarge {
                error(problem.status(), "M_TOO_LARGE")
            } else {
                body::close()
            };
        }
    };
    let transaction = match envelopes(&content, &app.own, app.now()) {
        Ok(transaction) => transaction,
        Err(problem) => {
            tracing::error!(txn = txn_id, "a transaction is no transaction: {problem}");
            return refuse(app, "no_transaction", StatusCode::BAD_REQUEST, "M_NOT_JSON");
        }
    };
    if !arrivals::take_in(app, &content, &transaction.envelopes, PATIENCE).await {
        app.metrics.refused("transactions", "encryption");
        return body::close();
    }
    drop(content);
    app.metrics.echoes(transaction.echoes);
    if app.health.homeserver().is_some() {
        app.health.doubt_homeserver();
    }
    for _ in 0..transaction.malformed {
        app.metrics.refused("transactions", "malformed_event");
    }
    match intake::accept(app, transaction.envelopes, PATIENCE).await {
        Ok(_) => done(),
        Err(problem) => {
            tracing::error!(
                txn = txn_id,
                code = problem.code(),
                "a transaction could not be written: {problem}"
            );
            app.metrics.refused("transactions", problem.code());
            body::close()
        }
    }
}

fn done() -> Response<Body> {
    body::json(StatusCode::OK, "{}")
}

fn refuse(app: &App, code: &'static str, status: StatusCode, errcode: &str) -> Response<Body> {
    app.metrics.refused("transactions", code);
    error(status, errcode)
}

fn error(status: StatusCode, errcode: &str) -> Response<Body> {
    body::json(status, format!("{{\"errcode\":\"{errcode}\",\"error\":\"{errcode}\"}}"))
}
