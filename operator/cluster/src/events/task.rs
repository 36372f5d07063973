//! Sends events, slowly enough that nobody else has to wait for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{Client, core::ApiResource};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Note, Reporter,
    book::{Book, Sending},
};
use crate::{
    Failure,
    client::Verb,
    request::{Call, collection, item},
};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(5);

/// How far apart calls are on average.
const PACE: Duration = Duration::from_millis(50);

/// How many calls may be made at once before that counts.
const BURST: u32 = 50;

/// The longest note that the server takes.
const NOTE: usize = 1024;

/// The longest reason and action.
const WORD: usize = 128;

pub(super) async fn run(
    client: Client,
    reporter: Reporter,
    mut notes: mpsc::Receiver<Note>,
    dropped: Arc<AtomicU64>,
) {
    let mut book = Book::new();
    // When the budget would be full again: each call moves it.
    let mut spent = Instant::now();
    while let Some(note) = notes.recv().await {
        let sending = book.take(&note, Instant::now());
        if sending == Sending::Nothing {
            continue;
        }
        spent = spent.max(Instant::now()) + PACE;
        if let Some(turn) = spent.checked_sub(PACE * BURST) {
            sleep_until(turn).await;
        }
        if let Err(failure) = send(&client, &reporter, &note, &sending).await {
            tracing::debug!(%failure, object = note.regarding.name, "an event was not sent");
            dropped.fetch_add(1, Relaxed);
            book.lost(&note);
        }
    }
}

async fn send(client: &Client, reporter: &Reporter, note: &Note, sending: &Sending) -> Result<(), Failure> {
    match sending {
        Sending::Nothing => Ok(()),
        Sending::New(number) => create(client, reporter, note, *number, 1).await,
        Sending::Again { number, count } => match count_up(client, reporter, note, *number, *count).await {
            // The server has forgotten it.
            Err(Failure::Gone { .. }) => create(client, reporter, note, *number, *count).await,
            other => other,
        },
    }
}

async fn create(
    client: &Client,
    reporter: &Reporter,
    note: &Note,
    number: u64,
    count: u32,
) -> Result<(), Failure> {
    let namespace = namespace(note);
    let now = format!("{:.6}", Timestamp::now());
    let mut event = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": namespace, "name": name(reporter, note, number)},
        "eventTime": now,
        "type": if note.is_warning { "Warning" } else { "Normal" },
        "reason": cut(&note.reason, WORD),
        "action": cut(&note.action, WORD),
        "note": cut(&note.note, NOTE),
        "regarding": note.regarding.to_json(),
        "reportingController": reporter.controller,
        "reportingInstance": cut(&reporter.instance, WORD),
    });
    if count > 1 {
        event["series"] = series(count, &now);
    }
    let path = collection(&ApiResource::erase::<Event>(&()), Some(namespace));
    let call = Call::new(Method::POST, Verb::Create, path, "event").body("application/json", &event);
    call.within(CALL).send(client).await.map(drop)
}

async fn count_up(
    client: &Client,
    reporter: &Reporter,
    note: &Note,
    number: u64,
    count: u32,
) -> Result<(), Failure> {
    let change = json!({"series": series(count, &format!("{:.6}", Timestamp::now()))});
    let path = item(&ApiResource::erase::<Event>(&()), namespace(note), &name(reporter, note, number))?;
    let call =
        Call::new(Method::PATCH, Verb::Patch, path, "event").body("application/merge-patch+json", &change);
    call.within(CALL).send(client).await.map(drop)
}

fn series(count: u32, now: &str) -> Value {
    json!({"count": count, "lastObservedTime": now})
}

/// Events of objects without a namespace are in this one.
fn namespace(note: &Note) -> &str {
    if note.regarding.namespace.is_empty() { "default" } else { &note.regarding.namespace }
}

/// A name that no other event has: of this object, by this start, with this number.
fn name(reporter: &Reporter, note: &Note, number: u64) -> String {
    format!(
        "{}.{:016x}.{number:x}",
        cut(&note.regarding.name, 200).trim_end_matches(['.', '-']),
        reporter.salt
    )
}

/// At most so many bytes, at a border of characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
