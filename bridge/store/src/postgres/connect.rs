//! Connections with the settings the store relies on, and what an error says about a connection.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use super::{SILENCE, Server, address};
use crate::error::StoreError;

/// The oldest server, as its number: `idle_session_timeout` came with it.
const OLDEST: u32 = 14_00_00;

/// Beside the server's own limit of a statement: an answer may be on its way.
const ON_THE_WAY: Duration = Duration::from_secs(2);

/// A server with everything read that is needed to connect.
#[derive(Clone)]
pub(super) struct Connector {
    options: PgConnectOptions,
    pub(super) schema: Option<String>,
    connect_timeout: Duration,
    statement_timeout: Duration,
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Reads of any length of life.
    Reading,
    /// Holds the lock: the server ends it when it is silent.
    Writing,
    /// Migrations and checks, which may take long.
    Service,
}

impl Connector {
    pub(super) fn new(server: &Server) -> Result<Self, StoreError> {
        if server.schema.as_ref().is_some_and(|schema| schema.contains(['"', '\0']) || schema.is_empty()) {
            return Err(StoreError::Server("the schema's name cannot be used".to_owned()));
        }
        Ok(Self {
            options: address::read(server)?,
            schema: server.schema.clone(),
            connect_timeout: server.connect_timeout,
            statement_timeout: server.statement_timeout,
        })
    }

    /// How long to wait for the answer to a statement.
    pub(super) fn patience(&self) -> Duration {
        self.statement_timeout + ON_THE_WAY
    }

    /// The settings of a session. They are set here and not at the start of the connection, so that a pooler of
    /// sessions between takes them, too.
    pub(super) fn settings(&self, purpose: Use) -> String {
        let limit = if purpose == Use::Service { 0 } else { self.statement_timeout.as_millis() };
        let silence = SILENCE.as_millis();
        // A server that loses a client must notice it soon, for the lock's sake.
        let always = format!(
            "SET statement_timeout = {limit}; SET idle_in_transaction_session_timeout = {silence};
             SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3;
             SET client_min_messages = warning;"
        );
        // An answered commit is on disk, whatever the server's default. What waits for replicas as well stays.
        let writing = format!(
            "SET idle_session_timeout = {silence};
             SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
             WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false);"
        );
        let schema = self.schema.as_ref().map(|schema| format!("SET search_path = \"{schema}\";"));
        [always, if purpose == Use::Writing { writing } else { String::new() }, schema.unwrap_or_default()]
            .concat()
    }

    /// A connection of its own.
    pub(super) async fn connect(&self, purpose: Use) -> Result<PgConnection, StoreError> {
        let connect = async {
            let mut conn = self.options.connect().await?;
            if conn.server_version_num().is_some_and(|version| version < OLDEST) {
                return Err(StoreError::Server("PostgreSQL 14 or newer is needed".to_owned()));
            }
            conn.execute(sqlx::raw_sql(AssertSqlSafe(self.settings(purpose)))).await?;
            Ok(conn)
        };
        tokio::time::timeout(self.connect_timeout, connect).await.unwrap_or_else(|_| Err(StoreError::late()))
    }

    /// Connections for reading, made when they are needed.
    pub(super) fn pool(&self, connections: u32) -> PgPool {
        let settings = self.settings(Use::Reading);
        PgPoolOptions::new()
            .max_connections(connections.max(1))
            .min_connections(0)
            .acquire_timeout(self.connect_timeout)
            .idle_timeout(Duration::from_mins(5))
            // A read on a connection that has gone stale is repeated, which is cheaper than asking before each.
            .test_before_acquire(false)
            .after_connect(move |conn, _| {
                let settings = AssertSqlSafe(settings.clone());
                Box::pin(async move { conn.execute(sqlx::raw_sql(settings)).await.map(drop) })
            })
            .connect_lazy_with(self.options.clone())
    }
}

/// Whether an error is about the connection or the server as a whole: the same call may work on another connection,
/// and it is not known what became of it on this one.
pub(super) fn lost(error: &StoreError) -> bool {
    let StoreError::Database(error) = error else { return false };
    match &**error {
        sqlx::Error::Database(reported) => {
            let code = reported.code().unwrap_or_default();
            // Connection exceptions; the server ends, starts, or ended the session; a replica that cannot be written.
            code.starts_with("08") || (code.starts_with("57P")) || matches!(&*code, "25006" | "25P03")
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut => {
            true
        }
        _ => false,
    }
}

/// Whether an error at the start passes by itself.
pub(super) fn passes(error: &StoreError) -> bool {
    // Too many connections: another's end makes room.
    let full = matches!(error, StoreError::Database(error) if matches!(&**error,
        sqlx::Error::Database(reported) if reported.code().is_some_and(|code| code.starts_with("53"))));
    // A certificate that is not trusted today is not trusted tomorrow.
    let untrusted = matches!(error, StoreError::Database(error) if match &**error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    });
    full || (lost(error) && !untrusted)
}
