//! The database that the configuration names.

use std::path::Path;
use std::sync::Arc;

use bridge_config::{Config, Database, DatabaseKind, SealingKey};
use bridge_store::postgres::Waiting;
use bridge_store::{Checked, Keyring, Store, StoreError, postgres, sqlite};

use crate::files;

/// Opens it. With PostgreSQL this waits while the server is away or another process works; `tell` learns of it.
pub(crate) async fn open(
    config: &Config,
    tell: impl Fn(Waiting) + Send + Sync,
) -> anyhow::Result<Arc<dyn Store>> {
    let (current, old) = sealing_keys(config)?;
    let keys = Keyring::new(current, old);
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

/// Looks whether it is sound and at which version.
pub(crate) async fn check(config: &Config) -> anyhow::Result<Checked> {
    Ok(match config.database.kind() {
        DatabaseKind::Sqlite(path) => sqlite::check(path).await?,
        DatabaseKind::PostgreSql(file) => {
            postgres::check(&server(&config.database, file)?).await.map_err(|error| named(file, &error))?
        }
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
