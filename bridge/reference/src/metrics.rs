//! The metrics of the bridge: name, kind, unit, labels and help, in one table. The bridge registers what stands here,
//! and `docs/metrics.md` is printed from it.

use std::fmt::Write;

/// What every name begins with.
pub const PREFIX: &str = "dingtalk_bridge";

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; starts at 0 with the process. Its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets: `_bucket`, `_sum`, `_count`.
    Histogram,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a metric counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of the things that the help text names.
    Count,
    /// Seconds; the name ends so.
    Seconds,
    /// Bytes; the name ends so.
    Bytes,
    /// 0 or 1.
    Flag,
}

impl Unit {
    fn word(self) -> &'static str {
        match self {
            Self::Count => "–",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Flag => "0 or 1",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, without prefix, unit and `_total`.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// Its labels, each with its values.
    pub labels: &'static [(&'static str, &'static str)],
    /// What it tells, without a full stop, as the format wants it.
    pub help: &'static str,
}

impl Metric {
    /// The name on the page of the metrics, without the endings of a histogram.
    pub fn full_name(&self) -> String {
        let unit = match self.unit {
            Unit::Seconds => "_seconds",
            Unit::Bytes => "_bytes",
            Unit::Count | Unit::Flag => "",
        };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{PREFIX}_{}{unit}{total}", self.name)
    }

