//! Delivery of events to the bridge, in the manner of the imitated homeserver.

use crate::event::Event;
use crate::faults::FaultKind;
use crate::ids::now_us;
use crate::journal::Record;
use crate::options::{Mode, Options};
use crate::server::Server;
use crate::stats::Histogram;
use crate::sync::lock;
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Largest number of events in a transaction of Synapse.
const BATCH: usize = 100;
/// Longest wait between two tries in Synapse, in seconds.
const MAX_BACKOFF: u32 = 512;

/// Events on their way to the bridge, and what became of the others.
pub(crate) struct Push {
    enabled: bool,
    with_ephemeral: bool,
    queue: Mutex<VecDeque<Arc<Event>>>,
    ephemeral: Mutex<VecDeque<Value>>,
    wake: Notify,
    retry_now: Notify,
    paused: AtomicBool,
    down: AtomicBool,
    pending: AtomicU64,
    next_transaction: AtomicU64,
    transactions: AtomicU64,
    acked: AtomicU64,
    failed: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
    times: Histogram,
}

#[derive(Serialize)]
struct Body<'a> {
    events: Vec<crate::event::Client<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral: Option<&'a [Value]>,
}

/// How one try ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Taken,
    /// An answer that is not the right one.
    Refused,
    /// No answer.
    Cut,
}

impl Push {
    pub(crate) fn new(options: &Options) -> Self {
        let enabled = options.registration.url.is_some();
        let asked = options.registration.receive_ephemeral;
        Self {
            enabled,
            with_ephemeral: enabled && asked && options.mode == Mode::Synapse,
            queue: Mutex::default(),
            ephemeral: Mutex::default(),
            wake: Notify::new(),
            retry_now: Notify::new(),
            paused: AtomicBool::new(false),
            down: AtomicBool::new(false),
            pending: AtomicU64::new(0),
            next_transaction: AtomicU64::new(1),
            transactions: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            times: Histogram::default(),
        }
    }

    pub(crate) fn enabled(&self) -> bool {
        self.enabled
    }

    pub(crate) fn add(&self, event: Arc<Event>) {
        self.pending.fetch_add(1, Ordering::Relaxed);
        lock(&self.queue).push_back(event);
        self.wake.notify_one();
    }

    /// Typing and receipts: lost while the bridge counts as down.
    pub(crate) fn add_ephemeral(&self, item: Value) {
        if self.with_ephemeral && !self.down.load(Ordering::Relaxed) {
            lock(&self.ephemeral).push_back(item);
            self.wake.notify_one();
        }
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.wake.notify_one();
        self.retry_now.notify_waiters();
    }

    /// Ends a wait between two tries, as a successful ping does.
    pub(crate) fn retry_now(&self) {
        self.retry_now.notify_waiters();
    }

    pub(crate) fn start_at(&self, transaction: u64) {
        self.next_transaction.store(transaction, Ordering::Relaxed);
    }

    /// Events that are not delivered yet.
    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn to_json(&self) -> Value {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "transactions": get(&self.transactions),
            "acked": get(&self.acked),
            "failed": get(&self.failed),
            "events_delivered": get(&self.delivered),
            "events_dropped": get(&self.dropped),
            "pending": self.pending(),
            "paused": self.paused.load(Ordering::Relaxed),
            "next_transaction": get(&self.next_transaction),
            "ack_p50_us": self.times.quantile(50),
            "ack_p99_us": self.times.quantile(99),
            "ack_max_us": self.times.max_us(),
        })
    }

    /// Waits until there is something to send and sending is not paused.
    async fn take(&self, limit: usize, with_ephemeral: bool) -> (Vec<Arc<Event>>, Vec<Value>) {
        loop {
            if !self.paused.load(Ordering::Acquire) {
                let mut queue = lock(&self.queue);
                let count = queue.len().min(limit);
                let events: Vec<_> = queue.drain(..count).collect();
                drop(queue);
                let mut ephemeral = Vec::new();
                if with_ephemeral {
                    let mut items = lock(&self.ephemeral);
                    let count = items.len().min(BATCH);
                    ephemeral.extend(items.drain(..count));
                }
                if !events.is_empty() || !ephemeral.is_empty() {
                    return (events, ephemeral);
                }
            }
            self.wake.notified().await;
        }
    }

    async fn until_resumed(&self) {
        loop {
            // Made before the check, so that a resume in between is not missed.
            let resumed = self.retry_now.notified();
            if !self.paused.load(Ordering::Acquire) {
                return;
            }
            resumed.await;
        }
    }
}

/// The endless task that delivers.
pub(crate) async fn run(server: Arc<Server>) {
    let Some(url) = server.options.registration.url.clone() else { return };
    let url = url.trim_end_matches('/').to_owned();
    if server.is_palpo() { palpo(server, url).await } else { synapse(&server, &url).await }
}

