//! Transactions of the process that holds the database, also across the loss of its connection.
//!
//! Each transaction writes its number into `holder`, where the epoch still is this process's. That is the fence, and
//! it is the answer to a COMMIT whose answer was lost: once the lock is held again the former session is over, and the
//! number that stands there tells whether the transaction happened.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;

use super::connect::{Connector, Use, lost};
use super::write::Session;
use crate::commit::Commit;
use crate::error::StoreError;
use crate::seal::Sealer;
use crate::sql::{Applied, Columns, Engine, Removal, Writes, apply};

/// How often a connection without work shows that it lives; a fraction of [`super::SILENCE`].
const SIGN_OF_LIFE: Duration = Duration::from_secs(4);

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Who holds the database, and the holder's last transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) epoch: i64,
    pub(super) commits: i64,
}

impl Holder {
    pub(super) async fn read(session: &mut Session) -> Result<Self, StoreError> {
        let rows = session.rows("SELECT epoch, commits FROM holder", &[]).await?;
        let row = rows.first().ok_or(StoreError::Unreadable { column: "holder.epoch" })?;
        Ok(Self { epoch: row.number("epoch")?, commits: row.number("commits")? })
    }

    /// Makes this process the holder. The lock is held.
    pub(super) async fn take(session: &mut Session) -> Result<Self, StoreError> {
        let statement = "UPDATE holder SET epoch = epoch + 1, commits = 0 RETURNING epoch, commits";
        let rows = session.rows(statement, &[]).await?;
        let row = rows.first().ok_or(StoreError::Unreadable { column: "holder.epoch" })?;
        Ok(Self { epoch: row.number("epoch")?, commits: row.number("commits")? })
    }
}

/// A session as the server knows it.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    pid: i64,
    started: String,
}

impl Backend {
    pub(super) async fn of(session: &mut Session) -> Result<Self, StoreError> {
        let statement = "SELECT pid::bigint AS pid, backend_start::text AS started FROM pg_stat_activity
                         WHERE pid = pg_backend_pid()";
        let rows = session.rows(statement, &[]).await?;
        let row = rows.first().ok_or(StoreError::Unreadable { column: "pg_stat_activity.pid" })?;
        Ok(Self { pid: row.number("pid")?, started: row.text("started")? })
    }

    /// Ends the session of this process that lost its connection, if the server has not noticed yet.
    async fn end(&self, session: &mut Session) -> Result<(), StoreError> {
        let statement = "SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
                         WHERE pid::bigint = $1 AND backend_start::text = $2 AND usename = current_user";
        session.rows(statement, &[self.pid.into(), (&self.started).into()]).await.map(drop)
    }
}

/// Tries to get the lock; it is held until the session ends.
pub(super) async fn lock(session: &mut Session, key: i64) -> Result<bool, StoreError> {
    let rows = session.rows("SELECT pg_try_advisory_lock($1) AS held", &[key.into()]).await?;
    rows.first().map_or(Ok(false), |row| row.flag("held"))
}

/// The process that holds the database.
pub(super) struct Writing {
    pub(super) connector: Arc<Connector>,
    pub(super) sealer: Arc<Sealer>,
    /// None: the connection is lost.
    pub(super) session: Option<Session>,
    /// The present session, or the last one.
    pub(super) backend: Backend,
    /// Names the lock.
    pub(super) key: i64,
    /// This process's epoch, and its last transaction that is known to be durable.
    pub(super) holder: Holder,
    pub(super) closing: watch::Receiver<bool>,
    /// Another process holds the database: nothing is done any more.
    pub(super) taken_over: bool,
}