    /// Every name under which samples appear.
    pub fn sample_names(&self) -> Vec<String> {
        let name = self.full_name();
        match self.kind {
            Kind::Histogram => ["bucket", "sum", "count"].map(|end| format!("{name}_{end}")).to_vec(),
            Kind::Counter | Kind::Gauge => vec![name],
        }
    }
}

const NETWORK: (&str, &str) = ("network", "`matrix` or `dingtalk`: where it goes");

macro_rules! metrics {
    ($($(#[$doc:meta])* $id:ident: $name:literal, $kind:ident, $unit:ident, [$($label:expr),*], $help:literal;)*) => {
        $($(#[$doc])* pub const $id: Metric = Metric {
            name: $name, kind: Kind::$kind, unit: Unit::$unit, labels: &[$($label),*], help: $help,
        };)*
        /// All metrics, in the order of the page.
        pub const METRICS: &[Metric] = &[$($id),*];
    };
}

metrics! {
    /// See the table.
    RECEIVED: "received", Counter, Count,
        [("source", "`callback`, `event`, `matrix`, `backfill`: the door it came through")],
        "What came in and was committed, duplicates included";
    /// See the table.
    DUPLICATES: "duplicates", Counter, Count, [], "What came in a second time and was recognised";
    /// See the table.
    ECHOES: "echoes", Counter, Count, [], "Events of the bridge's own users that came back";
    /// See the table.
    REFUSED: "refused", Counter, Count,
        [("door", "`webhook`, `stream`, `stream_open`, `transactions`, `callback`, `file`, `file_link`, `status`, `api`"), ("code", "why: see errors.md")],
        "Requests and parts of messages that were refused, by door and reason";
    /// See the table.
    IGNORED_EVENTS: "ignored_events", Counter, Count, [], "Events of DingTalk that the bridge does nothing with";
    /// See the table.
    UNREADABLE: "unreadable", Counter, Count, [("code", "why: see errors.md")],
        "What was accepted and could not be read; kept in the inbox";
    /// See the table.
    READ_BACK: "read_back", Counter, Count, [],
        "Events that the homeserver did not deliver and that were read from timelines";
    /// See the table.
    SENT: "sent", Counter, Count,
        [NETWORK, ("outcome", "`sent`, `failed` (tried again), `throttled`, `refused`, `maybe_sent`")],
        "Attempts to send, by network and outcome";
    /// See the table.
    DELIVERY: "delivery", Histogram, Seconds, [NETWORK],
        "Time from receiving a message to its arrival on the other side";
    /// See the table.
    WAITING: "waiting", Gauge, Count, [NETWORK], "Messages on their way to a network";
    /// See the table.
    OLDEST_WAITING: "oldest_waiting", Gauge, Seconds, [NETWORK],
        "Age of the oldest message on its way to a network";
    /// See the table.
    FAILED: "failed", Gauge, Count, [NETWORK], "Messages that were given up and wait for retry";
    /// See the table.
    HELD: "held", Gauge, Count, [], "Messages kept for chats that are not bridged";
    /// See the table.
    LINKED: "linked", Gauge, Flag, [], "1 while a DingTalk app is linked";
    /// See the table.
    READY: "ready", Gauge, Flag, [], "1 while the bridge is ready";
    /// See the table.
    STANDBY: "standby", Gauge, Flag, [], "1 while this process waits for another one that works on the database";
    /// See the table.
    OVER_QUOTA: "over_quota", Gauge, Flag, [], "1 while DingTalk withholds messages because the monthly quota is used up";
    /// See the table.
    LAST_EVENT: "last_event_timestamp", Gauge, Seconds, [],
        "When something last came from DingTalk, as seconds since 1970; 0 before the first";
    /// See the table.
    SILENT: "silent", Gauge, Flag, [], "1 while the event subscription of DingTalk seems to be paused or gone";
    /// See the table.
    FAILED_PUSHES: "failed_pushes", Counter, Count, [],
        "Event pushes that DingTalk gave up and that were fetched from its list";
    /// See the table.
    STREAM_CONNECTIONS: "stream_connections", Gauge, Count, [],
        "Stream connections to DingTalk that stand; 2 while one is replaced";
    /// See the table.
    STREAM_LAST_FRAME: "stream_last_frame_timestamp", Gauge, Seconds, [],
        "When something last came over Stream, as Unix time; 0 while nothing has";
    /// See the table.
    STREAM_OPENED: "stream_opened", Counter, Count, [("result", "`made` or `failed`")],
        "Attempts to make a Stream connection, by result";
    /// See the table.
    STREAM_ENDED: "stream_ended", Counter, Count, [("reason", "what ended it")],
        "Stream connections that ended, by reason";
    /// See the table.
    STREAM_FRAMES: "stream_frames", Counter, Count, [("kind", "what it carried")],
        "Frames that came over Stream, by kind";
    /// See the table.
    ENCRYPTION_WORKS: "encryption_works", Gauge, Flag, [],
        "1 while encrypted rooms work; 0 as well where encryption is off";
    /// See the table.
    ENCRYPTED: "encrypted", Counter, Count, [], "Messages that were encrypted for rooms";
    /// See the table.
    DECRYPTED: "decrypted", Counter, Count,
        [("result", "`read`, `no_key` (none came in time), `never` (see `unreadable`)")],
        "Events of encrypted rooms, by what came of them";
    /// See the table.
    AWAITING_KEYS: "awaiting_keys", Gauge, Count, [], "Events that wait for the key that opens them";
    /// See the table.
    API_REQUESTS: "api_requests", Counter, Count,
        [("operation", "the `operationId` of docs/api/openapi.json"), ("status", "the HTTP status")],
        "Requests to the HTTP API that were authenticated";
}

/// The page of all metrics.
pub fn markdown() -> String {
    let mut page = String::from(
        "<!-- Generated by `cargo xtask generate` from bridge/reference/src/metrics.rs; do not edit. -->\n\n\
         # Metrics of the bridge\n\n\
         `/metrics` on the port of the probes (`health.listen`), in the OpenMetrics text format. Every process counts from 0; \
         Prometheus adds `namespace` and `pod`. No label holds a name, an id or a part of a message, so that their number is \
         bounded. The operator's own metrics are listed in [operator.md](operator.md).\n\n\
         | metric | kind | unit | labels | what it tells |\n|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let labels: Vec<String> =
            metric.labels.iter().map(|(name, values)| format!("`{name}`: {values}")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join("<br>") };
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {labels} | {} |",
            metric.full_name(),
            metric.kind.word(),
            metric.unit.word(),
            metric.help
        );
    }
    page.push_str(
        "\nA dashboard and alerts that use them come with the operator's chart (`monitoring.dashboards`, `monitoring.alerts`); what to \
         do about an alert stands in [operator.md](operator.md).\n",
    );
    page.replace("see errors.md", "see [errors.md](errors.md)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_format_makes_of_them() {
        assert_eq!(RECEIVED.full_name(), "dingtalk_bridge_received_total");
        assert_eq!(OLDEST_WAITING.full_name(), "dingtalk_bridge_oldest_waiting_seconds");
        assert_eq!(DELIVERY.sample_names()[0], "dingtalk_bridge_delivery_seconds_bucket");
    }

    #[test]
    fn a_metric_stands_once_and_says_what_it_tells() {
        let mut names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert!(metric.help.len() > 10 && !metric.help.ends_with('.'), "{}", metric.name);
            assert!(markdown().contains(&format!("| `{}` |", metric.full_name())));
        }
    }
}
