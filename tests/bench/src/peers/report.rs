//! Tables of all bridges side by side.

use std::fmt;

use serde::Serialize;

use crate::{
    figures::table,
    machine::Machine,
    numbers::{Quantiles, float, thousands},
    peers::{
        bridges::Candidate,
        kills::{self, Crossed, Killed},
    },
    relay::measure::{Run, Way},
};

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) chats: u32,
    /// Messages a second of the measurement of latency.
    pub(crate) rate: u32,
    pub(crate) kills: u32,
    pub(crate) seed: u64,
    pub(crate) bridges: Vec<Measured>,
    pub(crate) skipped: Vec<Skipped>,
}

/// One bridge.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) bridge: Candidate,
    pub(crate) title: &'static str,
    pub(crate) start_ms: f64,
    pub(crate) idle_kib: u64,
    pub(crate) most_kib: u64,
    pub(crate) runs: Vec<Run>,
    pub(crate) killed: Option<Killed>,
}

/// A bridge that is not measured.
#[derive(Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) bridge: Candidate,
    pub(crate) reason: String,
}

/// Most characters of a reason.
const LONGEST: usize = 300;

impl Skipped {
    pub(crate) fn new(bridge: Candidate, error: &anyhow::Error) -> Self {
        let all = format!("{error:#}");
        let line: Vec<&str> = all.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        Self { bridge, reason: line.join("; ").chars().take(LONGEST).collect() }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: skipped, {}", self.bridge.title(), self.reason)
    }
}

impl Measured {
    /// The last one of its kind; one before it may be a warm-up that went wrong.
    fn run(&self, way: Way, paced: bool) -> Option<&Run> {
        self.runs.iter().rfind(|run| run.way == way && run.rate.is_some() == paced)
    }

    fn speed(&self, way: Way) -> f64 {
        self.run(way, false).map_or(0.0, |run| run.per_second)
    }

    fn perfect(&self) -> bool {
        let mut killed = self.killed.iter().flat_map(|killed| [killed.to_matrix, killed.to_dingtalk]);
        // What the room was told is what the bridge promises where nobody can know.
        let kept = |way: Crossed| {
            way.faults.lost == way.told && way.faults.doubled == 0 && way.faults.out_of_order == 0
        };
        self.runs.iter().all(|run| run.faults.none()) && killed.all(kept)
    }

    fn figures(&self) -> [String; 8] {
        let ways = [Way::DingTalkToMatrix, Way::MatrixToDingTalk];
        let [to_matrix, to_dingtalk] = ways.map(|way| format!("{}/s", thousands(self.speed(way))));
        let [d2m, m2d] = ways.map(|way| quantiles(self.run(way, true).and_then(|run| run.delivery)));
        let cpu = ways.map(|way| {
            self.run(way, false).map_or("–".to_owned(), |run| format!("{:.0}", run.cpu_us.between))
        });
        let mib = |kib: u64| format!("{:.0}", float(kib) / 1024.0);
        [
            self.title.to_owned(),
            to_matrix,
            to_dingtalk,
            d2m,
            m2d,
            format!("{}/{}", mib(self.idle_kib), mib(self.most_kib)),
            cpu.join("/"),
            format!("{:.0}", self.start_ms),
        ]
    }

    fn losses(&self) -> Option<[String; 6]> {
        let killed = self.killed.as_ref()?;
        let cell = |way: &Crossed| {
            let faults = way.faults;
            let told = if way.told > 0 { format!(" ({} told)", way.told) } else { String::new() };
            format!("{}{told}/{}/{}", faults.lost, faults.doubled, faults.out_of_order)
        };
        let back = |pick: fn(Quantiles) -> f64| {
            killed.back.map_or("–".to_owned(), |back| format!("{:.0}", pick(back)))
        };
        Some([
            self.title.to_owned(),
            killed.kills.to_string(),
            format!("{} of {}", cell(&killed.to_matrix), thousands(f64::from(killed.to_matrix.messages))),
            format!("{} of {}", cell(&killed.to_dingtalk), thousands(f64::from(killed.to_dingtalk.messages))),
            format!("{}/{}", back(|back| back.p50_ms), back(|back| back.max_ms)),
            killed.repeated.to_string(),
        ])
    }
}

