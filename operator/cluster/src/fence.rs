//! The fence that stands before every write: open while this process is in charge, and only so long.

use std::{future::Future, pin::pin, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::Failure;

/// Until when writes may happen. Clones are the same fence.
#[derive(Clone, Debug)]
pub struct Fence(watch::Sender<Until>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Until {
    Closed,
    Deadline(Instant),
    Always,
}

impl Until {
    fn remaining(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Closed => None,
            Self::Deadline(deadline) => deadline.checked_duration_since(now).filter(|left| !left.is_zero()),
            Self::Always => Some(Duration::MAX),
        }
    }
}

impl Fence {
    /// A fence that is closed until it is opened.
    pub fn closed() -> Self {
        Self(watch::Sender::new(Until::Closed))
    }

    /// A fence that is open until it is closed, for programs that need no lease.
    pub fn open() -> Self {
        Self(watch::Sender::new(Until::Always))
    }

    /// Opens it, or moves its deadline.
    pub fn open_until(&self, deadline: Instant) {
        self.0.send_replace(Until::Deadline(deadline));
    }

    /// Closes it: writes that are on their way are given up.
    pub fn close(&self) {
        self.0.send_replace(Until::Closed);
    }

    /// Whether it is open now.
    pub fn is_open(&self) -> bool {
        self.remaining().is_some()
    }

    /// For how long it is open yet, if it is.
    pub fn remaining(&self) -> Option<Duration> {
        self.0.borrow().remaining(Instant::now())
    }

    /// Does `work` behind the fence: it is not begun when the fence stays open for less than `at_least`, and given up
    /// when the fence closes. A deadline that moves meanwhile counts.
    pub async fn run<T>(
        &self,
        at_least: Duration,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut until = self.0.subscribe();
        if self.remaining().is_none_or(|left| left < at_least) {
            return Err(Failure::Fenced);
        }
        let mut work = pin!(work);
        loop {
            let now = *until.borrow_and_update();
            let deadline = match now {
                Until::Closed => return Err(Failure::Fenced),
                Until::Deadline(deadline) => Some(deadline),
                Until::Always => None,
            };
            let end = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // The sender cannot be gone: `self` has it.
                _ = until.changed() => {}
                () = end => return Err(Failure::Fenced),
                result = &mut work => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_closed_fence_lets_nothing_begin() {
        let begun = std::cell::Cell::new(false);
        let work = async {
            begun.set(true);
            Ok(())
        };
        assert_eq!(Fence::closed().run(Duration::ZERO, work).await, Err(Failure::Fenced));
        assert!(!begun.get());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_begins_that_would_not_finish() {
        let fence = Fence::closed();
        fence.open_until(Instant::now() + SECOND);
        assert_eq!(fence.run(2 * SECOND, ready(Ok(1))).await, Err(Failure::Fenced));
        assert_eq!(fence.run(SECOND, ready(Ok(1))).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_at_the_deadline() {
        let (fence, start) = (Fence::closed(), Instant::now());
        fence.open_until(start + 10 * SECOND);
        assert_eq!(fence.run(SECOND, pending::<Result<(), _>>()).await, Err(Failure::Fenced));
        assert_eq!(start.elapsed(), 10 * SECOND);
        assert!(!fence.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_in_the_middle_counts() {
        let (fence, start) = (Fence::closed(), Instant::now());
        fence.open_until(start + 2 * SECOND);
        let work = async {
            sleep_until(start + 3 * SECOND).await;
            Ok(7)
        };
        let renew = async {
            sleep_until(start + SECOND).await;
            fence.open_until(start + 5 * SECOND);
        };
        let (done, ()) = tokio::join!(fence.run(SECOND, work), renew);
        assert_eq!(done, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_gives_up_at_once() {
        let (fence, start) = (Fence::open(), Instant::now());
        let (done, ()) = tokio::join!(fence.run(SECOND, pending::<Result<(), _>>()), async { fence.close() });
        assert_eq!((done, start.elapsed()), (Err(Failure::Fenced), Duration::ZERO));
    }
}
