//! The figures behind `/metrics`. Names, help texts and labels stand here and nowhere else. No workspace or object is a
//! label.

use std::{sync::atomic::Ordering, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{lanes::Lane, rollout::Standing};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LaneLabel {
    lane: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    resource: String,
    why: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConditionLabels {
    condition: String,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassResult {
    /// Nothing was to be done.
    Settled,
    /// Something was written.
    Wrote,
    /// Something could not be written; it is tried again or waits for a change.
    Failed,
}

impl PassResult {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Wrote => "wrote",
            Self::Failed => "failed",
        }
    }
}

/// All figures.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    passes: Family<ResultLabel, Counter>,
    pass_time: Histogram,
    depth: Family<LaneLabel, Gauge>,
    wait: Family<LaneLabel, Histogram>,
    first_write: Histogram,
    requests: Family<RequestLabels, Counter>,
    repairs: Family<KindLabel, Counter>,
    watch_restarts: Family<KindLabel, Counter>,
    watch_silence: Family<KindLabel, Gauge>,
    watched: Family<KindLabel, Gauge>,
    bridges: Family<ConditionLabels, Gauge>,
    objects: Gauge,
    rollout: Family<StateLabel, Gauge>,
    rollout_halted: Gauge,
    definition: Family<StateLabel, Gauge>,
    paused: Gauge,
    paused_longest: Gauge,
    leader: Gauge,
}

