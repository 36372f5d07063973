//! Waits that grow, with jitter, so that many who lost the same server do not come back at the same moment.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Waits from `first` to `most`, doubling.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The next wait: between half of it and all of it.
    pub(crate) fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        spread(wait, 0.5)
    }

    /// Success: the next wait is the first again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A duration shortened by a random part of at most `share` of it.
pub(crate) fn spread(duration: Duration, share: f64) -> Duration {
    duration.mul_f64(1.0 - share * unit())
}

/// A random number from 0 to 1. Chance only has to differ between processes, so the standard library's seed will do.
fn unit() -> f64 {
    f64::from((random() >> 40) as u32) / f64::from(1_u32 << 24)
}

/// Random bits.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_most_and_start_again() {
        let (first, most) = (Duration::from_millis(500), Duration::from_secs(30));
        let mut backoff = Backoff::new(first, most);
        let mut bound = first;
        for _ in 0..10 {
            let wait = backoff.wait();
            assert!(wait >= bound / 2 && wait <= bound, "{wait:?} of {bound:?}");
            bound = (bound * 2).min(most);
        }
        backoff.reset();
        assert!(backoff.wait() <= first);
    }

    #[test]
    fn chance_differs() {
        let waits: std::collections::HashSet<_> =
            (0..100).map(|_| spread(Duration::from_secs(10), 0.5)).collect();
        assert!(waits.len() > 90);
    }
}
