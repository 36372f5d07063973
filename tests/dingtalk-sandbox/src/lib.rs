//! DingTalk for tests: a strict simulator that refuses what DingTalk refuses.
//!
//! [`start`] gives a running sandbox: both API origins on one address, pushes to a bridge's webhook, a control API
//! under `/_sandbox/` and a page at `/`. It is written from the protocol description alone and uses nothing of the
//! bridge, so that one mistake cannot hide in both.

mod api;
mod control;
mod crypt;
mod events;
mod faults;
mod ids;
mod messages;
mod model;
mod options;
mod push;
mod refusal;
mod sandbox;
mod serve;
mod sign;
mod state;
mod stream;
mod world;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;

pub use crate::{
    control::{
        ControlError,
        setup::{
            AppSettings, ConsoleCheck, GroupBot, NewApp, NewCompany, NewGroup, NewPerson, ScopeChange,
            WebhookForm,
        },
    },
    crypt::{CryptError, Envelope},
    events::{NewEvent, Shape},
    faults::{ActiveFault, Fault, FaultKind},
    messages::{NewFile, NewMessage, Posted},
    model::{App, Channel, Chat, ChatKind, Company, Event, Message, Person, Progress, Sent, Webhook},
    options::Options,
    sandbox::Sandbox,
    sign::{FRESH_MS, SignError, sign, verify as verify_sign},
    stream::{Receiving, StreamAct, StreamInfo, StreamOrder},
    world::{ChatInfo, PersonInfo, WorldInfo},
};

/// Largest API request: an upload of 20 MB and its frame, with room to be told that it is too big.
const LARGEST_REQUEST: usize = 64 << 20;

/// Starts a sandbox and serves it in the background.
pub async fn start(options: Options) -> anyhow::Result<Sandbox> {
    let listener = listen(&options).await?;
    let address = listener.local_addr()?;
    let base_url = match &options.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{address}"),
    };
    let world = world::World::open(options, base_url)?;
    let router = api::router()
        .merge(control::router())
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(Arc::clone(&world));
    // What is owed goes first: a new message must not overtake it.
    push::resume(&world);
    world.resume_events();
    let server = tokio::spawn(serve::serve(listener, router, Arc::clone(&world)));
    Ok(Sandbox::new(world, server, address))
}

/// A restarted sandbox may find its fixed port not quite free yet.
async fn listen(options: &Options) -> anyhow::Result<TcpListener> {
    let mut last = None;
    for _ in 0..20 {
        match TcpListener::bind(options.listen).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let last = last.unwrap_or_else(|| std::io::Error::other("no attempt"));
    Err(last).with_context(|| format!("listening on {}", options.listen))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
