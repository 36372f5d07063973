//! How the Stream connection stands, for those who look.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_core::clock::Timestamp;
use bridge_dingtalk::error::ApiError;

use super::connection::End;

/// What is known at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StreamFigures {
    /// A connection is wanted.
    pub(crate) wanted: bool,
    /// Connections that stand: two during a change.
    pub(crate) open: usize,
    /// Since when one stands, or none does.
    pub(crate) since: Timestamp,
    /// When something last came, be it a sign of life.
    pub(crate) last_frame: Option<Timestamp>,
    /// Why none stands.
    pub(crate) problem: Option<String>,
}

impl StreamFigures {
    /// Whether messages can come.
    pub(crate) fn connected(&self) -> bool {
        self.open > 0
    }
}

#[derive(Default)]
struct Inner {
    figures: StreamFigures,
    open: BTreeSet<u64>,
}

/// Written by [`super::run`] and its connections only.
#[derive(Default)]
pub(crate) struct StreamState(Mutex<Inner>);

impl StreamState {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn figures(&self) -> StreamFigures {
        self.lock().figures.clone()
    }

    /// A connection is wanted from now on.
    pub(super) fn wanted(&self, now: Timestamp) {
        let mut inner = self.lock();
        inner.figures.wanted = true;
        if inner.open.is_empty() {
            inner.figures.since = now;
            inner.figures.problem = Some("connecting".to_owned());
        }
    }

    /// None is wanted.
    pub(super) fn off(&self) {
        let mut inner = self.lock();
        inner.figures.wanted = false;
        inner.figures.problem = None;
    }

    pub(super) fn connected(&self, id: u64, now: Timestamp) {
        let mut inner = self.lock();
        if inner.open.is_empty() {
            inner.figures.since = now;
        }
        inner.open.insert(id);
        inner.figures.open = inner.open.len();
        inner.figures.last_frame = inner.figures.last_frame.max(Some(now));
        inner.figures.problem = None;
    }

    pub(super) fn heard(&self, now: Timestamp) {
        let mut inner = self.lock();
        inner.figures.last_frame = inner.figures.last_frame.max(Some(now));
    }

    pub(super) fn failed(&self, error: &ApiError, now: Timestamp) {
        let mut inner = self.lock();
        if inner.open.is_empty() {
            inner.figures.since =
                if inner.figures.since == Timestamp::default() { now } else { inner.figures.since };
            inner.figures.problem = Some(error.code.clone());
        }
    }

    pub(super) fn ended(&self, id: u64, end: End, now: Timestamp) {
        let mut inner = self.lock();
        inner.open.remove(&id);
        inner.figures.open = inner.open.len();
        if inner.open.is_empty() {
            inner.figures.since = now;
            let wanted = inner.figures.wanted;
            inner.figures.problem = wanted.then(|| format!("connection_{}", end.label()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_connections_during_a_change_are_one_connected_time() {
        let state = StreamState::default();
        state.wanted(Timestamp(1));
        assert!(!state.figures().connected());
        state.connected(1, Timestamp(10));
        state.connected(2, Timestamp(20));
        assert_eq!(state.figures().open, 2);
        state.ended(1, End::Closed, Timestamp(30));
        let figures = state.figures();
        assert_eq!((figures.open, figures.since, figures.problem), (1, Timestamp(10), None));
        state.ended(2, End::Dead, Timestamp(40));
        let figures = state.figures();
        assert_eq!((figures.open, figures.since), (0, Timestamp(40)));
        assert_eq!(figures.problem.as_deref(), Some("connection_dead"));
    }
}
