//! Transactions of the writing connection.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use super::connection::Connection;
use crate::commit::Commit;
use crate::error::StoreError;
use crate::seal::Sealer;
use crate::sql::{Applied, Engine, Removal, apply};

/// The writing connection.
pub(super) struct Writing {
    pub(super) conn: Connection,
    pub(super) sealer: Arc<Sealer>,
    /// Ends with the connection, so that no other process works on the queues while this one still writes.
    pub(super) lock: File,
}

impl Engine for Writing {
    const IDLE: Option<Duration> = None;
    const KEEPS_ITS_THREAD: bool = true;

    async fn transaction(&mut self, next_inbox: i64, commits: &[Commit]) -> Result<Applied, StoreError> {
        self.conn.batch("BEGIN IMMEDIATE")?;
        let applied = apply::apply(&mut self.conn, &self.sealer, next_inbox, commits).await;
        let done = applied.and_then(|applied| self.conn.batch("COMMIT").map(|()| applied));
        // Some errors, such as a full disk, have ended it already.
        if done.is_err() && self.conn.is_in_transaction() {
            self.conn.batch("ROLLBACK")?;
        }
        done
    }

    async fn remove(&mut self, removal: &Removal) -> Result<u64, StoreError> {
        self.conn.execute(&removal.statement, &[removal.keys.as_slice().into()])
    }

    async fn idle(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(self) {
        if let Err(error) = self.conn.close() {
            tracing::warn!(%error, "the database's connection was not closed cleanly");
        }
        drop(self.lock);
    }
}
