//! What a candidate does next: a function of what it saw and what time it is.

use std::cmp::max;

use tokio::time::Instant;

use super::{Timing, record::Seen};
use crate::backoff::spread;

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Read the lease.
    Read,
    /// Create it as ours.
    Create,
    /// Make it ours, or renew it, replacing what was seen.
    Hold(Seen),
    /// Make it nobody's, replacing what was seen.
    Release(Seen),
    /// Nothing, until then or until the lease changes.
    Wait(Instant),
    /// Nothing any more.
    Done,
}

/// The lease, as far as it is known.
#[derive(Debug)]
enum View {
    Unknown,
    Absent,
    There(Seen),
}

/// One candidate.
#[derive(Debug)]
pub(super) struct Machine {
    me: String,
    timing: Timing,
    view: View,
    /// Until when we are in charge.
    until: Option<Instant>,
    /// When to renew.
    renew_at: Instant,
    /// Until when somebody else may be in charge.
    others_until: Option<Instant>,
    /// Nothing is asked of the server before.
    not_before: Option<Instant>,
    is_stopping: bool,
}

impl Machine {
    pub(super) fn new(me: String, timing: Timing, now: Instant) -> Self {
        Self {
            me,
            timing,
            view: View::Unknown,
            until: None,
            renew_at: now,
            others_until: None,
            not_before: None,
            is_stopping: false,
        }
    }

    /// Until when we are in charge, if we are.
    pub(super) fn leading_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }

    /// Who has the lease, and how often it changed hands.
    pub(super) fn holder(&self) -> Option<(&str, u64)> {
        match &self.view {
            View::There(seen) if !seen.holder.is_empty() => Some((&seen.holder, seen.transitions)),
            _ => None,
        }
    }

    /// What to do now.
    pub(super) fn next(&self, now: Instant) -> Step {
        let leading_until = self.leading_until(now);
        if let Some(not_before) = self.not_before
            && now < not_before
        {
            return Step::Wait(leading_until.map_or(not_before, |until| until.min(not_before)));
        }
        let free_at = self.others_until.filter(|free_at| now < *free_at);
        match &self.view {
            View::Unknown => Step::Read,
            View::There(seen) if self.is_stopping && seen.holder == self.me => Step::Release(seen.clone()),
            _ if self.is_stopping => Step::Done,
            View::There(seen) if seen.holder == self.me => match leading_until {
                Some(until) if now < self.renew_at => Step::Wait(until.min(self.renew_at)),
                // Ours by name only: a renewal came too late, or its answer was lost.
                _ => Step::Hold(seen.clone()),
            },
            View::There(seen) if seen.holder.is_empty() => Step::Hold(seen.clone()),
            View::There(seen) => free_at.map_or_else(|| Step::Hold(seen.clone()), Step::Wait),
            // Somebody took the lease away from under its holder, who does not know yet.
            View::Absent => match free_at {
                Some(free_at) if leading_until.is_none() => Step::Wait(free_at),
                _ => Step::Create,
            },
        }
    }

    /// The lease was seen, or that there is none. What is older than what is known is ignored.
    pub(super) fn saw(&mut self, seen: Option<Seen>, now: Instant) {
        let Some(seen) = seen else {
            self.view = View::Absent;
            return;
        };
        if let View::There(known) = &self.view
            && !seen.is_newer_than(known)
        {
            return;
        }
        if seen.holder == self.me || seen.holder.is_empty() {
            self.others_until = None;
        } else {
            let theirs = max(seen.duration, self.timing.duration);
            self.others_until = Some(now + theirs);
            // Somebody else has it: then our time is over, whatever our clock says.
            self.until = None;
        }
        self.view = View::There(seen);
    }

    /// A write that was sent at `sent` succeeded.
    pub(super) fn wrote(&mut self, sent: Instant, seen: Seen, now: Instant) {
        let is_ours = seen.holder == self.me;
        self.view = View::Unknown;
        self.saw(Some(seen), now);
        if is_ours && !self.is_stopping {
            self.until = Some(sent + self.timing.deadline);
            self.renew_at = sent + spread(self.timing.renew, 0.1);
        }
        self.not_before = None;
    }

    /// The lease is not what it was taken for: look again.
    pub(super) fn lost_race(&mut self) {
        self.view = View::Unknown;
    }

    /// A call failed, or nobody knows whether it did.
    pub(super) fn failed(&mut self, now: Instant) {
        // A write may have happened nevertheless. A holder tries with what it knows, which a conflict would correct;
        // others have time, and look first.
        let is_leading = self.leading_until(now).is_some();
        let wait = if is_leading { self.timing.retry } else { self.timing.retry * 4 };
        self.not_before = Some(now + spread(wait, 0.5));
        if !is_leading {
            self.view = View::Unknown;
        }
    }

    /// We are to end: no longer in charge, and the lease is to be given back.
    pub(super) fn stop(&mut self) {
        self.is_stopping = true;
        self.until = None;
        self.not_before = None;
    }

    /// We are to end while a write is on its way.
    pub(super) fn stop_in_flight(&mut self) {
        self.stop();
        self.view = View::Unknown;
    }
}

#[cfg(test)]
mod tests;
