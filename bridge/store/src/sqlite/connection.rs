//! A connection of its own: what writes, and what looks at a file as a whole. Its calls keep their thread until they are
//! done, which costs far less than a hand-over to another thread for every statement of a transaction.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{CachedStatement, OpenFlags};

use crate::error::StoreError;
use crate::sql::{Arg, Columns};

/// How long a statement waits for another connection. There is one writer, so this is for checkpoints.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// Page cache of a reading connection, in KiB.
pub(super) const READ_CACHE_KIB: u32 = 512;

/// Page cache of the writing connection, in KiB: as large as what it changes between two checkpoints, so that it
/// does not read back what it wrote. Filled under load only.
const WRITE_CACHE_KIB: u32 = 6_144;

/// Statements that are kept prepared; there are about fifty.
const STATEMENTS: usize = 96;

/// One connection.
pub(crate) struct Connection(rusqlite::Connection);

impl Connection {
    /// One that writes; the file is there. On disk is what it has committed.
    pub(super) fn writing(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = rusqlite::Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        conn.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA journal_size_limit = 16777216; PRAGMA cache_size = -{WRITE_CACHE_KIB};
             PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;"
        ))?;
        Ok(Self(conn))
    }

    /// One that only reads.
    pub(super) fn reading(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = rusqlite::Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY)?;
        conn.execute_batch(&format!("PRAGMA cache_size = -{READ_CACHE_KIB}; PRAGMA temp_store = MEMORY;"))?;
        Ok(Self(conn))
    }

    /// One for a backup: what it sorts for the indexes does not go into memory.
    pub(super) fn copying(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = rusqlite::Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY)?;
        Ok(Self(conn))
    }

    /// A statement that is prepared once.
    pub(super) fn prepared(&self, statement: &str) -> Result<CachedStatement<'_>, StoreError> {
        Ok(self.0.prepare_cached(statement)?)
    }

    /// Runs statements without values.
    pub(super) fn batch(&self, statements: &str) -> Result<(), StoreError> {
        Ok(self.0.execute_batch(statements)?)
    }

    /// Whether a transaction is open.
    pub(super) fn is_in_transaction(&self) -> bool {
        !self.0.is_autocommit()
    }

    /// The first value of a statement's first row.
    pub(super) fn value<T: rusqlite::types::FromSql>(&self, statement: &str) -> Result<T, StoreError> {
        Ok(self.0.query_row(statement, [], |row| row.get(0))?)
    }

    /// Runs a statement that both databases understand; the number of rows it changed.
    pub(super) fn execute(&self, statement: &str, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        let mut statement = self.prepared(statement)?;
        bind(&mut statement, args)?;
        Ok(statement.raw_execute()? as u64)
    }

    /// All rows of such a statement.
    pub(super) fn query(&self, statement: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.prepared(statement)?;
        bind(&mut statement, args)?;
        let names: Arc<[String]> = statement.column_names().into_iter().map(str::to_owned).collect();
        let mut found = statement.raw_query();
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let values = (0..names.len()).map(|at| row.get(at)).collect::<Result<_, _>>()?;
            rows.push(Row { names: Arc::clone(&names), values });
        }
        Ok(rows)
    }

    /// Takes the log into the database and ends.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.0.close().map_err(|(_, error)| error.into())
    }
}

/// Gives a statement its values: `$3` is the third, wherever and however often it stands.
fn bind(statement: &mut CachedStatement<'_>, args: &[Arg<'_>]) -> Result<(), StoreError> {
    for at in 1..=statement.parameter_count() {
        let number = statement.parameter_name(at).and_then(|name| name.strip_prefix('$')?.parse().ok());
        let arg = number.and_then(|number: usize| args.get(number.checked_sub(1)?));
        let missing = || rusqlite::Error::InvalidParameterCount(args.len(), at);
        statement.raw_bind_parameter(at, arg.ok_or_else(missing)?)?;
    }
    Ok(())
}

impl ToSql for Arg<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Arg::Text(text) => ToSqlOutput::Borrowed((*text).into()),
            Arg::Number(number) => ToSqlOutput::Owned(number.map_or(Value::Null, Value::Integer)),
            Arg::Flag(flag) => ToSqlOutput::Owned(Value::Integer((*flag).into())),
            Arg::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Arg::Texts(texts) => ToSqlOutput::Owned(serde_json::Value::from(*texts).to_string().into()),
        })
    }
}

/// A row with its values.
pub(crate) struct Row {
    names: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    fn get(&self, column: &'static str) -> Result<&Value, StoreError> {
        let at = self.names.iter().position(|name| name == column);
        at.and_then(|at| self.values.get(at)).ok_or(StoreError::Unreadable { column })
    }
}

impl Columns for Row {
    fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.maybe_text(column)?.ok_or(StoreError::Unreadable { column })
    }

    fn maybe_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        match self.get(column)? {
            Value::Text(text) => Ok(Some(text.clone())),
            Value::Null => Ok(None),
            _ => Err(StoreError::Unreadable { column }),
        }
    }

    fn number(&self, column: &'static str) -> Result<i64, StoreError> {
        self.maybe_number(column)?.ok_or(StoreError::Unreadable { column })
    }

    fn maybe_number(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        match self.get(column)? {
            Value::Integer(number) => Ok(Some(*number)),
            Value::Null => Ok(None),
            _ => Err(StoreError::Unreadable { column }),
        }
    }

    fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.number(column)? != 0)
    }

    fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        match self.get(column)? {
            Value::Blob(bytes) => Ok(bytes.clone()),
            Value::Text(text) => Ok(text.clone().into_bytes()),
            _ => Err(StoreError::Unreadable { column }),
        }
    }
}
