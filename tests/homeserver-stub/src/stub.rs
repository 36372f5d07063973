//! The handle of a running stub.

use crate::error::ApiError;
use crate::event::Event;
use crate::faults::Fault;
use crate::journal::{Journal, Left};
use crate::operate::{self, Human, NewEvent, RoomInfo};
use crate::options::Options;
use crate::server::Server;
use crate::sync::lock;
use crate::{api, control, listen, push};
use anyhow::Context;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Largest body that is not an upload; events are far smaller, bulk sends of a benchmark are not.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// Starts a stub and serves it in the background until it is shut down or dropped.
pub async fn start(options: Options) -> anyhow::Result<Stub> {
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.with_context(|| format!("listening on {}", options.listen))?;
    let address = listener.local_addr()?;
    let mut server = Server::new(options)?;
    server.add_user(&server.sender, None);
    let mut left = Left::default();
    if let Some(path) = server.options.state.clone() {
        let (journal, rest) = Journal::open(&path, &server)?;
        server.journal = Some(journal);
        left = rest;
    }
    if !server.options.reset_transaction_ids && left.next_transaction > 0 {
        server.push.start_at(left.next_transaction);
    }
    if server.push.enabled() {
        left.events.into_iter().for_each(|event| server.push.add(event));
    }
    let server = Arc::new(server);
    let router = api::routes()
        .merge(control::routes())
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn_with_state(Arc::clone(&server), listen::observe))
        .with_state(Arc::clone(&server));
    let tasks =
        vec![tokio::spawn(listen::serve(listener, router)), tokio::spawn(push::run(Arc::clone(&server)))];
    Ok(Stub { server, address, tasks })
}

/// A running stub; dropping it stops it.
pub struct Stub {
    server: Arc<Server>,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stub").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Stub {
    /// `http://address`, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it was set up.
    pub fn options(&self) -> &Options {
        &self.server.options
    }

    /// `@localpart:server`
    pub fn user_id(&self, localpart: &str) -> String {
        self.server.user_id(localpart)
    }

    /// Makes a human whose password is the localpart, or a further token of one that is there.
    pub fn create_human(&self, localpart: &str) -> anyhow::Result<Human> {
        Ok(operate::create_human(&self.server, localpart, None)?)
    }

    /// `createRoom` as `creator`; the users of `join` are invited and joined afterwards.
    pub fn create_room(&self, creator: &str, wish: &Value, join: &[&str]) -> anyhow::Result<String> {
        Ok(operate::create_room(&self.server, creator, wish, join.iter().copied())?)
    }

    /// Joins a user; who may not come in alone is invited first by the most powerful user in the room.
    pub fn join(&self, room: &str, user: &str) -> anyhow::Result<()> {
        Ok(operate::join(&self.server, room, user)?)
    }

    /// Puts an event into a room.
    pub fn send(&self, event: NewEvent) -> anyhow::Result<Arc<Event>> {
        Ok(operate::send(&self.server, event)?)
    }

    /// Puts a text message into a room.
    pub fn send_text(&self, room: &str, sender: &str, text: &str) -> anyhow::Result<Arc<Event>> {
        self.send(NewEvent::text(room, sender, text))
    }

    /// Events from stream position `since` on, of one room or of all; none of a room that is not there.
    pub fn events(&self, room: Option<&str>, since: u64) -> Vec<Arc<Event>> {
        operate::events(&self.server, room, since, usize::MAX).map(|(_, events)| events).unwrap_or_default()
    }

    /// Events of all rooms so far, which is also the next stream position.
    pub fn event_count(&self) -> u64 {
        lock(&self.server.log).len() as u64
    }

    /// How often a route was called, for example `PUT /_matrix/client/v3/rooms/{room}/send/{kind}/{txn}`.
    pub fn requests(&self, endpoint: &str) -> u64 {
        self.server.stats.requests(endpoint)
    }

    /// The first event from stream position `since` on that is wanted, as soon as there is one.
    pub async fn wait_event(
        &self,
        since: u64,
        timeout: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> anyhow::Result<Arc<Event>> {
        let until = tokio::time::Instant::now() + timeout;
        let mut since = since;
        loop {
            let grew = self.server.log_grew.notified();
            let (next, events) = operate::events(&self.server, None, since, usize::MAX)?;
            if let Some(event) = events.into_iter().find(|event| wanted(event)) {
                return Ok(event);
            }
            since = next;
            tokio::time::timeout_at(until, grew).await.context("no such event in time")?;
        }
    }

    /// All rooms.
    pub fn rooms(&self) -> Vec<RoomInfo> {
        operate::rooms(&self.server)
    }

    /// One room.
    pub fn room(&self, room: &str) -> Option<RoomInfo> {
        self.server.room(room).map(|room| operate::room_info(&room))
    }

    /// Requests by route, pushes, totals: what `GET /_stub/stats` answers.
    pub fn stats(&self) -> Value {
        operate::stats(&self.server)
    }

    /// Events that still have to be delivered to the bridge.
    pub fn pending_pushes(&self) -> u64 {
        self.server.push.pending()
    }

    /// Puts a fault in force and gives its id.
    pub fn add_fault(&self, fault: Fault) -> u64 {
        self.server.faults.add(fault)
    }

    /// Ends one fault.
    pub fn remove_fault(&self, id: u64) {
        self.server.faults.remove(Some(id));
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.server.faults.remove(None);
    }

    /// Holds transactions back; one under way is not called back.
    pub fn pause_pushing(&self) {
        self.server.push.pause(true);
    }

    /// Goes on with transactions, also with one that waits for its next try.
    pub fn resume_pushing(&self) {
        self.server.push.pause(false);
    }

    /// Stops serving and pushing and waits for the end; the port is free afterwards.
    pub async fn shutdown(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.errcode, self.message)
    }
}

impl std::error::Error for ApiError {}
