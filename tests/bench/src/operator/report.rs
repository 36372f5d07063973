//! Targets, figures, verdicts of the operator.

use std::fmt;

use serde::Serialize;

use super::bare::Helm;
use crate::{
    figures::{Figure, Verdict, figures},
    machine::Machine,
    numbers::{Quantiles, float, thousands},
};

/// Resident memory of the operator.
#[expect(clippy::struct_field_names, reason = "the unit belongs into the code that reads it")]
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Without an object.
    pub(super) empty_kib: u64,
    /// After it has made all children.
    pub(super) after_kib: u64,
    /// After a restart.
    pub(super) settled_kib: u64,
    /// When somebody else's Secrets came while it ran.
    pub(super) running_with_foreign_kib: u64,
    /// After a restart with them.
    pub(super) foreign_kib: u64,
}

/// Seconds until a new object was served.
#[derive(Debug, Default)]
pub(super) struct Failover {
    pub(super) killed: f64,
    pub(super) frozen: f64,
    pub(super) stopped: f64,
    /// What the frozen one wrote after it went on.
    pub(super) late_writes: u64,
}

/// What was measured.
#[derive(Default)]
pub(super) struct Found {
    pub(super) objects: usize,
    pub(super) children: usize,
    pub(super) idle: Option<Quantiles>,
    pub(super) spec: Option<Quantiles>,
    pub(super) crowd: Option<Quantiles>,
    pub(super) busy: Option<Quantiles>,
    pub(super) operator_seconds: f64,
    pub(super) bare_seconds: f64,
    pub(super) cpu_us: f64,
    pub(super) most_writes: u32,
    pub(super) writes: u64,
    pub(super) statuses: f64,
    pub(super) rest_requests: u64,
    pub(super) memory: Memory,
    pub(super) restart: (f64, u64),
    pub(super) failover: Failover,
    pub(super) helm: Option<Helm>,
    pub(super) releases: usize,
    pub(super) load_before: f64,
    pub(super) load_after: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    objects: usize,
    children: usize,
    /// Processes that wanted the processors, over the minute before the first and the last figure.
    load: [f64; 2],
    figures: Vec<Figure>,
}

impl Report {
    pub(super) fn new(machine: Machine, found: &Found, rest_seconds: u64) -> Self {
        let mut table = Table(Vec::new());
        table.rest(found, rest_seconds);
        table.speed(found);
        table.memory(found);
        table.failover(found);
        table.beside(found);
        let load = [found.load_before, found.load_after];
        Self { machine, objects: found.objects, children: found.children, load, figures: table.0 }
    }

    /// Whether nothing was written that should not be.
    pub(super) fn correct(&self) -> bool {
        let counts = |figure: &&Figure| figure.target == "0";
        self.figures.iter().filter(counts).all(|figure| figure.verdict == Verdict::Met)
    }
}

struct Table(Vec<Figure>);

impl Table {
    fn add(&mut self, what: &str, target: &str, measured: String, value: f64, verdict: Verdict) {
        let (what, target) = (what.to_owned(), target.to_owned());
        self.0.push(Figure { what, target, measured, value, verdict });
    }

    fn count(&mut self, what: &str, count: u64) {
        let value = float(count);
        self.add(what, "0", thousands(value), value, Verdict::at_most(value, 0.0));
    }

    fn rest(&mut self, found: &Found, rest_seconds: u64) {
        self.count(&format!("API requests in {rest_seconds} s at rest"), found.rest_requests);
        let most = f64::from(found.most_writes);
        let target = float(found.children as u64 + 1);
        let measured =
            format!("{most:.0} at most, {:.2} on average", float(found.writes) / float(found.objects as u64));
        self.add(
            "writes for a new object",
            &format!("{target}"),
            measured,
            most,
            Verdict::at_most(most, target),
        );
        let measured = format!("{:.2}", found.statuses);
        self.add(
            "statuses until Deployment and claim are there too",
            "",
            measured,
            found.statuses,
            Verdict::Beside,
        );
    }

    fn times(&mut self, what: &str, times: Option<Quantiles>, targets: [Option<f64>; 2]) {
        let Some(times) = times else { return };
        for (name, value, target) in [("p50", times.p50_ms, targets[0]), ("p99", times.p99_ms, targets[1])] {
            let verdict = target.map_or(Verdict::Beside, |target| Verdict::at_most(value, target));
            let target = target.map(|target| format!("≤ {} ms", thousands(target))).unwrap_or_default();
            self.add(&format!("{what}, {name}"), &target, format!("{value:.1} ms"), value, verdict);
        }
    }

