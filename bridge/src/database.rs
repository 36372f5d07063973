//! The database that the configuration names.

use std::path::Path;
use std::sync::Arc;

use bridge_config::{Config, Database, DatabaseKind, SealingKey};
use bridge_core::clock::Clock;
use bridge_store::postgres::Waiting;
use bridge_store::{
    Checked, Copied, CopyProgress, Keyring, Place, ResealPosition, Restored, Sealing, Store, StoreError,
    backup::{self, Present},
    postgres, sqlite,
};

use crate::boot::SystemClock;
use crate::files;

/// Opens it. With PostgreSQL this waits while the server is away or another process works; `tell` learns of it.
pub(crate) async fn open(
    config: &Config,
    tell: impl Fn(Waiting) + Send + Sync,
) -> anyhow::Result<Arc<dyn Store>> {
    open_with(config, true, tell).await
}

/// Opens it, or says why that is not possible now.
pub(crate) async fn open_now(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    open_with(config, false, |_| ()).await
}

async fn open_with(
    config: &Config,
    wait: bool,
    tell: impl Fn(Waiting) + Send + Sync,
) -> anyhow::Result<Arc<dyn Store>> {
    let keys = keyring(config)?;
    let workspace = config.workspace.id.as_str();
    let feed_budget_bytes = config.queue.feed_memory.as_usize();
    let read_connections = config.database.read_connections;
    Ok(match config.database.kind() {
        DatabaseKind::Sqlite(path) => {
            let options = sqlite::Options {
                feed_budget_bytes,
                read_connections,
                ..sqlite::Options::new(path, workspace)
            };
            sqlite::open(options, keys).await?
        }
        DatabaseKind::PostgreSql(file) => {
            let options = postgres::Options {
                feed_budget_bytes,
                read_connections,
                wait,
                ..postgres::Options::new(server(&config.database, file)?, workspace)
            };
            postgres::open(options, keys, tell).await.map_err(|error| named(file, &error))?
        }
    })
}

/// Brings it to this version, which is answered.
pub(crate) async fn migrate(config: &Config) -> anyhow::Result<i64> {
    Ok(match config.database.kind() {
        DatabaseKind::Sqlite(path) => sqlite::migrate(path).await?,
        DatabaseKind::PostgreSql(file) => {
            postgres::migrate(&server(&config.database, file)?).await.map_err(|error| named(file, &error))?
        }
    })
}

/// Copies one into another; `tell` learns how far it is.
pub(crate) async fn copy(
    from: &Config,
    to: &Config,
    tell: &(dyn Fn(CopyProgress) + Send + Sync),
) -> anyhow::Result<Copied> {
    let (source, target) = (&from.workspace.id, &to.workspace.id);
    anyhow::ensure!(
        source == target,
        "the configurations are of two workspaces: {source} and {target}; only [database] may differ"
    );
    let (places, keys) = ((place(from)?, place(to)?), keyring(to)?);
    Ok(bridge_store::copy(&places.0, &places.1, target.as_str(), keys, tell).await?)
}

/// Writes a copy of it into a new file; answers its size in bytes.
pub(crate) fn backup(config: &Config, file: &Path) -> anyhow::Result<u64> {
    match config.database.kind() {
        DatabaseKind::Sqlite(path) => Ok(backup::backup(path, file)?),
        DatabaseKind::PostgreSql(_) => anyhow::bail!(
            "{}: back it up with the server's own tools, e.g. pg_dump --schema; `db copy` makes an SQLite file of it",
            name(config)
        ),
    }
}