/// What a transaction does.
#[derive(Clone, Copy)]
enum Work<'a> {
    Commits(i64, &'a [Commit]),
    Removal(&'a Removal),
}

/// What a transaction did.
enum Done {
    Applied(Applied),
    Removed(u64),
}

/// How an attempt ended.
enum Attempt {
    /// It is durable.
    Done(Done),
    /// It did not happen, and the connection is fine.
    Refused(StoreError),
    /// The connection was lost. With a result: during COMMIT, so it may have happened.
    Lost(StoreError, Option<Done>),
}

impl Writing {
    /// Does a piece of work once, however often the connection is lost meanwhile. It waits while the database is away.
    async fn durably(&mut self, work: Work<'_>) -> Result<Done, StoreError> {
        let number = self.holder.commits + 1;
        let mut in_doubt = None;
        loop {
            if self.session.is_none() {
                let found = self.regain().await?;
                let doubted = in_doubt.take();
                match (found.commits - self.holder.commits, doubted) {
                    (1, Some(done)) => {
                        self.holder.commits = number;
                        tracing::info!("a transaction whose answer was lost had been written");
                        return Ok(done);
                    }
                    (0, _) => {}
                    // A database that was put back to an earlier state, say: what is in memory is not its.
                    _ => return Err(self.give_up()),
                }
            }
            match self.attempt(number, work).await {
                Attempt::Done(done) => {
                    self.holder.commits = number;
                    return Ok(done);
                }
                Attempt::Refused(StoreError::TakenOver) => return Err(self.give_up()),
                Attempt::Refused(error) => return Err(error),
                Attempt::Lost(error, done) => {
                    tracing::warn!(code = error.code(), "the database's connection was lost: {error}");
                    self.session = None;
                    in_doubt = done;
                }
            }
        }
    }

    /// One attempt on the connection there is.
    async fn attempt(&mut self, number: i64, work: Work<'_>) -> Attempt {
        let Some(session) = self.session.as_mut() else { return Attempt::Lost(StoreError::Closed, None) };
        let epoch = self.holder.epoch;
        let begin = format!("BEGIN; UPDATE holder SET commits = {number} WHERE epoch = {epoch}");
        let written = async {
            if session.raw(begin).await? != 1 {
                return Err(StoreError::TakenOver);
            }
            Ok(match work {
                Work::Commits(next_inbox, commits) => {
                    Done::Applied(apply::apply(session, &self.sealer, next_inbox, commits).await?)
                }
                Work::Removal(removal) => {
                    Done::Removed(session.run(&removal.statement, &[removal.keys.as_slice().into()]).await?)
                }
            })
        };
        let done = match written.await {
            Ok(done) => done,
            Err(error) if lost(&error) => return Attempt::Lost(error, None),
            Err(error) => {
                return match session.raw("ROLLBACK".to_owned()).await {
                    Ok(_) => Attempt::Refused(error),
                    Err(_) if matches!(error, StoreError::TakenOver) => Attempt::Refused(error),
                    Err(lost) => Attempt::Lost(lost, None),
                };
            }
        };
        match session.raw("COMMIT".to_owned()).await {
            Ok(_) => Attempt::Done(done),
            Err(error) if lost(&error) => Attempt::Lost(error, Some(done)),
            Err(error) => Attempt::Refused(error),
        }
    }

    /// Connects and locks again, for as long as it takes. Answers what `holder` says then.
    async fn regain(&mut self) -> Result<Holder, StoreError> {
        let mut pause = FIRST_PAUSE;
        loop {
            if self.taken_over {
                return Err(StoreError::TakenOver);
            }
            match self.try_to_regain().await {
                Ok(Some(found)) => {
                    tracing::info!("the database is back");
                    return Ok(found);
                }
                Ok(None) => tracing::warn!("the database is back, and another session holds its lock"),
                Err(StoreError::TakenOver) => return Err(self.give_up()),
                Err(error) => tracing::warn!(code = error.code(), "the database is away: {error}"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.closing.wait_for(|closing| *closing) => return Err(StoreError::Closed),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_to_regain(&mut self) -> Result<Option<Holder>, StoreError> {
        let conn = self.connector.connect(Use::Writing).await?;
        let mut session = Session { conn, patience: self.connector.patience() };
        if Holder::read(&mut session).await?.epoch != self.holder.epoch {
            return Err(StoreError::TakenOver);
        }
        self.backend.end(&mut session).await?;
        if !lock(&mut session, self.key).await? {
            return Ok(None);
        }
        let found = Holder::read(&mut session).await?;
        if found.epoch != self.holder.epoch {
            return Err(StoreError::TakenOver);
        }
        self.backend = Backend::of(&mut session).await?;
        self.session = Some(session);
        Ok(Some(found))
    }

    /// Another process holds the database.
    fn give_up(&mut self) -> StoreError {
        self.taken_over = true;
        self.session = None;
        StoreError::TakenOver
    }
}

impl Engine for Writing {
    const IDLE: Option<Duration> = Some(SIGN_OF_LIFE);
    const KEEPS_ITS_THREAD: bool = false;

    async fn transaction(&mut self, next_inbox: i64, commits: &[Commit]) -> Result<Applied, StoreError> {
        match self.durably(Work::Commits(next_inbox, commits)).await? {
            Done::Applied(applied) => Ok(applied),
            Done::Removed(_) => Err(StoreError::Closed),
        }
    }

    async fn remove(&mut self, removal: &Removal) -> Result<u64, StoreError> {
        match self.durably(Work::Removal(removal)).await? {
            Done::Removed(rows) => Ok(rows),
            Done::Applied(_) => Err(StoreError::Closed),
        }
    }

    async fn idle(&mut self) -> Result<(), StoreError> {
        let found = match self.session.as_mut() {
            Some(session) => Holder::read(session).await,
            None => self.regain().await,
        };
        let found = match found {
            Err(error) if lost(&error) => {
                tracing::warn!(code = error.code(), "the database's connection was lost: {error}");
                self.session = None;
                self.regain().await?
            }
            other => other?,
        };
        if found == self.holder { Ok(()) } else { Err(self.give_up()) }
    }

    async fn close(self) {
        let Some(Session { conn, patience }) = self.session else { return };
        let _ = tokio::time::timeout(patience, close(conn)).await;
    }
}

/// The lock goes with the connection.
async fn close(conn: PgConnection) {
    if let Err(error) = conn.close().await {
        tracing::warn!(%error, "the database's connection was not closed cleanly");
    }
}
