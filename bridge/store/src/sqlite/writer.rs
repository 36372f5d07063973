//! One task owns the writing connection and puts all commits that wait into one transaction: many callers, one
//! synchronisation with the disk.

use std::fs::File;
use std::sync::Arc;

use bridge_core::envelope::Envelope;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::apply::{self, Applied};

use crate::commit::{Commit, Committed};
use crate::error::StoreError;
use crate::feed::Gate;

use crate::inbox::InboxSeq;
use crate::seal::Sealer;

/// Most commits in one transaction, and most that wait.
const BATCH: usize = 256;

enum Request {
    Commit(Box<Commit>, oneshot::Sender<Result<Committed, StoreError>>),
    Remove(Removal, oneshot::Sender<Result<u64, StoreError>>),
    Close(oneshot::Sender<()>),
}

/// A step of a purge: one statement, one transaction.
pub(super) struct Removal {
    /// Takes [`Self::keys`].
    pub(super) statement: &'static str,
    /// A JSON array.
    pub(super) keys: String,
}

/// The callers' end.
pub(super) struct Writer {
    sender: mpsc::Sender<Request>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        conn: SqliteConnection,
        sealer: Arc<Sealer>,
        gate: Arc<Gate>,
        next_inbox: i64,
        lock: File,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(BATCH);
        let task = tokio::spawn(Task { conn, sealer, gate, next_inbox, lock }.run(receiver));
        Self { sender, task: Mutex::new(Some(task)) }
    }

    pub(super) async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let (answer, wait) = oneshot::channel();
        self.ask(Request::Commit(Box::new(commit), answer), wait).await?
    }

    /// Runs a step of a purge between the commits; the number of rows it removed.
    pub(super) async fn remove(&self, removal: Removal) -> Result<u64, StoreError> {
        let (answer, wait) = oneshot::channel();
        self.ask(Request::Remove(removal, answer), wait).await?
    }

    /// Writes what is queued and ends the task. A second call finds it ended.
    pub(super) async fn close(&self) {
        let (answer, wait) = oneshot::channel();
        if self.ask(Request::Close(answer), wait).await.is_ok()
            && let Some(task) = self.task.lock().await.take()
        {
            let _ = task.await;
        }
    }

    async fn ask<T>(&self, request: Request, wait: oneshot::Receiver<T>) -> Result<T, StoreError> {
        self.sender.send(request).await.map_err(|_| StoreError::Closed)?;
        wait.await.map_err(|_| StoreError::Closed)
    }
}

struct Task {
    conn: SqliteConnection,
    sealer: Arc<Sealer>,
    gate: Arc<Gate>,
    next_inbox: i64,
    /// Ends with the task, so that no other process works on the queues while this one still writes.
    lock: File,
}

impl Task {
    async fn run(mut self, mut receiver: mpsc::Receiver<Request>) {
        let mut requests = Vec::with_capacity(BATCH);
        let mut closing = None;
        while closing.is_none() && receiver.recv_many(&mut requests, BATCH).await > 0 {
            let mut commits = Vec::with_capacity(requests.len());
            let mut answers = Vec::with_capacity(requests.len());
            let mut removals = Vec::new();
            for request in requests.drain(..) {
                match request {
                    Request::Commit(commit, answer) => {
                        commits.push(*commit);
                        answers.push(answer);
                    }
                    Request::Remove(removal, answer) => removals.push((removal, answer)),
                    Request::Close(answer) => closing = Some(answer),
                }
            }
            self.write(commits, answers).await;
            for (Removal { statement, keys }, answer) in removals {
                let removed = sqlx::query(statement).bind(keys).execute(&mut self.conn).await;
                // Nobody may be waiting any more.
                let _ = answer.send(removed.map(|removed| removed.rows_affected()).map_err(StoreError::from));
            }
        }
        receiver.close();
        if let Err(error) = self.conn.close().await {
            tracing::warn!(%error, "the database's connection was not closed cleanly");
        }
        drop(self.lock);
        if let Some(closing) = closing {
            let _ = closing.send(());
        }
    }

    /// All in one transaction; when that fails each in its own, so that only the one to blame fails.
    async fn write(
        &mut self,
        commits: Vec<Commit>,
        answers: Vec<oneshot::Sender<Result<Committed, StoreError>>>,
    ) {
        if commits.is_empty() {
            return;
        }
        match self.transaction(&commits).await {
            Ok(applied) => {
                let results = applied.results.clone();
                self.deliver(commits, &applied);
                for (answer, result) in answers.into_iter().zip(results) {
                    let _ = answer.send(Ok(result));
                }
            }
            Err(error) if answers.len() == 1 || !error.blames_commit() => {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
            Err(_) => {
                for (commit, answer) in commits.into_iter().zip(answers) {
                    let one = vec![commit];
                    let result = match self.transaction(&one).await {
                        Ok(applied) => {
                            let result = applied.results.first().copied().unwrap_or_default();
                            self.deliver(one, &applied);
                            Ok(result)
                        }
                        Err(error) => Err(error),
                    };
                    let _ = answer.send(result);
                }
            }
        }
    }

    async fn transaction(&mut self, commits: &[Commit]) -> Result<Applied, StoreError> {
        let mut transaction = self.conn.begin_with("BEGIN IMMEDIATE").await?;
        let applied = apply::apply(&mut transaction, &self.sealer, self.next_inbox, commits).await?;
        transaction.commit().await?;
        self.next_inbox = applied.next_inbox;
        Ok(applied)
    }

    /// Hands new rows over, now that they are durable.
    fn deliver(&self, commits: Vec<Commit>, applied: &Applied) {
        let rows = commits.into_iter().flat_map(|commit| commit.accept);
        let fresh = rows
            .zip(&applied.seqs)
            .filter_map(|(envelope, seq): (Envelope, &Option<InboxSeq>)| seq.map(|seq| (seq, envelope)));
        self.gate.deliver(fresh, InboxSeq(applied.next_inbox - 1));
    }
}
