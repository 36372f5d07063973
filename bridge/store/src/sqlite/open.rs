//! Opening: file, lock, migrations, connections.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bridge_core::envelope::Lane;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row};

use super::read::Sqlite;
use super::writer::Writer;
use super::{Checked, Options};
use crate::error::StoreError;
use crate::feed::Gate;
use crate::inbox::InboxSeq;
use crate::seal::{Keyring, Place, Sealer};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement waits for another connection. There is one writer, so this is for checkpoints.
const BUSY: Duration = Duration::from_secs(10);

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

fn file_error(path: &Path, source: std::io::Error) -> StoreError {
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
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: name }),
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

pub(super) async fn migrate(path: &Path) -> Result<i64, StoreError> {
    make_file(path)?;
    let _lock = lock(path)?;
    let conn = migrated(path).await?;
    conn.close().await?;
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

pub(super) async fn check(path: &Path) -> Result<Checked, StoreError> {
    std::fs::metadata(path).map_err(|error| file_error(path, error))?;
    let mut conn = connection(path).read_only(true).connect().await?;
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut conn).await?;
    if found != "ok" {
        return Err(StoreError::Damaged(found));
    }
    let version = version(&mut conn).await?;
    conn.close().await?;
    if version > latest() {
        return Err(newer());
    }
    Ok(Checked { version, latest: latest() })
}

pub(super) async fn open(options: Options, keys: Keyring) -> Result<Sqlite, StoreError> {
    let Options { path, workspace, feed_budget_bytes, read_connections } = options;
    make_file(&path)?;
    let lock = lock(&path)?;
    let mut conn = migrated(&path).await?;
    let sealer = Arc::new(Sealer::new(keys, workspace.as_str()));
    claim(&mut conn, &workspace, &sealer).await?;

    // Numbers of rows that are gone must not come again: people and logs name rows by them.
    let from_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let from_time = i64::try_from(from_time).unwrap_or(0).saturating_mul(1_000);
    let (inbox, outbox): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT coalesce(max(seq), 0) FROM inbox), (SELECT coalesce(max(seq), 0) FROM outbox)",
    )
    .fetch_one(&mut conn)
    .await?;
    // Above the rows that are there also when the clock went back, so that order holds.
    let (next_inbox, next_outbox) = (from_time.max(inbox + 1), from_time.max(outbox + 1));
    let pending =
        sqlx::query("SELECT lane, max(seq) AS last FROM inbox WHERE state = 0 GROUP BY lane ORDER BY lane")
            .fetch_all(&mut conn)
            .await?
            .into_iter()
            .map(|row| Ok((Lane::from_key(row.try_get("lane")?), InboxSeq(row.try_get("last")?))))
            .collect::<Result<Vec<_>, sqlx::Error>>()?;

    let gate = Arc::new(Gate::new(feed_budget_bytes, pending, InboxSeq(next_inbox - 1)));
    let readers = SqlitePoolOptions::new()
        .max_connections(read_connections.max(1))
        .min_connections(1)
        // A connection to a file does not go stale.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(connection(&path).read_only(true))
        .await?;
    let writer = Writer::start(conn, Arc::clone(&sealer), Arc::clone(&gate), next_inbox, lock);
    Ok(Sqlite { path, sealer, gate, readers, writer, next_outbox: AtomicI64::new(next_outbox) })
}

/// Opens only with a key that fits.
const PROBE: Place<'static> = Place { column: "meta.value", row: "probe" };

/// Makes a new database this workspace's and this key's; refuses another's, before a row of it fails to open.
async fn claim(conn: &mut SqliteConnection, workspace: &str, sealer: &Sealer) -> Result<(), StoreError> {
    let found: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'workspace'")
        .fetch_optional(&mut *conn)
        .await?;
    if let Some(found) = found.filter(|found| found != workspace) {
        return Err(StoreError::Workspace { found, expected: workspace.to_owned() });
    }
    let sealing = |source| StoreError::Seal { column: "meta.probe", source };
    let probe: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT value FROM meta WHERE name = 'probe'").fetch_optional(&mut *conn).await?;
    if let Some(probe) = probe {
        sealer.open(PROBE, &probe).map_err(sealing)?;
        if sealer.is_current(&probe) {
            return Ok(());
        }
    }
    // One statement: a crash leaves both or none.
    sqlx::query("INSERT OR REPLACE INTO meta (name, value) VALUES ('workspace', ?), ('probe', ?)")
        .bind(workspace)
        .bind(sealer.seal(PROBE, b"probe").map_err(sealing)?)
        .execute(conn)
        .await?;
    Ok(())
}
