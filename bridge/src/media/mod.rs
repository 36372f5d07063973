//! Moves files between the networks: streams, never whole files in memory.
//!
//! A file is an outbox row like any other. Before it is sent its row is *moved on*: what it stands for is carried over
//! to the other side, and the row becomes the ordinary message that shows it. Every step of that is written into the
//! row, so that a crash repeats no step that shows.

mod cipher;
mod inward;
mod kind;
pub(crate) mod link;
mod outward;
pub(crate) mod serve;
mod stream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::delivery::attempt::Outcome;
use bridge_core::delivery::key::OpKey;
use bridge_core::event::FileKind;
use bridge_core::id::RobotCode;
use bridge_core::reply::{FileNote, FileProblem};
use bridge_store::{Commit, OutboxRewrite, OutboxSeq};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::app::App;
use crate::relay::op::Rendered;
use crate::relay::outcome;

/// A transfer did not get on for too long.
const STALLED: &str = "transfer_stalled";

/// A file could not be read to its end.
const BROKEN: &str = "transfer_broken";

/// How long the homeserver may wait for a file that was named and has not arrived.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the homeserver's limit is believed.
const LIMIT_LIFE: Duration = Duration::from_hours(1);

/// What transfers share.
pub(crate) struct Media {
    places: Semaphore,
    /// Whether the homeserver gives a name for a file before it has the file.
    two_steps: AtomicBool,
    /// Downloads through links.
    served: Semaphore,
    /// The media id of the picture that stands for videos without one, and whose it is.
    cover: Mutex<Option<(RobotCode, String)>>,
    /// The homeserver's largest file and when it said so.
    limit: Mutex<Option<(Option<u64>, Timestamp)>>,
}

impl Media {
    /// Room for so many transfers at the same time.
    pub(crate) fn new(transfers: u16) -> Self {
        Self {
            places: Semaphore::new(usize::from(transfers)),
            two_steps: AtomicBool::new(true),
            served: Semaphore::new(usize::from(transfers)),
            cover: Mutex::new(None),
            limit: Mutex::new(None),
        }
    }

    /// A place to transfer a file in; waits for one.
    pub(crate) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }
}

/// The outbox row that a file is.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) seq: OutboxSeq,
    pub(crate) key: &'a OpKey,
}

/// Whether a row stands for a file that has to be carried over first.
pub(crate) fn is_file(op: &Rendered) -> bool {
    matches!(op, Rendered::Show(_) | Rendered::Hand(_))
}

/// Carries a file over and answers with the message that shows it, or that says why there is nothing to show; the
/// caller writes it into the row. `Err` leaves the row a file, for another attempt.
pub(crate) async fn move_on(app: &App, row: Row<'_>, op: &mut Rendered) -> Result<Moved, Outcome> {
    match op {
        Rendered::Show(file) => inward::carry(app, row, file).await.map(Moved::into),
        Rendered::Hand(file) => outward::carry(app, file).await,
        other => Ok(Moved::into(other.clone())),
    }
}

/// What becomes of a file's row.
pub(crate) struct Moved {
    /// The message that the row is from now on.
    pub(crate) next: Rendered,
    /// What the side that the file comes from is told.
    pub(crate) beside: Option<Rendered>,
}

impl Moved {
    fn into(next: Rendered) -> Self {
        Self { next, beside: None }
    }
}

/// Writes how far a row has got.
async fn keep(app: &App, row: Row<'_>, op: &Rendered) -> Result<(), Outcome> {
    let failed = |code: &str| Outcome::Failed { code: code.to_owned() };
    let op = serde_json::to_vec(op).map_err(|_| failed("unrenderable"))?;
    let rewrite = vec![OutboxRewrite { seq: row.seq, key: row.key.as_str().to_owned(), op }];
    let commit = Commit { rewrite, ..Commit::default() };
    app.store.commit(commit).await.map(drop).map_err(|error| failed(error.code()))
}

/// The homeserver's largest file in bytes; none where it does not say.
async fn limit(app: &App) -> Result<Option<u64>, Outcome> {
    let now = app.now();
    let known = *app.media.limit.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((limit, _)) = known.filter(|(_, at)| now.since(*at) < LIMIT_LIFE) {
        return Ok(limit);
    }
    let limit = app.matrix.media_config().await.map_err(|error| outcome::of_matrix(&error))?;
    *app.media.limit.lock().unwrap_or_else(PoisonError::into_inner) = Some((limit, now));
    Ok(limit)
}

fn two_steps(app: &App) -> bool {
    app.media.two_steps.load(Ordering::Relaxed)
}

fn one_step(app: &App) {
    app.media.two_steps.store(false, Ordering::Relaxed);
}

fn note(kind: FileKind, name: Option<String>, size: Option<u64>, why: FileProblem) -> FileNote {
    FileNote { kind, name, size, why }
}
