//! The only door: what came in is committed here before anybody is answered.

use std::time::Duration;

use bridge_core::envelope::Envelope;
use bridge_store::{Commit, Committed, StoreError};

use crate::app::App;

/// What a commit is given in any case.
const LEAST: Duration = Duration::from_secs(1);

/// Commits envelopes, trying again while the database is away, at most for `patience`.
pub(crate) async fn accept(
    app: &App,
    envelopes: Vec<Envelope>,
    patience: Duration,
) -> Result<Committed, StoreError> {
    if envelopes.is_empty() {
        return Ok(Committed::default());
    }
    let started = tokio::time::Instant::now();
    let sources: Vec<_> = envelopes.iter().map(|envelope| envelope.source).collect();
    let mut envelopes = Some(envelopes);
    let mut pause = Duration::from_millis(20);
    loop {
        // A copy is kept only while another attempt is possible.
        let last = started.elapsed() + pause >= patience;
        let accept = if last { envelopes.take() } else { envelopes.clone() }.unwrap_or_default();
        // A store may wait for its database itself. What is given up here is written later or not at all, and comes
        // again under its key in any case.
        let commit = app.store.commit(Commit { accept, ..Commit::default() });
        let left = patience.saturating_sub(started.elapsed()).max(LEAST);
        let committed = tokio::time::timeout(left, commit).await;
        match committed.unwrap_or_else(|_| Err(StoreError::late())) {
            Ok(committed) => {
                for source in sources {
                    app.metrics.received(source);
                }
                app.metrics.duplicates(committed.duplicates);
                return Ok(committed);
            }
            Err(error) if last || !error.is_retryable() || started.elapsed() >= patience => {
                return Err(error);
            }
            Err(error) => tracing::warn!(code = error.code(), "what came in could not be written yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}
