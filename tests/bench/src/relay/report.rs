//! Targets, figures, verdicts.

use std::fmt;

use serde::Serialize;

use crate::{
    figures::{self, Figure, Verdict, table},
    frame::Database,
    machine::Machine,
    numbers::{float, thousands},
    relay::{
        measure::{Run, Way},
        rig::Between,
    },
};

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) database: &'static str,
    pub(crate) chats: u32,
    pub(crate) figures: Vec<Figure>,
    pub(crate) runs: Vec<Run>,
    /// The bridge without encryption.
    #[serde(flatten)]
    pub(crate) open: Side,
    /// The one with it, where that was wanted.
    pub(crate) encrypted: Option<Side>,
    pub(crate) binary_bytes: u64,
    /// Nothing was lost, doubled or out of order.
    pub(crate) correct: bool,
}

/// How one bridge stood.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Side {
    pub(crate) memory: Option<Memory>,
    pub(crate) start_ms: f64,
    /// Lines that it logged as warnings or errors.
    pub(crate) complaints: usize,
}

/// Resident memory of the bridge.
#[expect(clippy::struct_field_names, reason = "the unit belongs into the JSON")]
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) idle_kib: u64,
    pub(crate) after_kib: u64,
    pub(crate) peak_kib: u64,
}

/// What the bridge must do today, in messages per second.
const FLOOR: f64 = 1_000.0;

/// From so many portals on, with five ghosts each, memory has another bound.
const MANY: u32 = 2_000;

/// What memory is bound by with so many portals, all of them encrypted, in MiB.
const ENCRYPTED_MIB: f64 = 64.0;

/// How long a start may take with encryption, in milliseconds.
const ENCRYPTED_START_MS: f64 = 1_000.0;

/// Both ways, with their names.
const WAYS: [(Way, &str); 2] =
    [(Way::DingTalkToMatrix, "DingTalk → Matrix"), (Way::MatrixToDingTalk, "Matrix → DingTalk")];

impl Report {
    pub(crate) fn new(machine: Machine, database: Database, chats: u32) -> Self {
        Self {
            machine,
            database: match database {
                Database::Sqlite => "SQLite, WAL, synchronous=FULL, group commit",
                Database::Postgresql => "PostgreSQL, fsync on, group commit",
            },
            chats,
            figures: Vec::new(),
            runs: Vec::new(),
            open: Side::default(),
            encrypted: None,
            binary_bytes: 0,
            correct: true,
        }
    }

    fn run(&self, between: Between, way: Way, name_ends: &str) -> Option<&Run> {
        self.run_of(between, way, name_ends, false)
    }

    fn run_of(&self, between: Between, way: Way, name_ends: &str, encrypted: bool) -> Option<&Run> {
        let same = |run: &&Run| run.between == between && run.way == way && run.encrypted == encrypted;
        self.runs.iter().filter(same).find(|run| match name_ends {
            "" => run.rate.is_none() && !run.name.contains("one chat"),
            ends => run.name.ends_with(ends),
        })
    }

