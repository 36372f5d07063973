//! Bot callbacks on their way: one lane per chat, a bounded number at a time, again until answered, over HTTP or over
//! Stream as the app has it at that moment.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    api::webhook,
    faults::{FaultKind, delay},
    model::{Channel, Progress},
    sign,
    state::Entry,
    stream::{self, BOT_TOPIC, NO_CONNECTION, Push, Receiving},
    world::World,
};

/// After this an unanswered callback comes again, doubling up to eight times.
const REDELIVER_SECONDS: u64 = 60;

/// Puts a message on its chat's lane.
pub(crate) fn enqueue(world: &Arc<World>, position: usize) {
    if world.options.parallel {
        let own = Arc::clone(world);
        world.spawn(async move { deliver(&own, position).await });
        return;
    }
    let chat_id = {
        let mut state = world.state();
        let Some(chat_id) = state.messages.get(position).map(|message| message.chat_id.clone()) else {
            return;
        };
        if let Some(lane) = state.lanes.get_mut(&chat_id) {
            lane.push_back(position);
            return;
        }
        state.lanes.insert(chat_id.clone(), [position].into());
        chat_id
    };
    let own = Arc::clone(world);
    world.spawn(async move {
        while let Some(position) = next(&own, &chat_id) {
            deliver(&own, position).await;
        }
    });
}

/// The next of a lane; an empty lane ends with its worker.
fn next(world: &World, chat_id: &str) -> Option<usize> {
    let mut state = world.state();
    let position = state.lanes.get_mut(chat_id)?.pop_front();
    if position.is_none() {
        state.lanes.remove(chat_id);
    }
    position
}

/// Callbacks that a restarted sandbox still owes.
pub(crate) fn resume(world: &Arc<World>) {
    let owed: Vec<usize> = {
        let state = world.state();
        let open = |m: &crate::model::Message| {
            m.body.is_some() && !m.progress.answered && m.progress.error.as_deref() != Some(NO_ADDRESS)
        };
        state.messages.iter().enumerate().filter(|(_, m)| open(m)).map(|(position, _)| position).collect()
    };
    for position in owed {
        enqueue(world, position);
    }
}

const NO_ADDRESS: &str = "the bot has no receiving address";

/// One callback with all it takes to deliver it.
struct Job {
    msg_id: String,
    app_key: String,
    app_secret: String,
    /// None where it goes over Stream.
    url: Option<String>,
    body: String,
    chat_id: String,
    progress: Progress,
}

async fn deliver(world: &Arc<World>, position: usize) {
    for round in 0_u32.. {
        let Some(mut job) = job(world, position) else { return };
        let Ok(permit) = world.permits.acquire().await else { return };
        let begun = Instant::now();
        let outcome = attempt(world, &job).await;
        drop(permit);
        job.progress.attempts += 1;
        job.progress.answer_us = u64::try_from(begun.elapsed().as_micros()).ok();
        let lost =
            world.options.stream_loses && outcome.as_ref().err().is_some_and(|error| error == NO_CONNECTION);
        let answered = settle(world, &mut job, outcome);
        if lost || answered || !world.options.redeliver {
            return;
        }
        let wait = world.options.scaled(Duration::from_secs(REDELIVER_SECONDS << round.min(3)));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = world.wake.notified() => {}
        }
    }
}

fn job(world: &World, position: usize) -> Option<Job> {
    let mut state = world.state();
    let message = state.messages.get(position)?;
    let app = state.apps.get(message.app_key.as_ref()?)?;
    let stream = app.receiving == Receiving::Stream;
    let url = app.bot_url.clone().filter(|_| !stream);
    if url.is_none() && !stream {
        let mut progress = message.progress.clone();
        progress.error = Some(NO_ADDRESS.to_owned());
        let msg_id = message.msg_id.clone();
        state.record(Entry::Progress { msg_id: msg_id.clone(), progress });
        drop(state);
        world.announce(|| json!({"event": "lost", "msg_id": msg_id, "error": NO_ADDRESS}));
        return None;
    }
    Some(Job {
        msg_id: message.msg_id.clone(),
        app_key: app.app_key.clone(),
        app_secret: app.app_secret.clone(),
        url,
        body: message.body.clone()?,
        chat_id: message.chat_id.clone(),
        progress: message.progress.clone(),
    })
}

