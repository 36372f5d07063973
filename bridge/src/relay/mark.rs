//! What became of messages, until it is written; and the mark of one that is about to leave.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bridge_store::{Commit, MessageMapping, OutboxSeq, Settlement};

use crate::app::App;

/// What became of messages, not written yet.
pub(super) type Settled = Vec<(OutboxSeq, Settlement, Option<MessageMapping>)>;

pub(super) fn split(settled: Settled) -> (Vec<(OutboxSeq, Settlement)>, Vec<MessageMapping>) {
    let mut map = Vec::new();
    let settle = settled
        .into_iter()
        .map(|(seq, settlement, mapping)| {
            map.extend(mapping);
            (seq, settlement)
        })
        .collect();
    (settle, map)
}

pub(super) fn lock(settled: &Mutex<Settled>) -> MutexGuard<'_, Settled> {
    settled.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts on record that a message is about to leave, together with what became of those before it. Interrupted in
/// between it leaves these where they are: writing them twice changes nothing.
pub(super) async fn mark(app: Arc<App>, seq: OutboxSeq, before: Arc<Mutex<Settled>>) -> bool {
    let (settle, map) = split(lock(&before).clone());
    match app.store.commit(Commit { settle, map, sending: vec![seq], ..Commit::default() }).await {
        Ok(_) => {
            lock(&before).clear();
            true
        }
        Err(error) => {
            tracing::error!(code = error.code(), "a message could not be marked and does not leave: {error}");
            false
        }
    }
}
