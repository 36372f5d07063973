//! `db migrate|check|reseal|copy|backup|restore`.

use std::path::PathBuf;

use bridge_config::Config;
use bridge_store::{Checked, Restored, Sealing};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::progress::Progress;
use crate::cli::{File, print};
use crate::database;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make the database, or bring it to this version. Safe to repeat; `run` does it as well.
    #[command(after_help = "Example:\n  dingtalk-bridge db migrate --config bridge.toml")]
    Migrate(File),
    /// Look whether the database is sound and of this version, and which sealing keys it needs, without changing it.
    #[command(after_help = "Examples:\n  dingtalk-bridge db check --config bridge.toml\n  \
                            dingtalk-bridge db check --config bridge.toml --json | jq .sealing")]
    Check(Check),
    /// Seal anew with the current key what old keys sealed. A running bridge does so by itself after its start; this is
    /// for one that is stopped. Safe to interrupt and to repeat.
    #[command(after_help = "Example:\n  dingtalk-bridge db reseal --config bridge.toml")]
    Reseal(File),
    /// Copy everything into another, empty database: from SQLite to PostgreSQL, back, or to another place. Stop the
    /// bridge first. All of it or nothing is copied, and compared; the source stays as it is.
    #[command(
        after_help = "Examples:\n  dingtalk-bridge db copy --from bridge.toml --to bridge-postgresql.toml\n\n\
                            The two configurations may differ in [database] alone. Repeated after an interruption it \n\
                            begins anew; repeated after it succeeded it says so."
    )]
    Copy(Copy),
    /// Write a copy of an SQLite database into a new file, also while the bridge runs.
    #[command(
        after_help = "Example:\n  dingtalk-bridge db backup /backup/bridge-2026-03-01.db --config bridge.toml"
    )]
    Backup(Backup),
    /// Put a backup back, or get a database ready that was put back otherwise, so that nothing is posted to DingTalk twice.
    #[command(
        after_help = "Examples:\n  dingtalk-bridge db restore /backup/bridge-2026-03-01.db --config bridge.toml\n  \
                            dingtalk-bridge db restore /backup/bridge-2026-03-01.db --move-to bridge-before.db --config bridge.toml\n  \
                            dingtalk-bridge db restore --config bridge.toml   # after pg_restore, or a volume's snapshot"
    )]
    Restore(Restore),
}

#[derive(Args)]
pub(super) struct Copy {
    /// The configuration file with the database that is full.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The configuration file with the database that is empty.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Args)]
pub(super) struct Backup {
    /// Where to; it must not be there yet.
    #[arg(value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    file: File,
}

#[derive(Args)]
pub(super) struct Restore {
    /// The backup. Without it the database is taken as it is.
    #[arg(value_name = "FILE")]
    backup: Option<PathBuf>,
    /// The SQLite database that is there is kept under this name, which must be free; without it there must be none
    #[arg(long, value_name = "ASIDE", requires = "backup")]
    move_to: Option<PathBuf>,
    #[command(flatten)]
    file: File,
}

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: File,
    /// Answer for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    super::runtime()?.block_on(async {
        match command {
            Command::Migrate(file) => {
                let config = file.read()?;
                let version = database::migrate(&config).await?;
                print(&format!("{}: at version {version}", database::name(&config)))
            }
            Command::Check(check) => check.run().await,
            Command::Reseal(file) => reseal(&file.read()?).await,
            Command::Copy(files) => files.run().await,
            Command::Backup(backup) => backup.run(),
            Command::Restore(restore) => restore.run().await,
        }
    })
}

impl Check {
    async fn run(&self) -> anyhow::Result<()> {
        let config = self.file.read()?;
        let checked = database::check(&config).await?;
        let name = database::name(&config);
        if self.json {
            print(&self::json(&config, &checked).to_string())?;
        }
        if checked.version < checked.latest {
            anyhow::bail!(
                "{name}: at version {}, this program has {}; run: dingtalk-bridge db migrate --config {}",
                checked.version,
                checked.latest,
                self.file.config.display()
            );
        }
        if self.json {
            return Ok(());
        }
        print(&format!("{name}: ok, at version {}\n{}", checked.version, sealed(&config, &checked.sealing)))
    }
}

