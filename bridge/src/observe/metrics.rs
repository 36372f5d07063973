//! The figures behind `/metrics`. Names, help texts and labels stand here and nowhere else.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;

use bridge_core::clock::Timestamp;
use bridge_core::delivery::attempt::Outcome;
use bridge_core::envelope::Source;
use bridge_store::Network;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

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
    silent: Gauge,
    failed_pushes: Counter,
    stream_connections: Gauge,
    stream_last_frame: Gauge<f64, AtomicU64>,
    stream_opened: Family<ResultLabel, Counter>,
    stream_ended: Family<ReasonLabel, Counter>,
    stream_frames: Family<KindLabel, Counter>,
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
            registry: Registry::with_prefix("dingtalk_bridge"),
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
            silent: Gauge::default(),
            failed_pushes: Counter::default(),
            stream_connections: Gauge::default(),
            stream_last_frame: Gauge::default(),
            stream_opened: Family::default(),
            stream_ended: Family::default(),
            stream_frames: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("received", "What came in and was committed, duplicates included", self.received.clone());
        r.register("duplicates", "What came in a second time and was recognised", self.duplicates.clone());
        r.register("echoes", "Events of the bridge's own users that came back", self.echoes.clone());
        r.register(
            "refused",
            "Requests and parts of messages that were refused, by door and reason",
            self.refused.clone(),
        );
        r.register(
            "ignored_events",
            "Events of DingTalk that the bridge does nothing with",
            self.ignored_events.clone(),
        );
        r.register(
            "unreadable",
            "What was accepted and could not be read; kept in the inbox",
            self.unreadable.clone(),
        );
        r.register(
            "read_back",
            "Events that the homeserver did not deliver and that were read from timelines",
            self.read_back.clone(),
        );
        r.register("sent", "Attempts to send, by network and outcome", self.sent.clone());
        r.register_with_unit(
            "delivery",
            "Time from receiving a message to its arrival on the other side",
            Unit::Seconds,
            self.delivery.clone(),
        );
        r.register("waiting", "Messages on their way to a network", self.waiting.clone());
        r.register_with_unit(
            "oldest_waiting",
            "Age of the oldest message on its way to a network",
            Unit::Seconds,
            self.oldest.clone(),
        );
        r.register("failed", "Messages that were given up and wait for retry", self.failed.clone());
        r.register("held", "Messages kept for chats that are not bridged", self.held.clone());
        r.register("linked", "1 while a DingTalk app is linked", self.linked.clone());
        r.register("ready", "1 while the bridge is ready", self.ready.clone());
        r.register(
            "silent",
            "1 while the event subscription of DingTalk seems to be paused or gone",
            self.silent.clone(),
        );
        r.register(
            "failed_pushes",
            "Event pushes that DingTalk gave up and that were fetched from its list",
            self.failed_pushes.clone(),
        );
        r.register(
            "stream_connections",
            "Stream connections to DingTalk that stand; 2 while one is replaced",
            self.stream_connections.clone(),
        );
        r.register_with_unit(
            "stream_last_frame_timestamp",
            "When something last came over Stream, as Unix time; 0 while nothing has",
            Unit::Seconds,
            self.stream_last_frame.clone(),
        );
        r.register(
            "stream_opened",
            "Attempts to make a Stream connection, by result",
            self.stream_opened.clone(),
        );
        r.register("stream_ended", "Stream connections that ended, by reason", self.stream_ended.clone());
        r.register("stream_frames", "Frames that came over Stream, by kind", self.stream_frames.clone());
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
            Outcome::Failed { .. } => "failed",
            Outcome::Throttled { .. } => "throttled",
            Outcome::Refused { .. } => "refused",
            Outcome::Unknown { .. } => "maybe_sent",
        };
        self.sent.get_or_create(&SentLabels { network, outcome: label }).inc();
        if let (Outcome::Sent, Some(received)) = (outcome, op.received_at()) {
            self.delivery.get_or_create(&NetworkLabel { network }).observe(now.since(received).as_secs_f64());
        }
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
        self.silent.set(i64::from(standing.silence.is_some()));
        self.stream_connections.set(i64::try_from(standing.stream.open).unwrap_or(i64::MAX));
        let last = standing.stream.last_frame.map_or(0, |at| at.0 / 1_000);
        #[allow(clippy::cast_precision_loss, reason = "seconds of this era are exact")]
        self.stream_last_frame.set(last as f64);
        self.linked.set(i64::from(standing.linked.is_some()));
        self.ready.set(i64::from(standing.problems().is_empty()));
        let mut page = String::new();
        if encode(&mut page, &self.registry).is_err() {
            page.clear();
            let _ = writeln!(page, "# EOF");
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
