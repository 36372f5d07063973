//! Reading by a pool of connections.

use std::path::PathBuf;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Sqlite};

use crate::error::StoreError;
use crate::sql::{Arg, Columns, Reads};

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// A statement of this crate with its values.
fn bound<'q>(statement: &str, args: &'q [Arg<'q>]) -> Statement<'q> {
    let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
    args.iter().fold(query, |query, arg| match arg {
        Arg::Text(text) => query.bind(*text),
        Arg::Number(number) => query.bind(*number),
        Arg::Flag(flag) => query.bind(*flag),
        Arg::Bytes(bytes) => query.bind(*bytes),
        Arg::Texts(texts) => query.bind(serde_json::Value::from(*texts).to_string()),
    })
}

impl Columns for SqliteRow {
    fn text(&self, column: &'static str) -> Result<String, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn maybe_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn number(&self, column: &'static str) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn maybe_number(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        Ok(self.try_get(column)?)
    }
}

/// Connections for reading.
pub(super) struct Readers {
    pub(super) path: PathBuf,
    pub(super) pool: SqlitePool,
}

impl Reads for Readers {
    type Row = SqliteRow;

    const TEXTS: &'static str = "(SELECT value FROM json_each(@))";

    async fn rows<'a>(
        &'a self,
        statement: &'a str,
        args: &'a [Arg<'a>],
    ) -> Result<Vec<SqliteRow>, StoreError> {
        Ok(bound(statement, args).fetch_all(&self.pool).await?)
    }

    async fn check(&self) -> Result<(), StoreError> {
        let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.pool).await?;
        if found == "ok" {
            return Ok(());
        }
        Err(StoreError::Damaged(found))
    }

    async fn size_bytes(&self) -> Result<u64, StoreError> {
        let mut total = 0;
        for suffix in ["", "-wal"] {
            let mut name = self.path.as_os_str().to_owned();
            name.push(suffix);
            total += tokio::fs::metadata(&name).await.map_or(0, |metadata| metadata.len());
        }
        Ok(total)
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