    /// Compares what was measured with what is promised.
    pub(crate) fn judge(&mut self) {
        let mut figures = Vec::new();
        let mut add = |what: String, target: &str, measured: String, value: f64, verdict| {
            figures.push(Figure { what, target: target.to_owned(), measured, value, verdict });
        };
        let at_least = |value: f64, target: f64, floor: f64| match value {
            value if value >= target => Verdict::Met,
            value if value >= floor => Verdict::Floor,
            _ => Verdict::Missed,
        };
        let at_most = Verdict::at_most;
        for (way, name) in WAYS {
            if let Some(run) = self.run(Between::Bridge, way, "") {
                let speed = run.per_second;
                let verdict = at_least(speed, 2_000.0, FLOOR);
                let what = format!("{name}, {} chats", run.chats);
                add(what, "≥ 2,000/s (floor 1,000)", format!("{}/s", thousands(speed)), speed, verdict);
                if let Some(bare) = self.run(Between::Bare, way, "").filter(|bare| bare.per_second > 0.0) {
                    let ratio = speed / bare.per_second;
                    let measured = format!("{ratio:.2} of {}/s", thousands(bare.per_second));
                    let what = format!("{name}, ratio to bare forwarder");
                    add(what, "≥ 0.4", measured, ratio, at_least(ratio, 0.4, 0.4));
                }
            }
        }
        for (way, name) in WAYS {
            if let Some(run) = self.run(Between::Bridge, way, "one chat") {
                let speed = run.per_second;
                let verdict = at_least(speed, 600.0, 600.0);
                add(
                    format!("{name}, one chat"),
                    "≥ 600/s",
                    format!("{}/s", thousands(speed)),
                    speed,
                    verdict,
                );
            }
        }
        for (way, name) in WAYS {
            if let Some(times) = self.run(Between::Bridge, way, "200/s").and_then(|run| run.delivery) {
                let (p50, p99) = (times.p50_ms, times.p99_ms);
                add(
                    format!("{name} at 200/s, p50"),
                    "≤ 5 ms",
                    format!("{p50:.1} ms"),
                    p50,
                    at_most(p50, 5.0),
                );
                add(
                    format!("{name} at 200/s, p99"),
                    "≤ 30 ms",
                    format!("{p99:.1} ms"),
                    p99,
                    at_most(p99, 30.0),
                );
            }
        }
        if let Some(ack) = self.run(Between::Bridge, Way::DingTalkToMatrix, "500/s").and_then(|run| run.ack) {
            let p99 = ack.p99_ms;
            add(
                "webhook answer at 500/s, p99".into(),
                "≤ 20 ms",
                format!("{p99:.1} ms"),
                p99,
                at_most(p99, 20.0),
            );
        }
        if let Some(memory) = self.open.memory {
            let (idle, most) = if self.chats < MANY { (12.0, 40.0) } else { (48.0, 48.0) };
            let portals = format!("{} portals", self.chats);
            for (what, target, kib) in
                [("memory, idle", idle, memory.idle_kib), ("memory, most under load", most, memory.peak_kib)]
            {
                let mib = float(kib) / 1024.0;
                let verdict = at_most(mib, target);
                let what = format!("{what}, {portals}");
                add(what, &format!("≤ {target} MiB"), format!("{mib:.1} MiB"), mib, verdict);
            }
            let start = self.open.start_ms;
            add(
                format!("start to ready, {portals}"),
                "≤ 300 ms",
                format!("{start:.0} ms"),
                start,
                at_most(start, 300.0),
            );
            let size = float(self.binary_bytes) / 1e6;
            add("program".into(), "≤ 20 MB", format!("{size:.1} MB"), size, at_most(size, 20.0));
        }
        let faulty: u32 = self.runs.iter().map(|run| run.faults.sum()).sum();
        let crossed: u32 = self.runs.iter().map(|run| run.messages).sum();
        let measured = format!("{faulty} of {}", thousands(f64::from(crossed)));
        let verdict = at_most(f64::from(faulty), 0.0);
        add("lost, doubled or out of order".into(), "0", measured, f64::from(faulty), verdict);
        self.correct = faulty == 0;
        figures.extend(self.encrypted.iter().flat_map(|side| self.encrypted_figures(side)));
        self.figures = figures;
    }

