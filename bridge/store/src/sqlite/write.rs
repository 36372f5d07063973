//! The writing connection's statements, and reading by the pool.

use std::collections::HashSet;
use std::path::PathBuf;

use bridge_core::envelope::Envelope;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Sqlite};

use crate::error::StoreError;
use crate::messages::MessageMapping;
use crate::outbox::OutboxState;
use crate::sql::apply::remote_columns;
use crate::sql::{Arg, Columns, NewInbox, NewOutbox, Reads, Writes};

/// Rows per statement. Few sizes, so that few texts are prepared and kept.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Cuts rows into pieces of [`CHUNKS`] sizes.
fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= rest.len())?;
        let (piece, others) = rest.split_at(size);
        rest = others;
        Some(piece)
    })
}

/// `head (?, ?), (?, ?) tail` for some rows of some columns.
fn with_rows(head: &str, columns: usize, rows: usize, tail: &str) -> AssertSqlSafe<String> {
    let row = format!("({})", vec!["?"; columns].join(", "));
    // Heads and tails are literals of this crate; values are bound.
    AssertSqlSafe(format!("{head} {} {tail}", vec![row.as_str(); rows].join(", ")))
}

/// Inserts rows with as few statements as possible. `head` ends in `VALUES`.
async fn insert<T>(
    conn: &mut SqliteConnection,
    head: &str,
    columns: usize,
    rows: &[T],
    bind: impl for<'q> Fn(Statement<'q>, &'q T) -> Statement<'q>,
) -> Result<(), StoreError> {
    for piece in chunks(rows) {
        let statement = sqlx::query(with_rows(head, columns, piece.len(), ""));
        piece.iter().fold(statement, &bind).execute(&mut *conn).await?;
    }
    Ok(())
}

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

impl Writes for SqliteConnection {
    type Row = SqliteRow;

    async fn run<'a>(&'a mut self, statement: &'a str, args: &'a [Arg<'a>]) -> Result<u64, StoreError> {
        Ok(bound(statement, args).execute(self).await?.rows_affected())
    }

    async fn rows<'a>(
        &'a mut self,
        statement: &'a str,
        args: &'a [Arg<'a>],
    ) -> Result<Vec<SqliteRow>, StoreError> {
        Ok(bound(statement, args).fetch_all(self).await?)
    }

    async fn for_numbers<'a>(
        &'a mut self,
        before: &'a str,
        numbers: &'a [i64],
        after: &'a str,
    ) -> Result<(), StoreError> {
        let head = format!("{before} IN");
        for piece in chunks(numbers) {
            let statement = sqlx::query(with_rows(&head, piece.len(), 1, after));
            let statement = piece.iter().fold(statement, |statement, number| statement.bind(*number));
            statement.execute(&mut *self).await?;
        }
        Ok(())
    }

    async fn remember<'a>(
        &'a mut self,
        envelopes: &'a [&'a Envelope],
    ) -> Result<HashSet<String>, StoreError> {
        let head = "INSERT INTO seen (key, at) VALUES";
        let mut fresh = HashSet::new();
        for piece in chunks(envelopes) {
            let statement =
                sqlx::query(with_rows(head, 2, piece.len(), "ON CONFLICT DO NOTHING RETURNING key"));
            let statement = piece.iter().fold(statement, |statement, envelope| {
                statement.bind(&envelope.key).bind(envelope.received_at.0)
            });
            for row in statement.fetch_all(&mut *self).await? {
                fresh.insert(row.try_get(0)?);
            }
        }
        Ok(fresh)
    }

    async fn insert_inbox<'a>(&'a mut self, rows: &'a [NewInbox<'a>]) -> Result<(), StoreError> {
        let head = "INSERT INTO inbox (seq, key, lane, source, received_at, body) VALUES";
        insert(self, head, 6, rows, |statement, row| {
            statement
                .bind(row.seq)
                .bind(&row.envelope.key)
                .bind(row.envelope.lane.as_str())
                .bind(row.envelope.source as u8)
                .bind(row.envelope.received_at.0)
                .bind(&row.body)
        })
        .await
    }

    async fn insert_outbox<'a>(&'a mut self, rows: &'a [NewOutbox<'a>]) -> Result<(), StoreError> {
        let head = "INSERT INTO outbox (seq, lane, network, key, cause, created_at, state, op) VALUES";
        insert(self, head, 8, rows, |statement, NewOutbox { item, op }| {
            statement
                .bind(item.seq.0)
                .bind(item.lane.as_str())
                .bind(item.network as u8)
                .bind(&item.key)
                .bind(item.cause.as_deref())
                .bind(item.created_at.0)
                .bind(OutboxState::Queued as u8)
                .bind(op)
        })
        .await
    }

    async fn insert_mappings<'a>(&'a mut self, rows: &'a [&'a MessageMapping]) -> Result<(), StoreError> {
        let head = "INSERT OR REPLACE INTO message
                    (event, part, room, chat, remote_kind, remote, direction, sender, at) VALUES";
        insert(self, head, 9, rows, |statement, mapping| {
            let (kind, remote) = remote_columns(&mapping.remote);
            statement
                .bind(mapping.event.as_str())
                .bind(mapping.part)
                .bind(mapping.room.as_str())
                .bind(mapping.chat.as_str())
                .bind(kind)
                .bind(remote)
                .bind(mapping.direction as u8)
                .bind(&mapping.sender)
                .bind(mapping.at.0)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_few_sizes() {
        let rows: Vec<u8> = vec![0; 64 + 16 + 4 + 4 + 1];
        assert_eq!(chunks(&rows).map(<[u8]>::len).collect::<Vec<_>>(), [64, 16, 4, 4, 1]);
        assert_eq!(chunks::<u8>(&[]).count(), 0);
    }
}
