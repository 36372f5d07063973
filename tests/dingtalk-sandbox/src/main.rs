//! The sandbox as a program: prints one JSON line with its addresses, then serves until SIGTERM or Ctrl-C.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use dingtalk_sandbox::{Options, start};
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// DingTalk for tests: strict, with a control API and a page.
#[derive(Debug, Parser)]
#[command(name = "dingtalk-sandbox")]
struct Cli {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address under which others reach the sandbox, for sessionWebhook and downloads
    #[arg(long)]
    public_url: Option<String>,
    /// Journal that lets a restarted sandbox go on where it was
    #[arg(long)]
    state: Option<PathBuf>,
    /// DingTalk's waiting times are divided by this
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// Ids of the same seed are the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Name of the company
    #[arg(long, default_value = "桥接示例科技")]
    company: String,
    /// Number of people
    #[arg(long, default_value_t = 4)]
    people: usize,
    /// Number of groups with the bot
    #[arg(long, default_value_t = 2)]
    groups: usize,
    /// Do not deliver unanswered bot callbacks again
    #[arg(long)]
    no_redeliver: bool,
    /// What is to be pushed over Stream is lost while no connection is open
    #[arg(long)]
    stream_loses: bool,
    /// Callbacks of one chat may be under way at the same time
    #[arg(long)]
    parallel: bool,
    /// Callbacks under way at the same time
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Milliseconds an answer to a push may take
    #[arg(long, default_value_t = 2500)]
    answer_limit_ms: u64,
    /// Seconds a sessionWebhook lives; without it 90 min, scaled
    #[arg(long)]
    session_seconds: Option<u64>,
    /// PEM file with certificates trusted for https webhooks
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Host name that no DNS knows, as NAME=ADDRESS:PORT; may be repeated
    #[arg(long, value_parser = name_and_address)]
    resolve: Vec<(String, SocketAddr)>,
}

fn name_and_address(text: &str) -> Result<(String, SocketAddr), String> {
    let (name, address) = text.split_once('=').ok_or("expected NAME=ADDRESS:PORT")?;
    address.parse().map(|address| (name.to_owned(), address)).map_err(|error| format!("{address}: {error}"))
}

/// What the environment asks for, else the sandbox's own lines and the warnings of all.
fn log_filter() -> Targets {
    let asked = std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse().ok());
    asked.unwrap_or_else(|| {
        Targets::new().with_default(Level::WARN).with_target("dingtalk_sandbox", Level::INFO)
    })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(log_filter())).init();
    let cli = Cli::parse();
    anyhow::ensure!(cli.time_scale > 0.0, "--time-scale must be above 0");
    let sandbox = start(Options {
        listen: cli.listen,
        public_url: cli.public_url,
        state: cli.state,
        time_scale: cli.time_scale,
        seed: cli.seed,
        company: cli.company,
        people: cli.people,
        groups: cli.groups,
        redeliver: !cli.no_redeliver,
        stream_loses: cli.stream_loses,
        parallel: cli.parallel,
        in_flight: cli.in_flight,
        answer_limit: Duration::from_millis(cli.answer_limit_ms),
        session_life: cli.session_seconds.map(Duration::from_secs),
        ca: cli.ca,
        resolve: cli.resolve,
    })
    .await?;
    announce(&sandbox);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    sandbox.shutdown().await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the line that tells a starting script the addresses")]
fn announce(sandbox: &dingtalk_sandbox::Sandbox) {
    let local = format!("http://{}", sandbox.address());
    println!(
        "{}",
        serde_json::json!({
            "sandbox_url": sandbox.base_url(),
            "local_url": local,
            "page": format!("{local}/"),
            "control": format!("{local}/_sandbox/"),
            "world": sandbox.world(),
        })
    );
}
