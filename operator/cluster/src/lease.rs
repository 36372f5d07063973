//! Who is in charge: leader election by a `Lease`, fenced.
//!
//! A candidate that holds the lease is in charge until [`Timing::deadline`] after it *sent* its last successful renewal,
//! by its own clock. Others take the lease only when they have seen no change of it for its whole duration, by theirs.
//! The duration is longer than the deadline, and every write names the version that it replaces, so two are never in
//! charge at once, whatever the clocks show, as long as they run about equally fast. Times written into the lease are for
//! people; nobody compares them.

mod machine;
mod record;
mod task;

#[cfg(test)]
mod tests;

use std::time::Duration;

use kube::Client;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{Fence, backoff::random};

/// Which lease, and who asks for it.
#[derive(Clone)]
pub struct LeaseSpec {
    /// With which client: one that shares no connections with others.
    pub client: Client,
    /// Namespace of the lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who asks: different for each start of each process, see [`identity`].
    pub identity: String,
    /// How long things take.
    pub timing: Timing,
}

/// An identity that no other process, and no earlier start of this one, has.
pub fn identity(pod: &str) -> String {
    format!("{pod}_{:016x}", random())
}

/// How long things take.
#[derive(Clone, Debug)]
pub struct Timing {
    /// After how long without renewal others take the lease. Two seconds shorter than the 15 s after which a new one shall
    /// have taken over, since the takeover takes time on a busy machine.
    pub duration: Duration,
    /// How long after a renewal the holder is in charge; shorter than the duration.
    pub deadline: Duration,
    /// How often it renews.
    pub renew: Duration,
    /// How long one call may take.
    pub call: Duration,
    /// How long to wait after a failed one.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(13),
            deadline: Duration::from_secs(10),
            renew: Duration::from_secs(5),
            call: Duration::from_millis(2500),
            retry: Duration::from_millis(500),
        }
    }
}

/// Whether this process is in charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// It is not.
    Standby {
        /// Who is, as far as is known.
        holder: Option<String>,
    },
    /// It is.
    Leading {
        /// Since when.
        since: Instant,
        /// How often the lease changed hands before.
        transitions: u64,
    },
}

impl Leadership {
    /// Whether this process is in charge.
    pub fn is_leading(&self) -> bool {
        matches!(self, Self::Leading { .. })
    }
}

/// A running election.
#[derive(Clone, Debug)]
pub struct Elector {
    leadership: watch::Receiver<Leadership>,
    stopped: CancellationToken,
}

impl Elector {
    /// Whether this process is in charge, now and later. The fence says the same and is never late.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Waits until the election has ended and the lease is released.
    pub async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}

/// Takes part in the election. The fence is open while this process is in charge.
///
/// For a clean stop, end all passes first, then cancel `stop` and wait for [`Elector::stopped`]: the fence closes, the
/// lease is released, and a standby that watches it takes over at once.
pub fn spawn(spec: LeaseSpec, fence: Fence, stop: CancellationToken) -> Elector {
    let (leadership, receiver) = watch::channel(Leadership::Standby { holder: None });
    let stopped = CancellationToken::new();
    let elector = Elector { leadership: receiver, stopped: stopped.clone() };
    tokio::spawn(async move {
        // In this order also when the task panics: nothing is written, then others hear of the end.
        let _ended = stopped.drop_guard();
        let _closed = CloseOnDrop(fence.clone());
        task::run(spec, fence, stop, leadership).await;
    });
    elector
}

struct CloseOnDrop(Fence);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
