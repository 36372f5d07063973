//! `db migrate|check`.

use bridge_store::sqlite;
use clap::Subcommand;

use crate::cli::{File, print};

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
                let path = config.database.url.sqlite_path();
                let version = sqlite::migrate(path).await?;
                print(&format!("{}: at version {version}", path.display()))
            }
            Command::Check(file) => {
                let config = file.read()?;
                let path = config.database.url.sqlite_path();
                let checked = sqlite::check(path).await?;
                if checked.version < checked.latest {
                    anyhow::bail!(
                        "{}: at version {}, this program has {}; run: dingtalk-bridge db migrate --config {}",
                        path.display(),
                        checked.version,
                        checked.latest,
                        file.config.display()
                    );
                }
                print(&format!("{}: ok, at version {}", path.display(), checked.version))
            }
        }
    })
}