/// Puts a backup back, or takes what is there for one that was put back.
pub(crate) async fn restore(
    config: &Config,
    file: Option<&Path>,
    aside: Option<&Path>,
) -> anyhow::Result<Restored> {
    let (workspace, now) = (config.workspace.id.as_str(), SystemClock.now());
    let present = aside.map_or(Present::Refuse, Present::MoveTo);
    match (file, config.database.kind()) {
        (None, _) => Ok(backup::settle(&place(config)?, workspace, now).await?),
        (Some(file), DatabaseKind::Sqlite(path)) => {
            Ok(backup::restore(file, path, present, workspace, now).await?)
        }
        (Some(_), DatabaseKind::PostgreSql(_)) => anyhow::bail!(
            "{}: put the backup back with the server's own tools, then run this without a file",
            name(config)
        ),
    }
}

fn place(config: &Config) -> anyhow::Result<Place> {
    Ok(match config.database.kind() {
        DatabaseKind::Sqlite(path) => Place::Sqlite(path.to_owned()),
        DatabaseKind::PostgreSql(file) => Place::Postgres(server(&config.database, file)?),
    })
}

/// Looks whether it is sound and at which version.
pub(crate) async fn check(config: &Config) -> anyhow::Result<Checked> {
    let keys = keyring(config)?;
    Ok(match config.database.kind() {
        DatabaseKind::Sqlite(path) => sqlite::check(path, keys).await?,
        DatabaseKind::PostgreSql(file) => postgres::check(&server(&config.database, file)?, keys)
            .await
            .map_err(|error| named(file, &error))?,
    })
}

/// What people call it: its file, or the file with its address.
pub(crate) fn name(config: &Config) -> String {
    match config.database.kind() {
        DatabaseKind::Sqlite(path) => path.display().to_string(),
        DatabaseKind::PostgreSql(file) => format!("PostgreSQL ({})", file.display()),
    }
}

/// An error about the address is one about the file that holds it.
fn named(file: &Path, error: &StoreError) -> anyhow::Error {
    anyhow::anyhow!("database.url_file ({}): {error}", file.display())
}

fn server(database: &Database, file: &Path) -> anyhow::Result<postgres::Server> {
    let ca = database.ca_file.as_ref();
    Ok(postgres::Server {
        ca: ca.map(|path| files::content("database.ca_file", path)).transpose()?,
        schema: database.schema.as_ref().map(|name| name.as_str().to_owned()),
        connect_timeout: database.connect_timeout.get(),
        statement_timeout: database.statement_timeout.get(),
        ..postgres::Server::new(files::secret("database.url_file", file)?)
    })
}

/// Seals anew what old keys sealed. `tell` learns how many rows are left, first of all of how many there are; answers
/// what is left at the end, which is what does not open.
pub(crate) async fn reseal(store: &dyn Store, tell: impl Fn(u64)) -> Result<Sealing, StoreError> {
    let before = store.sealing().await?;
    let mut left = before.rows_with_old_keys();
    tell(left);
    let mut position = (left > 0).then(ResealPosition::default);
    while let Some(from) = position {
        let step = store.reseal(from).await?;
        left = left.saturating_sub(step.rows);
        tell(left);
        position = step.next;
    }
    // What commits removed or replaced meanwhile was not counted.
    let after = store.sealing().await?;
    tell(after.rows_with_old_keys());
    Ok(after)
}

fn keyring(config: &Config) -> anyhow::Result<Keyring> {
    let (current, old) = sealing_keys(config)?;
    Ok(Keyring::new(current, old))
}

/// The sealing key and those before it.
pub(crate) fn sealing_keys(config: &Config) -> anyhow::Result<([u8; 32], Vec<[u8; 32]>)> {
    let key = |setting: &str, path: &Path| -> anyhow::Result<[u8; 32]> {
        let key = SealingKey::parse(&files::content(setting, path)?)
            .map_err(|fault| anyhow::anyhow!("{setting}: {} {fault}", path.display()))?;
        Ok(*key.bytes())
    };
    let security = &config.security;
    let current = key("security.sealing_key_file", &security.sealing_key_file)?;
    let old = security.old_sealing_key_files.iter();
    let old = old.map(|path| key("security.old_sealing_key_files", path)).collect::<Result<_, _>>()?;
    Ok((current, old))
}
