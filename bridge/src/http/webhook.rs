//! The webhook: event pushes and bot callbacks of DingTalk on one address (API.md sections 2 and 3).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{Request, Response, StatusCode};
use bridge_core::envelope::Envelope;
use bridge_dingtalk::wire::Refusal;
use bridge_dingtalk::wire::push::{Push, PushQuery, Pushed, callback_envelope, classify, event_envelope};
use bridge_dingtalk::wire::sign::verify_callback;

use crate::app::App;
use crate::http::body::{self, Crowd};
use crate::media::serve;
use crate::relay::intake;
use crate::webhook_keys;

/// DingTalk waits 1.5 s at the least (API.md section 3.3).
const PATIENCE: Duration = Duration::from_millis(1_200);

/// `GET`: proves from outside that the address is reachable. With a token in the query it gives out the file that the
/// token is for: no other path is passed on from outside.
pub(crate) async fn look(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response<Body> {
    if let Some(token) = query.as_deref().and_then(serve::token) {
        return serve::serve(&app, token).await;
    }
    body::text(StatusCode::OK, "The DingTalk bridge is here. Paste this address into DingTalk's console.\n")
}

/// Bytes of event pushes that are read at the same time; their proof is in the body.
static STRANGERS: Crowd = Crowd::new(8 << 20);

/// `POST`: a push.
pub(crate) async fn push(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    let Some(linked) = app.linked() else {
        return refuse(&app, "not_linked", StatusCode::FORBIDDEN);
    };
    if !app.receiving.get().webhook() {
        return refuse(&app, "webhook_off", StatusCode::FORBIDDEN);
    }
    let (head, content) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let (timestamp, sign) = (header("timestamp"), header("sign"));
    let limit = app.config.http.webhook_body_limit.as_usize();
    let patience = app.config.http.request_timeout.get();
    // A callback proves itself by its headers: strangers are turned away before their body is read.
    let signed = timestamp.is_some() || sign.is_some();
    if signed && let Err(refusal) = verify_callback(timestamp, sign, &linked.link.app_secret, app.now()) {
        return refused(&app, refusal);
    }
    let content = if signed {
        body::read(content, limit, patience).await
    } else {
        STRANGERS.read(content, limit, patience).await
    };
    let content = match content {
        Ok(content) => content,
        Err(error) => return refuse(&app, error.code(), error.status()),
    };
    let now = app.now();
    match classify(&content) {
        Err(refusal) => refused(&app, refusal),
        Ok(Push::Callback) if signed => match callback_envelope(&content, now) {
            Ok(envelope) => take(&app, envelope, "callback", || body::json(StatusCode::OK, "{}")).await,
            Err(refusal) => refused(&app, refusal),
        },
        Ok(Push::Callback) => refused(&app, Refusal::NoTimestamp),
        Ok(Push::Event(encrypt)) => {
            let Some(crypts) = &linked.crypts else {
                return refuse(&app, "no_webhook_keys", StatusCode::FORBIDDEN);
            };
            let opened = PushQuery::parse(head.uri.query().unwrap_or_default())
                .and_then(|query| crypts.open(&query, &encrypt));
            let opened = match opened {
                Ok(opened) => opened,
                Err(refusal) => return refused(&app, refusal),
            };
            let acknowledge =
                || body::json(StatusCode::OK, opened.crypt.acknowledge(app.now().0, &*app.entropy));
            match event_envelope(&opened.plain, now) {
                Ok(Pushed::Check) => {
                    app.health.heard("check_url", now);
                    acknowledge()
                }
                Ok(Pushed::Event(envelope)) => {
                    // A check of the address proves nothing: the console makes it before it saves what it checks with.
                    if let Some(used) = opened.proven {
                        tokio::spawn(webhook_keys::end_overlap(Arc::clone(&app), used.clone()));
                    }
                    take(&app, envelope, "event", acknowledge).await
                }
                Err(refusal) => refused(&app, refusal),
            }
        }
    }
}

/// Commits, then answers.
async fn take(
    app: &App,
    envelope: Envelope,
    kind: &str,
    answer: impl FnOnce() -> Response<Body>,
) -> Response<Body> {
    match intake::accept(app, vec![envelope], PATIENCE).await {
        Ok(_) => {
            app.health.heard(kind, app.now());
            answer()
        }
        Err(error) => {
            tracing::error!(
                code = error.code(),
                "a push could not be written and was not acknowledged: {error}"
            );
            // DingTalk gives it up soon; then it stands in a list.
            app.ask_failed.notify_one();
            refuse(app, error.code(), StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

fn refused(app: &App, refusal: Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    refuse(app, refusal.code(), status)
}

fn refuse(app: &App, code: &str, status: StatusCode) -> Response<Body> {
    tracing::debug!(code, status = status.as_u16(), "a push was refused");
    app.metrics.refused("webhook", code);
    body::json(status, format!("{{\"error\":\"{code}\"}}"))
}
