//! Why the store did not do it.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::postgres::PgDatabaseError;

use crate::seal::SealError;

/// Why the store did not do it. No message holds a body or a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the lock.
    #[error("database is in use by another process ({lock})")]
    InUse {
        /// What it holds.
        lock: String,
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
    /// The address of a database server cannot be used. It is not repeated: it holds a password.
    #[error("the database's address {0}")]
    Address(String),
    /// The database server, or what the role may do there, cannot be used.
    #[error("the database server: {0}")]
    Server(String),
    /// Another process works on the database now; this one writes nothing any more and must end.
    #[error("another process has taken over the database")]
    TakenOver,
    /// The disk is full, the database is busy, or reading and writing fail.
    #[error("database: {0}")]
    Database(Arc<sqlx::Error>),
    /// The same of the connection to a file that writes.
    #[error("database: {0}")]
    Sqlite(Arc<rusqlite::Error>),
    /// The target of a copy holds something else.
    #[error("the target is not empty and holds something else than the source; name an empty one")]
    NotEmpty,
    /// A copy does not hold what its source holds; nothing of it was kept.
    #[error("the copy of the table {table} differs from the source; nothing was kept")]
    Differs {
        /// The table.
        table: &'static str,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// The database did not answer in time.
    pub fn late() -> Self {
        Self::Database(Arc::new(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
    }

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
            Self::Address(_) => "database_address",
            Self::Server(_) => "database_server",
            Self::TakenOver => "database_taken_over",
            Self::Database(_) | Self::Sqlite(_) => "database_error",
            Self::NotEmpty => "database_not_empty",
            Self::Differs { .. } => "database_copy_differs",
            Self::Closed => "database_closed",
        }
    }

    /// Whether the commit itself is to blame: others in the same transaction may succeed without it.
    pub(crate) fn blames_commit(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    /// Whether the same call may succeed later: the disk was full, a lock was held.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Database(_) | Self::Sqlite(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let reported = match &error {
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => return Self::Closed,
            sqlx::Error::Database(reported) => reported,
            _ => return Self::Database(Arc::new(error)),
        };
        let code = reported.code().unwrap_or_default();
        let kind = if reported.try_downcast_ref::<PgDatabaseError>().is_some() {
            postgres_kind(&code)
        } else {
            sqlite_kind(code.parse().unwrap_or_default())
        };
        match kind {
            Kind::Damaged => Self::Damaged(reported.message().to_owned()),
            Kind::Conflict => Self::Conflict(reported.message().to_owned()),
            Kind::Other => Self::Database(Arc::new(error)),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(reported, message) = &error else {
            return Self::Sqlite(Arc::new(error));
        };
        let message = || message.clone().unwrap_or_else(|| reported.to_string());
        match sqlite_kind(reported.extended_code) {
            Kind::Damaged => Self::Damaged(message()),
            Kind::Conflict => Self::Conflict(message()),
            Kind::Other => Self::Sqlite(Arc::new(error)),
        }
    }
}

/// What a database means by an error.
enum Kind {
    Damaged,
    Conflict,
    Other,
}

fn sqlite_kind(code: i32) -> Kind {
    // The low byte of the extended result code is the primary one.
    match code & 0xff {
        // SQLITE_CORRUPT, SQLITE_NOTADB.
        11 | 26 => Kind::Damaged,
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE.
        18 | 19 | 20 | 25 => Kind::Conflict,
        _ => Kind::Other,
    }
}

fn postgres_kind(code: &str) -> Kind {
    match code {
        // Data or index corrupted.
        "XX001" | "XX002" => Kind::Damaged,
        // Program limit exceeded: a key too long for its index.
        "54000" => Kind::Conflict,
        // Data exceptions, integrity constraint violations.
        _ if code.starts_with("22") || code.starts_with("23") => Kind::Conflict,
        _ => Kind::Other,
    }
}
