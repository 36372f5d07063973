//! What the outcome of an attempt means.

use std::time::Duration;

use crate::clock::Timestamp;

/// How an attempt ended, in terms both networks share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it.
    Sent,
    /// The other side does not have it; another attempt may work.
    Failed {
        /// Stable code for logs and status.
        code: String,
    },
    /// The other side is away for every message, which is no fault of this one.
    Away {
        /// Stable code for logs and status.
        code: String,
    },
    /// The other side asked to wait.
    Throttled {
        /// How long, at least.
        after: Duration,
        /// Stable code.
        code: String,
    },
    /// No attempt will ever work.
    Refused {
        /// Stable code.
        code: String,
    },
    /// The request went out and no answer came back, to a network that cannot recognise a repetition.
    Unknown {
        /// Stable code.
        code: String,
    },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is delivered.
    Done,
    /// Try again at this time.
    Retry(Timestamp),
    /// Give up, keep it, tell the room; `retry` sends it.
    Park,
    /// Do not repeat; tell the room that it may have been sent.
    MaybeSent,
}

/// How long to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// First pause; each further one is twice as long.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// Age at which a message that keeps failing is parked.
    pub give_up_after: Duration,
}

/// What was tried so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// How often; 1 is the first attempt.
    pub attempts: u32,
    /// When the message was queued.
    pub queued_at: Timestamp,
    /// When its first attempt was made.
    pub since: Timestamp,
}

/// Decides after an attempt. `chance` in 0..=255 spreads the pauses by up to a quarter, so that many messages do not come
/// back at one moment.
///
/// What fails is parked by its age, so that who wrote it is told in time. Behind a throttle a message may be old before
/// its turn comes: there only its own attempts count. While the other side is away nothing is parked.
pub fn next(outcome: &Outcome, tried: Tried, now: Timestamp, chance: u8, policy: &Policy) -> Next {
    let (at_least, failing_since) = match outcome {
        Outcome::Sent => return Next::Done,
        Outcome::Refused { .. } => return Next::Park,
        Outcome::Unknown { .. } => return Next::MaybeSent,
        Outcome::Failed { .. } => (Duration::ZERO, tried.queued_at),
        Outcome::Throttled { after, .. } => (*after, tried.since),
        Outcome::Away { .. } => (Duration::ZERO, now),
    };
    if now.since(failing_since) >= policy.give_up_after {
        return Next::Park;
    }
    let doubled = policy.first_pause.saturating_mul(1 << tried.attempts.saturating_sub(1).min(20));
    let pause = doubled.min(policy.longest_pause).max(at_least);
    let spread = pause / 4 * u32::from(chance) / 255;
    Next::Retry(now.plus(pause + spread))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy {
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_mins(1),
        give_up_after: Duration::from_hours(1),
    };

    fn failed() -> Outcome {
        Outcome::Failed { code: "x".into() }
    }

    fn throttled(after: u64) -> Outcome {
        Outcome::Throttled { after: Duration::from_secs(after), code: "x".into() }
    }

    /// Queued at 0, and tried so often since then.
    fn tried(attempts: u32) -> Tried {
        Tried { attempts, queued_at: Timestamp(0), since: Timestamp(0) }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let at = |attempts| next(&failed(), tried(attempts), Timestamp(0), 0, &POLICY);
        assert_eq!(at(1), Next::Retry(Timestamp(1_000)));
        assert_eq!(at(3), Next::Retry(Timestamp(4_000)));
        assert_eq!(at(60), Next::Retry(Timestamp(60_000)));
    }

    #[test]
    fn an_old_message_is_parked_and_an_unknown_one_never_repeated() {
        let late = Timestamp(3_600_000);
        assert_eq!(next(&failed(), tried(2), late, 0, &POLICY), Next::Park);
        let unknown = Outcome::Unknown { code: "x".into() };
        assert_eq!(next(&unknown, tried(1), Timestamp(0), 0, &POLICY), Next::MaybeSent);
    }

    #[test]
    fn an_old_message_that_waited_for_its_turn_is_not_parked_by_a_throttle() {
        let late = Timestamp(3_600_000);
        let waited = Tried { since: late, ..tried(1) };
        assert_eq!(
            next(&throttled(2), waited, late, 0, &POLICY),
            Next::Retry(late.plus(Duration::from_secs(2)))
        );
        assert_eq!(next(&throttled(2), tried(9), late, 0, &POLICY), Next::Park);
        assert_eq!(next(&failed(), waited, late, 0, &POLICY), Next::Park);
    }

    #[test]
    fn nothing_is_parked_while_the_other_side_is_away() {
        let much_later = Timestamp(86_400_000);
        let away = Outcome::Away { code: "x".into() };
        let again = much_later.plus(POLICY.longest_pause);
        assert_eq!(next(&away, tried(1_500), much_later, 0, &POLICY), Next::Retry(again));
    }

    proptest! {
        #[test]
        fn throttling_is_respected(after in 0_u64..600, attempts in 1_u32..100, chance: u8) {
            match next(&throttled(after), tried(attempts), Timestamp(0), chance, &POLICY) {
                Next::Retry(at) => prop_assert!(at.since(Timestamp(0)) >= Duration::from_secs(after)),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
