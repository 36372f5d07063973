//! How long to wait before the next connection.

use std::time::Duration;

use bridge_core::clock::Timestamp;

use crate::error::Class;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// The pause after a refusal that only a person can end. A change of the credentials does not wait for it.
const HOPELESS: Duration = Duration::from_mins(5);

/// A connection that lived shorter was none: its end counts as a failure, so that a server that sends everybody away
/// is not called without a pause.
const LIVED: Duration = Duration::from_secs(5);

/// Counts failures and answers with pauses: the first connection after one that ended is made at once, further attempts
/// after 1, 2, 4 … 60 s. `chance` in 0..=255 spreads each by up to a half, so that many bridges do not come back at
/// one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    failures: u32,
}

impl Pace {
    /// After an attempt that failed.
    pub fn failed(&mut self, class: Class, chance: u8) -> Duration {
        let least = match class {
            Class::BadCredentials | Class::Denied | Class::QuotaExhausted | Class::Banned => HOPELESS,
            Class::Throttled { retry_after } => retry_after,
            _ => Duration::ZERO,
        };
        let doublings = self.failures;
        self.failures = doublings.saturating_add(1);
        pause(doublings, least, chance)
    }

    /// After a connection ended, or was asked to.
    pub fn ended(&mut self, made: Timestamp, now: Timestamp, chance: u8) -> Duration {
        if now.since(made) >= LIVED {
            self.failures = 0;
        }
        let before = self.failures;
        self.failures = before.saturating_add(1);
        before.checked_sub(1).map_or(Duration::ZERO, |doublings| pause(doublings, Duration::ZERO, chance))
    }
}

fn pause(doublings: u32, least: Duration, chance: u8) -> Duration {
    let pause = FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST).max(least);
    pause + pause / 2 * u32::from(chance) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000)
    }

    #[test]
    fn pauses_grow_up_to_a_minute_and_are_spread() {
        let mut pace = Pace::default();
        let pauses: Vec<u64> = (0..9).map(|_| pace.failed(Class::Retry, 0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pace.failed(Class::Retry, 255), Duration::from_secs(90));
    }

    #[test]
    fn a_good_connection_is_replaced_at_once_and_a_short_one_is_not() {
        let mut pace = Pace::default();
        let short: Vec<u64> = (0..4).map(|_| pace.ended(at(0), at(1), 0).as_secs()).collect();
        assert_eq!(short, [0, 1, 2, 4]);
        assert_eq!(pace.ended(at(0), at(600), 255), Duration::ZERO);
        assert_eq!(pace.ended(at(0), at(1), 0).as_secs(), 1);
    }

    #[test]
    fn what_only_a_person_can_mend_is_tried_seldom() {
        let mut pace = Pace::default();
        assert!(pace.failed(Class::BadCredentials, 0) >= HOPELESS);
        let after = Duration::from_secs(30);
        assert_eq!(Pace::default().failed(Class::Throttled { retry_after: after }, 0), after);
    }
}
