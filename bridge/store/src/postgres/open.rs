//! Opening: checks of the server, the lock, migrations, connections.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::migrate::Migrator;
use tokio::sync::watch;

use super::connect::{Connector, Use, passes};
use super::engine::{Backend, Holder, Writing, lock};
use super::write::{Readers, Session};
use super::{Options, Server, Waiting};
use crate::error::StoreError;
use crate::seal::{Keyring, Sealer};
use crate::sealing::Sealing;
use crate::sql::opening::{self, Standing};
use crate::sql::{Columns, Sql, Writer, Writes, sealing};
use crate::store::Checked;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How often a standby tries to get the lock.
const TRY: Duration = Duration::from_millis(500);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

fn latest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn newer() -> StoreError {
    StoreError::Migration(format!(
        "the database is newer than this program, which knows version {} only",
        latest()
    ))
}

/// The lock's number: of this product and this schema; locks of other databases are apart anyway.
fn key(schema: &str) -> i64 {
    let digest = Sha256::new().chain_update(b"dingtalk-bridge works on\0").chain_update(schema).finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}

/// What a server must be, and the schema in use; none when it is not there yet.
async fn inspect(session: &mut Session) -> Result<Option<String>, StoreError> {
    let statement = "SELECT current_schema()::text AS schema, current_setting('server_encoding') AS encoding,
                     current_setting('fsync') AS fsync, pg_is_in_recovery() AS replica";
    let rows = session.rows(statement, &[]).await?;
    let row = rows.first().ok_or(StoreError::Unreadable { column: "pg_settings" })?;
    if row.flag("replica")? {
        // As the server itself would say at the first write.
        let read_only = std::io::Error::other("the server is a replica, which cannot be written");
        return Err(StoreError::Database(Arc::new(sqlx::Error::Io(read_only))));
    }
    let encoding = row.text("encoding")?;
    if encoding != "UTF8" {
        return Err(StoreError::Server(format!("the database has the encoding {encoding}; it must be UTF8")));
    }
    if row.text("fsync")? == "off" {
        tracing::warn!("the database server runs with fsync = off: a power failure can lose messages");
    }
    row.maybe_text("schema")
}

/// The schema in use; made if it is missing and named.
async fn schema(session: &mut Session, connector: &Connector) -> Result<String, StoreError> {
    if let Some(found) = inspect(session).await? {
        return Ok(found);
    }
    let Some(name) = &connector.schema else {
        return Err(StoreError::Server(
            "the role has no schema: give it one of its own name, or name one by database.schema".to_owned(),
        ));
    };
    // Two that start at once: the second finds it.
    if let Err(error) = session.raw(format!("CREATE SCHEMA IF NOT EXISTS \"{name}\"")).await
        && inspect(session).await?.is_none()
    {
        return Err(error);
    }
    Ok(name.clone())
}

/// The newest migration that ran; 0 for an empty schema. Refuses one of something else.
async fn version(session: &mut Session) -> Result<i64, StoreError> {
    let statement = "SELECT count(*) AS tables, count(*) FILTER (WHERE relname = '_sqlx_migrations') AS ours
                     FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace =
                     (SELECT oid FROM pg_namespace WHERE nspname = current_schema())";
    let rows = session.rows(statement, &[]).await?;
    let row = rows.first().ok_or(StoreError::Unreadable { column: "pg_class" })?;
    match (row.number("tables")?, row.number("ours")?) {
        (0, _) => return Ok(0),
        (_, 0) => {
            return Err(StoreError::Migration(
                "the schema holds tables of something else; name one of the bridge's own by database.schema"
                    .to_owned(),
            ));
        }
        _ => {}
    }
    let rows = session.rows("SELECT coalesce(max(version), 0) AS version FROM _sqlx_migrations", &[]).await?;
    rows.first().map_or(Ok(0), |row| row.number("version"))
}

/// Runs the migrations that are missing; whoever else does so waits.
async fn migrated(session: &mut Session) -> Result<(), StoreError> {
    if version(session).await? > latest() {
        return Err(newer());
    }
    match MIGRATIONS.run_direct(None, &mut session.conn, false).await {
        Ok(()) => Ok(()),
        Err(sqlx::migrate::MigrateError::Execute(error)) => Err(error.into()),
        Err(error) => Err(StoreError::Migration(error.to_string())),
    }
}

