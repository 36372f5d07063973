//! How far long work is, for people who wait for it.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Tells on standard error how far long work is, once a second.
#[derive(Default)]
pub(super) struct Progress {
    told: Mutex<Option<Instant>>,
}

impl Progress {
    /// Writes a line, unless one was written less than a second ago.
    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < Duration::from_secs(1)) {
            return;
        }
        *told = Some(Instant::now());
        // Nobody may be reading.
        let _ = writeln!(std::io::stderr(), "{}", line());
    }
}