async fn synapse(server: &Server, url: &str) {
    let push = &server.push;
    loop {
        let (events, ephemeral) = push.take(BATCH, true).await;
        let mut tries = 0;
        let id = push.next_transaction.load(Ordering::Relaxed);
        loop {
            // Made before the try, so that a ping that succeeds in between is not missed.
            let ended = push.retry_now.notified();
            if deliver(server, url, id, &events, &ephemeral).await == Outcome::Taken {
                break;
            }
            push.down.store(true, Ordering::Relaxed);
            tries += 1;
            let seconds = 1u32.checked_shl(tries).unwrap_or(MAX_BACKOFF).clamp(2, MAX_BACKOFF);
            let wait = Duration::from_secs_f64(f64::from(seconds) * server.options.retry_scale);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = ended => {}
            }
            push.until_resumed().await;
        }
        push.down.store(false, Ordering::Relaxed);
        push.next_transaction.store(id + 1, Ordering::Relaxed);
        server.record(&Record::Transaction { next: id + 1 });
        done(server, &events, &push.delivered);
    }
}

async fn palpo(server: Arc<Server>, url: String) {
    let mut waiting = JoinSet::new();
    loop {
        let events = tokio::select! {
            (events, _) = server.push.take(1, false) => events,
            Some(_) = waiting.join_next(), if !waiting.is_empty() => continue,
        };
        let id = server.push.next_transaction.fetch_add(1, Ordering::Relaxed);
        server.record(&Record::Transaction { next: id + 1 });
        match deliver(&server, &url, id, &events, &[]).await {
            Outcome::Taken => done(&server, &events, &server.push.delivered),
            Outcome::Refused => done(&server, &events, &server.push.dropped),
            Outcome::Cut => {
                let (server, url) = (Arc::clone(&server), url.clone());
                waiting.spawn(async move { again_later(&server, &url, id, &events).await });
            }
        }
    }
}

/// Palpo keeps what met no answer and tries it again, while later events go their way.
async fn again_later(server: &Server, url: &str, id: u64, events: &[Arc<Event>]) {
    for tries in 1u32.. {
        let seconds = (30.0 * f64::from(tries).powi(2)).min(86_400.0) * server.options.retry_scale;
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        server.push.until_resumed().await;
        match deliver(server, url, id, events, &[]).await {
            Outcome::Taken => return done(server, events, &server.push.delivered),
            Outcome::Refused => return done(server, events, &server.push.dropped),
            Outcome::Cut => {}
        }
    }
}

fn done(server: &Server, events: &[Arc<Event>], counter: &AtomicU64) {
    let count = events.len() as u64;
    counter.fetch_add(count, Ordering::Relaxed);
    server.push.pending.fetch_sub(count, Ordering::Relaxed);
    if server.journal.is_some() {
        let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
        server.record(&Record::Pushed { seqs: Cow::Owned(seqs) });
    }
}

async fn deliver(server: &Server, url: &str, id: u64, events: &[Arc<Event>], ephemeral: &[Value]) -> Outcome {
    let push = &server.push;
    push.transactions.fetch_add(1, Ordering::Relaxed);
    let outcome = try_deliver(server, url, id, events, ephemeral).await;
    let counter = if outcome == Outcome::Taken { &push.acked } else { &push.failed };
    counter.fetch_add(1, Ordering::Relaxed);
    outcome
}

async fn try_deliver(
    server: &Server,
    url: &str,
    id: u64,
    events: &[Arc<Event>],
    ephemeral: &[Value],
) -> Outcome {
    let mut lose = false;
    match server.faults.strike(None) {
        Some((FaultKind::DelayMs, ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Some((FaultKind::Status | FaultKind::Limit, _)) => return Outcome::Refused,
        Some((FaultKind::Cut, _)) => return Outcome::Cut,
        Some((FaultKind::LoseAnswer, _)) => lose = true,
        None => {}
    }
    let palpo = server.is_palpo();
    let now = now_us();
    let body = Body {
        events: events.iter().map(|e| if palpo { e.client(now) } else { e.pushed(now) }).collect(),
        ephemeral: server.push.with_ephemeral.then_some(ephemeral),
    };
    let Ok(body) = serde_json::to_vec(&body) else { return Outcome::Refused };
    let token = &server.options.registration.hs_token;
    let mut target = format!("{url}/_matrix/app/v1/transactions/{id}");
    if palpo {
        target.push_str("?access_token=");
        target.extend(url::form_urlencoded::byte_serialize(token.as_bytes()));
    }
    let mut request = server.client.put(target).header("content-type", "application/json").body(body);
    if !palpo {
        request = request.bearer_auth(token);
    }
    let started = Instant::now();
    let Ok(response) = request.timeout(server.options.push_timeout).send().await else { return Outcome::Cut };
    let status = response.status();
    let Ok(answer) = response.bytes().await else { return Outcome::Cut };
    server.push.times.add(started.elapsed());
    let good = if palpo {
        status == reqwest::StatusCode::OK
    } else {
        status.is_success() && serde_json::from_slice::<Value>(&answer).is_ok()
    };
    match (good, lose) {
        (_, true) => Outcome::Cut,
        (true, false) => Outcome::Taken,
        (false, false) => Outcome::Refused,
    }
}
