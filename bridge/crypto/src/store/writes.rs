//! How records are written: until the database takes them, and as one where they belong together.
//!
//! The crypto crate changes what it has in memory and writes it afterwards. If it were told of a write that failed, the
//! memory would stay ahead of the database, and what left from there would be encrypted once more with the same step after
//! a crash. So it is never told of what may pass: it waits.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bridge_store::{Commit, CryptoRecord, Store, StoreError};
use tokio::sync::{Mutex, OwnedMutexGuard};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// What the running work has to be written as one, if it has.
    static TOGETHER: Arc<Together>;
}

/// What belongs together.
#[derive(Default)]
pub(super) struct Together {
    records: std::sync::Mutex<Vec<CryptoRecord>>,
    /// From the first of them on nobody else writes, until all of it is durable.
    order: Mutex<Option<OwnedMutexGuard<()>>>,
}

impl Together {
    /// That of the running work.
    pub(super) fn current() -> Option<Arc<Self>> {
        TOGETHER.try_with(Arc::clone).ok()
    }

    pub(super) fn add(&self, records: Vec<CryptoRecord>) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).extend(records);
    }

    pub(super) fn take(&self) -> Vec<CryptoRecord> {
        std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn hold(&self, order: &Arc<Mutex<()>>) {
        let mut held = self.order.lock().await;
        if held.is_none() {
            *held = Some(Arc::clone(order).lock_owned().await);
        }
    }
}

/// Does some work of the crypto crate; what that writes, in however many calls, is written as one when it is done.
pub(crate) async fn as_one<T, E: From<StoreError>>(
    store: &dyn Store,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let together = Arc::new(Together::default());
    let done = TOGETHER.scope(Arc::clone(&together), work).await;
    // Whatever became of the work: what it changed is in memory.
    write(store, together.take()).await?;
    done
}

/// Makes records durable.
pub(super) async fn write(store: &dyn Store, crypto: Vec<CryptoRecord>) -> Result<(), StoreError> {
    if crypto.is_empty() {
        return Ok(());
    }
    insist(|| store.commit(Commit { crypto: crypto.clone(), ..Commit::default() })).await.map(drop)
}

/// Repeats a call until the database does what it says. The crypto crate takes what cannot be read for something that is
/// not there.
pub(super) async fn insist<T, F>(call: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match call().await {
            Err(error) if error.is_retryable() => {
                tracing::warn!(code = error.code(), "the device's keys wait for the database: {error}");
            }
            answered => return answered,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
