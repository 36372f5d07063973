//! `db migrate|check`.

use clap::Subcommand;

use crate::cli::{File, print};
use crate::database;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make the database, or bring it to this version. Safe to repeat; `run` does it as well.
    Migrate(File),
    /// Look whether the database is sound and of this version, without changing it.
    Check(File),
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    super::runtime()?.block_on(async {
        match command {
            Command::Migrate(file) => {
                let config = file.read()?;
                let version = database::migrate(&config).await?;
                print(&format!("{}: at version {version}", database::name(&config)))
            }
            Command::Check(file) => {
                let config = file.read()?;
                let checked = database::check(&config).await?;
                let name = database::name(&config);
                if checked.version < checked.latest {
                    anyhow::bail!(
                        "{name}: at version {}, this program has {}; run: dingtalk-bridge db migrate --config {}",
                        checked.version,
                        checked.latest,
                        file.config.display()
                    );
                }
                print(&format!("{name}: ok, at version {}", checked.version))
            }
        }
    })
}
