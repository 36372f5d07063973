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
use crate::seal::{Keyring, Sealer};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement waits for another connection. There is one writer, so this is for checkpoints.
const BUSY: Duration = Duration::from_secs(10);

/// Page cache of one connection, in KiB.
const CACHE_KIB: u32 = 1_024;

fn connection(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .statement_cache_capacity(256)
        .pragma("cache_size", format!("-{CACHE_KIB}"))
        .pragma("mmap_size", "0")
        .pragma("temp_store", "MEMORY")
        .pragma("journal_size_limit", "16777216")
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
    let mut conn = connection(path).connect().await?;
    // A file that is no database answers the first read, not the opening.
    sqlx::query("PRAGMA schema_version").execute(&mut conn).await?;
    MIGRATIONS.run(&mut conn).await.map_err(|error| StoreError::Migration(error.to_string()))?;
    Ok(conn)
}

pub(super) async fn migrate(path: &Path) -> Result<i64, StoreError> {
    make_file(path)?;
    let _lock = lock(path)?;
    let conn = migrated(path).await?;
    conn.close().await?;
    Ok(latest())
}

pub(super) async fn check(path: &Path) -> Result<Checked, StoreError> {
    std::fs::metadata(path).map_err(|error| file_error(path, error))?;
    let mut conn = connection(path).read_only(true).connect().await?;
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut conn).await?;
    if found != "ok" {
        return Err(StoreError::Damaged(found));
    }
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut conn)
            .await?;
    let version = if tables == 0 {
        0
    } else {
        sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .fetch_one(&mut conn)
            .await?
    };
    conn.close().await?;
    if version > latest() {
        return Err(StoreError::Migration(format!(
            "the database is at version {version}, this program knows {} only",
            latest()
        )));
    }
    Ok(Checked { version, latest: latest() })
}

pub(super) async fn open(options: Options, keys: Keyring) -> Result<Sqlite, StoreError> {
    let Options { path, workspace, feed_budget_bytes, read_connections } = options;
    make_file(&path)?;
    let lock = lock(&path)?;
    let mut conn = migrated(&path).await?;
    claim(&mut conn, &workspace).await?;

    let next_inbox: i64 =
        sqlx::query_scalar("SELECT coalesce(max(seq), 0) + 1 FROM inbox").fetch_one(&mut conn).await?;
    let last_outbox: i64 =
        sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM outbox").fetch_one(&mut conn).await?;
    let pending =
        sqlx::query("SELECT lane, max(seq) AS last FROM inbox WHERE state = 0 GROUP BY lane ORDER BY lane")
            .fetch_all(&mut conn)
            .await?
            .into_iter()
            .map(|row| Ok((Lane::from_key(row.try_get("lane")?), InboxSeq(row.try_get("last")?))))
            .collect::<Result<Vec<_>, sqlx::Error>>()?;

    let gate = Arc::new(Gate::new(feed_budget_bytes, pending, InboxSeq(next_inbox - 1)));
    let sealer = Arc::new(Sealer::new(keys, workspace));
    let readers = SqlitePoolOptions::new()
        .max_connections(read_connections.max(1))
        .min_connections(1)
        .connect_with(connection(&path).read_only(true))
        .await?;
    let writer = Writer::start(conn, Arc::clone(&sealer), Arc::clone(&gate), next_inbox);
    // Numbers of rows that are gone must not come again: they are part of keys.
    let from_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let from_time = i64::try_from(from_time).unwrap_or(0).saturating_mul(1_000);
    let next_outbox = AtomicI64::new(from_time.max(last_outbox + 1));
    Ok(Sqlite { path, sealer, gate, readers, writer, next_outbox, lock: std::sync::Mutex::new(Some(lock)) })
}

/// Binds a new database to the workspace; refuses another's.
async fn claim(conn: &mut SqliteConnection, workspace: &str) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO meta (name, value) VALUES ('workspace', ?) ON CONFLICT DO NOTHING")
        .bind(workspace)
        .execute(&mut *conn)
        .await?;
    let found: String =
        sqlx::query_scalar("SELECT value FROM meta WHERE name = 'workspace'").fetch_one(&mut *conn).await?;
    if found == workspace {
        return Ok(());
    }
    Err(StoreError::Workspace { found, expected: workspace.to_owned() })
}
