//! Watches: each a task of its own with its own back-off, which hands on what the caller makes of an object and keeps of
//! it no more than its name, UID and version.

mod book;
mod progress;
mod task;
mod wire;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use kube::{Client, core::ApiResource};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::progress::{Progress, State};
use self::{progress::Shared, task::Task};
use crate::{Key, Meta};

/// What to watch.
#[derive(Clone)]
pub struct WatchSpec {
    /// With which client.
    pub client: Client,
    /// Which kind.
    pub resource: ApiResource,
    /// In which namespace; in all when `None`.
    pub namespace: Option<String>,
    /// Only objects with these labels: a label selector.
    pub labels: Option<String>,
    /// Only objects with these fields: a field selector.
    pub fields: Option<String>,
    /// Whether the server is asked for `metadata` only.
    pub metadata_only: bool,
    /// How patient to be.
    pub timing: Timing,
}

impl WatchSpec {
    /// All objects of a kind.
    pub fn new(client: Client, resource: ApiResource) -> Self {
        Self {
            client,
            resource,
            namespace: None,
            labels: None,
            fields: None,
            metadata_only: false,
            timing: Timing::default(),
        }
    }
}

/// How patient a watch is.
#[derive(Clone, Debug)]
pub struct Timing {
    /// How many objects one page of a list has.
    pub page: u32,
    /// How long the server is asked to keep a watch open at most.
    pub timeout: Duration,
    /// How long a watch may be silent before its connection is taken for dead. The server sends a bookmark each minute.
    pub idle: Duration,
    /// The first wait after a failure; later ones double.
    pub first_wait: Duration,
    /// The longest wait after a failure.
    pub longest_wait: Duration,
    /// How long until a kind that is not served is looked for again.
    pub missing_wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            page: 100,
            timeout: Duration::from_secs(290),
            idle: Duration::from_secs(75),
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            missing_wait: Duration::from_secs(30),
        }
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent<P> {
    /// An object is there, in this state.
    Applied {
        /// Which object and state.
        meta: Meta,
        /// What was made of it.
        value: P,
    },
    /// An object is there of which nothing could be made. The others are not touched by it.
    Malformed {
        /// Which; `None` when not even that can be read.
        meta: Option<Meta>,
        /// Why.
        error: String,
    },
    /// An object is not there any more, or does not match the selectors any more.
    Deleted {
        /// Its name.
        key: Key,
        /// Its UID.
        uid: String,
    },
    /// All that is there has been told. Comes after each list.
    Synced,
    /// The kind is not served: there are no objects, and what was known has been told as deleted. Comes once, until the
    /// kind is served again.
    Missing,
}

/// A running watch.
#[derive(Clone)]
pub struct WatchHandle {
    shared: Arc<Shared>,
    stopped: CancellationToken,
}

impl WatchHandle {
    /// How it stands.
    pub fn progress(&self) -> Progress {
        self.shared.progress()
    }

    /// Waits until all objects were told for the first time, or the kind was found not to be served. Also ends when the
    /// watch does.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        tokio::select! {
            // An error means that the sender is gone, which `self` keeps.
            _ = synced.wait_for(|synced| *synced) => {}
            () = self.stopped.cancelled() => {}
        }
    }

    /// Ends a wait after a failure or for a kind that is not served: try now.
    pub fn retry_now(&self) {
        self.shared.retry.notify_one();
    }

    /// Waits until the watch has ended: it was stopped, or nobody takes its events.
    pub async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}

/// Starts a watch.
///
/// `project` makes of an object what is to be remembered of it; the object is dropped at once. `wrap` makes of an event
/// what goes through `sink`, so that several watches can share one. A full `sink` halts the watch.
///
/// A new list, e.g. after the server forgot where the watch was, tells only what differs: states that were not told yet
/// and objects that are gone.
pub fn spawn<P, E>(
    spec: WatchSpec,
    project: impl FnMut(&Meta, Value) -> Result<P, String> + Send + 'static,
    wrap: impl FnMut(WatchEvent<P>) -> E + Send + 'static,
    sink: mpsc::Sender<E>,
    stop: CancellationToken,
) -> WatchHandle
where
    P: Send + 'static,
    E: Send + 'static,
{
    let shared = Arc::new(Shared::new(spec.timing.timeout));
    let stopped = CancellationToken::new();
    let handle = WatchHandle { shared: shared.clone(), stopped: stopped.clone() };
    tokio::spawn(async move {
        // Also when the task panics.
        let _ended = stopped.drop_guard();
        let task = Task::new(spec, project, wrap, sink, shared.clone());
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = task.run() => {}
        }
        shared.set(State::Stopped);
    });
    handle
}
