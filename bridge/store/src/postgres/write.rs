//! Statements of the writing session, and reading by the pool.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use bridge_core::envelope::Envelope;
use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Executor, Postgres, Row};

use super::connect::lost;
use super::text::{read, written};
use crate::error::StoreError;
use crate::messages::MessageMapping;
use crate::outbox::OutboxState;
use crate::sql::apply::remote_columns;
use crate::sql::tables::TABLES;
use crate::sql::{Arg, Columns, NewInbox, NewOutbox, Reads, Writes};

/// How often a read is tried: each connection of the pool may be stale after the server was restarted.
const ATTEMPTS: u32 = 4;

/// Reads each page of a table; one whose checksum is wrong fails.
fn whole(table: &str) -> String {
    format!("SELECT count(*) AS amount FROM {table}")
}

/// Reads all tables of a version of the schema.
pub(super) async fn read_all(session: &mut Session, version: i64) -> Result<(), StoreError> {
    for table in TABLES.iter().filter(|table| table.since <= version) {
        session.rows(&whole(table.name), &[]).await?;
    }
    Ok(())
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// A statement of this crate with its values.
fn bound<'q>(statement: &str, args: &[Arg<'_>]) -> Statement<'q> {
    let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
    args.iter().fold(query, |query, arg| match arg {
        Arg::Text(text) => query.bind(text.map(|text| written(text).into_owned())),
        Arg::Number(number) => query.bind(*number),
        Arg::Flag(flag) => query.bind(*flag),
        Arg::Bytes(bytes) => query.bind(bytes.to_vec()),
        Arg::Texts(texts) => query.bind(column(texts.iter().map(String::as_str))),
    })
}

/// One column of many rows.
fn column<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Cow<'a, str>> {
    texts.map(written).collect()
}

impl Columns for PgRow {
    fn text(&self, column: &'static str) -> Result<String, StoreError> {
        Ok(read(self.try_get(column)?))
    }

    fn maybe_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        Ok(self.try_get::<Option<String>, _>(column)?.map(read))
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
    pub(super) pool: PgPool,
    /// How long one answer is waited for.
    pub(super) patience: Duration,
}

impl Readers {
    async fn attempt(&self, statement: &str, args: &[Arg<'_>]) -> Result<Vec<PgRow>, StoreError> {
        let mut conn = self.pool.acquire().await?;
        match tokio::time::timeout(self.patience, bound(statement, args).fetch_all(&mut *conn)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => {
                let error = StoreError::from(error);
                if lost(&error) {
                    conn.close_on_drop();
                }
                Err(error)
            }
            Err(_) => {
                // What it waits for must not be the next one's answer.
                conn.close_on_drop();
                Err(StoreError::late())
            }
        }
    }
}

impl Reads for Readers {
    type Row = PgRow;

    const TEXTS: &'static str = "(SELECT unnest(@::text[]) AS value)";

    async fn rows<'a>(&'a self, statement: &'a str, args: &'a [Arg<'a>]) -> Result<Vec<PgRow>, StoreError> {
        let mut attempts = 1;
        loop {
            match self.attempt(statement, args).await {
                // A stale connection fails at once; what takes its time is not repeated.
                Err(error) if attempts < ATTEMPTS && stale(&error) => attempts += 1,
                other => return other,
            }
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        for table in &TABLES {
            self.rows(&whole(table.name), &[]).await?;
        }
        Ok(())
    }

    async fn size_bytes(&self) -> Result<u64, StoreError> {
        let statement = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS bytes
                         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                         WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')";
        let row = self.row(statement, &[]).await?;
        let bytes = row.map(|row| row.number("bytes")).transpose()?;
        Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// Whether the connection had ended before the read.
fn stale(error: &StoreError) -> bool {
    let waited = matches!(error, StoreError::Database(error) if match &**error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::TimedOut,
        sqlx::Error::PoolTimedOut => true,
        _ => false,
    });
    lost(error) && !waited
}

/// The connection that writes and holds the lock.
pub(crate) struct Session {
    pub(super) conn: PgConnection,
    /// How long one answer is waited for.
    pub(super) patience: Duration,
}

impl Session {
    /// Runs statements without values, in one round trip; the number of rows they changed.
    pub(super) async fn raw(&mut self, statements: String) -> Result<u64, StoreError> {
        let done = self.conn.execute(sqlx::raw_sql(AssertSqlSafe(statements)));
        Ok(tokio::time::timeout(self.patience, done).await.map_err(|_| StoreError::late())??.rows_affected())
    }

    async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, StoreError> {
        let done = statement.execute(&mut self.conn);
        Ok(tokio::time::timeout(self.patience, done).await.map_err(|_| StoreError::late())??.rows_affected())
    }

    async fn fetch(&mut self, statement: Statement<'_>) -> Result<Vec<PgRow>, StoreError> {
        let done = statement.fetch_all(&mut self.conn);
        Ok(tokio::time::timeout(self.patience, done).await.map_err(|_| StoreError::late())??)
    }
}

impl Writes for Session {
    type Row = PgRow;

    async fn run<'a>(&'a mut self, statement: &'a str, args: &'a [Arg<'a>]) -> Result<u64, StoreError> {
        self.execute(bound(statement, args)).await
    }

    async fn rows<'a>(
        &'a mut self,
        statement: &'a str,
        args: &'a [Arg<'a>],
    ) -> Result<Vec<PgRow>, StoreError> {
        self.fetch(bound(statement, args)).await
    }

