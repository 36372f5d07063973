//! Faults on command: what goes wrong, where, how often.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A way to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Wait `value` milliseconds, then go on.
    DelayMs,
    /// Answer with HTTP status `value` and no body. For `webhook`: nothing is sent, the status counts as the answer.
    Status,
    /// Close the connection without doing anything.
    Cut,
    /// Do it, then close the connection. For `webhook`: deliver, but take no notice of the answer.
    LoseAnswer,
    /// Refuse as DingTalk throttles; `form` says how.
    Throttle,
    /// Answer 200 with half a JSON text. For `webhook`: send half of the body, correctly signed.
    InvalidJson,
    /// Only for `webhook`: a signature that does not match.
    WrongSign,
    /// Only for `webhook`: a timestamp two hours old, correctly signed.
    StaleTimestamp,
}

/// One fault, as ordered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Path prefix of an API call, or `webhook` for what is pushed to the bridge.
    pub target: String,
    /// What happens.
    pub kind: FaultKind,
    /// Milliseconds or status, by kind.
    #[serde(default)]
    pub value: u64,
    /// Throttling form: `qps` (default), `qpm`, `api`, `month`, `send`, `group`, `people`, `by_token`, `minute`,
    /// `banned`, `banned_html`.
    #[serde(default)]
    pub form: String,
    /// How many times; without it, until removed.
    #[serde(default)]
    pub count: Option<u64>,
    /// Chance per call, 0 to 1; without it, every call.
    #[serde(default)]
    pub probability: Option<f64>,
    /// Start of the chance sequence.
    #[serde(default)]
    pub seed: u64,
}

impl Fault {
    /// A fault that happens on every matching call.
    pub fn new(target: impl Into<String>, kind: FaultKind) -> Self {
        Self {
            target: target.into(),
            kind,
            value: 0,
            form: String::new(),
            count: None,
            probability: None,
            seed: 0,
        }
    }

    /// Milliseconds or status.
    #[must_use]
    pub fn value(mut self, value: u64) -> Self {
        self.value = value;
        self
    }

    /// Only the next `count` calls.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// By chance, repeatable by `seed`.
    #[must_use]
    pub fn probability(mut self, probability: f64, seed: u64) -> Self {
        (self.probability, self.seed) = (Some(probability), seed);
        self
    }

    /// Throttling form.
    #[must_use]
    pub fn form(mut self, form: &str) -> Self {
        form.clone_into(&mut self.form);
        self
    }
}

/// An ordered fault and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct ActiveFault {
    /// Handle for removal.
    pub id: u64,
    /// The order.
    #[serde(flatten)]
    pub fault: Fault,
    /// How often it happened.
    pub hits: u64,
    #[serde(skip)]
    chance: u64,
}

/// All faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    any: AtomicBool,
    list: Mutex<(u64, Vec<ActiveFault>)>,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) -> u64 {
        let mut list = self.lock();
        list.0 += 1;
        let id = list.0;
        let chance = fault.seed ^ 0x9e37_79b9_7f4a_7c15;
        list.1.push(ActiveFault { id, fault, hits: 0, chance });
        self.any.store(true, Ordering::Release);
        id
    }

    /// Removes one, or all.
    pub(crate) fn remove(&self, id: Option<u64>) {
        let mut list = self.lock();
        list.1.retain(|fault| id.is_some_and(|id| id != fault.id));
        self.any.store(!list.1.is_empty(), Ordering::Release);
    }

    pub(crate) fn list(&self) -> Vec<ActiveFault> {
        self.lock().1.clone()
    }

    /// The first fault that strikes this call, if any.
    pub(crate) fn strike(&self, matches: impl Fn(&str) -> bool) -> Option<Fault> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut list = self.lock();
        list.1.iter_mut().find_map(|active| active.strikes(&matches).then(|| active.fault.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Vec<ActiveFault>)> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActiveFault {
    fn strikes(&mut self, matches: impl Fn(&str) -> bool) -> bool {
        if !matches(&self.fault.target) || self.fault.count.is_some_and(|count| self.hits >= count) {
            return false;
        }
        if let Some(probability) = self.fault.probability {
            // splitmix64
            self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.chance;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            if f64::from((z >> 32) as u32) / f64::from(u32::MAX) >= probability {
                return false;
            }
        }
        self.hits += 1;
        true
    }
}

/// How long a delaying fault waits.
pub(crate) fn delay(fault: &Fault) -> Duration {
    Duration::from_millis(fault.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_repeatable_and_count_ends_a_fault() {
        let run = |seed| {
            let faults = Faults::default();
            faults.add(Fault::new("/v1.0", FaultKind::Cut).probability(0.3, seed));
            (0..200).map(|_| faults.strike(|t| "/v1.0/robot".starts_with(t)).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let hits = run(1).iter().filter(|hit| **hit).count();
        assert!((30..90).contains(&hits), "{hits}");

        let faults = Faults::default();
        faults.add(Fault::new("webhook", FaultKind::Cut).count(2));
        let struck = (0..5).filter(|_| faults.strike(|t| t == "webhook").is_some()).count();
        assert_eq!(struck, 2);
    }
}
