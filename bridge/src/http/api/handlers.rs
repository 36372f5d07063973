//! One handler for each operation of the document.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Request, Response, StatusCode};
use bridge_config::Time;
use bridge_core::clock::Timestamp;
use bridge_core::command::{Failures as Which, Language};
use bridge_core::event::ChatKind;
use bridge_core::id::{ChatId, RobotCode};
use bridge_core::portal::{Chat, ChatState};
use bridge_core::receive::Receive;
use bridge_core::reply::{BridgeProblem, Queue, Reply, Retrying};
use bridge_core::secret::Secret;
use bridge_reference::api;
use bridge_store::{Failed, LinkSource, Network, OutboxState};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::actions::bridging::{self, Refusal};
use crate::actions::link::{self, LinkRefusal, Unlinked, Wanted};
use crate::actions::{Actor, failures as failed, overview, perform};
use crate::app::App;
use crate::http::api::Api;
use crate::http::api::answer::{bridge_problem, done, later, link_problem, problem, refuse, value};
use crate::http::body;
use crate::observe::standing::Standing;
use crate::relay::step::{StepError, Stepped};

/// What an action that was asked for here is remembered by; no two are the same.
fn cause(app: &App) -> String {
    let mut random = [0; 16];
    app.entropy.fill(&mut random);
    format!("api/{:032x}", u128::from_be_bytes(random))
}

fn time(at: Timestamp) -> String {
    Time::from_unix_seconds(at.0.div_euclid(1_000)).as_str().to_owned()
}

/// An action under way.
type Doing<'a, T> = BoxFuture<'a, Result<T, StepError>>;

