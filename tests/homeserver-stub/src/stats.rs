//! Counts and times of requests and of pushes.

use crate::sync::{read, write};
use axum::http::Method;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

const BUCKETS: usize = 40 * 8;

/// Durations in buckets of an eighth of a power of two: a quantile is right within 13 %.
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64]>,
    count: AtomicU64,
    max_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, count: AtomicU64::new(0), max_us: AtomicU64::new(0) }
    }
}

fn bucket(us: u64) -> usize {
    if us < 8 {
        return us as usize;
    }
    let power = us.ilog2();
    let eighth = (us >> (power - 3)) & 7;
    (((power - 2) * 8) as usize + eighth as usize).min(BUCKETS - 1)
}

fn bucket_end(index: usize) -> u64 {
    if index < 8 {
        return index as u64;
    }
    let (power, eighth) = (index / 8 + 2, index as u64 % 8);
    ((9 + eighth) << (power - 3)) - 1
}

impl Histogram {
    pub(crate) fn add(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Upper end of the bucket that holds the given share (in per cent) of all values.
    pub(crate) fn quantile(&self, percent: u64) -> u64 {
        let wanted = (self.count() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Ordering::Relaxed);
            if seen >= wanted {
                return bucket_end(index).min(self.max_us.load(Ordering::Relaxed));
            }
        }
        0
    }

    pub(crate) fn max_us(&self) -> u64 {
        self.max_us.load(Ordering::Relaxed)
    }
}

/// One route.
#[derive(Default)]
pub(crate) struct Endpoint {
    pub(crate) errors: AtomicU64,
    pub(crate) times: Histogram,
}

/// Requests by route since the start.
pub(crate) struct Stats {
    started: Instant,
    endpoints: RwLock<HashMap<(Method, String), Arc<Endpoint>>>,
}

impl Stats {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), endpoints: RwLock::default() }
    }

    pub(crate) fn endpoint(&self, method: &Method, route: &str) -> Arc<Endpoint> {
        let key = (method.clone(), route.to_owned());
        if let Some(endpoint) = read(&self.endpoints).get(&key) {
            return Arc::clone(endpoint);
        }
        Arc::clone(write(&self.endpoints).entry(key).or_default())
    }

    /// Calls of one route, named as in [`Stats::to_json`].
    pub(crate) fn requests(&self, endpoint: &str) -> u64 {
        let Some((method, route)) = endpoint.split_once(' ') else { return 0 };
        let Ok(method) = Method::from_bytes(method.as_bytes()) else { return 0 };
        read(&self.endpoints).get(&(method, route.to_owned())).map_or(0, |endpoint| endpoint.times.count())
    }

    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        for ((method, route), endpoint) in read(&self.endpoints).iter() {
            let value = json!({
                "count": endpoint.times.count(),
                "errors": endpoint.errors.load(Ordering::Relaxed),
                "p50_us": endpoint.times.quantile(50),
                "p99_us": endpoint.times.quantile(99),
                "max_us": endpoint.times.max_us(),
            });
            map.insert(format!("{method} {route}"), value);
        }
        map.sort_keys();
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_hold_what_they_say() {
        for us in (0..5_000).chain([1 << 20, (1 << 30) + 7]) {
            let index = bucket(us);
            assert!(us <= bucket_end(index), "{us}");
            assert!(index == 0 || us > bucket_end(index - 1), "{us}");
        }
    }

    #[test]
    fn quantiles_follow_the_values() {
        let histogram = Histogram::default();
        (1..=1000).for_each(|us| histogram.add(Duration::from_micros(us)));
        assert!((480..=560).contains(&histogram.quantile(50)), "{}", histogram.quantile(50));
        assert!((960..=1000).contains(&histogram.quantile(99)), "{}", histogram.quantile(99));
    }
}
