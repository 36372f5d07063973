//! `bench peers`: our own bridge and small ones with other frameworks, one after the other between the same homeserver
//! stub and the same small DingTalk, under the same loads and the same kills.

mod bridges;
mod kills;
mod report;
mod setup;

use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use test_support::{Spawn, usage};

use crate::{
    frame::{self, Progress, Usual},
    machine::Machine,
    relay::{
        Amount, carry,
        measure::{Load, Way},
        rig::{Fresh, Rig, Setup},
    },
};
use bridges::Candidate;
use report::{Measured, Report, Skipped};

/// Speed, latency, memory and losses of the bridge beside small ones with other frameworks
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bench peers                              all four: some 5 minutes, the first time more for installing
  cargo xtask bench peers --only ours --only bridgev2
  cargo xtask bench peers --skip appservice-bridge --json
  cargo xtask bench peers --kills 0                    speed, latency and memory only
  cargo xtask bench peers --kills 100 --seed 7         other kills, the same for every bridge

Each peer is the same small bridge, below tests/bench/peers/. One that cannot be installed here is skipped with the reason.")]
pub(crate) struct Options {
    /// Measure only these; may be given several times or as a list with commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "BRIDGE")]
    only: Vec<Candidate>,
    /// Leave these out; may be given several times or as a list with commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "BRIDGE", conflicts_with = "only")]
    skip: Vec<Candidate>,
    /// How long each measurement takes, about; none that is not paced has less than 2,000 messages
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Messages of each measurement that is not paced; otherwise as many as fit
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    messages: Option<u32>,
    /// Messages a second of the measurement of latency
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Chats that are bridged
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    chats: u32,
    /// How often each bridge is killed while messages go both ways
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    kills: u32,
    /// Seed of the times of the kills
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    usual: Usual,
}

impl Options {
    fn wants(&self, bridge: Candidate) -> bool {
        !self.skip.contains(&bridge) && (self.only.is_empty() || self.only.contains(&bridge))
    }
}

/// Measures and prints; answers whether our own bridge lost, doubled and reordered nothing.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    Ok(frame::report(measure(&options), options.usual.json).await?.correct())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let progress: Progress<'_> = &frame::tell;
    let folders = options.usual.folders("peers")?;
    let cache = world::target_dir()?;
    let mut report = Report {
        machine: Machine::look(&folders.own)?,
        chats: options.chats,
        rate: options.rate,
        kills: options.kills,
        seed: options.seed,
        bridges: Vec::new(),
        skipped: Vec::new(),
    };
    // All are installed before any is measured, so that a download disturbs nothing.
    let mut ready = Vec::new();
    for bridge in Candidate::ALL.into_iter().filter(|bridge| options.wants(*bridge)) {
        match bridge {
            Candidate::Ours => ready.push((bridge, None)),
            _ => match bridge.install(&cache, progress).await {
                Ok(spawn) => ready.push((bridge, Some(spawn))),
                Err(error) => {
                    let skipped = Skipped::new(bridge, &error);
                    progress(&skipped.to_string());
                    report.skipped.push(skipped);
                }
            },
        }
    }
    for (bridge, spawn) in ready {
        let dir = folders.fresh()?;
        progress(&format!("{}: starting.", bridge.title()));
        let measured = one(bridge, spawn, options, &folders.programs, dir.path(), progress).await;
        match measured {
            Ok(measured) => report.bridges.push(measured),
            Err(error) if bridge == Candidate::Ours => return Err(error),
            Err(error) => {
                let kept = dir.keep();
                let error = error.context(format!("it failed; its logs are in {}", kept.display()));
                let skipped = Skipped::new(bridge, &error);
                progress(&format!("{error:#}"));
                report.skipped.push(skipped);
            }
        }
    }
    Ok(report)
}

/// Everything about one bridge.
async fn one(
    bridge: Candidate,
    spawn: Option<Spawn>,
    options: &Options,
    programs: &Path,
    dir: &Path,
    progress: Progress<'_>,
) -> anyhow::Result<Measured> {
    let chats = options.chats;
    let mut rig = match spawn {
        None => Rig::start(programs, dir, Setup::sqlite(chats), progress).await?,
        Some(spawn) => setup::start(spawn, programs, dir, chats).await?,
    };
    let Fresh { start_ms, pid, idle_kib } = rig.start_anew().await?;
    let load = |name, way, rate| Load::new(name, way, chats, rate, options.seconds);
    let amount = Amount { messages: options.messages, seconds: options.seconds };
    let mut runs = Vec::new();
    for load in [
        load("DingTalk → Matrix", Way::DingTalkToMatrix, None),
        load("Matrix → DingTalk", Way::MatrixToDingTalk, None),
        load("DingTalk → Matrix, paced", Way::DingTalkToMatrix, Some(options.rate)),
        load("Matrix → DingTalk, paced", Way::MatrixToDingTalk, Some(options.rate)),
    ] {
        runs.extend(carry(&mut rig, load, amount, progress).await?);
    }
    let most_kib = usage(pid)?.peak_kib;
    let killed = if options.kills > 0 {
        progress(&format!("{} kills while messages go both ways.", options.kills));
        Some(
            kills::run(&mut rig, chats, options.kills, options.seed)
                .await
                .with_context(|| rig.last_words())?,
        )
    } else {
        None
    };
    rig.stop_between().await?;
    Ok(Measured { bridge, title: bridge.title(), start_ms, idle_kib, most_kib, runs, killed })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn wanted(arguments: &[&str]) -> Vec<Candidate> {
        let options = Cli::parse_from([&["peers"], arguments].concat()).options;
        Candidate::ALL.into_iter().filter(|bridge| options.wants(*bridge)).collect()
    }

    #[test]
    fn each_bridge_has_a_switch() {
        assert_eq!(wanted(&[]), Candidate::ALL);
        assert_eq!(wanted(&["--only", "ours", "--only", "bridgev2"]), [Candidate::Ours, Candidate::Bridgev2]);
        assert_eq!(
            wanted(&["--skip", "appservice-bridge,mautrix-python"]),
            [Candidate::Ours, Candidate::Bridgev2]
        );
        assert!(Cli::try_parse_from(["peers", "--only", "ours", "--skip", "bridgev2"]).is_err());
        assert!(Cli::try_parse_from(["peers", "--only", "mautrix"]).is_err());
    }
}
