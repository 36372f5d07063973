//! The time, for decisions that depend on it. A machine's clock may jump: by hand, by a machine that was copied, by a
//! time server that was wrong. For who believes that at once, every token of the fleet has come of age, and every
//! deadline has passed.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// What differs by less is no jump: clocks are set right all the time.
const TOLERANCE: Duration = Duration::from_mins(1);

/// How long a clock that has jumped must stay there until it is believed.
const TRIAL: Duration = Duration::from_mins(10);

/// A clock that follows jumps late.
#[derive(Debug, Default)]
pub(crate) struct Clock(Mutex<Option<Believed>>);

#[derive(Clone, Copy, Debug)]
struct Believed {
    /// The time that was believed last, and when.
    time: Timestamp,
    at: Instant,
    /// By how much the machine's clock has differed since when, if it has jumped.
    jump: Option<(SignedDuration, Instant)>,
}

impl Clock {
    /// The time in whole seconds; conditions have no more.
    pub(crate) fn now(&self) -> Timestamp {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (system, at) = (Timestamp::now(), Instant::now());
        let believed = place.map_or(Believed { time: system, at, jump: None }, |last| last.next(system, at));
        *place = Some(believed);
        Timestamp::from_second(believed.time.as_second()).unwrap_or(believed.time)
    }
}

impl Believed {
    /// What is believed when the machine's clock says `system`. Without a jump that is this.
    fn next(self, system: Timestamp, at: Instant) -> Self {
        let passed = SignedDuration::try_from(at.saturating_duration_since(self.at)).unwrap_or_default();
        let expected = self.time.saturating_add(passed).unwrap_or(self.time);
        let off = system.duration_since(expected);
        if off.unsigned_abs() <= TOLERANCE {
            return Self { time: system, at, jump: None };
        }
        let since = match self.jump {
            // The same jump still: it goes on at the same pace from there.
            Some((by, since)) if (off - by).unsigned_abs() <= TOLERANCE => since,
            _ => {
                tracing::warn!(
                    seconds = off.as_secs(),
                    "the machine's clock has jumped; it is believed if it stays there for {} minutes",
                    TRIAL.as_secs() / 60
                );
                at
            }
        };
        if at.saturating_duration_since(since) >= TRIAL {
            tracing::warn!(seconds = off.as_secs(), "the machine's clock has stayed where it jumped to");
            return Self { time: system, at, jump: None };
        }
        Self { time: expected, at, jump: Some((off, since)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_772_352_000 + second).unwrap()
    }

    fn start(zero: Instant) -> Believed {
        Believed { time: at(0), at: zero, jump: None }
    }

    #[test]
    fn small_corrections_are_followed_at_once() {
        let zero = Instant::now();
        let next = start(zero).next(at(40), zero + Duration::from_secs(10));
        assert_eq!(next.time, at(40));
        assert_eq!(next.next(at(5), zero + Duration::from_secs(20)).time, at(5));
    }

    #[test]
    fn a_jump_is_believed_when_the_clock_has_stayed_there() {
        const YEAR: i64 = 365 * 86_400;
        let zero = Instant::now();
        for jump in [YEAR, -YEAR] {
            let mut believed = start(zero);
            for minute in 1..=10_i64 {
                let elapsed = Duration::from_secs(minute.unsigned_abs() * 60);
                believed = believed.next(at(jump + minute * 60), zero + elapsed);
                assert_eq!(believed.time, at(minute * 60), "{jump}");
            }
            believed = believed.next(at(jump + 660), zero + Duration::from_mins(11));
            assert_eq!(believed.time, at(jump + 660));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_clock_shows_for_less_than_the_trial_nobody_believes_it(
            jumps in proptest::collection::vec((-4_000_000_000_i64..4_000_000_000, 1_u64..300), 1..12)
        ) {
            let zero = Instant::now();
            let mut believed = start(zero);
            let mut passed = 0;
            for (jump, seconds) in jumps {
                passed += seconds;
                let elapsed = Duration::from_secs(passed);
                let right = at(passed.cast_signed());
                believed = believed.next(right.saturating_add(SignedDuration::from_secs(jump)).unwrap(), zero + elapsed);
                prop_assert!(believed.time.duration_since(right).unsigned_abs() <= TOLERANCE);
                // In between it shows the right time, and what it showed before is forgotten.
                believed = believed.next(right, zero + elapsed);
                prop_assert_eq!(believed.time, right);
            }
        }
    }
}
