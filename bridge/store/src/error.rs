//! Why the store did not do it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::seal::SealError;

/// Why the store did not do it. No message holds a body or a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the lock.
    #[error("database is in use by another process (lock file {path})")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// A file of the database cannot be made or opened.
    #[error("cannot open {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// The file is no database of ours, or is damaged.
    #[error("the database is damaged or not a database: {0}")]
    Damaged(String),
    /// The database was made by a newer version, or a migration was changed after it ran.
    #[error("migrations: {0}")]
    Migration(String),
    /// The database belongs to another workspace.
    #[error("the database belongs to workspace {found}, not {expected}")]
    Workspace {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// A sealed value does not open, or cannot be sealed.
    #[error("{column}: {source}")]
    Seal {
        /// Table and column.
        column: &'static str,
        /// Why.
        source: SealError,
    },
    /// The commit contradicts what is stored; nothing of it was done.
    #[error("the commit contradicts the database: {0}")]
    Conflict(String),
    /// A row holds what this version cannot read.
    #[error("{column} holds an unknown value")]
    Unreadable {
        /// Table and column.
        column: &'static str,
    },
    /// The disk is full, the database is busy, or reading and writing fail.
    #[error("database: {0}")]
    Database(Arc<sqlx::Error>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// A stable name for logs, metrics and `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "database_in_use",
            Self::File { .. } => "database_file",
            Self::Damaged(_) => "database_damaged",
            Self::Migration(_) => "database_migration",
            Self::Workspace { .. } => "database_workspace",
            Self::Seal { source, .. } => source.code(),
            Self::Conflict(_) => "database_conflict",
            Self::Unreadable { .. } => "database_unreadable",
            Self::Database(_) => "database_error",
            Self::Closed => "database_closed",
        }
    }

    /// Whether the commit itself is to blame: others in the same transaction may succeed without it.
    pub(crate) fn blames_commit(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    /// Whether the same call may succeed later: the disk was full, a lock was held.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Database(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Closed,
            sqlx::Error::Database(reported) => {
                // The low byte of SQLite's extended result code is the primary one.
                let code =
                    reported.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default() & 0xff;
                match code {
                    // SQLITE_CORRUPT, SQLITE_NOTADB.
                    11 | 26 => Self::Damaged(reported.message().to_owned()),
                    // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE.
                    18 | 19 | 20 | 25 => Self::Conflict(reported.message().to_owned()),
                    _ => Self::Database(Arc::new(error)),
                }
            }
            _ => Self::Database(Arc::new(error)),
        }
    }
}
