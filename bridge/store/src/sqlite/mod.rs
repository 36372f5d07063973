//! The store in one SQLite file.

mod backup;
mod connection;
mod engine;
mod open;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::StoreError;
use crate::seal::Keyring;
pub use crate::store::Checked;
use crate::store::Store;

pub(crate) use self::backup::Prepared;
pub(crate) use self::open::{existing, locked};

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file. Beside it come `-wal`, `-shm` and `.lock`.
    pub path: PathBuf,
    /// The workspace sealed values are bound to. A database remembers it and refuses another.
    pub workspace: String,
    /// Bytes of the feed's memory budget.
    pub feed_budget_bytes: usize,
    /// Connections for reading. Each costs a thread and its page cache.
    pub read_connections: u32,
}

impl Options {
    /// With 8 MiB for the feed and 2 connections for reading.
    pub fn new(path: impl Into<PathBuf>, workspace: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            workspace: workspace.into(),
            feed_budget_bytes: 8 << 20,
            read_connections: 2,
        }
    }
}

/// Makes the file (mode 0600) if it is missing, locks it, migrates it and opens the store. A crash in between
/// leaves a database that the next call finishes.
pub async fn open(options: Options, keys: Keyring) -> Result<Arc<dyn Store>, StoreError> {
    let store = open::open(options, keys).await?;
    Ok(Arc::new(store))
}

/// Looks at a database without changing it: damage is an error, an older version is not. Of the keys only their names
/// are used; none has to fit.
pub async fn check(path: &Path, keys: Keyring) -> Result<Checked, StoreError> {
    open::check(path, keys).await
}

/// Brings a database to this version, making it if it is missing, and returns that version.
pub async fn migrate(path: &Path) -> Result<i64, StoreError> {
    open::migrate(path).await
}

pub(crate) fn backup(path: &Path, file: &Path) -> Result<u64, StoreError> {
    backup::backup(path, file)
}