    async fn for_numbers<'a>(&'a mut self, head: &'a str, numbers: &'a [i64]) -> Result<(), StoreError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let statement = sqlx::query(AssertSqlSafe(format!("{head} = ANY($1)")));
        self.execute(statement.bind(numbers.to_vec())).await.map(drop)
    }

    async fn remember<'a>(
        &'a mut self,
        envelopes: &'a [&'a Envelope],
    ) -> Result<HashSet<String>, StoreError> {
        let statement = sqlx::query(
            "INSERT INTO seen (key, at) SELECT * FROM unnest($1::text[], $2::bigint[])
             ON CONFLICT DO NOTHING RETURNING key",
        )
        .bind(column(envelopes.iter().map(|envelope| envelope.key.as_str())))
        .bind(envelopes.iter().map(|envelope| envelope.received_at.0).collect::<Vec<_>>());
        self.fetch(statement).await?.iter().map(|row| row.text("key")).collect()
    }

    async fn insert_inbox<'a>(&'a mut self, rows: &'a [NewInbox<'a>]) -> Result<(), StoreError> {
        let statement = sqlx::query(
            "INSERT INTO inbox (seq, key, lane, source, received_at, body)
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[])",
        )
        .bind(rows.iter().map(|row| row.seq).collect::<Vec<_>>())
        .bind(column(rows.iter().map(|row| row.envelope.key.as_str())))
        .bind(column(rows.iter().map(|row| row.envelope.lane.as_str())))
        .bind(rows.iter().map(|row| row.envelope.source as i64).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.envelope.received_at.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.body.as_slice()).collect::<Vec<_>>());
        self.execute(statement).await.map(drop)
    }

    async fn insert_outbox<'a>(&'a mut self, rows: &'a [NewOutbox<'a>]) -> Result<(), StoreError> {
        let causes = rows.iter().map(|row| row.item.cause.as_deref().map(written)).collect::<Vec<_>>();
        let statement = sqlx::query(
            "INSERT INTO outbox (seq, lane, network, key, cause, created_at, op, state)
             SELECT *, $8 FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[],
             $7::bytea[])",
        )
        .bind(rows.iter().map(|row| row.item.seq.0).collect::<Vec<_>>())
        .bind(column(rows.iter().map(|row| row.item.lane.as_str())))
        .bind(rows.iter().map(|row| row.item.network as i64).collect::<Vec<_>>())
        .bind(column(rows.iter().map(|row| row.item.key.as_str())))
        .bind(causes)
        .bind(rows.iter().map(|row| row.item.created_at.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.op.as_slice()).collect::<Vec<_>>())
        .bind(OutboxState::Queued as i64);
        self.execute(statement).await.map(drop)
    }

    async fn insert_mappings<'a>(&'a mut self, rows: &'a [&'a MessageMapping]) -> Result<(), StoreError> {
        let (kinds, remotes): (Vec<i64>, Vec<Option<Cow<'_, str>>>) = rows
            .iter()
            .map(|row| remote_columns(&row.remote))
            .map(|(kind, remote)| (i64::from(kind), remote.map(written)))
            .unzip();
        let statement = sqlx::query(
            "INSERT INTO message (event, part, room, chat, remote_kind, remote, direction, sender, at)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[],
             $7::bigint[], $8::text[], $9::bigint[])
             ON CONFLICT (event, part) DO UPDATE SET room = excluded.room, chat = excluded.chat,
             remote_kind = excluded.remote_kind, remote = excluded.remote, direction = excluded.direction,
             sender = excluded.sender, at = excluded.at",
        )
        .bind(column(rows.iter().map(|row| row.event.as_str())))
        .bind(rows.iter().map(|row| i64::from(row.part)).collect::<Vec<_>>())
        .bind(column(rows.iter().map(|row| row.room.as_str())))
        .bind(column(rows.iter().map(|row| row.chat.as_str())))
        .bind(kinds)
        .bind(remotes)
        .bind(rows.iter().map(|row| row.direction as i64).collect::<Vec<_>>())
        .bind(column(rows.iter().map(|row| row.sender.as_str())))
        .bind(rows.iter().map(|row| row.at.0).collect::<Vec<_>>());
        self.execute(statement).await.map(drop)
    }
}
