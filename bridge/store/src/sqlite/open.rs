//! Opening: file, lock, migrations, connections.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::watch;

use super::Options;
use super::engine::Writing;
use super::write::Readers;
use crate::error::StoreError;
use crate::seal::{Keyring, Sealer};
use crate::sealing::Sealing;
use crate::sql::opening::{self, Standing};
use crate::sql::{Sql, Writer, sealing};
use crate::store::Checked;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement waits for another connection. There is one writer, so this is for checkpoints.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// Page cache of a reading connection, in KiB.
const READ_CACHE_KIB: u32 = 512;

/// Page cache of the writing connection, in KiB: as large as what it changes between two checkpoints, so that it
/// does not read back what it wrote. Filled under load only.
const WRITE_CACHE_KIB: u32 = 6_144;

/// The connection that writes.
fn writing(path: &Path) -> SqliteConnectOptions {
    connection(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", "16777216")
        .pragma("cache_size", format!("-{WRITE_CACHE_KIB}"))
}

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
fn lock(path: &Path) -> Result<File, StoreError> {
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

async fn migrated(path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut conn = writing(path).connect().await?;
    if version(&mut conn).await? > latest() {
        return Err(newer());
    }
    MIGRATIONS
        .run_direct(None, &mut conn, false)
        .await
        .map_err(|error| StoreError::Migration(error.to_string()))?;
    Ok(conn)
}

/// A database of this version that no other process works on.
pub(crate) struct Locked {
    pub(crate) conn: SqliteConnection,
    /// Held until the connection has ended.
    lock: File,
}

impl Locked {
    /// Takes the log into the database and ends.
    pub(crate) async fn close(self) -> Result<(), StoreError> {
        self.conn.close().await?;
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
    locked(path).await?.close().await?;
    Ok(latest())
}

fn newer() -> StoreError {
    StoreError::Migration(format!(
        "the database is newer than this program, which knows version {} only",
        latest()
    ))
}

/// The newest migration that ran; 0 for an empty file. Refuses a database of something else.
async fn version(conn: &mut SqliteConnection) -> Result<i64, StoreError> {
    let (tables, ours): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE name = '_sqlx_migrations') FROM sqlite_master",
    )
    .fetch_one(&mut *conn)
    .await?;
    match (tables, ours) {
        (0, _) => Ok(0),
        (_, 0) => Err(StoreError::Migration("the file is a database of something else".to_owned())),
        _ => Ok(sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .fetch_one(conn)
            .await?),
    }
}

/// A connection for reading a database that is not damaged.
pub(super) async fn sound(path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut conn = connection(path).read_only(true).connect().await?;
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut conn).await?;
    if found == "ok" { Ok(conn) } else { Err(StoreError::Damaged(found)) }
}

pub(super) async fn check(path: &Path, keys: Keyring) -> Result<Checked, StoreError> {
    std::fs::metadata(path).map_err(|error| file_error(path, error))?;
    let mut conn = sound(path).await?;
    let version = version(&mut conn).await?;
    if version > latest() {
        return Err(newer());
    }
    let sealing = match version {
        0 => Sealing::default(),
        // A seal is not opened, so it does not matter whose it is.
        _ => sealing::count_on(&mut conn, &Sealer::new(keys, ""), version).await?,
    };
    conn.close().await?;
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
    let writer = Writer::start(engine, Arc::clone(&gate), next_inbox, watch::channel(false).0);
    let reads = Readers { path, pool };
    Ok(Sql { sealer, gate, reads, writer, next_outbox: AtomicI64::new(next_outbox) })
}