fn buckets() -> Histogram {
    Histogram::new([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0])
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("dingtalk_operator");
        let metrics = Self {
            passes: Family::default(),
            pass_time: buckets(),
            depth: Family::default(),
            wait: Family::new_with_constructor(buckets),
            first_write: buckets(),
            requests: Family::default(),
            repairs: Family::default(),
            watch_restarts: Family::default(),
            watch_silence: Family::default(),
            watched: Family::default(),
            bridges: Family::default(),
            objects: Gauge::default(),
            rollout: Family::default(),
            rollout_halted: Gauge::default(),
            definition: Family::default(),
            paused: Gauge::default(),
            paused_longest: Gauge::default(),
            leader: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("reconcile", "Passes over an object, by how they ended", metrics.passes.clone());
        registry.register_with_unit(
            "reconcile",
            "Time of a pass that wrote something",
            Unit::Seconds,
            metrics.pass_time.clone(),
        );
        registry.register("queue_depth", "Objects that wait for a pass, by lane", metrics.depth.clone());
        registry.register_with_unit(
            "queue_wait",
            "Time an object waited for its pass, by lane",
            Unit::Seconds,
            metrics.wait.clone(),
        );
        registry.register_with_unit(
            "spec_to_first_write",
            "Time from seeing a new or changed object to the end of the first write of a child",
            Unit::Seconds,
            metrics.first_write.clone(),
        );
        registry.register(
            "api_requests",
            "Requests to the API server, by verb, resource, reason and outcome",
            metrics.requests.clone(),
        );
        registry.register(
            "drift_repairs",
            "Children that somebody else changed and that were repaired",
            metrics.repairs.clone(),
        );
        registry.register(
            "watch_restarts",
            "Watches that began anew after an error",
            metrics.watch_restarts.clone(),
        );
        registry.register_with_unit(
            "watch_last_event",
            "Time since the API server said anything on a watch",
            Unit::Seconds,
            metrics.watch_silence.clone(),
        );
        registry.register("cache_objects", "Objects that a watch knows", metrics.watched.clone());
        registry.register("bridges", "Objects by condition and status", metrics.bridges.clone());
        registry.register("objects", "DingTalkBridge objects", metrics.objects.clone());
        registry.register(
            "rollout_bridges",
            "Bridges by how a change of the platform has come to them: done, moving, waiting, failed",
            metrics.rollout.clone(),
        );
        registry.register(
            "rollout_halted",
            "1 while bridges wait for a change of the platform and none may go",
            metrics.rollout_halted.clone(),
        );
        registry.register(
            "definition_fields",
            "Fields in which the cluster's definition of the kind differs from the operator's: lacking, unknown",
            metrics.definition.clone(),
        );
        registry.register(
            "paused",
            "Objects whose annotation keeps the operator's hands off",
            metrics.paused.clone(),
        );
        registry.register_with_unit(
            "paused_longest",
            "How long the first of these has been so",
            Unit::Seconds,
            metrics.paused_longest.clone(),
        );
        registry.register(
            "leader",
            "1 while this process works, 0 while it stands by",
            metrics.leader.clone(),
        );
        Self { registry, ..metrics }
    }

    /// A pass has ended.
    pub(crate) fn passed(&self, result: PassResult, took: Duration) {
        self.passes.get_or_create(&ResultLabel { result: result.as_str() }).inc();
        if result != PassResult::Settled {
            self.pass_time.observe(took.as_secs_f64());
        }
    }

    /// An object's turn has come.
    pub(crate) fn waited(&self, lane: Lane, waited: Duration) {
        self.wait.get_or_create(&LaneLabel { lane: lane.as_str() }).observe(waited.as_secs_f64());
    }

    /// The first child was written after an object was new or changed.
    pub(crate) fn first_write(&self, after: Duration) {
        self.first_write.observe(after.as_secs_f64());
    }

    /// A child was repaired.
    pub(crate) fn repaired(&self, kind: &str) {
        self.repairs.get_or_create(&KindLabel { kind: kind.to_owned() }).inc();
    }

    /// Whether this process works.
    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// How many wait in a lane.
    pub(crate) fn queued(&self, lane: Lane, depth: usize) {
        self.depth.get_or_create(&LaneLabel { lane: lane.as_str() }).set(signed(depth));
    }

    /// How many objects there are, and how many of them have each condition.
    pub(crate) fn objects(
        &self,
        all: usize,
        conditions: impl IntoIterator<Item = ((String, &'static str), i64)>,
    ) {
        self.objects.set(signed(all));
        self.bridges.clear();
        for ((condition, status), count) in conditions {
            self.bridges.get_or_create(&ConditionLabels { condition, status }).set(count);
        }
    }

    /// How the rollout of a change of the platform stands.
    pub(crate) fn rollout(&self, standing: Standing) {
        let counts = standing.counts;
        for (state, count) in [
            ("done", counts.done),
            ("moving", counts.moving),
            ("waiting", counts.waiting),
            ("failed", counts.failed),
        ] {
            self.rollout.get_or_create(&StateLabel { state }).set(signed(count));
        }
        self.rollout_halted.set(i64::from(standing.halted));
    }

    /// Where the cluster's definition of the kind differs.
    pub(crate) fn definition(&self, difference: &dingtalk_crds::Difference) {
        for (state, fields) in [("lacking", &difference.lacking), ("unknown", &difference.unknown)] {
            self.definition.get_or_create(&StateLabel { state }).set(signed(fields.len()));
        }
    }

    /// How many objects the operator keeps its hands off, and for how long from the first of them.
    pub(crate) fn paused(&self, count: usize, longest: Duration) {
        self.paused.set(signed(count));
        self.paused_longest.set(i64::try_from(longest.as_secs()).unwrap_or(i64::MAX));
    }

    /// Takes over the counts of requests.
    pub(crate) fn requests(&self, counts: &operator_cluster::client::RequestCounts) {
        for (count, times) in counts.snapshot() {
            let labels = RequestLabels {
                verb: count.verb.as_str(),
                resource: count.resource,
                why: count.why,
                outcome: count.outcome.as_str(),
            };
            self.requests.get_or_create(&labels).inner().store(times, Ordering::Relaxed);
        }
    }

    /// Takes over how a watch stands; `kind` of several namespaces is summed up by the caller.
    pub(crate) fn watch(&self, kind: &str, silent: Duration, restarts: u64, objects: usize) {
        let label = KindLabel { kind: kind.to_owned() };
        self.watch_silence.get_or_create(&label).set(i64::try_from(silent.as_secs()).unwrap_or(i64::MAX));
        self.watch_restarts.get_or_create(&label).inner().store(restarts, Ordering::Relaxed);
        self.watched.get_or_create(&label).set(signed(objects));
    }

    /// The page.
    pub(crate) fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut page, &self.registry);
        page
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_names_that_alerts_rely_on() {
        let metrics = Metrics::new();
        metrics.passed(PassResult::Wrote, Duration::from_millis(3));
        metrics.queued(Lane::Spec, 2);
        metrics.leads(true);
        metrics.objects(1, [(("Ready".to_owned(), "true"), 1)]);
        metrics.paused(2, Duration::from_hours(1));
        metrics.watch("secrets", Duration::from_secs(7), 1, 3);
        let page = metrics.page();
        for line in [
            "dingtalk_operator_reconcile_total{result=\"wrote\"} 1",
            "dingtalk_operator_queue_depth{lane=\"spec\"} 2",
            "dingtalk_operator_leader 1",
            "dingtalk_operator_bridges{condition=\"Ready\",status=\"true\"} 1",
            "dingtalk_operator_paused 2",
            "dingtalk_operator_paused_longest_seconds 3600",
            "dingtalk_operator_watch_last_event_seconds{kind=\"secrets\"} 7",
            "dingtalk_operator_watch_restarts_total{kind=\"secrets\"} 1",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }
}