/// Carries an action out in a task of its own: a caller who hangs up must not stop it between the commit and what
/// follows it.
async fn act<T, F>(api: &Api, action: F) -> Result<T, Response<Body>>
where
    F: for<'a> FnOnce(&'a App, Actor<'a>, &'a mut Stepped) -> Doing<'a, T> + Send + 'static,
    T: Send + 'static,
{
    let (app, lanes) = (Arc::clone(&api.app), Arc::clone(&api.lanes));
    let task = tokio::spawn(async move {
        let cause = cause(&app);
        let actor = Actor { cause: &cause, user: &app.own.bot, room: None };
        let mut stepped = Stepped::default();
        let did = action(&app, actor, &mut stepped).await?;
        perform(&app, &lanes, stepped).await?;
        Ok::<T, StepError>(did)
    });
    match task.await {
        Ok(Ok(did)) => Ok(did),
        Ok(Err(error)) => Err(later(&error)),
        Err(_) => Err(body::empty(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

/// The body of a request as a value.
async fn read<T: DeserializeOwned>(api: &Api, request: Request<Body>) -> Result<T, Response<Body>> {
    let patience = api.app.config.http.request_timeout.get();
    let content = body::read(request.into_body(), api::MOST_BODY_BYTES, patience)
        .await
        .map_err(|error| refuse(&api.app, error.status(), error.code(), "The body could not be read."))?;
    // The library's words name the field and never its value of text.
    serde_json::from_slice(&content).map_err(|error| {
        let message = if error.is_data() { sentence(&error) } else { "The body is not JSON.".to_owned() };
        problem(StatusCode::BAD_REQUEST, "wrong_json", &message)
    })
}

/// What is wrong with a body, without any value of it: one of them may be a secret.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let safe = ["missing field", "unknown field", "duplicate field"];
    if safe.iter().any(|start| text.starts_with(start)) {
        format!("The body has a {text}.").replace("a unknown", "an unknown")
    } else {
        format!("A value has the wrong type, at line {} column {}.", error.line(), error.column())
    }
}

fn wrong_value(message: &str) -> Response<Body> {
    problem(StatusCode::BAD_REQUEST, "wrong_value", message)
}

pub(super) async fn status(State(api): State<Api>) -> Response<Body> {
    let app = &api.app;
    let standing = Standing::read(app).await;
    let status = match overview::status(app, 0).await {
        Ok(status) => status,
        Err(error) => return later(&error),
    };
    let problems = standing.problems();
    let from_file = |linked: &crate::app::Linked| linked.link.source == LinkSource::File;
    value(&api::Status {
        version: status.version,
        workspace: app.config.workspace.id.to_string(),
        started_at: time(app.started_at),
        ready: problems.is_empty(),
        problems,
        bot_user_id: app.own.bot.to_string(),
        webhook_url: status.webhook,
        receiving: match standing.receive {
            Receive::Webhook => api::Receiving::Webhook,
            Receive::Stream => api::Receiving::Stream,
            Receive::Both => api::Receiving::Both,
        },
        subscription_silent: standing.silence.is_some(),
        organization: status.organisation,
        credentials_from_configuration: standing.linked.as_deref().is_some_and(from_file),
        last_event: status.last_event.map(|(kind, age)| {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            api::LastEvent { time: time(Timestamp(standing.now.0.saturating_sub(age))), kind }
        }),
        over_quota: status.over_quota,
        bridged_chats: status.bridged as u64,
        seen_chats: status.seen as u64,
        held_messages: status.held,
        to_matrix: waiting(status.to_matrix),
        to_dingtalk: waiting(status.to_dingtalk),
        failed_messages: status.failed_total,
        unreadable: status.unreadable,
    })
}

fn waiting(queue: Queue) -> api::Waiting {
    api::Waiting { messages: queue.waiting, oldest_seconds: queue.oldest.map(|age| age.as_secs()) }
}

pub(super) async fn link(State(api): State<Api>, request: Request<Body>) -> Response<Body> {
    let wanted: api::LinkRequest = match read(&api, request).await {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal,
    };
    let app_secret = Secret::new(wanted.app_secret);
    let form = |text: &str| {
        !text.is_empty() && text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let app_key = RobotCode::parse(wanted.app_key).ok().filter(|key| form(key.as_str()));
    let (Some(app_key), true) = (app_key, form(app_secret.expose())) else {
        return wrong_value("appKey and appSecret consist of ASCII letters, digits, _ and -.");
    };
    let wanted = Wanted { app_key, app_secret, agent_id: wanted.agent_id };
    let did = act(&api, move |app, actor, stepped| {
        Box::pin(async move { Ok(link::link(app, actor, wanted, stepped).await) })
    });
    match did.await {
        Ok(Ok(linked)) => {
            value(&api::Link { organization: linked.organisation, agent_checked: linked.agent_checked })
        }
        Ok(Err(LinkRefusal::FromFile)) => from_file(),
        Ok(Err(LinkRefusal::Problem(why))) => link_problem(&why),
        Err(refusal) => refusal,
    }
}

fn from_file() -> Response<Body> {
    let text = Reply::CredentialsFromFile.text(Language::English);
    problem(StatusCode::CONFLICT, "credentials_from_file", &text)
}

pub(super) async fn unlink(State(api): State<Api>) -> Response<Body> {
    let did = act(&api, |app, _, stepped| Box::pin(async move { Ok(link::unlink(app, stepped)) }));
    match did.await {
        Ok(Unlinked::Done | Unlinked::NotLinked) => done(),
        Ok(Unlinked::FromFile) => from_file(),
        Err(refusal) => refusal,
    }
}

pub(super) async fn chats(State(api): State<Api>) -> Response<Body> {
    match api.app.store.chats().await {
        Ok(chats) => value(&api::Chats { chats: chats.into_iter().map(chat).collect() }),
        Err(error) => later(&error.into()),
    }
}

fn chat(chat: Chat) -> api::Chat {
    api::Chat {
        id: chat.id.to_string(),
        title: chat.title,
        kind: match chat.kind {
            ChatKind::Group => api::ChatKind::Group,
            ChatKind::Direct => api::ChatKind::Direct,
        },
        state: match chat.state {
            ChatState::Seen => api::ChatState::Seen,
            ChatState::Bridging => api::ChatState::Bridging,
            ChatState::Bridged => api::ChatState::Bridged,
            ChatState::Unbridged => api::ChatState::Unbridged,
            ChatState::Dead => api::ChatState::Disbanded,
        },
        room_id: chat.room.map(String::from),
    }
}

pub(super) async fn bridge(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    let Ok(id) = ChatId::parse(id) else { return wrong_value("This is no chat id.") };
    let wanted: api::BridgeRequest = match read(&api, request).await {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal,
    };
    if ruma::RoomOrAliasId::parse(&wanted.room).is_err() {
        return wrong_value("room must be an id (!…) or an alias (#name:server).");
    }
    let chat_id = id.clone();
    let did = act(&api, move |app, actor, stepped| {
        Box::pin(async move { bridging::bridge(app, actor, &wanted.room, &id, stepped).await })
    });
    match did.await {
        Ok(Ok(bridged)) => value(&api::Bridge {
            chat_id: chat_id.to_string(),
            title: bridged.title,
            room_id: bridged.room.to_string(),
            held_messages: bridged.held,
        }),
        Ok(Err(Refusal::Problem(BridgeProblem::AlreadyBridged(title)))) => {
            already(&api, &chat_id, title).await
        }
        Ok(Err(Refusal::Problem(why))) => bridge_problem(why),
        Ok(Err(Refusal::NotLinked)) => {
            problem(StatusCode::CONFLICT, "not_linked", "No DingTalk app is linked. Link one first.")
        }
        Err(refusal) => refusal,
    }
}

/// What was asked for is so already: the same answer as when it was done.
async fn already(api: &Api, id: &ChatId, title: String) -> Response<Body> {
    match api.app.chat(id).await {
        Ok(chat) => value(&api::Bridge {
            chat_id: id.to_string(),
            title,
            room_id: chat.and_then(|chat| chat.room).map(String::from).unwrap_or_default(),
            held_messages: 0,
        }),
        Err(error) => later(&error.into()),
    }
}

pub(super) async fn unbridge(State(api): State<Api>, Path(id): Path<String>) -> Response<Body> {
    let Ok(id) = ChatId::parse(id) else { return wrong_value("This is no chat id.") };
    let did = act(&api, move |app, actor, stepped| {
        Box::pin(async move { bridging::unbridge(app, actor, id.as_str(), stepped).await })
    });
    match did.await {
        Ok(_) => done(),
        Err(refusal) => refusal,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<u32>,
}

pub(super) async fn failures(State(api): State<Api>, request: Request<Body>) -> Response<Body> {
    let limit = match Query::<Page>::try_from_uri(request.uri()) {
        Ok(Query(page)) => page.limit.unwrap_or(api::USUAL_FAILURES),
        Err(_) => 0,
    };
    if !(1..=api::MOST_FAILURES).contains(&limit) {
        return wrong_value("limit must be a number from 1 to 1000, and nothing else may be asked.");
    }
    let total = match api.app.store.depth().await {
        Ok(depth) => depth.to_matrix.failed + depth.to_dingtalk.failed,
        Err(error) => return later(&error.into()),
    };
    match api.app.store.failed(limit).await {
        Ok(failed) => value(&api::Failures { total, failures: failed.into_iter().map(failure).collect() }),
        Err(error) => later(&error.into()),
    }
}

fn failure(failed: Failed) -> api::Failure {
    api::Failure {
        number: failed.seq.0,
        network: match failed.network {
            Network::Matrix => api::Network::Matrix,
            Network::DingTalk => api::Network::Dingtalk,
        },
        may_have_arrived: failed.state == OutboxState::MaybeSent,
        code: failed.code,
        cause: failed.cause,
        attempts: failed.attempts,
        failed_at: time(failed.at),
    }
}

pub(super) async fn retry_all(State(api): State<Api>) -> Response<Body> {
    retry(&api, Which::All).await
}

pub(super) async fn retry_one(State(api): State<Api>, Path(number): Path<String>) -> Response<Body> {
    match number.parse() {
        Ok(number) => retry(&api, Which::Number(number)).await,
        Err(_) => wrong_value("The number must be one of the list of failures."),
    }
}

async fn retry(api: &Api, which: Which) -> Response<Body> {
    let one = which != Which::All;
    let did =
        act(api, move |app, _, stepped| Box::pin(async move { failed::retry(app, &which, stepped).await }));
    match did.await {
        Ok(Retrying::Some { to_matrix, to_dingtalk, maybe_twice }) => value(&api::Retried {
            to_matrix: to_matrix as u64,
            to_dingtalk: to_dingtalk as u64,
            maybe_twice: maybe_twice as u64,
        }),
        Ok(Retrying::Unknown | Retrying::Nothing) if one => problem(
            StatusCode::NOT_FOUND,
            "unknown_failure",
            "No failed message has this number; it may be on its way again.",
        ),
        Ok(Retrying::Unknown | Retrying::Nothing) => {
            value(&api::Retried { to_matrix: 0, to_dingtalk: 0, maybe_twice: 0 })
        }
        Err(refusal) => refusal,
    }
}
