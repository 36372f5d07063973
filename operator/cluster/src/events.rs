//! Events for people who look at an object, as `events.k8s.io/v1` has them.
//!
//! What is the same, in object, reason, action and words, is one event that is counted. Each object may send ten at once and then
//! one each five minutes; what is not sent is still counted, and the next one says how often. To publish never blocks and
//! never fails: events are a courtesy, not a state.

mod book;
mod task;

#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backoff::random;

/// How many notes wait for the task that sends them.
const WAITING: usize = 1024;

/// The object that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Group and version of its kind.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for kinds without.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Reference {
    fn to_json(&self) -> Value {
        let mut reference =
            json!({"apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid});
        if !self.namespace.is_empty() {
            reference["namespace"] = self.namespace.as_str().into();
        }
        reference
    }
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// About which object.
    pub regarding: Reference,
    /// Whether somebody should look.
    pub is_warning: bool,
    /// Why, in one `CamelCase` word.
    pub reason: String,
    /// What was being done, in one word.
    pub action: String,
    /// What happened and what to do; what is longer than 1,024 bytes is cut.
    pub note: String,
}

/// Who tells.
#[derive(Clone, Debug)]
struct Reporter {
    controller: String,
    instance: String,
    /// Differs for each start, so that names of events do.
    salt: u64,
}

/// Publishes events. Clones are the same recorder.
#[derive(Clone, Debug)]
pub struct Recorder {
    notes: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
}

impl Recorder {
    /// Starts the task that sends events, in the name of `controller` (e.g. `example.com/operator`) and of its `instance`
    /// (the pod).
    pub fn spawn(client: Client, controller: &str, instance: &str, stop: CancellationToken) -> Self {
        let (notes, waiting) = mpsc::channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let reporter =
            Reporter { controller: controller.to_owned(), instance: instance.to_owned(), salt: random() };
        let task = task::run(client, reporter, waiting, dropped.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
        Self { notes, dropped }
    }

    /// Tells something. When too much waits already, it is dropped.
    pub fn publish(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// How many notes came to nothing: too many waited, the server refused them or was away. Those that were only counted
    /// into an event are not among them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}
