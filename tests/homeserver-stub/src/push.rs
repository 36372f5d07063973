//! Delivery of events to the bridge, in the manner of the imitated homeserver.

use crate::devices::Message;
use crate::event::Event;
use crate::faults::FaultKind;
use crate::ids::now_us;
use crate::journal::Record;
use crate::options::{Feature, Mode, Options};
use crate::server::Server;
use crate::stats::Histogram;
use crate::sync::lock;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
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
    with: With,
    queue: Mutex<VecDeque<Arc<Event>>>,
    beside: Mutex<Waiting>,
    wake: Notify,
    retry_now: Notify,
    paused: AtomicBool,
    down: AtomicBool,
    pending: AtomicU64,
    pending_to_device: AtomicU64,
    next_transaction: AtomicU64,
    transactions: AtomicU64,
    acked: AtomicU64,
    failed: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
    times: Histogram,
}

/// What transactions have besides events.
#[derive(Clone, Copy)]
struct With {
    ephemeral: bool,
    /// Messages to devices.
    to_device: bool,
    /// Changes of devices and counts of keys.
    extensions: bool,
}

/// A message to a device of the bridge.
#[derive(Debug)]
pub(crate) struct ToDevice {
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) message: Arc<Message>,
}

/// What waits to go along with events.
#[derive(Default)]
struct Waiting {
    ephemeral: VecDeque<Value>,
    to_device: VecDeque<ToDevice>,
    /// Users whose devices changed.
    changed: BTreeSet<String>,
}

/// What goes along with events. All of it goes once: Synapse leaves it out when it repeats a transaction.
#[derive(Default)]
struct Beside {
    ephemeral: Vec<Value>,
    to_device: Vec<ToDevice>,
    changed: BTreeSet<String>,
}

impl Beside {
    fn is_empty(&self) -> bool {
        self.ephemeral.is_empty() && self.to_device.is_empty() && self.changed.is_empty()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    events: Vec<crate::event::Client<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral: Option<&'a [Value]>,
    #[serde(rename = "de.sorunome.msc2409.to_device", skip_serializing_if = "Option::is_none")]
    to_device: Option<Vec<Addressed<'a>>>,
    /// A misspelling that Synapse keeps beside the right name.
    #[serde(
        rename = "org.matrix.msc3202.device_one_time_key_counts",
        skip_serializing_if = "Option::is_none"
    )]
    counts_misspelt: Option<&'a Value>,
    #[serde(
        rename = "org.matrix.msc3202.device_one_time_keys_count",
        skip_serializing_if = "Option::is_none"
    )]
    counts: Option<&'a Value>,
    #[serde(
        rename = "org.matrix.msc3202.device_unused_fallback_key_types",
        skip_serializing_if = "Option::is_none"
    )]
    fallbacks: Option<&'a Value>,
    #[serde(rename = "org.matrix.msc3202.device_lists", skip_serializing_if = "Option::is_none")]
    lists: Option<Value>,
}

/// A message to a device, with whom it is for.
#[derive(Serialize)]
struct Addressed<'a> {
    to_user_id: &'a str,
    to_device_id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    sender: &'a str,
    content: &'a RawValue,
}

