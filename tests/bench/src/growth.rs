//! `bench growth`: how speed, memory and start change with the number of chats, of people who write at the same time, and of
//! messages that have crossed before, on both databases.

use std::fmt;

use clap::Args;
use serde::Serialize;
use test_support::usage;

use crate::{
    figures::table,
    frame::{self, Database, Databases, Progress, Usual},
    machine::Machine,
    numbers::{float, thousands},
    past,
    relay::{
        self, Amount,
        measure::{Load, Run, Way},
        rig::{Fresh, Rig, Setup},
    },
};

/// Messages per second of the loads that are paced.
const STEADY: u32 = 200;

/// Chats of the rows in which something else grows.
const CHATS: u32 = 100;

/// Speed, latency, memory and start as chats, writers and earlier messages become more; not part of `cargo xtask bench`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bench growth                                     both databases, about 40 minutes
  cargo xtask bench growth --database sqlite --past 0          without the 10 million earlier messages
  cargo xtask bench growth --chats 2000 --writers 8 --past 100000

With --chats, --writers or --past 0 that kind of row is left out.")]
pub(crate) struct Options {
    /// The bridge's databases; commits of PostgreSQL survive a power failure, too
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Database::Sqlite, Database::Postgresql])]
    database: Vec<Database>,
    /// Numbers of chats that are bridged, with five people each, all of whom write
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 10_000], value_parser = clap::value_parser!(u32).range(0..=10_000))]
    chats: Vec<u32>,
    /// Numbers of chats in which somebody writes at the same time
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 64], value_parser = clap::value_parser!(u32).range(0..=100))]
    writers: Vec<u32>,
    /// Messages that have crossed before
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    past: u64,
    /// How long each measurement takes, about
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    #[command(flatten)]
    usual: Usual,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    rows: Vec<Row>,
}

/// One bridge with one size of everything.
#[derive(Debug, Serialize)]
struct Row {
    database: Database,
    chats: u32,
    writers: u32,
    past: u64,
    start_ms: f64,
    idle_kib: u64,
    peak_kib: u64,
    runs: Vec<Run>,
}

impl Report {
    fn is_correct(&self) -> bool {
        self.rows.iter().flat_map(|row| &row.runs).all(|run| run.faults.none())
    }
}

/// Measures and prints; answers whether everything crossed once and in order.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    Ok(frame::report(Box::pin(measure(&options)), options.usual.json).await?.is_correct())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let progress: Progress<'_> = &frame::tell;
    let folders = options.usual.folders("growth")?;
    let mut report = Report { machine: Machine::look(&folders.own)?, rows: Vec::new() };
    for database in &options.database {
        let mut databases = Databases::start(*database, progress).await?;
        let start = async |chats: u32, address: &Option<String>, dir: &tempfile::TempDir| {
            progress(&format!("{}, {chats} chats.", database.title()));
            Rig::start(
                &folders.programs,
                dir.path(),
                Setup { chats, postgresql: address.as_deref(), encryption: false },
                progress,
            )
            .await
        };
        let size = |chats, writers, past| Size { database: *database, chats, writers, past };
        for chats in options.chats.iter().copied().filter(|chats| *chats > 0) {
            let (dir, address) = (folders.fresh()?, databases.fresh().await?);
            let mut rig = start(chats, &address, &dir).await?;
            report.rows.push(row(&mut rig, size(chats, chats, 0), true, options, progress).await?);
        }
        let writers: Vec<u32> = options.writers.iter().copied().filter(|writers| *writers > 0).collect();
        if !writers.is_empty() {
            let (dir, address) = (folders.fresh()?, databases.fresh().await?);
            let mut rig = start(CHATS, &address, &dir).await?;
            for writers in writers {
                report.rows.push(row(&mut rig, size(CHATS, writers, 0), false, options, progress).await?);
            }
        }
        if options.past > 0 {
            let (dir, address) = (folders.fresh()?, databases.fresh().await?);
            let mut rig = start(CHATS, &address, &dir).await?;
            rig.stop_between().await?;
            past::write(dir.path(), address.as_deref(), &rig.rooms, options.past, progress).await?;
            report.rows.push(row(&mut rig, size(CHATS, CHATS, options.past), true, options, progress).await?);
        }
    }
    Ok(report)
}

