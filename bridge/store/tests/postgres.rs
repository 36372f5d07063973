//! The shared promises on PostgreSQL, and what only a server can do wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]
#![allow(unreachable_pub, reason = "the suite is shared by one test binary per database")]

#[path = "postgres/copy.rs"]
mod copy;
#[path = "postgres/holder.rs"]
mod holder;
#[path = "postgres/schema.rs"]
mod schema;
mod suite;
#[path = "postgres/tls.rs"]
mod tls;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bridge_core::secret::Secret;
use bridge_store::postgres::{self, Options, Server};
use bridge_store::{Keyring, Store, StoreError};
use test_support::{Postgres, PostgresOptions};
use tokio::sync::Mutex;

use crate::suite::{Database, Setup};

/// One server for the tests that run at the same time; it ends with the last of them.
static SERVER: Mutex<Weak<Postgres>> = Mutex::const_new(Weak::new());

async fn server() -> Arc<Postgres> {
    let mut known = SERVER.lock().await;
    if let Some(server) = known.upgrade() {
        return server;
    }
    let server = Postgres::start(PostgresOptions::default(), &|_| {}).await.unwrap();
    let server = Arc::new(server);
    *known = Arc::downgrade(&server);
    server
}

/// A database that belongs to a role of its own, which may do nothing else.
pub(crate) struct Own {
    pub(crate) server: Arc<Postgres>,
    pub(crate) name: String,
    pub(crate) schema: Option<String>,
}

impl Own {
    pub(crate) async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = server().await;
        let name = format!("bridge_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        server.database(&name).await.unwrap();
        Self { server, name, schema: None }
    }

    /// How it is reached through a port.
    pub(crate) fn through(&self, port: u16) -> Server {
        Server {
            schema: self.schema.clone(),
            connect_timeout: Duration::from_secs(10),
            ..Server::new(Secret::new(self.server.address(&self.name, port)))
        }
    }

    pub(crate) fn server(&self) -> Server {
        self.through(self.server.port())
    }

    /// Runs SQL beside the store.
    pub(crate) async fn sql(&self, text: &str) -> String {
        let schema = self.schema.as_deref().unwrap_or("public");
        self.server.sql(&self.name, &format!("SET search_path = {schema}; {text}")).await.unwrap()
    }
}

pub(crate) fn options(server: Server, setup: &Setup) -> Options {
    Options { feed_budget_bytes: setup.feed_budget_bytes, ..Options::new(server, setup.workspace) }
}

pub(crate) fn keyring(setup: &Setup) -> Keyring {
    Keyring::new([setup.key; 32], setup.old.iter().map(|key| [*key; 32]).collect())
}

impl Database for Own {
    fn create() -> Self {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(Self::new()))
    }

    async fn open(&self, setup: Setup) -> Result<Arc<dyn Store>, StoreError> {
        postgres::open(options(self.server(), &setup), keyring(&setup), |_| {}).await
    }

    /// What is committed at this moment, in a schema of its own: another process could find no more and no less.
    async fn after_crash(&self) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let schema = format!("crashed_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let from = self.schema.as_deref().unwrap_or("public");
        let copy = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ;
             CREATE SCHEMA {schema} AUTHORIZATION {role};
             SET ROLE {role};
             DO $$ DECLARE t text; BEGIN
               FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = '{from}' LOOP
                 EXECUTE format('CREATE TABLE {schema}.%I (LIKE {from}.%I INCLUDING ALL)', t, t);
                 EXECUTE format('INSERT INTO {schema}.%I SELECT * FROM {from}.%I', t, t);
               END LOOP;
             END $$;
             COMMIT;",
            role = self.name
        );
        self.server.sql(&self.name, &copy).await.unwrap();
        Self { server: Arc::clone(&self.server), name: self.name.clone(), schema: Some(schema) }
    }

    async fn tamper(&self, sql: &'static str) {
        let changed =
            self.sql(&format!("WITH changed AS ({sql} RETURNING 1) SELECT count(*) FROM changed")).await;
        assert_ne!(changed, "0");
    }
}

for_each_promise!(Own);
