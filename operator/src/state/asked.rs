//! The answer to a question that goes elsewhere than to the API server, and when it may be asked again.

use std::time::Duration;

use operator_plan::Digest;
use tokio::time::Instant;

/// The first pause after an answer that is to be asked again.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// An answer, what the question was, and when it may be asked again.
#[derive(Clone, Debug)]
pub(crate) struct Asked<T> {
    fact: T,
    about: Option<Digest>,
    under_way: bool,
    /// Whether the answer that is on its way is to a question that is no longer asked.
    outdated: bool,
    repeats: u32,
    not_before: Option<Instant>,
}

/// Whether a question may be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Yes, and it counts as under way.
    Go,
    /// It is under way.
    UnderWay,
    /// It was asked a short while ago; this long it has to wait.
    Wait(Duration),
}

impl<T: Clone> Asked<T> {
    /// Nothing asked yet.
    pub(crate) fn new(unknown: T) -> Self {
        Self { fact: unknown, about: None, under_way: false, outdated: false, repeats: 0, not_before: None }
    }

    /// The answer as a decision sees it: one that does not last is unknown again once it may be asked for again.
    pub(crate) fn current(&self, lasts: impl Fn(&T) -> bool, unknown: &T, now: Instant) -> T {
        let due = !self.under_way && self.not_before.is_none_or(|at| at <= now);
        if due && !lasts(&self.fact) { unknown.clone() } else { self.fact.clone() }
    }

    /// Whether an answer is awaited.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// The last answer.
    pub(crate) fn fact(&self) -> &T {
        &self.fact
    }

    /// Asks to ask. Another question than the last one may be asked at once.
    pub(crate) fn turn(&mut self, about: Digest, now: Instant) -> Turn {
        if self.under_way {
            return Turn::UnderWay;
        }
        if self.about != Some(about) {
            self.about = Some(about);
            self.repeats = 0;
            self.not_before = None;
        }
        match self.not_before {
            Some(at) if at > now => Turn::Wait(at - now),
            _ => {
                self.under_way = true;
                Turn::Go
            }
        }
    }

    /// Takes the answer. Answers how long to wait before the question makes sense again: `steady` when the answer is
    /// a good one, else longer each time.
    pub(crate) fn answered(&mut self, fact: T, good: bool, steady: Duration, now: Instant) -> Duration {
        self.under_way = false;
        if std::mem::take(&mut self.outdated) {
            return Duration::ZERO;
        }
        self.fact = fact;
        let pause = if good {
            self.repeats = 0;
            steady
        } else {
            self.repeats += 1;
            FIRST_PAUSE.saturating_mul(1 << (self.repeats - 1).min(6)).min(LONGEST_PAUSE)
        };
        self.not_before = Some(now + pause);
        pause
    }

    /// Forgets the answer, e.g. since the question has changed.
    pub(crate) fn reset(&mut self, unknown: T) {
        self.fact = unknown;
        self.outdated = self.under_way;
        self.about = None;
        self.repeats = 0;
        self.not_before = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_that_fails_is_asked_less_and_less_often() {
        let mut asked = Asked::new(0);
        let about = Digest([1; 32]);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(asked.turn(about, Instant::now()), Turn::Go);
            assert_eq!(asked.turn(about, Instant::now()), Turn::UnderWay);
            let pause = asked.answered(1, false, Duration::from_secs(20), Instant::now());
            assert_eq!(asked.turn(about, Instant::now()), Turn::Wait(pause));
            tokio::time::advance(pause).await;
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_a_question_of_before_is_not_taken() {
        let mut asked = Asked::new(0);
        let now = Instant::now();
        assert_eq!(asked.turn(Digest([1; 32]), now), Turn::Go);
        asked.reset(0);
        asked.answered(1, true, Duration::from_mins(1), now);
        assert_eq!(*asked.fact(), 0);
        assert_eq!(asked.turn(Digest([2; 32]), now), Turn::Go);
        asked.answered(2, true, Duration::from_mins(1), now);
        assert_eq!(*asked.fact(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn another_question_is_asked_at_once() {
        let mut asked = Asked::new(0);
        let now = Instant::now();
        assert_eq!(asked.turn(Digest([1; 32]), now), Turn::Go);
        asked.answered(1, true, Duration::from_mins(1), now);
        assert_eq!(asked.turn(Digest([1; 32]), now), Turn::Wait(Duration::from_mins(1)));
        assert_eq!(asked.turn(Digest([2; 32]), now), Turn::Go);
    }
}