/// Notes the outcome; true when the callback needs no more.
fn settle(world: &World, job: &mut Job, outcome: Result<Answer, String>) -> bool {
    let mut said = None;
    let answered = match outcome {
        Ok(answer) => {
            job.progress.last_status = Some(answer.status);
            let answered = answer.status == 200;
            job.progress.error = (!answered).then(|| format!("answered {}", answer.status));
            if answered {
                job.progress.answered = true;
                job.progress.answered_at.get_or_insert_with(crate::now_ms);
                match direct_message(&answer.body) {
                    Ok(message) => said = message,
                    Err(error) => job.progress.error = Some(error),
                }
            }
            answered
        }
        Err(error) => {
            job.progress.last_status = None;
            job.progress.error = Some(error);
            false
        }
    };
    let mut state = world.state();
    state.record(Entry::Progress { msg_id: job.msg_id.clone(), progress: job.progress.clone() });
    if let Some(mut sent) = said {
        job.chat_id.clone_into(&mut sent.chat_id);
        sent.app_key = Some(job.app_key.clone());
        world.log_sent(&mut state, sent);
    }
    drop(state);
    world.announce(|| {
        json!({"event": "attempt", "msg_id": job.msg_id, "chat_id": job.chat_id, "progress": job.progress})
    });
    answered
}

/// A message given as the answer: posted at once. Empty and `empty` say nothing.
fn direct_message(body: &[u8]) -> Result<Option<crate::model::Sent>, String> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let body: Value =
        serde_json::from_slice(body).map_err(|_| "the answer is not JSON; nothing posted".to_owned())?;
    match body.get("msgtype").and_then(Value::as_str) {
        None | Some("empty") => Ok(None),
        Some(_) => webhook::parse(Channel::Session, body)
            .map(Some)
            .map_err(|_| "the answer is no valid message; nothing posted".to_owned()),
    }
}

/// Answer of the receiver.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

async fn attempt(world: &World, job: &Job) -> Result<Answer, String> {
    let Some(url) = &job.url else {
        let (headers, data) = (serde_json::Map::new(), job.body.clone());
        let push = Push { app_key: &job.app_key, kind: "CALLBACK", topic: BOT_TOPIC, headers, data };
        return Ok(Answer { status: stream::push(world, push).await?, body: Vec::new() });
    };
    let fault = world.faults.strike(|target| target == "webhook");
    let kind = fault.as_ref().map(|fault| fault.kind);
    let mut body = job.body.clone();
    let mut time = crate::now_ms();
    match &fault {
        Some(fault) if fault.kind == FaultKind::DelayMs => tokio::time::sleep(delay(fault)).await,
        Some(fault) if fault.kind == FaultKind::Status => {
            return Ok(Answer { status: u16::try_from(fault.value).unwrap_or(500), body: Vec::new() });
        }
        _ => {}
    }
    match kind {
        Some(FaultKind::Cut) => return Err("cut on command".to_owned()),
        Some(FaultKind::InvalidJson) => {
            let half = (body.len() / 2..body.len()).find(|at| body.is_char_boundary(*at)).unwrap_or_default();
            body.truncate(half);
        }
        Some(FaultKind::StaleTimestamp) => time -= 2 * sign::FRESH_MS,
        _ => {}
    }
    let timestamp = time.to_string();
    let secret = if kind == Some(FaultKind::WrongSign) { "not-the-secret" } else { &job.app_secret };
    let request = world
        .client
        .post(url)
        .header("content-type", "application/json; charset=utf-8")
        .header("sign", sign::sign(secret, &timestamp))
        .header("timestamp", timestamp)
        .body(body);
    let answer = send(world, request).await;
    if kind == Some(FaultKind::LoseAnswer) {
        return Err("answer lost on command".to_owned());
    }
    answer
}

/// Sends a push and reads its answer within the limit.
pub(crate) async fn send(world: &World, request: reqwest::RequestBuilder) -> Result<Answer, String> {
    const LARGEST: usize = 1 << 20;
    let exchange = async {
        let mut response = request.send().await.map_err(reason)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reason)? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                return Err("the answer is too long".to_owned());
            }
        }
        Ok(Answer { status, body })
    };
    let limit = world.options.answer_limit;
    tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
