//! One ordered queue per chat and direction, worked on beside each other; knows no message.
//!
//! Follows the protocol of [`bridge_store::feed`]: items of a live lane come through the feed, those of a spilled
//! lane are read from the database. A lane has a worker while it has something to do, and no longer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bridge_core::envelope::Lane;
use bridge_store::{Feed, InboxItem};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::relay::lane::Worker;

/// Most items a worker takes at once.
const BATCH: usize = 32;

/// Items that all workers together have in hand, about. With more lanes than this each still takes one.
const IN_HAND: usize = 1_024;

/// All lanes.
pub(crate) struct Lanes {
    app: Arc<App>,
    queues: Mutex<HashMap<Lane, Queue>>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<InboxItem>,
    /// The rest must be read from the database.
    spilled: bool,
    /// Outbox rows of an earlier time must be looked after first.
    recover: bool,
}

/// What a worker does next.
pub(crate) enum Next {
    /// Look after outbox rows that are left.
    Recover,
    /// Handle these.
    Items(Vec<InboxItem>),
    /// Read from the database.
    Read,
    /// Nothing is left; the lane is forgotten.
    End,
}

impl Lanes {
    pub(crate) fn new(app: Arc<App>, stop: CancellationToken) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(usize::from(app.config.queue.lanes)));
        Arc::new(Self { app, queues: Mutex::default(), permits, stop, tracker: TaskTracker::new() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lane, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the store hands over until the bridge stops, then waits for the workers.
    pub(crate) async fn run(self: Arc<Self>, mut feed: mpsc::UnboundedReceiver<Feed>) {
        loop {
            let next = tokio::select! {
                next = feed.recv() => next,
                () = self.stop.cancelled() => None,
            };
            match next {
                Some(Feed::Item(item)) => {
                    let lane = item.envelope.lane.clone();
                    self.change(lane, |queue| queue.items.push_back(item));
                }
                Some(Feed::Spilled { lane }) => self.change(lane, |queue| queue.spilled = true),
                None => break,
            }
        }
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Has a lane look for outbox rows: at start, and after a person asked for another attempt.
    pub(crate) fn recover(self: &Arc<Self>, lanes: HashSet<Lane>) {
        for lane in lanes {
            self.change(lane, |queue| queue.recover = true);
        }
    }

    fn change(self: &Arc<Self>, lane: Lane, change: impl FnOnce(&mut Queue)) {
        let mut queues = self.lock();
        let idle = !queues.contains_key(&lane);
        change(queues.entry(lane.clone()).or_default());
        drop(queues);
        if idle && !self.stop.is_cancelled() {
            let lanes = Arc::clone(self);
            self.tracker.spawn(async move {
                let worker = Worker::new(lanes.app.clone(), lanes.clone(), lane, lanes.stop.clone());
                worker.run().await;
            });
        }
    }

    /// What the worker of a lane does next. Called by that worker only.
    pub(crate) fn next(&self, lane: &Lane) -> Next {
        let mut queues = self.lock();
        let most = share(queues.len(), BATCH);
        let Some(queue) = queues.get_mut(lane) else { return Next::End };
        if std::mem::take(&mut queue.recover) {
            return Next::Recover;
        }
        if !queue.items.is_empty() {
            let count = queue.items.len().min(most);
            return Next::Items(queue.items.drain(..count).collect());
        }
        if queue.spilled {
            return Next::Read;
        }
        queues.remove(lane);
        Next::End
    }

    /// How many rows a worker may take of the database at once, `most` at most: the more lanes, the fewer.
    pub(crate) fn share(&self, most: u32) -> u32 {
        u32::try_from(share(self.lock().len(), most as usize)).unwrap_or(most)
    }

    /// The lane's further items come through the feed again.
    pub(crate) fn caught_up(&self, lane: &Lane) {
        if let Some(queue) = self.lock().get_mut(lane) {
            queue.spilled = false;
        }
    }

    /// Limits how many lanes work at the same time; a lane that waits for a retry holds none.
    pub(crate) fn permits(&self) -> Arc<Semaphore> {
        Arc::clone(&self.permits)
    }
}

/// What one of so many lanes takes at once.
fn share(lanes: usize, most: usize) -> usize {
    (IN_HAND / lanes.max(1)).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_lanes_the_less_each_takes_and_never_nothing() {
        assert_eq!([0, 1, 32, 50, 1_000, 10_000].map(|lanes| share(lanes, BATCH)), [32, 32, 32, 20, 1, 1]);
    }
}
