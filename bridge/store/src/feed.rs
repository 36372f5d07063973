//! The way of newly accepted rows from the writer to the lanes without reading them back, in bounded memory.
//!
//! The promise: for each lane the consumer gets every pending row exactly once and in rising order of [`InboxSeq`],
//! whatever mixture of feed and queries it comes by, if it follows the protocol:
//!
//! 1. A lane is *live* or *spilled*. A live lane's rows come as [`Feed::Item`], after their commit is durable.
//! 2. When an item would exceed the budget, its lane becomes spilled: one [`Feed::Spilled`] is sent, in order after
//!    the items before it, and nothing more of this lane. A lane with pending rows at start is spilled from the
//!    start, so recovery after a crash is the same path.
//! 3. On [`Feed::Spilled`] the consumer handles what it already has of the lane, then reads
//!    `Store::pending_inbox(lane, after, limit)` page by page, `after` being the last row it took (zero at start).
//! 4. When a page comes back short or empty it calls `Store::feed_resumed(lane, through)`, `through` being the last
//!    row it took. `true`: the lane is live again, everything above `through` comes as an item. `false`: rows came
//!    meanwhile, go on with 3. Calling it for a live lane changes nothing and answers `true`.
//!
//! Why nothing is lost: while a lane is spilled the gate remembers the highest row it did not hand over, and only a
//! consumer that has read through it may resume; both happen under one lock. Why nothing comes twice: a query can
//! see a row between its commit and its delivery, so the gate drops rows up to `through` when their delivery
//! follows. A crash loses only memory: all rows are in the database and their lanes start spilled.
//!
//! The budget counts bodies and a fixed overhead per item. One item larger than the whole budget is handed over by
//! query like any other. The markers are not counted: there is at most one per lane.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bridge_core::envelope::{Envelope, Lane};
use tokio::sync::mpsc;

use crate::inbox::{InboxItem, InboxSeq};

/// Bytes counted for an item besides its body, key and lane.
const OVERHEAD: usize = 256;

/// What the feed carries.
#[derive(Debug)]
pub enum Feed {
    /// A newly accepted row.
    Item(InboxItem),
    /// The lane's further rows must be read with a query until [`crate::Store::feed_resumed`] answers `true`.
    Spilled {
        /// The lane.
        lane: Lane,
    },
}

/// A part of the feed's memory budget; gives it back on drop.
#[derive(Default)]
pub struct FeedShare {
    bytes: usize,
    used: Option<Arc<AtomicUsize>>,
}

impl fmt::Debug for FeedShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FeedShare").field(&self.bytes).finish()
    }
}

impl Drop for FeedShare {
    fn drop(&mut self) {
        if let Some(used) = &self.used {
            used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// The store's end of the feed.
pub(crate) struct Gate {
    budget: usize,
    used: Arc<AtomicUsize>,
    sender: mpsc::UnboundedSender<Feed>,
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    receiver: Option<mpsc::UnboundedReceiver<Feed>>,
    /// Spilled lanes with the highest row that was not handed over.
    spilled: HashMap<Lane, InboxSeq>,
    /// Resumed lanes whose consumer is ahead of the delivery, with the row it has read through.
    ahead: HashMap<Lane, InboxSeq>,
    /// Everything up to here has been delivered or skipped.
    delivered: InboxSeq,
}

impl Gate {
    /// A gate whose lanes in `pending` (with their highest pending row) start spilled.
    pub(crate) fn new(budget: usize, pending: Vec<(Lane, InboxSeq)>, delivered: InboxSeq) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        for (lane, _) in &pending {
            // The receiver is two lines above: this cannot fail.
            let _ = sender.send(Feed::Spilled { lane: lane.clone() });
        }
        let lanes = Lanes {
            receiver: Some(receiver),
            spilled: pending.into_iter().collect(),
            ahead: HashMap::new(),
            delivered,
        };
        Self { budget, used: Arc::default(), sender, lanes: Mutex::new(lanes) }
    }

    /// No code runs under this lock that could panic halfway through a change.
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The consumer's end; once.
    pub(crate) fn take(&self) -> Option<mpsc::UnboundedReceiver<Feed>> {
        self.lanes().receiver.take()
    }

    /// Hands over the rows of a durable commit, in rising order. `through` is the highest number given so far.
    pub(crate) fn deliver(&self, rows: impl Iterator<Item = (InboxSeq, Envelope)>, through: InboxSeq) {
        let mut lanes = self.lanes();
        for (seq, envelope) in rows {
            if lanes.ahead.get(&envelope.lane).is_some_and(|read| seq <= *read) {
                continue;
            }
            if let Some(last) = lanes.spilled.get_mut(&envelope.lane) {
                *last = seq;
                continue;
            }
            match self.share(&envelope) {
                // A consumer that is gone needs nothing; the rows stay in the database.
                Some(share) => drop(self.sender.send(Feed::Item(InboxItem { seq, envelope, share }))),
                None => {
                    lanes.spilled.insert(envelope.lane.clone(), seq);
                    drop(self.sender.send(Feed::Spilled { lane: envelope.lane }));
                }
            }
        }
        lanes.delivered = through;
        lanes.ahead.retain(|_, read| *read > through);
    }

    /// See the module's text, point 4.
    pub(crate) fn resumed(&self, lane: &Lane, through: InboxSeq) -> bool {
        let mut lanes = self.lanes();
        match lanes.spilled.get(lane) {
            None => true,
            Some(last) if *last > through => false,
            Some(_) => {
                lanes.spilled.remove(lane);
                if through > lanes.delivered {
                    lanes.ahead.insert(lane.clone(), through);
                }
                true
            }
        }
    }

    /// Bytes handed over and not yet given back.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn share(&self, envelope: &Envelope) -> Option<FeedShare> {
        let bytes = envelope.body.len() + envelope.key.len() + envelope.lane.as_str().len() + OVERHEAD;
        // Only this end adds, under the lock; the consumer's end can only make room meanwhile.
        if self.used.load(Ordering::Relaxed).saturating_add(bytes) > self.budget {
            return None;
        }
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Some(FeedShare { bytes, used: Some(Arc::clone(&self.used)) })
    }
}
