//! `/status`, on the port of the probes: the report that the operator asks for, behind a token.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bridge_config::{
    CredentialsSource, EncryptionReport, EncryptionState, LastEvent, Organization, Queued, Report,
    SealingReport, StreamReport, Time, Waiting,
};
use bridge_core::clock::Timestamp;
use bridge_core::reply::Queue;
use bridge_store::{ChatFigures, LinkSource};
use sha2::{Digest, Sha256};

use crate::actions::overview::VERSION;
use crate::app::App;
use crate::encryption::{Encryption, State};
use crate::http::body;
use crate::observe::standing::Standing;
use crate::registrations;

/// Answers with the report, or that it is still what the asker has.
pub(crate) async fn handle(app: &App, headers: &HeaderMap) -> Response<Body> {
    let Some(token) = &app.status_token else { return body::empty(StatusCode::NOT_FOUND) };
    match presented(headers) {
        Some(presented) if token.matches(presented) => {}
        presented => {
            let code = if presented.is_some() { "wrong_token" } else { "missing_token" };
            return refuse(app, code);
        }
    }
    let standing = Standing::read(app).await;
    let chats = match app.store.chat_figures().await {
        Ok(chats) => chats,
        // The same problem stands in the report already: the queues were asked first.
        Err(error) => {
            tracing::warn!(code = error.code(), "the chats could not be counted for a report");
            ChatFigures::default()
        }
    };
    let report = report(app, &standing, &chats);
    let (Ok(text), Ok(tag)) = (report.to_json(), tag(&report)) else {
        tracing::error!("a report could not be written");
        return body::empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| names(value, &tag));
    let mut answer =
        if known { body::empty(StatusCode::NOT_MODIFIED) } else { body::json(StatusCode::OK, text) };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    private(answer)
}

