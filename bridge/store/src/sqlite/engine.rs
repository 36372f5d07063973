//! Transactions of the writing connection.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use crate::commit::Commit;
use crate::error::StoreError;
use crate::seal::Sealer;
use crate::sql::{Applied, Engine, Removal, Writes, apply};

/// The writing connection.
pub(super) struct Writing {
    pub(super) conn: SqliteConnection,
    pub(super) sealer: Arc<Sealer>,
    /// Ends with the connection, so that no other process works on the queues while this one still writes.
    pub(super) lock: File,
}

impl Engine for Writing {
    const IDLE: Option<Duration> = None;

    async fn transaction(&mut self, next_inbox: i64, commits: &[Commit]) -> Result<Applied, StoreError> {
        let mut transaction = self.conn.begin_with("BEGIN IMMEDIATE").await?;
        let applied = apply::apply(&mut *transaction, &self.sealer, next_inbox, commits).await?;
        transaction.commit().await?;
        Ok(applied)
    }

    async fn remove(&mut self, removal: &Removal) -> Result<u64, StoreError> {
        self.conn.run(&removal.statement, &[removal.keys.as_slice().into()]).await
    }

    async fn idle(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(self) {
        if let Err(error) = self.conn.close().await {
            tracing::warn!(%error, "the database's connection was not closed cleanly");
        }
        drop(self.lock);
    }
}
