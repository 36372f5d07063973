//! `config check|schema|example`.

use clap::Subcommand;

use crate::cli::{File, print};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Read the configuration file and report every mistake in it.
    #[command(after_help = "Example:\n  dingtalk-bridge config check --config bridge.toml")]
    Check(File),
    /// Print the JSON Schema of the configuration file.
    Schema,
    /// Print a configuration file with every setting, its meaning and its default.
    Example,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check(file) => {
            file.read()?;
            print(&format!("{}: ok", file.config.display()))
        }
        Command::Schema => print(&serde_json::to_string_pretty(&bridge_config::schema())?),
        Command::Example => print(&bridge_config::example()),
    }
}