fn json(config: &Config, checked: &Checked) -> serde_json::Value {
    let files = config.security.old_sealing_key_files.iter();
    let old: Vec<_> = files
        .zip(&checked.sealing.old)
        .map(|(file, rows)| json!({ "file": file.display().to_string(), "rows": rows }))
        .collect();
    json!({
        "database": database::name(config),
        "version": checked.version,
        "latest": checked.latest,
        "sealing": {
            "current": checked.sealing.current,
            "old": old,
            "unknown": checked.sealing.unknown,
            "rowsWithOldKeys": checked.sealing.rows_with_old_keys(),
        },
    })
}

/// Which keys are needed, a line each.
fn sealed(config: &Config, sealing: &Sealing) -> String {
    let mut lines = vec![format!("{} rows are sealed with the current key", sealing.current)];
    let old = config.security.old_sealing_key_files.iter().zip(&sealing.old);
    lines.extend(old.map(|(file, rows)| match rows {
        0 => format!("no row is sealed with the old key {}: it can be removed", file.display()),
        _ => format!("{rows} rows are sealed with the old key {}: keep it", file.display()),
    }));
    if sealing.unknown > 0 {
        lines.push(format!(
            "{} rows are sealed with a key that is not given: add it to security.old_sealing_key_files",
            sealing.unknown
        ));
    }
    lines.join("\n")
}

async fn reseal(config: &Config) -> anyhow::Result<()> {
    let name = database::name(config);
    let store = database::open_now(config).await?;
    let progress = Progress::default();
    let outcome =
        database::reseal(&*store, |left| progress.tell(|| format!("{name}: {left} rows to be sealed anew")))
            .await;
    // Closed in any case, so that the lock is free.
    store.close().await?;
    let after = outcome?;
    let left = after.rows_with_old_keys();
    anyhow::ensure!(
        left == 0,
        "{name}: {left} rows do not open and were left as they are: restore them from a backup, or add their key to \
         security.old_sealing_key_files\n{}",
        sealed(config, &after)
    );
    print(&format!("{name}: {}", sealed(config, &after)))
}

impl Copy {
    async fn run(&self) -> anyhow::Result<()> {
        let read = |config: &PathBuf| File { config: config.clone() }.read();
        let (from, to) = (read(&self.from)?, read(&self.to)?);
        let (source, target) = (database::name(&from), database::name(&to));
        let progress = Progress::default();
        let copied = database::copy(&from, &to, &|done| {
            progress.tell(|| {
                let what = if done.comparing { "compared" } else { "copied" };
                format!("{}: {} rows {what}", done.table, done.rows)
            });
        })
        .await?;
        let rows = copied.tables.iter().filter(|(_, rows)| *rows > 0);
        let rows = rows.map(|(table, rows)| format!("  {rows:>9}  {table}")).collect::<Vec<_>>().join("\n");
        let what = if copied.already {
            format!("{target} holds the same as {source} already")
        } else {
            format!("copied {source} to {target}, and compared")
        };
        print(&format!("{what}:\n{rows}\nRun the bridge with {} from now on.", self.to.display()))
    }
}

impl Backup {
    fn run(&self) -> anyhow::Result<()> {
        let config = self.file.read()?;
        let bytes = database::backup(&config, &self.to)?;
        print(&format!(
            "{}: {bytes} bytes. Keep the sealing key elsewhere: without it nobody reads it.",
            self.to.display()
        ))
    }
}

impl Restore {
    async fn run(&self) -> anyhow::Result<()> {
        let config = self.file.read()?;
        let Restored { posts, events, chats } =
            database::restore(&config, self.backup.as_deref(), self.move_to.as_deref()).await?;
        print(&format!(
            "{}: ready.\n{posts} messages that waited for DingTalk may have been sent since: `status` lists them, `retry` \
             sends them.\n{events} messages and commands from Matrix that waited are not carried out.\n{chats} rooms are \
             read from now on.",
            database::name(&config)
        ))
    }
}
