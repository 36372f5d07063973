//! What others may know of a watch: for health and metrics.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// What a watch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Reads all objects.
    Listing,
    /// Waits for changes.
    Watching,
    /// Waits after a failure.
    BackingOff,
    /// Waits for the kind to be served.
    Missing,
    /// Waits for the right to read.
    Denied,
    /// Has ended.
    Stopped,
}

impl State {
    const ALL: [Self; 6] =
        [Self::Listing, Self::Watching, Self::BackingOff, Self::Missing, Self::Denied, Self::Stopped];

    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Watching => "watching",
            Self::BackingOff => "backing_off",
            Self::Missing => "missing",
            Self::Denied => "denied",
            Self::Stopped => "stopped",
        }
    }
}

/// How a watch stands.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What it is doing.
    pub state: State,
    /// How long ago the server last said something: an object, a bookmark, a page.
    pub silent: Duration,
    /// How long ago the watch last moved: that, or an attempt that failed. It grows when the watch hangs, be it that
    /// nobody takes its events.
    pub stuck: Duration,
    /// Whether it has been stuck for more than twice its timeout. A server that is away does not make it dead.
    pub dead: bool,
    /// How often a stream ended in another way than by its timeout.
    pub restarts: u64,
    /// How often all objects were listed, the first time included.
    pub lists: u64,
    /// How many objects there are.
    pub objects: usize,
    /// What went wrong last, if nothing went right since.
    pub last_error: Option<String>,
}

/// What a watch's task writes and its handle reads.
pub(super) struct Shared {
    start: Instant,
    timeout: Duration,
    state: AtomicU8,
    heard: AtomicU64,
    moved: AtomicU64,
    pub(super) restarts: AtomicU64,
    pub(super) lists: AtomicU64,
    pub(super) objects: AtomicUsize,
    last_error: Mutex<Option<String>>,
    pub(super) synced: watch::Sender<bool>,
    pub(super) retry: Notify,
}

impl Shared {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            start: Instant::now(),
            timeout,
            state: AtomicU8::new(State::Listing as u8),
            heard: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            lists: AtomicU64::new(0),
            objects: AtomicUsize::new(0),
            last_error: Mutex::new(None),
            synced: watch::Sender::new(false),
            retry: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn set(&self, state: State) {
        self.state.store(state as u8, Relaxed);
    }

    /// The server said something.
    pub(super) fn heard(&self) {
        let now = self.now();
        self.heard.store(now, Relaxed);
        self.moved.store(now, Relaxed);
    }

    /// What was going on went well.
    pub(super) fn well(&self) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It did not.
    pub(super) fn failed(&self, error: &str) {
        self.moved.store(self.now(), Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_owned());
    }

    pub(super) fn progress(&self) -> Progress {
        let now = self.now();
        let since = |stamp: &AtomicU64| Duration::from_millis(now.saturating_sub(stamp.load(Relaxed)));
        let state = self.state.load(Relaxed);
        let state = State::ALL.into_iter().find(|known| *known as u8 == state).unwrap_or(State::Stopped);
        let stuck = since(&self.moved);
        Progress {
            state,
            silent: since(&self.heard),
            stuck,
            dead: stuck > self.timeout * 2,
            restarts: self.restarts.load(Relaxed),
            lists: self.lists.load(Relaxed),
            objects: self.objects.load(Relaxed),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
