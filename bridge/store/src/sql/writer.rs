//! One task owns the writing connection and puts all commits that wait into one transaction: many callers, one
//! synchronisation with the disk.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::envelope::Envelope;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::apply::Applied;
use crate::commit::{Commit, Committed};
use crate::error::StoreError;
use crate::feed::Gate;
use crate::inbox::InboxSeq;

/// Most commits in one transaction, and most that wait.
const BATCH: usize = 256;

enum Request {
    Commit(Box<Commit>, oneshot::Sender<Result<Committed, StoreError>>),
    Remove(Removal, oneshot::Sender<Result<u64, StoreError>>),
    Close(oneshot::Sender<()>),
}

/// A step of a purge: one statement, one transaction.
pub(crate) struct Removal {
    /// Takes [`Self::keys`].
    pub(crate) statement: String,
    /// What is removed.
    pub(crate) keys: Vec<String>,
}

/// The writing connection of one database. A transaction is on disk when its call answers, or nothing of it is.
pub(crate) trait Engine: Send + 'static {
    /// How long the connection may be without work before [`Self::idle`] is called; none: for ever.
    const IDLE: Option<Duration>;

    /// Whether its calls keep their thread while they work; it gets one of its own then.
    const KEEPS_ITS_THREAD: bool;

    /// Does all commits in one transaction. `next_inbox` is the number for the next inbox row.
    fn transaction(
        &mut self,
        next_inbox: i64,
        commits: &[Commit],
    ) -> impl Future<Output = Result<Applied, StoreError>> + Send;

    /// Runs a step of a purge; the number of rows it removed.
    fn remove(&mut self, removal: &Removal) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Looks whether the connection still is what it should be.
    fn idle(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends the connection and releases the database to other processes.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The callers' end.
pub(crate) struct Writer {
    sender: mpsc::Sender<Request>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    closing: watch::Sender<bool>,
    taken_over: watch::Receiver<bool>,
}

impl Writer {
    /// `closing` becomes true when the store is closed: an engine that waits for its database gives up then.
    pub(crate) fn start<E: Engine>(
        engine: E,
        gate: Arc<Gate>,
        next_inbox: i64,
        closing: watch::Sender<bool>,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(BATCH);
        let (tell, taken_over) = watch::channel(false);
        let work = Task { engine, gate, next_inbox, taken_over: tell }.run(receiver);
        let (end, ended) = oneshot::channel::<()>();
        let work = async move {
            work.await;
            drop(end);
        };
        if E::KEEPS_ITS_THREAD {
            let runtime = Handle::current();
            // None of the runtime's: that would wait for it when it ends, whoever still has the store.
            let thread = std::thread::Builder::new().name("store-writer".to_owned());
            let spawned = thread.spawn(move || runtime.block_on(work));
            spawned.map_err(|error| StoreError::Database(Arc::new(sqlx::Error::Io(error))))?;
        } else {
            tokio::spawn(work);
        }
        Ok(Self { sender, ended: Mutex::new(Some(ended)), closing, taken_over })
    }

    pub(crate) async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let (answer, wait) = oneshot::channel();
        self.ask(Request::Commit(Box::new(commit), answer), wait).await?
    }

    /// Runs a step of a purge between the commits; the number of rows it removed.
    pub(crate) async fn remove(&self, removal: Removal) -> Result<u64, StoreError> {
        let (answer, wait) = oneshot::channel();
        self.ask(Request::Remove(removal, answer), wait).await?
    }

    /// Writes what is queued and ends the task. A second call finds it ended.
    pub(crate) async fn close(&self) {
        self.closing.send_replace(true);
        let (answer, wait) = oneshot::channel();
        if self.ask(Request::Close(answer), wait).await.is_ok()
            && let Some(ended) = self.ended.lock().await.take()
        {
            let _ = ended.await;
        }
    }

    /// Resolves when another process has taken over the database.
    pub(crate) async fn taken_over(&self) {
        let mut taken_over = self.taken_over.clone();
        if taken_over.wait_for(|taken_over| *taken_over).await.is_err() {
            // The task has ended without it.
            std::future::pending::<()>().await;
        }
    }

    async fn ask<T>(&self, request: Request, wait: oneshot::Receiver<T>) -> Result<T, StoreError> {
        self.sender.send(request).await.map_err(|_| StoreError::Closed)?;
        wait.await.map_err(|_| StoreError::Closed)
    }
}

struct Task<E> {
    engine: E,
    gate: Arc<Gate>,
    next_inbox: i64,
    taken_over: watch::Sender<bool>,
}

impl<E: Engine> Task<E> {
    async fn run(mut self, mut receiver: mpsc::Receiver<Request>) {
        let mut requests = Vec::with_capacity(BATCH);
        let mut closing = None;
        while closing.is_none() && self.wait(&mut receiver, &mut requests).await {
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
            for (removal, answer) in removals {
                let removed = self.engine.remove(&removal).await;
                self.note(removed.as_ref().err());
                // Nobody may be waiting any more.
                let _ = answer.send(removed);
            }
        }
        receiver.close();
        self.engine.close().await;
        if let Some(closing) = closing {
            let _ = closing.send(());
        }
    }

    /// Waits for requests and looks after the connection meanwhile; no when all callers are gone.
    async fn wait(&mut self, receiver: &mut mpsc::Receiver<Request>, requests: &mut Vec<Request>) -> bool {
        let Some(idle) = E::IDLE else { return receiver.recv_many(requests, BATCH).await > 0 };
        loop {
            if let Ok(count) = tokio::time::timeout(idle, receiver.recv_many(requests, BATCH)).await {
                return count > 0;
            }
            let looked = self.engine.idle().await;
            self.note(looked.as_ref().err());
        }
    }

    /// Tells everybody when the database has gone to another process.
    fn note(&self, error: Option<&StoreError>) {
        if matches!(error, Some(StoreError::TakenOver)) {
            self.taken_over.send_replace(true);
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
        let applied = self.engine.transaction(self.next_inbox, commits).await;
        self.note(applied.as_ref().err());
        let applied = applied?;
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
