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
            let next = if let Some(share) = self.share(&envelope) {
                Feed::Item(InboxItem { seq, envelope, share })
            } else {
                lanes.spilled.insert(envelope.lane.clone(), seq);
                Feed::Spilled { lane: envelope.lane }
            };
            // A consumer that is gone needs nothing; the rows stay in the database.
            let _ = self.sender.send(next);
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

#[cfg(test)]
mod tests {
    use bridge_core::clock::Timestamp;
    use bridge_core::envelope::Source;
    use proptest::prelude::*;

    use super::*;

    const LANES: usize = 3;
    const PAGE: usize = 2;

    fn lane(number: usize) -> Lane {
        Lane::from_chat(&number.to_string())
    }

    fn envelope(number: usize, bytes: usize) -> Envelope {
        let (source, key) = (Source::Callback, String::new());
        Envelope { source, key, lane: lane(number), received_at: Timestamp(0), body: vec![0; bytes] }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// A row becomes durable.
        Commit { lane: usize, bytes: usize },
        /// The writer hands over what is durable.
        Deliver,
        /// The consumer takes one thing from the feed.
        Take,
        /// The consumer of a lane, if it is spilled, reads a page and reports.
        Read { lane: usize },
        /// Everything taken so far is done with.
        Release,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..LANES, 0_usize..600).prop_map(|(lane, bytes)| Step::Commit { lane, bytes }),
            2 => Just(Step::Deliver),
            3 => Just(Step::Take),
            3 => (0..LANES).prop_map(|lane| Step::Read { lane }),
            1 => Just(Step::Release),
        ];
        prop::collection::vec(step, 0..120)
    }

    /// Plays a writer, a database and a consumer that follows the protocol.
    struct Play {
        gate: Gate,
        feed: mpsc::UnboundedReceiver<Feed>,
        rows: Vec<(usize, usize)>,
        delivered: usize,
        spilled: [bool; LANES],
        taken: [Vec<usize>; LANES],
        shares: Vec<FeedShare>,
    }

    impl Play {
        fn new(before: Vec<(usize, usize)>) -> Self {
            let last = |number: usize| before.iter().rposition(|(lane, _)| *lane == number);
            let pending =
                (0..LANES).filter_map(|number| Some((lane(number), seq(last(number)?)))).collect::<Vec<_>>();
            let gate = Gate::new(1_500, pending, count(before.len()));
            let feed = gate.take().unwrap();
            let delivered = before.len();
            let taken = std::array::from_fn(|_| Vec::new());
            Self { gate, feed, rows: before, delivered, spilled: [false; LANES], taken, shares: Vec::new() }
        }

        fn step(&mut self, step: &Step) {
            match step {
                Step::Commit { lane, bytes } => self.rows.push((*lane, *bytes)),
                Step::Deliver => {
                    let fresh = self.rows[self.delivered..].iter().enumerate();
                    let fresh =
                        fresh.map(|(at, (lane, bytes))| (seq(self.delivered + at), envelope(*lane, *bytes)));
                    self.gate.deliver(fresh, count(self.rows.len()));
                    self.delivered = self.rows.len();
                }
                Step::Take => match self.feed.try_recv() {
                    Ok(Feed::Item(item)) => {
                        let number = (0..LANES).find(|number| lane(*number) == item.envelope.lane).unwrap();
                        assert!(!self.spilled[number], "an item of a spilled lane");
                        self.taken[number].push(usize::try_from(item.seq.0).unwrap() - 1);
                        self.shares.push(item.share);
                    }
                    Ok(Feed::Spilled { lane: name }) => {
                        let number = (0..LANES).find(|number| lane(*number) == name).unwrap();
                        assert!(!self.spilled[number], "spilled twice");
                        self.spilled[number] = true;
                    }
                    Err(_) => {}
                },
                Step::Read { lane: number } if self.spilled[*number] => {
                    let after = self.taken[*number].last().map_or(0, |last| last + 1);
                    let rows = (after..self.rows.len()).filter(|at| self.rows[*at].0 == *number).take(PAGE);
                    let page: Vec<usize> = rows.collect();
                    self.taken[*number].extend(&page);
                    let through = self.taken[*number].last().map_or(InboxSeq(0), |last| seq(*last));
                    if page.len() < PAGE && self.gate.resumed(&lane(*number), through) {
                        self.spilled[*number] = false;
                    }
                }
                Step::Read { .. } => {}
                Step::Release => self.shares.clear(),
            }
        }

        fn finish(&mut self) {
            self.step(&Step::Deliver);
            for _ in 0..self.rows.len() * 2 + LANES * 2 {
                self.step(&Step::Take);
                for lane in 0..LANES {
                    self.step(&Step::Read { lane });
                }
            }
            self.step(&Step::Release);
        }
    }

    fn seq(at: usize) -> InboxSeq {
        count(at + 1)
    }

    /// Numbers begin with 1: the highest of so many.
    fn count(rows: usize) -> InboxSeq {
        InboxSeq(i64::try_from(rows).unwrap())
    }

    proptest! {
        #[test]
        fn every_row_comes_once_and_in_order(
            before in prop::collection::vec((0..LANES, 0_usize..600), 0..8),
            steps in steps(),
        ) {
            let mut play = Play::new(before);
            for step in &steps {
                play.step(step);
                prop_assert!(play.gate.used() <= 1_500);
            }
            play.finish();
            for number in 0..LANES {
                let rows = (0..play.rows.len()).filter(|at| play.rows[*at].0 == number).collect::<Vec<_>>();
                prop_assert_eq!(&play.taken[number], &rows, "lane {}", number);
            }
            prop_assert_eq!(play.gate.used(), 0);
            prop_assert!(play.gate.lanes().ahead.is_empty());
        }
    }
}