async fn service(connector: &Connector) -> Result<Session, StoreError> {
    let conn = connector.connect(Use::Service).await?;
    Ok(Session { conn, patience: Duration::from_hours(1) })
}

/// Locks a database that no other process works on, for as long as the session lasts, and brings it to this version.
pub(crate) async fn locked(server: &Server) -> Result<Session, StoreError> {
    let connector = Connector::new(server)?;
    let mut session = service(&connector).await?;
    let key = key(&schema(&mut session, &connector).await?);
    if !lock(&mut session, key).await? {
        return Err(held());
    }
    migrated(&mut session).await?;
    Ok(session)
}

fn held() -> StoreError {
    StoreError::InUse { lock: "it holds the lock of the schema".to_owned() }
}

pub(super) async fn migrate(server: &Server) -> Result<i64, StoreError> {
    let connector = Connector::new(server)?;
    let mut session = service(&connector).await?;
    schema(&mut session, &connector).await?;
    migrated(&mut session).await?;
    Ok(latest())
}

pub(super) async fn check(server: &Server, keys: Keyring) -> Result<Checked, StoreError> {
    let mut session = service(&Connector::new(server)?).await?;
    if inspect(&mut session).await?.is_none() {
        return Ok(Checked { version: 0, latest: latest(), sealing: Sealing::default() });
    }
    let version = version(&mut session).await?;
    if version > latest() {
        return Err(newer());
    }
    let mut sealing = Sealing::default();
    if version > 0 {
        super::write::read_all(&mut session, version).await?;
        // A seal is not opened, so it does not matter whose it is.
        sealing = sealing::count_on(&mut session, &Sealer::new(keys, ""), version).await?;
    }
    Ok(Checked { version, latest: latest(), sealing })
}

pub(super) async fn open(
    options: Options,
    keys: Keyring,
    tell: &(impl Fn(Waiting) + Send + Sync),
) -> Result<Sql<Readers>, StoreError> {
    let connector = Arc::new(Connector::new(&options.server)?);
    let sealer = Arc::new(Sealer::new(keys, options.workspace.as_str()));
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt(&connector, &options, &sealer, tell).await {
            Err(error) if options.wait && passes(&error) => {
                tracing::warn!(code = error.code(), "the database is not there yet: {error}");
                tell(Waiting::Away(error.code()));
            }
            other => return other,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn attempt(
    connector: &Arc<Connector>,
    options: &Options,
    sealer: &Arc<Sealer>,
    tell: &(impl Fn(Waiting) + Send + Sync),
) -> Result<Sql<Readers>, StoreError> {
    let conn = connector.connect(Use::Writing).await?;
    let mut session = Session { conn, patience: connector.patience() };
    let key = key(&schema(&mut session, connector).await?);
    // One that could never take over says so at once.
    if version(&mut session).await? > latest() {
        return Err(newer());
    }
    let mut waits = false;
    while !lock(&mut session, key).await? {
        if !options.wait {
            return Err(held());
        }
        if !waits {
            tracing::info!("another process works on the database: this one stands by");
            waits = true;
        }
        tell(Waiting::Standby);
        tokio::time::sleep(TRY).await;
    }
    // A migration may take longer than any statement of a message.
    session.raw("SET statement_timeout = 0".to_owned()).await?;
    migrated(&mut session).await?;
    session.raw(connector.settings(Use::Writing)).await?;
    opening::claim(&mut session, &options.workspace, sealer).await?;
    let holder = Holder::take(&mut session).await?;
    let backend = Backend::of(&mut session).await?;
    // The server's clock, so that numbers rise whichever machine works.
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now";
    let now = session.rows(now, &[]).await?.first().map_or(Ok(0), |row| row.number("now"))?;
    let Standing { next_inbox, next_outbox, gate } =
        opening::standing(&mut session, now, options.feed_budget_bytes).await?;
    if waits {
        tracing::info!("this process took over the database");
    }
    let (closing, watching) = watch::channel(false);
    let engine = Writing {
        connector: Arc::clone(connector),
        sealer: Arc::clone(sealer),
        session: Some(session),
        backend,
        key,
        holder,
        closing: watching,
        taken_over: false,
    };
    let writer = Writer::start(engine, Arc::clone(&gate), next_inbox, closing)?;
    let reads = Readers { pool: connector.pool(options.read_connections), patience: connector.patience() };
    Ok(Sql { sealer: Arc::clone(sealer), gate, reads, writer, next_outbox: AtomicI64::new(next_outbox) })
}
