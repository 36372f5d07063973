//! `bench relay`.

mod config;
mod devices;
pub(crate) mod measure;
mod report;
pub(crate) mod rig;

use std::path::Path;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use test_support::usage;

use crate::{
    frame::{self, Database, Databases, Progress, Usual},
    machine::Machine,
};
use measure::{Load, Run, WARM_UP, Way};
use report::{Memory, Report, Side};
use rig::{Between, Fresh, Rig, Setup};

/// Messages per second of the loads that are paced.
const STEADY: u32 = 200;
const ACKS: u32 = 500;

/// Most messages of one measurement; the stub keeps them all.
const MOST: f64 = 100_000.0;

/// Messages per second, latency, processor time and memory of the bridge, beside a bare forwarder
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bench relay                              all of it, with 50 chats
  cargo xtask bench relay --only d2m,m2d --seconds 20
  cargo xtask bench relay --chats 2000 --only idle,latency
                                                       start and memory with 2,000 portals and 10,000 ghosts
  cargo xtask bench relay --encryption                 all of it, then the same with encrypted rooms beside it
  cargo xtask bench relay --encryption --chats 2000 --only idle,latency

With --encryption two people have real devices in every room: what they write is encrypted before the measurement begins, and
what the bridge writes counts when such a device can read it.")]
pub(crate) struct Options {
    /// How long each measurement takes, about; none has more than 100,000 messages
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600), conflicts_with = "messages")]
    seconds: u32,
    /// Messages of each measurement that is not paced
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    messages: Option<u32>,
    /// Chats that are bridged, with five people each; somebody writes in every one of them
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    chats: u32,
    /// Measure only these; may be given several times or as a list with commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Measure once more, with the bridge's encryption on and every chat bridged to an encrypted room
    #[arg(long)]
    encryption: bool,
    /// The bridge's database; commits of PostgreSQL survive a power failure, too
    #[arg(long, value_enum, default_value_t = Database::Sqlite)]
    database: Database,
    #[command(flatten)]
    usual: Usual,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seconds: 5,
            messages: None,
            chats: 50,
            only: Vec::new(),
            encryption: false,
            database: Database::Sqlite,
            usual: Usual::default(),
        }
    }
}

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// DingTalk to Matrix, all chats, as fast as it goes
    D2m,
    /// Matrix to DingTalk, all chats, as fast as it goes
    M2d,
    /// Both ways with a single chat
    OneChat,
    /// Both ways at 200 messages a second
    Latency,
    /// The webhook's answers at 500 messages a second
    Ack,
    /// Memory and start
    Idle,
    /// The bare forwarder under the loads of d2m and m2d
    Bare,
}

/// Measures and prints; answers whether everything crossed once and in order.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    Ok(frame::report(Box::pin(measure(&options)), options.usual.json).await?.correct)
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let progress: Progress<'_> = &frame::tell;
    let folders = options.usual.folders("relay")?;
    let mut databases = Databases::start(options.database, progress).await?;
    let mut report = Report::new(Machine::look(&folders.own)?, options.database, options.chats);
    report.binary_bytes = std::fs::metadata(folders.programs.join("dingtalk-bridge"))?.len();
    let (dir, address) = (folders.fresh()?, databases.fresh().await?);
    let setup = Setup { chats: options.chats, postgresql: address.as_deref(), encryption: false };
    let (side, runs) = measure_side(options, &folders.programs, dir.path(), setup, progress).await?;
    (report.open, report.runs) = (side, runs);
    if options.encryption {
        let (dir, address) = (folders.fresh()?, databases.fresh().await?);
        let setup = Setup { chats: options.chats, postgresql: address.as_deref(), encryption: true };
        let (side, runs) = measure_side(options, &folders.programs, dir.path(), setup, progress).await?;
        report.encrypted = Some(side);
        report.runs.extend(runs);
    }
    report.judge();
    Ok(report)
}

/// Measures a bridge of its own, with encryption or without; the bare forwarder knows no encryption.
async fn measure_side(
    options: &Options,
    programs: &Path,
    dir: &Path,
    setup: Setup<'_>,
    progress: Progress<'_>,
) -> anyhow::Result<(Side, Vec<Run>)> {
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    progress("Starting the homeserver stub, a small DingTalk and the bridge.");
    let mut rig = Rig::start(programs, dir, setup, progress).await?;
    let Fresh { start_ms, pid: bridge, idle_kib } = rig.start_anew().await?;
    progress(&format!("The bridge is process {bridge}."));

    let (d2m, m2d) = (Way::DingTalkToMatrix, Way::MatrixToDingTalk);
    let load = |name, way, chats, rate| Load::new(name, way, chats, rate, options.seconds);
    let chats = options.chats;
    let amount = Amount { messages: options.messages, seconds: options.seconds };
    let loads = [
        (Part::D2m, load("DingTalk → Matrix", d2m, chats, None)),
        (Part::M2d, load("Matrix → DingTalk", m2d, chats, None)),
        (Part::OneChat, load("DingTalk → Matrix, one chat", d2m, 1, None)),
        (Part::OneChat, load("Matrix → DingTalk, one chat", m2d, 1, None)),
        (Part::Latency, load("DingTalk → Matrix at 200/s", d2m, chats, Some(STEADY))),
        (Part::Latency, load("Matrix → DingTalk at 200/s", m2d, chats, Some(STEADY))),
        (Part::Ack, load("DingTalk → Matrix at 500/s", d2m, chats, Some(ACKS))),
    ];
    let mut runs = Vec::new();
    for (_, load) in loads.iter().filter(|(part, _)| wanted(*part)) {
        runs.extend(carry(&mut rig, *load, amount, progress).await?);
    }
    let after = usage(bridge)?;
    let memory = Memory { idle_kib, after_kib: after.resident_kib, peak_kib: after.peak_kib };
    let memory = wanted(Part::Idle).then_some(memory);
    let side = Side { memory, start_ms, complaints: rig.complaints() };

    if wanted(Part::Bare) && !setup.encryption {
        rig.start_bare().await?;
        for (_, load) in loads.iter().filter(|(part, _)| matches!(part, Part::D2m | Part::M2d)) {
            let load = Load { between: Between::Bare, ..*load };
            runs.extend(carry(&mut rig, load, amount, progress).await?);
        }
    }
    rig.stop_between().await?;
    Ok((side, runs))
}

/// How much is sent where nothing paces it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// Messages; none is as many as fit.
    pub(crate) messages: Option<u32>,
    pub(crate) seconds: u32,
}

/// Carries a load, after a small one where it is not paced; answers also with the small one if something went wrong.
pub(crate) async fn carry(
    rig: &mut Rig,
    mut load: Load,
    amount: Amount,
    progress: Progress<'_>,
) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    if load.rate.is_none() {
        load.messages = amount.messages.map_or(WARM_UP, |messages| messages.min(WARM_UP));
        let warm_up = measure::run(rig, load).await.with_context(|| rig.last_words())?;
        rig.settle().await?;
        let fitting = (warm_up.per_second * f64::from(amount.seconds)).clamp(f64::from(WARM_UP), MOST);
        #[expect(clippy::cast_sign_loss, reason = "between two positive bounds")]
        let fitting = fitting as u32;
        load.messages = amount.messages.unwrap_or(fitting);
        if !warm_up.faults.none() {
            runs.push(warm_up);
        }
    }
    let through = if load.between == Between::Bare { " through the bare forwarder" } else { "" };
    progress(&format!("{}{through}: {} messages.", load.name, load.messages));
    runs.push(measure::run(rig, load).await.with_context(|| rig.last_words())?);
    rig.settle().await?;
    Ok(runs)
}
