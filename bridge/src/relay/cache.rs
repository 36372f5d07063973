//! A bounded memory of what was read.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A map of at most about twice `half` entries that forgets what was not used for a while: entries live in a young
/// generation; when that is full it becomes the old one, and the old one is dropped. Use brings an entry back.
pub(crate) struct Cache<K, V> {
    half: usize,
    generations: Mutex<Generations<K, V>>,
}

struct Generations<K, V> {
    /// How often something was forgotten.
    forgotten: u64,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(crate) fn new(half: usize) -> Self {
        Self {
            half,
            generations: Mutex::new(Generations { forgotten: 0, young: HashMap::new(), old: HashMap::new() }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations<K, V>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut generations = self.lock();
        if let Some(value) = generations.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = generations.old.remove_entry(key)?;
        self.put(&mut generations, key, value.clone());
        Some(value)
    }

    /// To be taken before what [`Self::fill`] remembers is read.
    pub(crate) fn mark(&self) -> u64 {
        self.lock().forgotten
    }

    /// Remembers what was read, unless something was forgotten since `mark`: it may be older than that.
    pub(crate) fn fill(&self, key: K, value: V, mark: u64) {
        let mut generations = self.lock();
        if generations.forgotten == mark {
            generations.old.remove(&key);
            self.put(&mut generations, key, value);
        }
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        let mut generations = self.lock();
        generations.old.remove(&key);
        self.put(&mut generations, key, value);
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let mut generations = self.lock();
        generations.forgotten += 1;
        generations.young.remove(key);
        generations.old.remove(key);
    }

    pub(crate) fn clear(&self) {
        let mut generations = self.lock();
        generations.forgotten += 1;
        generations.young.clear();
        generations.old.clear();
    }

    fn put(&self, generations: &mut Generations<K, V>, key: K, value: V) {
        if generations.young.len() >= self.half {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_something_was_forgotten_is_not_remembered() {
        let cache = Cache::new(10);
        let mark = cache.mark();
        cache.fill(1, "read", mark);
        assert_eq!(cache.get(&1), Some("read"));
        let mark = cache.mark();
        cache.remove(&1);
        cache.fill(1, "stale", mark);
        assert_eq!(cache.get(&1), None);
    }

    #[test]
    fn it_stays_bounded_and_keeps_what_is_used() {
        let cache = Cache::new(10);
        cache.insert(0, "used");
        for key in 1..1_000 {
            cache.insert(key, "other");
            assert_eq!(cache.get(&0), Some("used"));
        }
        let generations = cache.lock();
        assert!(generations.young.len() + generations.old.len() <= 20);
    }
}
