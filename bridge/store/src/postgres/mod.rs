//! The store in a PostgreSQL database (14 or newer), in a schema of its own.
//!
//! One process works on it at a time. It holds a lock that belongs to its writing connection, so the lock cannot
//! outlive what may write under it; the server ends that connection when it has been silent for [`SILENCE`], so a
//! process that stands still loses it. Whoever gets the lock raises the *epoch*, and each transaction is written only
//! where the epoch still is the writer's own. What that gives is in `docs/decisions/0009-postgresql.md`.

mod address;
mod connect;
mod engine;
mod open;
mod text;
mod write;

use std::sync::Arc;
use std::time::Duration;

use bridge_core::secret::Secret;

use crate::error::StoreError;
use crate::seal::Keyring;
use crate::store::{Checked, Store};

pub(crate) use self::open::locked;

/// How long the server keeps the lock of a process from which it hears nothing.
pub const SILENCE: Duration = Duration::from_secs(15);

/// Where the database is.
#[derive(Debug, Clone)]
pub struct Server {
    /// `postgres://user:password@host:port/database?sslmode=…`.
    pub address: Secret,
    /// Certificate authorities beside the public ones, as PEM.
    pub ca: Option<Vec<u8>>,
    /// The schema; none for the role's first one. It is made if it is missing and the role may.
    pub schema: Option<String>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
}

impl Server {
    /// With 5 s for connecting and 10 s for a statement.
    pub fn new(address: Secret) -> Self {
        Self {
            address,
            ca: None,
            schema: None,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
        }
    }
}

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is.
    pub server: Server,
    /// The workspace sealed values are bound to. A database remembers it and refuses another.
    pub workspace: String,
    /// Bytes of the feed's memory budget.
    pub feed_budget_bytes: usize,
    /// Connections for reading, beside the one that writes.
    pub read_connections: u32,
    /// Wait while the server is away or another process works on the database, instead of refusing.
    pub wait: bool,
}

impl Options {
    /// With 8 MiB for the feed and 2 connections for reading; waits.
    pub fn new(server: Server, workspace: impl Into<String>) -> Self {
        Self {
            server,
            workspace: workspace.into(),
            feed_budget_bytes: 8 << 20,
            read_connections: 2,
            wait: true,
        }
    }
}

/// Why [`open`] has not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Another process works on the database; this one takes over when it ends.
    Standby,
    /// The database is away; a stable code.
    Away(&'static str),
}

/// Waits until this process is the one that works on the database, migrates it and opens the store. `tell` learns
/// what is waited for, whenever that changes. An error is one that waiting does not mend, or, with
/// [`Options::wait`] off, any.
pub async fn open(
    options: Options,
    keys: Keyring,
    tell: impl Fn(Waiting) + Send + Sync,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(open::open(options, keys, &tell).await?))
}

/// Looks at a database without changing it and without the lock: an older version is no error. Of the keys only their
/// names are used; none has to fit.
pub async fn check(server: &Server, keys: Keyring) -> Result<Checked, StoreError> {
    open::check(server, keys).await
}

/// Brings a database to this version and returns that version. Others that do the same wait.
pub async fn migrate(server: &Server) -> Result<i64, StoreError> {
    open::migrate(server).await
}