/// How much of everything there is.
#[derive(Clone, Copy, Debug)]
struct Size {
    database: Database,
    chats: u32,
    writers: u32,
    past: u64,
}

async fn row(
    rig: &mut Rig,
    size: Size,
    paced: bool,
    options: &Options,
    progress: Progress<'_>,
) -> anyhow::Result<Row> {
    let Size { database, chats, writers, past } = size;
    let Fresh { start_ms, pid, idle_kib } = rig.start_anew().await?;
    let load = |name, way, rate| Load::new(name, way, writers, rate, options.seconds);
    let mut loads = vec![
        load("DingTalk → Matrix", Way::DingTalkToMatrix, None),
        load("Matrix → DingTalk", Way::MatrixToDingTalk, None),
    ];
    if paced {
        loads.push(load("DingTalk → Matrix at 200/s", Way::DingTalkToMatrix, Some(STEADY)));
        loads.push(load("Matrix → DingTalk at 200/s", Way::MatrixToDingTalk, Some(STEADY)));
    }
    let amount = Amount { messages: None, seconds: options.seconds };
    let mut runs = Vec::new();
    for load in loads {
        runs.extend(relay::carry(rig, load, amount, progress).await?);
    }
    let peak_kib = usage(pid)?.peak_kib;
    Ok(Row { database, chats, writers, past, start_ms, idle_kib, peak_kib, runs })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { file_system, fsync, .. } = &self.machine;
        writeln!(f, "{}; databases on {file_system}", self.machine)?;
        if let Some(fsync) = fsync {
            writeln!(f, "fsync of 4 KiB there: p50 {:.2} ms, p99 {:.2} ms", fsync.p50_ms, fsync.p99_ms)?;
        }
        let runs = || self.rows.iter().flat_map(|row| &row.runs);
        let disturbed = runs().map(|run| run.disturbance).fold(0.0, f64::max);
        writeln!(
            f,
            "other processes took up to {:.0} % of the machine during a measurement\n",
            disturbed * 100.0
        )?;
        let rows = self.rows.iter().map(|row| {
            let run = |way, paced| row.runs.iter().rfind(|run| run.way == way && run.rate.is_some() == paced);
            let speed = |way| run(way, false).map_or("–".to_owned(), |run| thousands(run.per_second));
            let times = |way| {
                run(way, true)
                    .and_then(|run| run.delivery)
                    .map_or("–".to_owned(), |times| format!("{:.1}/{:.1}", times.p50_ms, times.p99_ms))
            };
            let mib = |kib| format!("{:.1}", float(kib) / 1024.0);
            [
                row.database.title().to_owned(),
                thousands(f64::from(row.chats)),
                thousands(f64::from(row.writers)),
                thousands(float(row.past)),
                speed(Way::DingTalkToMatrix),
                speed(Way::MatrixToDingTalk),
                times(Way::DingTalkToMatrix),
                times(Way::MatrixToDingTalk),
                mib(row.idle_kib),
                mib(row.peak_kib),
                format!("{:.0}", row.start_ms),
            ]
        });
        let heads = [
            "database",
            "chats",
            "written in",
            "earlier messages",
            "→ Matrix per s",
            "→ DingTalk per s",
            "→ Matrix ms",
            "→ DingTalk ms",
            "idle MiB",
            "most MiB",
            "start ms",
        ];
        table(f, heads, rows.collect())?;
        let faulty: u32 = runs().map(|run| run.faults.sum()).sum();
        let crossed: u32 = runs().map(|run| run.messages).sum();
        writeln!(
            f,
            "\nms: p50 and p99 at 200/s. {faulty} of {} messages were lost, doubled or out of order.",
            thousands(f64::from(crossed))
        )
    }
}
