//! Measures what the product promises about speed and size.
//!
//! `bench relay` starts the bridge between a homeserver stub and a small DingTalk, each a process of its own, and
//! drives both ways; with `--encryption` once more in encrypted rooms. `bench media` sends a large file through it.
//! `bench peers` puts bridges made with other frameworks in its place. `bench operator` has many objects on a real control
//! plane. `bench faults` kills the bridge a thousand times. `bench growth`, `bench overload` and `bench endurance` say what
//! becomes of the figures when there is more, too much, and for how long. All print figures; they never fail because something
//! was slow, only because our own bridge lost, doubled or reordered a message, a file was not whole, or the operator wrote what
//! it should not.

mod app;
mod endurance;
mod faults;
mod figures;
mod forward;
mod frame;
mod growth;
mod machine;
mod marks;
mod media;
mod numbers;
mod operator;
mod overload;
mod past;
mod peers;
mod push;
mod relay;
mod sink;
mod wire;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde::{Serialize, de::DeserializeOwned};

/// Measures speed and size; run it from a release build
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Cli {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Messages per second, latency, processor time and memory of the bridge, beside a bare forwarder
    Relay(relay::Options),
    /// Memory of the bridge while a large file goes through it, each way
    Media(media::Options),
    /// Speed, latency, memory and losses of the bridge beside small ones with other frameworks; not among those without a name
    Peers(peers::Options),
    /// Requests, speed, memory and failover of the operator with many objects
    Operator(operator::Options),
    /// Messages lost, doubled, reordered or altered under kills and faults; not among those without a name
    Faults(faults::Options),
    /// Speed, latency, memory and start as chats, writers and earlier messages become more; not among those without a name
    Growth(growth::Options),
    /// Memory, answers and recovery where more comes than can be handled; not among those without a name
    Overload(overload::Options),
    /// Memory, files and tables over a long time under load; not among those without a name
    Endurance(endurance::Options),
    /// DingTalk's sending calls; started by `relay` and `peers`
    #[command(hide = true)]
    Sink,
    /// People who write in DingTalk; started by `relay` and `peers`
    #[command(hide = true)]
    Push { job: PathBuf },
    /// The bare forwarder; started by `relay`
    #[command(hide = true)]
    Forward { job: PathBuf },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().what {
        None => threads().and_then(|threads| threads.block_on(all())),
        Some(What::Relay(options)) => threads().and_then(|threads| threads.block_on(relay::run(options))),
        Some(What::Media(options)) => threads().and_then(|threads| threads.block_on(media::run(options))),
        Some(What::Peers(options)) => {
            threads().and_then(|threads| threads.block_on(Box::pin(peers::run(options))))
        }
        Some(What::Operator(options)) => {
            threads().and_then(|threads| threads.block_on(Box::pin(operator::run(options))))
        }
        Some(What::Faults(options)) => threads().and_then(|threads| threads.block_on(faults::run(options))),
        Some(What::Growth(options)) => {
            threads().and_then(|threads| threads.block_on(Box::pin(growth::run(options))))
        }
        Some(What::Overload(options)) => {
            threads().and_then(|threads| threads.block_on(Box::pin(overload::run(options))))
        }
        Some(What::Endurance(options)) => {
            threads().and_then(|threads| threads.block_on(Box::pin(endurance::run(options))))
        }
        Some(What::Sink) => one_thread().and_then(|thread| thread.block_on(sink::run())),
        Some(What::Push { job }) => one_thread().and_then(|thread| thread.block_on(push::run(&job))),
        Some(What::Forward { job }) => threads().and_then(|threads| threads.block_on(forward::run(&job))),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Every measurement, one after the other.
async fn all() -> anyhow::Result<bool> {
    let relay = relay::run(relay::Options::default()).await?;
    let media = media::run(media::Options::default()).await?;
    Ok(Box::pin(operator::run(operator::Options::default())).await? && relay && media)
}

/// The runtime of the bridge: the forwarder has the same.
fn threads() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// A runtime that takes as little of the machine as it can.
fn one_thread() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn read_job<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

/// Tells the starting process something, in one line of JSON.
fn announce(what: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}
