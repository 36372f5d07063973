//! The stub as a program: prints one JSON line when it is ready, serves until SIGTERM or Ctrl-C.

use anyhow::Context;
use clap::Parser;
use homeserver_stub::{Feature, Mode, Options, Registration, start};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// A Matrix homeserver for load and faults.
#[derive(Debug, Parser)]
#[command(name = "homeserver-stub")]
struct Cli {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The part after the colon of user ids
    #[arg(long, default_value = "localhost.test")]
    server_name: String,
    /// The bridge's registration file
    #[arg(long)]
    registration: PathBuf,
    /// Which homeserver is imitated
    #[arg(long, value_enum, default_value_t = Mode::Synapse)]
    mode: Mode,
    /// Journal that lets a restarted stub go on where it was
    #[arg(long)]
    state: Option<PathBuf>,
    /// Number transactions from 1 again
    #[arg(long)]
    reset_transaction_ids: bool,
    /// Do not send the bridge the events of its own users
    #[arg(long)]
    no_echo: bool,
    /// Factor on every retry delay
    #[arg(long, default_value_t = 1.0)]
    retry_scale: f64,
    /// Largest upload in bytes
    #[arg(long, default_value_t = 50 * 1024 * 1024)]
    max_upload: u64,
    /// Version of new rooms; without it 12 for Synapse, 11 for Palpo
    #[arg(long)]
    room_version: Option<String>,
    /// Milliseconds the answer to a transaction may take
    #[arg(long, default_value_t = 60_000)]
    push_timeout_ms: u64,
    /// What Synapse has off unless its configuration says otherwise; may be a list with commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FEATURE")]
    experimental_features: Vec<Feature>,
}

/// What the environment asks for, else the stub's own lines and the warnings of all.
fn log_filter() -> Targets {
    let asked = std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse().ok());
    asked.unwrap_or_else(|| {
        Targets::new().with_default(Level::WARN).with_target("homeserver_stub", Level::INFO)
    })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(log_filter())).init();
    let cli = Cli::parse();
    anyhow::ensure!(
        cli.retry_scale.is_finite() && cli.retry_scale >= 0.0,
        "--retry-scale must not be negative"
    );
    let text =
        std::fs::read_to_string(&cli.registration).with_context(|| cli.registration.display().to_string())?;
    let mut options = Options::new(&cli.server_name, Registration::from_yaml(&text)?);
    options.listen = cli.listen;
    options.mode = cli.mode;
    options.state = cli.state;
    options.reset_transaction_ids = cli.reset_transaction_ids;
    options.echo = !cli.no_echo;
    options.retry_scale = cli.retry_scale;
    options.max_upload = cli.max_upload;
    options.room_version = cli.room_version;
    options.push_timeout = Duration::from_millis(cli.push_timeout_ms);
    options.features = cli.experimental_features;
    let mut terminate = signal(SignalKind::terminate())?;
    let stub = start(options).await?;
    announce(&stub.base_url(), &cli.server_name);
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    stub.shutdown().await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the line that tells a starting script the addresses")]
fn announce(url: &str, server_name: &str) {
    let control = format!("{url}/_stub/");
    let ready = serde_json::json!({"homeserver_url": url, "control": control, "server_name": server_name});
    println!("{ready}");
}