/// The token of a request, if it shows exactly one.
pub(super) fn presented(headers: &HeaderMap) -> Option<&str> {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (shown.next(), shown.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refuse(app: &App, code: &'static str) -> Response<Body> {
    app.metrics.refused("status", code);
    let mut answer = body::json(StatusCode::UNAUTHORIZED, format!("{{\"error\":\"{code}\"}}"));
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    private(answer)
}

/// Nobody on the way keeps a copy.
fn private(mut answer: Response<Body>) -> Response<Body> {
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn report(app: &App, standing: &Standing, chats: &ChatFigures) -> Report {
    let problems = standing.problems();
    let linked = standing.linked.as_deref();
    Report {
        version: VERSION.to_owned(),
        workspace: app.config.workspace.id.to_string(),
        started_at: time(app.started_at),
        ready: problems.is_empty(),
        problems,
        linked: linked.is_some(),
        credentials: linked.map(|linked| match linked.link.source {
            LinkSource::Command => CredentialsSource::Login,
            LinkSource::File => CredentialsSource::Configuration,
        }),
        organization: linked.and_then(|linked| {
            let corp_id = linked.link.corp.as_ref().map(ToString::to_string);
            linked.organisation().map(|name| Organization { name: name.to_owned(), corp_id })
        }),
        last_event: standing.last_event(chats).map(|(kind, at)| LastEvent { time: time(at), kind }),
        receive: standing.receive.as_str().to_owned(),
        silent: standing.silence.is_some(),
        stream: standing.stream.wanted.then(|| StreamReport {
            connected: standing.stream.connected(),
            since: time(standing.stream.since),
            last_frame: standing.stream.last_frame.map(time),
            problem: standing.stream.problem.clone(),
        }),
        bridged_chats: chats.bridged,
        waiting: Waiting {
            to_matrix: queued(standing.to_matrix()),
            to_dingtalk: queued(standing.to_dingtalk(0)),
        },
        failed_messages: standing.failed(),
        sealing: app
            .health
            .rows_with_old_keys()
            .map(|rows_with_old_keys| SealingReport { rows_with_old_keys }),
        secrets: Some(registrations::in_use(app)),
        encryption: Some(encryption(app, standing, chats)),
    }
}

fn encryption(app: &App, standing: &Standing, chats: &ChatFigures) -> EncryptionReport {
    let (state, problem) = match &standing.encryption {
        None => (EncryptionState::Off, None),
        Some(State::Starting) => (EncryptionState::Starting, None),
        Some(State::Works) => (EncryptionState::Works, None),
        Some(State::NothingArrives) => (EncryptionState::NothingArrives, None),
        Some(State::Fails(problem)) => (EncryptionState::Fails, Some(problem.clone())),
    };
    let device = app.encryption.as_ref();
    EncryptionReport {
        state,
        problem,
        kept: device.is_some_and(Encryption::kept),
        chats: chats.encrypted,
        device: device.map(|encryption| encryption.machine.device().to_string()),
        fingerprint: device.map(|encryption| encryption.machine.fingerprint()),
    }
}

fn queued(queue: Queue) -> Queued {
    Queued { messages: queue.waiting, oldest_seconds: queue.oldest.map(|age| age.as_secs()) }
}

fn time(at: Timestamp) -> Time {
    Time::from_unix_seconds(at.0.div_euclid(1_000))
}

/// Stands for everything in a report but the ages of waiting messages, which grow while nothing happens.
fn tag(report: &Report) -> Result<String, bridge_config::Fault> {
    let digest = Sha256::digest(report.without_ages().to_json()?);
    let hex = digest.iter().take(16).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    // Weak, for the ages differ.
    Ok(format!("W/\"{hex}\""))
}

/// Whether a header that lists tags has this one.
fn names(header: &HeaderValue, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Ok(listed) = header.to_str() else { return false };
    listed.split(',').any(|listed| listed.trim() == "*" || opaque(listed) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64, kind: &str) -> Report {
        let least = r#"{"version":"0","workspace":"a","startedAt":"2026-03-01T08:00:00Z","ready":true}"#;
        let mut report = Report::from_json(least.as_bytes()).unwrap();
        report.waiting.to_matrix = Queued { messages: 1, oldest_seconds: Some(seconds) };
        report.last_event = Some(LastEvent { time: time(Timestamp(1_999)), kind: kind.to_owned() });
        report
    }

    #[test]
    fn a_tag_is_for_what_is_said_and_not_for_its_age() {
        let first = tag(&sample(1, "event")).unwrap();
        assert_eq!(tag(&sample(2, "event")).unwrap(), first);
        assert_ne!(tag(&sample(1, "callback")).unwrap(), first);
        assert!(first.starts_with("W/\"") && first.len() == 36, "{first}");
        assert_eq!(time(Timestamp(1_999)).as_str(), "1970-01-01T00:00:01Z");
    }

    #[test]
    fn tags_are_found_in_every_form_of_the_header() {
        let tag = "W/\"abc\"";
        for listed in ["W/\"abc\"", "\"abc\"", "\"x\", W/\"abc\"", "*", " W/\"abc\" "] {
            assert!(names(&HeaderValue::from_str(listed).unwrap(), tag), "{listed}");
        }
        for listed in ["", "\"ab\"", "abc", "W/\"abcd\""] {
            assert!(!names(&HeaderValue::from_str(listed).unwrap(), tag), "{listed}");
        }
    }

    #[test]
    fn exactly_one_bearer_token_is_a_token() {
        let shown = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            presented(&headers).map(str::to_owned)
        };
        assert_eq!(shown(&["Bearer secret"]).as_deref(), Some("secret"));
        assert_eq!(shown(&["bearer  secret"]).as_deref(), Some("secret"));
        for wrong in [&["Basic secret"][..], &["secret"], &[], &["Bearer a", "Bearer a"]] {
            assert_eq!(shown(wrong), None, "{wrong:?}");
        }
    }
}