    /// What encryption costs, beside the same without.
    fn encrypted_figures(&self, side: &Side) -> Vec<Figure> {
        let mut figures = Vec::new();
        let mut add = |what: String, target: Option<String>, measured: String, value: f64, verdict| {
            let what = format!("encrypted: {what}");
            figures.push(Figure { what, target: target.unwrap_or("–".into()), measured, value, verdict });
        };
        let both = |way, ends| {
            let encrypted = self.run_of(Between::Bridge, way, ends, true)?;
            Some((encrypted, self.run(Between::Bridge, way, ends)))
        };
        for (ends, chats) in [("", format!("{} chats", self.chats)), ("one chat", "one chat".to_owned())] {
            for (way, name) in WAYS {
                let Some((encrypted, open)) = both(way, ends) else { continue };
                let speed = encrypted.per_second;
                let mut measured = format!("{}/s", thousands(speed));
                if let Some(open) = open.filter(|open| open.per_second > 0.0) {
                    let open = open.per_second;
                    measured = format!("{measured}, {:.2} of {}/s", speed / open, thousands(open));
                }
                add(format!("{name}, {chats}"), None, measured, speed, Verdict::Beside);
            }
        }
        let mut beside_ms = |what: String, encrypted: Option<f64>, open: Option<f64>| {
            let Some(ms) = encrypted else { return };
            let open = open.map_or_else(String::new, |open| format!(", beside {open:.1} ms"));
            add(what, None, format!("{ms:.1} ms{open}"), ms, Verdict::Beside);
        };
        for (way, name) in WAYS {
            let Some((encrypted, open)) = both(way, "200/s") else { continue };
            let (encrypted, open) = (encrypted.delivery, open.and_then(|open| open.delivery));
            let what = format!("{name} at 200/s");
            beside_ms(format!("{what}, p50"), encrypted.map(|t| t.p50_ms), open.map(|t| t.p50_ms));
            beside_ms(format!("{what}, p99"), encrypted.map(|t| t.p99_ms), open.map(|t| t.p99_ms));
        }
        if let Some((encrypted, open)) = both(Way::DingTalkToMatrix, "500/s") {
            let p99 = |run: &Run| run.ack.map(|ack| ack.p99_ms);
            beside_ms("webhook answer at 500/s, p99".to_owned(), p99(encrypted), open.and_then(p99));
        }
        let Some(memory) = side.memory else { return figures };
        let portals = format!("{} portals", self.chats);
        let open = self.open.memory;
        for (what, kib, open) in [
            ("memory, idle", memory.idle_kib, open.map(|open| open.idle_kib)),
            ("memory, most under load", memory.peak_kib, open.map(|open| open.peak_kib)),
        ] {
            let mib = |kib: u64| float(kib) / 1024.0;
            let beside = open.map_or_else(String::new, |open| format!(", beside {:.1} MiB", mib(open)));
            let mib = mib(kib);
            let (target, verdict) = if self.chats < MANY {
                (None, Verdict::Beside)
            } else {
                (Some(format!("≤ {ENCRYPTED_MIB} MiB")), Verdict::at_most(mib, ENCRYPTED_MIB))
            };
            add(format!("{what}, {portals}"), target, format!("{mib:.1} MiB{beside}"), mib, verdict);
        }
        let start = side.start_ms;
        add(
            format!("start to ready, {portals}"),
            Some("≤ 1,000 ms".to_owned()),
            format!("{start:.0} ms, beside {:.0} ms", self.open.start_ms),
            start,
            Verdict::at_most(start, ENCRYPTED_START_MS),
        );
        figures
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { file_system, fsync, .. } = &self.machine;
        writeln!(f, "{}; database: {}, on {file_system}", self.machine, self.database)?;
        if let Some(fsync) = fsync {
            writeln!(f, "fsync of 4 KiB there: p50 {:.2} ms, p99 {:.2} ms", fsync.p50_ms, fsync.p99_ms)?;
        }
        let disturbed = self.runs.iter().map(|run| run.disturbance).fold(0.0, f64::max);
        writeln!(
            f,
            "other processes took up to {:.0} % of the machine during a measurement\n",
            disturbed * 100.0
        )?;

        figures::figures(f, &self.figures)?;
        writeln!(f)?;

        let ms = |value: Option<f64>| value.map_or("–".to_owned(), |ms| format!("{ms:.1}"));
        let rows = self.runs.iter().map(|run| {
            let through = match run.between {
                Between::Bare => " (bare)",
                Between::Bridge if run.encrypted => ", encrypted",
                Between::Bridge => "",
            };
            let faults = run.faults;
            [
                format!("{}{through}", run.name),
                thousands(f64::from(run.messages)),
                thousands(run.per_second),
                format!("{}/{}", ms(run.ack.map(|t| t.p50_ms)), ms(run.ack.map(|t| t.p99_ms))),
                format!("{}/{}", ms(run.delivery.map(|t| t.p50_ms)), ms(run.delivery.map(|t| t.p99_ms))),
                format!("{:.0}", run.cpu_us.between),
                format!("{:.0}/{:.0}", run.cpu_us.homeserver, run.cpu_us.dingtalk),
                format!("{:.1}", float(run.resident_kib) / 1024.0),
                format!("{:.0} %", run.disturbance * 100.0),
                format!("{}/{}/{}", faults.lost, faults.doubled, faults.out_of_order),
            ]
        });
        let heads = [
            "load",
            "messages",
            "per s",
            "ack p50/p99 ms",
            "delivery p50/p99 ms",
            "CPU µs",
            "stub/DingTalk µs",
            "MiB",
            "others",
            "lost/doubled/disordered",
        ];
        table(f, heads, rows.collect())?;
        let refused: u32 = self.runs.iter().map(|run| run.refused).sum();
        if refused > 0 {
            writeln!(f, "\n{refused} callbacks were not answered with 200 and were repeated.")?;
        }
        let complaints = self.open.complaints + self.encrypted.map_or(0, |side| side.complaints);
        if complaints > 0 {
            writeln!(f, "\nThe bridge logged {complaints} lines of warnings.")?;
        }
        Ok(())
    }
}
