//! Faults: what goes wrong on purpose, in requests that arrive and in transactions that leave.

use crate::sync::{lock, write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Waits `value` milliseconds, then goes on as usual.
    DelayMs,
    /// Answers with status `value` and does nothing.
    Status,
    /// Closes the connection and does nothing.
    Cut,
    /// Does what was asked, then closes the connection.
    LoseAnswer,
    /// 429 with `value` as `retry_after_ms`.
    Limit,
}

/// A fault and what it applies to. Without `count` and `probability` it stays until it is removed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Requests whose path (as sent, percent-encoded) starts with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// Requests whose path contains this, for example `/send/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_contains: Option<String>,
    /// Transactions the stub sends to the bridge.
    #[serde(default)]
    pub transactions: bool,
    /// What happens.
    pub kind: FaultKind,
    /// Milliseconds or status, as the kind says.
    #[serde(default)]
    pub value: u64,
    /// How many times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Chance between 0 and 1 for each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

impl Fault {
    /// A fault on requests whose path contains `part`.
    pub fn on_path(part: &str, kind: FaultKind, value: u64) -> Self {
        Self { path_contains: Some(part.to_owned()), ..Self::on_transactions(kind, value).only_requests() }
    }

    /// A fault on the transactions that go to the bridge.
    pub fn on_transactions(kind: FaultKind, value: u64) -> Self {
        Self {
            path_prefix: None,
            path_contains: None,
            transactions: true,
            kind,
            value,
            count: None,
            probability: None,
        }
    }

    fn only_requests(mut self) -> Self {
        self.transactions = false;
        self
    }

    /// Happens only so many times.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Happens with this chance.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    fn matches(&self, path: Option<&str>) -> bool {
        match path {
            None => self.transactions,
            Some(path) => {
                !self.transactions
                    && !path.starts_with("/_stub/")
                    && self.path_prefix.as_ref().is_none_or(|prefix| path.starts_with(prefix.as_str()))
                    && self.path_contains.as_ref().is_none_or(|part| path.contains(part.as_str()))
            }
        }
    }
}

struct Entry {
    id: u64,
    fault: Fault,
    left: Option<AtomicU64>,
    hits: AtomicU64,
}

/// The faults in force.
#[derive(Default)]
pub(crate) struct Faults {
    any: AtomicBool,
    next: AtomicU64,
    entries: RwLock<Vec<Entry>>,
    dice: Mutex<u64>,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let left = fault.count.map(AtomicU64::new);
        write(&self.entries).push(Entry { id, fault, left, hits: AtomicU64::new(0) });
        self.any.store(true, Ordering::Release);
        id
    }

    /// Removes one fault or all.
    pub(crate) fn remove(&self, id: Option<u64>) {
        let mut entries = write(&self.entries);
        entries.retain(|entry| id.is_some_and(|id| entry.id != id));
        self.any.store(!entries.is_empty(), Ordering::Release);
    }

    /// The fault that strikes now; `None` as path asks for transactions.
    pub(crate) fn strike(&self, path: Option<&str>) -> Option<(FaultKind, u64)> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let entries = crate::sync::read(&self.entries);
        let entry = entries.iter().find(|entry| {
            entry.fault.matches(path)
                && entry.fault.probability.is_none_or(|chance| self.throw() < chance)
                && entry.left.as_ref().is_none_or(|left| {
                    left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok()
                })
        })?;
        entry.hits.fetch_add(1, Ordering::Relaxed);
        Some((entry.fault.kind, entry.fault.value))
    }

    pub(crate) fn to_json(&self) -> Value {
        let entries = crate::sync::read(&self.entries);
        let one = |entry: &Entry| {
            let left = entry.left.as_ref().map(|left| left.load(Ordering::Relaxed));
            json!({"id": entry.id, "fault": entry.fault, "hits": entry.hits.load(Ordering::Relaxed), "left": left})
        };
        entries.iter().map(one).collect()
    }

    /// A number in 0..1, the same sequence in every run (`SplitMix64`).
    fn throw(&self) -> f64 {
        let mut state = lock(&self.dice);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from((z >> 32) as u32) / f64::from(u32::MAX)
    }
}
