//! The command line.

mod config;
mod db;
mod progress;
pub(crate) mod registration;
mod run;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use bridge_config::Config;
use clap::{Args, Parser, Subcommand};

/// A bridge between DingTalk (钉钉) and Matrix.
#[derive(Parser)]
#[command(
    name = "dingtalk-bridge",
    version,
    after_help = "Examples:\n  dingtalk-bridge config example > bridge.toml\n  dingtalk-bridge config check --config bridge.toml\n  \
                  dingtalk-bridge registration generate --config bridge.toml\n  dingtalk-bridge run --config bridge.toml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the bridge until SIGTERM or Ctrl-C.
    #[command(after_help = "Example:\n  dingtalk-bridge run --config /etc/dingtalk-bridge/bridge.toml")]
    Run(File),
    /// Make or check the registration file that the homeserver reads.
    #[command(subcommand)]
    Registration(registration::Command),
    /// Check or explain the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Look after the database: bring it up to date, check it, move it, back it up.
    #[command(subcommand)]
    Db(db::Command),
}

/// Where the configuration is.
#[derive(Args)]
struct File {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", env = "DINGTALK_BRIDGE_CONFIG", default_value = "bridge.toml")]
    config: PathBuf,
}

impl File {
    fn read(&self) -> anyhow::Result<Config> {
        let name = self.config.display().to_string();
        let text = std::fs::read_to_string(&self.config)
            .map_err(|error| anyhow::anyhow!("{name}: {error}; name the file with --config FILE"))?;
        Config::parse(&text).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(|error| error.in_file(&name).to_string()).collect();
            anyhow::anyhow!("{}", lines.join("\n"))
        })
    }
}

/// Runs the program; what goes wrong is written to standard error.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(file) => run::run(&file),
        Command::Registration(command) => registration::run(command),
        Command::Config(command) => config::run(command),
        Command::Db(command) => db::run(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a line for people or scripts to standard output.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()?)
}