fn quantiles(times: Option<Quantiles>) -> String {
    times.map_or("–".to_owned(), |times| format!("{:.1}/{:.1}", times.p50_ms, times.p99_ms))
}

impl Report {
    /// Whether our own bridge lost, doubled and reordered nothing, if it was measured.
    pub(crate) fn correct(&self) -> bool {
        self.ours().is_none_or(Measured::perfect)
    }

    fn ours(&self) -> Option<&Measured> {
        self.bridges.iter().find(|measured| measured.bridge == Candidate::Ours)
    }

    /// By how much ours is ahead of the quickest peer that way; none without both.
    fn ahead(&self, way: Way) -> Option<f64> {
        let peers = self.bridges.iter().filter(|measured| measured.bridge != Candidate::Ours);
        let best = peers.map(|peer| peer.speed(way)).fold(0.0, f64::max);
        let ours = self.ours()?.speed(way);
        (best > 0.0).then(|| ours / best)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { file_system, fsync, .. } = &self.machine;
        write!(f, "{}; databases on {file_system}", self.machine)?;
        if let Some(fsync) = fsync {
            write!(f, ", fsync of 4 KiB p50 {:.2} ms, p99 {:.2} ms", fsync.p50_ms, fsync.p99_ms)?;
        }
        let runs = self.bridges.iter().flat_map(|measured| &measured.runs);
        let disturbed = runs.map(|run| run.disturbance).fold(0.0, f64::max);
        writeln!(
            f,
            "\nother processes took up to {:.0} % of the machine while speed was measured\n",
            disturbed * 100.0
        )?;

        let at = |way: &str| format!("{way} at {}/s, p50/p99 ms", self.rate);
        let heads = [
            &format!("{} chats", self.chats),
            "DingTalk → Matrix",
            "Matrix → DingTalk",
            &at("→ Matrix"),
            &at("→ DingTalk"),
            "MiB idle/most",
            "CPU µs a message →/←",
            "start ms",
        ];
        table(f, heads, self.bridges.iter().map(Measured::figures).collect())?;
        for (way, name) in
            [(Way::DingTalkToMatrix, "DingTalk → Matrix"), (Way::MatrixToDingTalk, "Matrix → DingTalk")]
        {
            if let Some(ahead) = self.ahead(way) {
                writeln!(f, "{name}: this bridge has {ahead:.2} times the speed of the quickest peer")?;
            }
        }
        let faulty = self.bridges.iter().flat_map(|measured| {
            measured.runs.iter().filter(|run| !run.faults.none()).map(|run| (measured.title, run))
        });
        for (title, Run { name, messages, faults, .. }) in faulty {
            let crate::marks::Faults { lost, doubled, out_of_order } = faults;
            writeln!(
                f,
                "{title}, {name}: {lost} lost, {doubled} doubled, {out_of_order} out of order of {messages}, without a kill"
            )?;
        }

        let losses: Vec<_> = self.bridges.iter().filter_map(Measured::losses).collect();
        if !losses.is_empty() {
            writeln!(
                f,
                "\nkill -9 at times of seed {}, {:.0} messages a second each way; lost/doubled/out of order\n",
                self.seed,
                kills::RATE
            )?;
            let heads = [
                "",
                "kills",
                "DingTalk → Matrix",
                "Matrix → DingTalk",
                "back after ms, p50/most",
                "repeated",
            ];
            table(f, heads, losses)?;
        }
        writeln!(f)?;
        for measured in &self.bridges {
            writeln!(f, "{}: {}", measured.title, measured.bridge.deviations().join("; "))?;
        }
        for skipped in &self.skipped {
            writeln!(f, "{skipped}")?;
        }
        Ok(())
    }
}
