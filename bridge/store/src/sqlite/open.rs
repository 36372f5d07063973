//! Opening: file, lock, migrations, connections.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::watch;

use super::Options;
use super::connection::{BUSY, Connection, READ_CACHE_KIB};
use super::engine::Writing;
use super::read::Readers;
use crate::error::StoreError;
use crate::seal::{Keyring, Sealer};
use crate::sealing::Sealing;
use crate::sql::opening::{self, Standing};
use crate::sql::{Sql, Writer, sealing};
use crate::store::Checked;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// A connection of the pool, or for migrations.
fn connection(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .statement_cache_capacity(256)
        .pragma("cache_size", format!("-{READ_CACHE_KIB}"))
        .pragma("mmap_size", "0")
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

fn latest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

pub(super) fn file_error(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), source: Arc::new(source) }
}

/// Makes the file if it is missing, readable by its owner only.
fn make_file(path: &Path) -> Result<(), StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|error| file_error(path, error))
}

/// Locks the database for this process. The system releases the lock when the process ends, however it ends.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(|error| file_error(&name, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::InUse { lock: format!("lock file {}", name.display()) })
        }
        Err(TryLockError::Error(error)) => Err(file_error(&name, error)),
    }
}

async fn migrated(path: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::writing(path)?;
    if version(&conn)? > latest() {
        return Err(newer());
    }
    let mut migrating = connection(path).connect().await?;
    let done = MIGRATIONS.run_direct(None, &mut migrating, false).await;
    migrating.close().await?;
    done.map_err(|error| StoreError::Migration(error.to_string()))?;
    Ok(conn)
}

/// A database of this version that no other process works on.
pub(crate) struct Locked {
    pub(crate) conn: Connection,
    /// Held until the connection has ended.
    lock: File,
}

impl Locked {
    /// Takes the log into the database and ends.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.conn.close()?;
        drop(self.lock);
        Ok(())
    }
}

/// Locks a database and brings it to this version; makes it if it is missing.
pub(crate) async fn locked(path: &Path) -> Result<Locked, StoreError> {
    make_file(path)?;
    let lock = lock(path)?;
    Ok(Locked { conn: migrated(path).await?, lock })
}

/// The same with one that is there.
pub(crate) async fn existing(path: &Path) -> Result<Locked, StoreError> {
    std::fs::metadata(path).map_err(|error| file_error(path, error))?;
    locked(path).await
}

pub(super) async fn migrate(path: &Path) -> Result<i64, StoreError> {
    locked(path).await?.close()?;
    Ok(latest())
}

fn newer() -> StoreError {
    StoreError::Migration(format!(
        "the database is newer than this program, which knows version {} only",
        latest()
    ))
}

/// The newest migration that ran; 0 for an empty file. Refuses a database of something else.
fn version(conn: &Connection) -> Result<i64, StoreError> {
    let tables: i64 = conn.value("SELECT count(*) FROM sqlite_master")?;
    let ours: bool = conn.value("SELECT count(*) > 0 FROM sqlite_master WHERE name = '_sqlx_migrations'")?;
    match (tables, ours) {
        (0, _) => Ok(0),
        (_, false) => Err(StoreError::Migration("the file is a database of something else".to_owned())),
        _ => conn.value("SELECT coalesce(max(version), 0) FROM _sqlx_migrations"),
    }
}

/// A connection for reading a database that is not damaged.
pub(super) fn sound(path: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::reading(path)?;
    let found: String = conn.value("PRAGMA quick_check(1)")?;
    if found == "ok" { Ok(conn) } else { Err(StoreError::Damaged(found)) }
}

pub(super) async fn check(path: &Path, keys: Keyring) -> Result<Checked, StoreError> {
    std::fs::metadata(path).map_err(|error| file_error(path, error))?;
    let mut conn = sound(path)?;
    let version = version(&conn)?;
    if version > latest() {
        return Err(newer());
    }
    let sealing = match version {
        0 => Sealing::default(),
        // A seal is not opened, so it does not matter whose it is.
        _ => sealing::count_on(&mut conn, &Sealer::new(keys, ""), version).await?,
    };
    conn.close()?;
    Ok(Checked { version, latest: latest(), sealing })
}

pub(super) async fn open(options: Options, keys: Keyring) -> Result<Sql<Readers>, StoreError> {
    let Options { path, workspace, feed_budget_bytes, read_connections } = options;
    make_file(&path)?;
    let lock = lock(&path)?;
    let mut conn = migrated(&path).await?;
    let sealer = Arc::new(Sealer::new(keys, workspace.as_str()));
    opening::claim(&mut conn, &workspace, &sealer).await?;

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let Standing { next_inbox, next_outbox, gate } =
        opening::standing(&mut conn, i64::try_from(now).unwrap_or(0), feed_budget_bytes).await?;
    let pool = SqlitePoolOptions::new()
        .max_connections(read_connections.max(1))
        .min_connections(1)
        // A connection to a file does not go stale.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(connection(&path).read_only(true))
        .await?;
    let engine = Writing { conn, sealer: Arc::clone(&sealer), lock };
    let writer = Writer::start(engine, Arc::clone(&gate), next_inbox, watch::channel(false).0)?;
    let reads = Readers { path, pool };
    Ok(Sql { sealer, gate, reads, writer, next_outbox: AtomicI64::new(next_outbox) })
}
