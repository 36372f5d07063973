//! Whether a connection still lives. One that looks open can be dead (API.md section 4.4): no error tells, only
//! silence.

use std::time::Duration;

use bridge_core::clock::Timestamp;

/// What to do about a connection's silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing for so long.
    Wait(Duration),
    /// Ask whether the other side is there.
    Ask,
    /// It is not.
    Dead,
}

/// The silence of one connection. After half of the longest silence the other side is asked; when nothing comes within
/// the other half, the connection is dead. A jump of the clock (a host that slept) leads to a question first.
#[derive(Debug, Clone, Copy)]
pub struct Pulse {
    half: Duration,
    heard: Timestamp,
    asked: Option<Timestamp>,
}

impl Pulse {
    /// Of a connection that was made now; `silence` is the longest that is borne.
    pub fn new(silence: Duration, now: Timestamp) -> Self {
        Self { half: silence / 2, heard: now, asked: None }
    }

    /// Something came, whatever it was.
    pub fn heard(&mut self, now: Timestamp) {
        self.heard = now;
        self.asked = None;
    }

    /// What to do now. [`Beat::Ask`] is said once until something is heard.
    pub fn beat(&mut self, now: Timestamp) -> Beat {
        let since = now.since(self.asked.unwrap_or(self.heard));
        match (self.half.checked_sub(since), self.asked) {
            (Some(left), _) if !left.is_zero() => Beat::Wait(left),
            (_, None) => {
                self.asked = Some(now);
                Beat::Ask
            }
            (_, Some(_)) => Beat::Dead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_mins(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000)
    }

    #[test]
    fn silence_is_asked_about_and_ends_in_death() {
        let mut pulse = Pulse::new(SILENCE, at(0));
        assert_eq!(pulse.beat(at(10)), Beat::Wait(Duration::from_secs(20)));
        assert_eq!(pulse.beat(at(30)), Beat::Ask);
        assert_eq!(pulse.beat(at(31)), Beat::Wait(Duration::from_secs(29)));
        assert_eq!(pulse.beat(at(60)), Beat::Dead);
    }

    #[test]
    fn anything_heard_is_life() {
        let mut pulse = Pulse::new(SILENCE, at(0));
        assert_eq!(pulse.beat(at(40)), Beat::Ask);
        pulse.heard(at(41));
        assert_eq!(pulse.beat(at(60)), Beat::Wait(Duration::from_secs(11)));
        assert_eq!(pulse.beat(at(71)), Beat::Ask);
    }

    #[test]
    fn a_clock_that_jumps_leads_to_a_question_first() {
        let mut pulse = Pulse::new(SILENCE, at(0));
        assert_eq!(pulse.beat(at(100_000)), Beat::Ask);
        assert_eq!(pulse.beat(at(99_000)), Beat::Wait(Duration::from_secs(30)));
    }
}