impl<'a> From<&'a ToDevice> for Addressed<'a> {
    fn from(arrival: &'a ToDevice) -> Self {
        let ToDevice { user, device, message } = arrival;
        Self {
            to_user_id: user,
            to_device_id: device,
            kind: &message.kind,
            sender: &message.sender,
            content: &message.content,
        }
    }
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
        let is_synapse = enabled && options.mode == Mode::Synapse;
        let ephemeral = is_synapse && options.registration.receive_ephemeral;
        let asked = is_synapse && options.registration.transaction_extensions;
        let has = |feature| options.features.contains(&feature);
        Self {
            enabled,
            with: With {
                ephemeral,
                to_device: ephemeral && has(Feature::ToDeviceMessages),
                extensions: asked && has(Feature::TransactionExtensions),
            },
            queue: Mutex::default(),
            beside: Mutex::default(),
            wake: Notify::new(),
            retry_now: Notify::new(),
            paused: AtomicBool::new(false),
            down: AtomicBool::new(false),
            pending: AtomicU64::new(0),
            pending_to_device: AtomicU64::new(0),
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
        if self.with.ephemeral && !self.down.load(Ordering::Relaxed) {
            lock(&self.beside).ephemeral.push_back(item);
            self.wake.notify_one();
        }
    }

    /// A message to a device of the bridge: while the bridge counts as down it is only kept for the device's `/sync`.
    pub(crate) fn add_to_device(&self, arrival: ToDevice) {
        if self.with.to_device && !self.down.load(Ordering::Relaxed) {
            self.pending_to_device.fetch_add(1, Ordering::Relaxed);
            lock(&self.beside).to_device.push_back(arrival);
            self.wake.notify_one();
        }
    }

    /// Somebody's devices changed, who is in a room with the bridge or of it.
    pub(crate) fn add_changed(&self, user: &str) {
        if self.with.extensions && !self.down.load(Ordering::Relaxed) {
            lock(&self.beside).changed.insert(user.to_owned());
            self.wake.notify_one();
        }
    }

    /// Whether changes of devices are told.
    pub(crate) fn tells_changes(&self) -> bool {
        self.with.extensions
    }

    /// The bridge does not take transactions: what would have gone along with the next ones is left out of them.
    fn goes_down(&self) {
        self.down.store(true, Ordering::Relaxed);
        let Waiting { to_device, .. } = std::mem::take(&mut *lock(&self.beside));
        self.pending_to_device.fetch_sub(to_device.len() as u64, Ordering::Relaxed);
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
            "pending_to_device": get(&self.pending_to_device),
            "paused": self.paused.load(Ordering::Relaxed),
            "next_transaction": get(&self.next_transaction),
            "ack_p50_us": self.times.quantile(50),
            "ack_p99_us": self.times.quantile(99),
            "ack_max_us": self.times.max_us(),
        })
    }

    /// Waits until there is something to send and sending is not paused.
    async fn take(&self, limit: usize, with_beside: bool) -> (Vec<Arc<Event>>, Beside) {
        loop {
            if !self.paused.load(Ordering::Acquire) {
                let mut queue = lock(&self.queue);
                let count = queue.len().min(limit);
                let events: Vec<_> = queue.drain(..count).collect();
                drop(queue);
                let mut beside = Beside::default();
                if with_beside {
                    let Waiting { ephemeral, to_device, changed } = &mut *lock(&self.beside);
                    beside.ephemeral.extend(ephemeral.drain(..ephemeral.len().min(BATCH)));
                    beside.to_device.extend(to_device.drain(..to_device.len().min(BATCH)));
                    beside.changed = std::mem::take(changed);
                }
                if !events.is_empty() || !beside.is_empty() {
                    return (events, beside);
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
        let (events, beside) = push.take(BATCH, true).await;
        let messages = beside.to_device.len() as u64;
        let mut beside = Some(beside);
        let mut tries = 0;
        let id = push.next_transaction.load(Ordering::Relaxed);
        loop {
            // Made before the try, so that a ping that succeeds in between is not missed.
            let ended = push.retry_now.notified();
            if deliver(server, url, id, &events, beside.take()).await == Outcome::Taken {
                break;
            }
            push.goes_down();
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
        push.pending_to_device.fetch_sub(messages, Ordering::Relaxed);
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
        match deliver(&server, &url, id, &events, None).await {
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
        match deliver(server, url, id, events, None).await {
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

async fn deliver(
    server: &Server,
    url: &str,
    id: u64,
    events: &[Arc<Event>],
    beside: Option<Beside>,
) -> Outcome {
    let push = &server.push;
    push.transactions.fetch_add(1, Ordering::Relaxed);
    let outcome = try_deliver(server, url, id, events, beside).await;
    let counter = if outcome == Outcome::Taken { &push.acked } else { &push.failed };
    counter.fetch_add(1, Ordering::Relaxed);
    outcome
}

/// Keys that are left of the sender's devices, of those of the bridge's users in the rooms of a transaction, and of those
/// that get messages with it.
fn counts(server: &Server, events: &[Arc<Event>], beside: &Beside) -> (Value, Value) {
    let mut users: BTreeSet<String> = beside.to_device.iter().map(|arrival| arrival.user.clone()).collect();
    users.insert(server.sender.clone());
    let rooms: BTreeSet<&str> = events.iter().map(|event| event.room_id.as_str()).collect();
    for room in rooms.into_iter().filter_map(|id| server.room(id)) {
        let room = lock(&room.inner);
        let ours = room.members.iter().filter(|(_, member)| member.is_as && member.is_joined());
        users.extend(ours.map(|(user, _)| user.clone()));
    }
    lock(&server.devices).of_users(users.iter().map(String::as_str))
}

async fn try_deliver(
    server: &Server,
    url: &str,
    id: u64,
    events: &[Arc<Event>],
    beside: Option<Beside>,
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
    let with = server.push.with;
    let is_first = beside.is_some();
    let beside = beside.unwrap_or_default();
    let keys = (with.extensions && is_first).then(|| counts(server, events, &beside));
    let body = Body {
        events: events.iter().map(|e| if palpo { e.client(now) } else { e.pushed(now) }).collect(),
        ephemeral: with.ephemeral.then_some(beside.ephemeral.as_slice()),
        to_device: with.ephemeral.then(|| beside.to_device.iter().map(Addressed::from).collect()),
        counts_misspelt: keys.as_ref().map(|(counts, _)| counts),
        counts: keys.as_ref().map(|(counts, _)| counts),
        fallbacks: keys.as_ref().map(|(_, fallbacks)| fallbacks),
        lists: (!beside.changed.is_empty()).then(|| json!({"changed": beside.changed, "left": []})),
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
