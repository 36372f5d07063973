//! Answers of the API: JSON, with a stable code for every refusal.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bridge_core::command::Language;
use bridge_core::reply::{BridgeProblem, LoginProblem, Reply};
use bridge_reference::api::{Problem, ProblemDetail};
use serde::Serialize;

use crate::app::App;
use crate::http::body;
use crate::relay::step::StepError;

/// A value as the answer.
pub(super) fn value(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(text) => body::json(StatusCode::OK, text),
        Err(error) => {
            tracing::error!("an answer of the API could not be written: {error}");
            body::empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// It is done, and there is nothing to tell.
pub(super) fn done() -> Response<Body> {
    body::empty(StatusCode::NO_CONTENT)
}

/// A refusal.
pub(super) fn problem(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let error = ProblemDetail { code: code.to_owned(), message: message.to_owned() };
    let text = serde_json::to_string(&Problem { error }).unwrap_or_default();
    body::json(status, text)
}

/// A refusal that is counted: of a request that says nothing an honest caller says.
pub(super) fn refuse(app: &App, status: StatusCode, code: &str, message: &str) -> Response<Body> {
    app.metrics.refused("api", code);
    let mut answer = problem(status, code, message);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Something cannot be had now; nothing was changed.
pub(super) fn later(error: &StepError) -> Response<Body> {
    tracing::warn!(code = error.code(), "a request to the API could not be carried out: {error}");
    let what = match error {
        StepError::Store(_) => "The database",
        StepError::Homeserver(_) | StepError::NotNow(_) => "The homeserver",
        StepError::Unrenderable(_) => "The bridge",
    };
    let message = format!("{what} cannot do that now; nothing was changed. Ask again.");
    let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "later", &message);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

/// Why an app was not linked. The words are those of the command.
pub(super) fn link_problem(why: &LoginProblem) -> Response<Body> {
    let status = match why {
        LoginProblem::InvalidPair
        | LoginProblem::ForeignAgent
        | LoginProblem::MissingScope(_)
        | LoginProblem::AddressNotAllowed
        | LoginProblem::Other(_) => StatusCode::UNPROCESSABLE_ENTITY,
        LoginProblem::Throttled | LoginProblem::Network(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let code = why.code();
    problem(status, code, &why.sentence(Language::English))
}

/// Why a chat was not bridged. The words are those of the command.
pub(super) fn bridge_problem(why: BridgeProblem) -> Response<Body> {
    let status = match &why {
        BridgeProblem::UnknownChat(_) => StatusCode::NOT_FOUND,
        BridgeProblem::RoomTaken(_)
        | BridgeProblem::AlreadyBridged(_)
        | BridgeProblem::ChatTaken(_)
        | BridgeProblem::Dead => StatusCode::CONFLICT,
        BridgeProblem::NotInRoom
        | BridgeProblem::Power { .. }
        | BridgeProblem::Encrypted
        | BridgeProblem::ManagementRoom
        | BridgeProblem::NoPowerOfSender => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let code = why.code();
    problem(status, code, &Reply::BridgeFailed(why).text(Language::English))
}