    fn speed(&mut self, found: &Found) {
        let objects = thousands(float(found.objects as u64));
        self.times("spec → first child, idle", found.idle, [Some(15.0), Some(60.0)]);
        self.times("the spec's own write, idle", found.spec, [None, None]);
        let others = format!("spec → first child, {objects} others being repaired");
        self.times(&others, found.busy, [None, Some(1_000.0)]);
        self.times(&format!("spec → first child, {objects} at once"), found.crowd, [None, None]);
        if found.bare_seconds > 0.0 {
            let ratio = found.operator_seconds / found.bare_seconds;
            let measured =
                format!("{ratio:.2} ({:.1} s of {:.1} s)", found.operator_seconds, found.bare_seconds);
            let what = format!("{objects} new objects, time as a ratio to the bare loop's");
            self.add(&what, "≤ 1.10", measured, ratio, Verdict::at_most(ratio, 1.1));
        }
        let measured = format!("{:.1} ms", found.cpu_us / 1e3);
        self.add("processor time for a new object", "", measured, found.cpu_us, Verdict::Beside);
    }

    fn memory(&mut self, found: &Found) {
        let Memory { empty_kib, after_kib, settled_kib, running_with_foreign_kib, foreign_kib } =
            found.memory;
        let objects = float(found.objects as u64);
        for (what, kib) in [("after making them", after_kib), ("after a restart", settled_kib)] {
            let each = float(kib.saturating_sub(empty_kib)) / objects;
            let measured = format!("{each:.1} KiB");
            self.add(
                &format!("memory per object, {what}"),
                "≤ 20 KiB",
                measured,
                each,
                Verdict::at_most(each, 20.0),
            );
            let all = float(kib) / 1024.0;
            let measured = format!("{all:.1} MiB (empty {:.1})", float(empty_kib) / 1024.0);
            self.add(&format!("memory, {what}"), "≤ 128 MiB", measured, all, Verdict::at_most(all, 128.0));
        }
        for (what, kib) in [("while it runs", running_with_foreign_kib), ("after a restart", foreign_kib)] {
            let growth = (float(kib) - float(settled_kib)) / 1024.0;
            let count = thousands(4.0 * objects);
            let what = format!("memory with {count} foreign Secrets, {what}");
            // What an allocator keeps or gives back differs from start to start.
            let verdict = Verdict::at_most(growth, 4.0);
            self.add(&what, "unchanged", format!("{growth:+.1} MiB"), growth, verdict);
        }
    }

    fn failover(&mut self, found: &Found) {
        let (seconds, writes) = found.restart;
        let within = |seconds: f64| format!("{seconds:.2} s");
        let at_most = Verdict::at_most;
        self.add("restart → new object served", "≤ 5 s", within(seconds), seconds, at_most(seconds, 5.0));
        self.count("writes for the others after a restart", writes);
        let Failover { killed, frozen, stopped, late_writes } = found.failover;
        self.add("killed → new object served", "≤ 15 s", within(killed), killed, at_most(killed, 15.0));
        self.add("frozen → new object served", "≤ 15 s", within(frozen), frozen, at_most(frozen, 15.0));
        self.count("writes of the frozen one when it goes on", late_writes);
        self.add("stopped → new object served", "≤ 1 s", within(stopped), stopped, at_most(stopped, 1.0));
    }

    fn beside(&mut self, found: &Found) {
        let Some(helm) = &found.helm else { return };
        let each = found.operator_seconds / float(found.objects as u64);
        let rows = [
            ("Helm, one release with the same children", helm.install_seconds),
            ("Helm, one upgrade that changes nothing", helm.upgrade_seconds),
        ];
        for (what, seconds) in rows {
            let measured = format!(
                "{:.0} ms ({:.0} × the operator's {:.1} ms)",
                seconds * 1e3,
                seconds / each,
                each * 1e3
            );
            self.add(&format!("{what} ({} tried)", found.releases), "", measured, seconds, Verdict::Beside);
        }
        let measured = format!("{:.0}", helm.requests);
        self.add("Helm, requests for one release", "", measured, helm.requests, Verdict::Beside);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}; etcd in memory; {} objects of {} children; load {:.1} before, {:.1} after\n",
            self.machine, self.objects, self.children, self.load[0], self.load[1]
        )?;
        figures(f, &self.figures)
    }
}
