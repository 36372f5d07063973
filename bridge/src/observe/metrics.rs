//! The figures behind `/metrics`. Names, units and help texts stand in `bridge_reference::metrics`.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;

use bridge_core::clock::Timestamp;
use bridge_core::delivery::attempt::Outcome;
use bridge_core::envelope::Source;
use bridge_reference::metrics::{self as table, Metric};
use bridge_store::Network;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{self, Registry, Unit};

use crate::encryption::State;
use crate::observe::standing::Standing;
use crate::relay::op::Rendered;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusedLabels {
    door: &'static str,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SentLabels {
    network: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NetworkLabel {
    network: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ApiLabels {
    operation: &'static str,
    status: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// Most different codes that become labels; DingTalk's codes come from outside.
const MOST_CODES: usize = 64;

/// An event that waits for its key.
pub(crate) struct Awaiting(Gauge);

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// All figures.
pub(crate) struct Metrics {
    registry: Registry,
    received: Family<SourceLabel, Counter>,
    duplicates: Counter,
    echoes: Counter,
    refused: Family<RefusedLabels, Counter>,
    refused_codes: std::sync::Mutex<std::collections::HashSet<String>>,
    ignored_events: Counter,
    unreadable: Family<CodeLabel, Counter>,
    read_back: Counter,
    sent: Family<SentLabels, Counter>,
    delivery: Family<NetworkLabel, Histogram>,
    waiting: Family<NetworkLabel, Gauge>,
    oldest: Family<NetworkLabel, Gauge<f64, AtomicU64>>,
    failed: Family<NetworkLabel, Gauge>,
    held: Gauge,
    linked: Gauge,
    ready: Gauge,
    over_quota: Gauge,
    last_event: Gauge,
    api_requests: Family<ApiLabels, Counter>,
    silent: Gauge,
    failed_pushes: Counter,
    stream_connections: Gauge,
    stream_last_frame: Gauge<f64, AtomicU64>,
    stream_opened: Family<ResultLabel, Counter>,
    stream_ended: Family<ReasonLabel, Counter>,
    stream_frames: Family<KindLabel, Counter>,
    encryption_works: Gauge,
    encrypted: Counter,
    decrypted: Family<ResultLabel, Counter>,
    awaiting_keys: Gauge,
}

/// Registers a metric as the table describes it.
fn add(registry: &mut Registry, metric: &Metric, value: impl registry::Metric) {
    match metric.unit {
        table::Unit::Count | table::Unit::Flag => registry.register(metric.name, metric.help, value),
        table::Unit::Seconds => registry.register_with_unit(metric.name, metric.help, Unit::Seconds, value),
        table::Unit::Bytes => registry.register_with_unit(metric.name, metric.help, Unit::Bytes, value),
    }
}

fn network(network: Network) -> &'static str {
    match network {
        Network::Matrix => "matrix",
        Network::DingTalk => "dingtalk",
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let buckets = || {
            Histogram::new([
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0,
                3600.0,
            ])
        };
        let mut metrics = Self {
            registry: Registry::with_prefix(table::PREFIX),
            received: Family::default(),
            duplicates: Counter::default(),
            echoes: Counter::default(),
            refused: Family::default(),
            refused_codes: std::sync::Mutex::default(),
            ignored_events: Counter::default(),
            unreadable: Family::default(),
            read_back: Counter::default(),
            sent: Family::default(),
            delivery: Family::new_with_constructor(buckets),
            waiting: Family::default(),
            oldest: Family::default(),
            failed: Family::default(),
            held: Gauge::default(),
            linked: Gauge::default(),
            ready: Gauge::default(),
            over_quota: Gauge::default(),
            last_event: Gauge::default(),
            api_requests: Family::default(),
            silent: Gauge::default(),
            failed_pushes: Counter::default(),
            stream_connections: Gauge::default(),
            stream_last_frame: Gauge::default(),
            stream_opened: Family::default(),
            stream_ended: Family::default(),
            stream_frames: Family::default(),
            encryption_works: Gauge::default(),
            encrypted: Counter::default(),
            decrypted: Family::default(),
            awaiting_keys: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        add(r, &table::RECEIVED, self.received.clone());
        add(r, &table::DUPLICATES, self.duplicates.clone());
        add(r, &table::ECHOES, self.echoes.clone());
        add(r, &table::REFUSED, self.refused.clone());
        add(r, &table::IGNORED_EVENTS, self.ignored_events.clone());
        add(r, &table::UNREADABLE, self.unreadable.clone());
        add(r, &table::READ_BACK, self.read_back.clone());
        add(r, &table::SENT, self.sent.clone());
        add(r, &table::DELIVERY, self.delivery.clone());
        add(r, &table::WAITING, self.waiting.clone());
        add(r, &table::OLDEST_WAITING, self.oldest.clone());
        add(r, &table::FAILED, self.failed.clone());
        add(r, &table::HELD, self.held.clone());
        add(r, &table::LINKED, self.linked.clone());
        add(r, &table::READY, self.ready.clone());
        // A process that stands by has no other page than `waiting_page`.
        add(r, &table::STANDBY, <Gauge>::default());
        add(r, &table::OVER_QUOTA, self.over_quota.clone());
        add(r, &table::LAST_EVENT, self.last_event.clone());
        add(r, &table::API_REQUESTS, self.api_requests.clone());
        add(r, &table::SILENT, self.silent.clone());
        add(r, &table::FAILED_PUSHES, self.failed_pushes.clone());
        add(r, &table::STREAM_CONNECTIONS, self.stream_connections.clone());
        add(r, &table::STREAM_LAST_FRAME, self.stream_last_frame.clone());
        add(r, &table::STREAM_OPENED, self.stream_opened.clone());
        add(r, &table::STREAM_ENDED, self.stream_ended.clone());
        add(r, &table::STREAM_FRAMES, self.stream_frames.clone());
        add(r, &table::ENCRYPTION_WORKS, self.encryption_works.clone());
        add(r, &table::ENCRYPTED, self.encrypted.clone());
        add(r, &table::DECRYPTED, self.decrypted.clone());
        add(r, &table::AWAITING_KEYS, self.awaiting_keys.clone());
    }

    pub(crate) fn received(&self, source: Source) {
        self.received.get_or_create(&SourceLabel { source: source.label() }).inc();
    }

    pub(crate) fn duplicates(&self, count: usize) {
        self.duplicates.inc_by(count as u64);
    }

    pub(crate) fn echoes(&self, count: usize) {
        self.echoes.inc_by(count as u64);
    }

    pub(crate) fn read_back(&self, count: usize) {
        self.read_back.inc_by(count as u64);
    }

    pub(crate) fn refused(&self, door: &'static str, code: &str) {
        let mut known = self.refused_codes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let code = if known.contains(code) {
            code.to_owned()
        } else if known.len() < MOST_CODES {
            known.insert(code.to_owned());
            code.to_owned()
        } else {
            "other".to_owned()
        };
        drop(known);
        self.refused.get_or_create(&RefusedLabels { door, code }).inc();
    }

    pub(crate) fn failed_pushes(&self, count: usize) {
        self.failed_pushes.inc_by(count as u64);
    }

    pub(crate) fn stream_made(&self) {
        self.stream_opened.get_or_create(&ResultLabel { result: "made" }).inc();
    }

    /// An attempt that failed; the code is DingTalk's or the bridge's.
    pub(crate) fn stream_failed(&self, code: &str) {
        self.stream_opened.get_or_create(&ResultLabel { result: "failed" }).inc();
        self.refused("stream_open", code);
    }

    pub(crate) fn stream_ended(&self, reason: &'static str) {
        self.stream_ended.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn stream_frame(&self, kind: &'static str) {
        self.stream_frames.get_or_create(&KindLabel { kind }).inc();
    }

    pub(crate) fn encrypted(&self) {
        self.encrypted.inc();
    }

    /// What came of an event of an encrypted room.
    pub(crate) fn decrypted(&self, result: &'static str) {
        self.decrypted.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts an event that waits for its key, for as long as the answer lives.
    pub(crate) fn awaits_key(&self) -> Awaiting {
        self.awaiting_keys.inc();
        Awaiting(self.awaiting_keys.clone())
    }

    pub(crate) fn ignored_event(&self, name: &str) {
        tracing::debug!(event = name, "an event of DingTalk was acknowledged and ignored");
        self.ignored_events.inc();
    }

    pub(crate) fn unreadable(&self, code: &'static str) {
        self.unreadable.get_or_create(&CodeLabel { code }).inc();
    }

    pub(crate) fn sent(&self, op: &Rendered, outcome: &Outcome, now: Timestamp) {
        let network = network(op.network());
        let label = match outcome {
            Outcome::Sent => "sent",
            Outcome::Failed { .. } | Outcome::Away { .. } => "failed",
            Outcome::Throttled { .. } => "throttled",
            Outcome::Refused { .. } => "refused",
            Outcome::Unknown { .. } => "maybe_sent",
        };
        self.sent.get_or_create(&SentLabels { network, outcome: label }).inc();
        if let (Outcome::Sent, Some(received)) = (outcome, op.received_at()) {
            self.delivery.get_or_create(&NetworkLabel { network }).observe(now.since(received).as_secs_f64());
        }
    }

    pub(crate) fn api_request(&self, operation: &'static str, status: http::StatusCode) {
        let status = u32::from(status.as_u16());
        self.api_requests.get_or_create(&ApiLabels { operation, status }).inc();
    }

    /// The page, with the queues as they are now.
    pub(crate) fn page(&self, standing: &Standing) -> String {
        if let Ok(depth) = &standing.depth {
            let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
            let directions = [
                ("matrix", standing.to_matrix(), depth.to_matrix.failed),
                ("dingtalk", standing.to_dingtalk(0), depth.to_dingtalk.failed),
            ];
            for (network, queue, failed) in directions {
                let label = NetworkLabel { network };
                self.waiting.get_or_create(&label).set(count(queue.waiting));
                self.oldest.get_or_create(&label).set(queue.oldest.unwrap_or_default().as_secs_f64());
                self.failed.get_or_create(&label).set(count(failed));
            }
            self.held.set(count(depth.from_dingtalk.held + depth.from_matrix.held));
        }
        self.encryption_works.set(i64::from(standing.encryption == Some(State::Works)));
        self.silent.set(i64::from(standing.silence.is_some()));
        self.stream_connections.set(i64::try_from(standing.stream.open).unwrap_or(i64::MAX));
        let last = standing.stream.last_frame.map_or(0, |at| at.0 / 1_000);
        #[allow(clippy::cast_precision_loss, reason = "seconds of this era are exact")]
        self.stream_last_frame.set(last as f64);
        self.linked.set(i64::from(standing.linked.is_some()));
        self.ready.set(i64::from(standing.problems().is_empty()));
        self.over_quota.set(i64::from(standing.over_quota));
        self.last_event.set(standing.heard().map_or(0, |at| at.0.div_euclid(1_000)));
        encoded(&self.registry)
    }
}

fn encoded(registry: &Registry) -> String {
    let mut page = String::new();
    if encode(&mut page, registry).is_err() {
        page.clear();
        let _ = writeln!(page, "# EOF");
    }
    page
}

/// The page of a process that does not work yet, because the database is away or another process works on it.
pub(crate) fn waiting_page(stands_by: bool) -> String {
    let mut registry = Registry::with_prefix(table::PREFIX);
    add(&mut registry, &table::READY, <Gauge>::default());
    let standby = <Gauge>::default();
    standby.set(i64::from(stands_by));
    add(&mut registry, &table::STANDBY, standby);
    encoded(&registry)
}

#[cfg(test)]
mod tests {
    use bridge_core::delivery::attempt::Outcome;

    use super::*;
    use crate::relay::op::Rendered;

    #[test]
    fn the_page_has_what_the_table_has_and_nothing_else() {
        let metrics = Metrics::new();
        metrics.received(Source::Callback);
        metrics.refused("webhook", "stale");
        metrics.unreadable("undecodable_event");
        metrics.api_request("getStatus", http::StatusCode::OK);
        metrics.stream_made();
        metrics.stream_ended("closed");
        metrics.stream_frame("system");
        metrics.decrypted("read");
        let room = "!r:acme.example".try_into().unwrap();
        metrics.sent(&Rendered::Join { room }, &Outcome::Sent, Timestamp(0));
        metrics.delivery.get_or_create(&NetworkLabel { network: "matrix" }).observe(0.1);
        let page = metrics.page(&crate::observe::standing::tests::standing(bridge_store::Depth::default()));
        for metric in table::METRICS {
            for name in metric.sample_names() {
                let sample = page
                    .lines()
                    .find(|line| line.starts_with(&name))
                    .unwrap_or_else(|| panic!("{name}\n{page}"));
                for (label, _) in metric.labels {
                    assert!(sample.contains(&format!("{label}=\"")), "{sample} lacks {label}");
                }
            }
        }
        assert_eq!(page.matches("# TYPE ").count(), table::METRICS.len(), "{page}");
    }

    #[test]
    fn a_process_that_waits_says_whether_it_stands_by() {
        for (stands_by, value) in [(true, 1), (false, 0)] {
            let page = waiting_page(stands_by);
            assert!(page.contains("\ndingtalk_bridge_ready 0\n"), "{page}");
            assert!(page.contains(&format!("\ndingtalk_bridge_standby {value}\n")), "{page}");
        }
    }

    #[test]
    fn codes_from_outside_cannot_fill_the_memory() {
        let metrics = Metrics::new();
        for number in 0..10_000 {
            metrics.refused("webhook", &format!("code{number}"));
        }
        let page = metrics.page(&crate::observe::standing::tests::standing(bridge_store::Depth::default()));
        assert!(
            page.lines().filter(|line| line.starts_with("dingtalk_bridge_refused_total{")).count()
                <= MOST_CODES + 1
        );
        assert!(page.contains("code=\"other\""));
    }
}
