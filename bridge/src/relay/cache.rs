//! A bounded memory of what was read.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A map of at most about twice `half` entries that forgets what was not used for a while: entries live in a young
/// generation; when that is full it becomes the old one, and the old one is dropped. Use brings an entry back.
pub(crate) struct Cache<K, V> {
    /// How much a generation may weigh.
    half: usize,
    weight: fn(&V) -> usize,
    generations: Mutex<Generations<K, V>>,
}

struct Generations<K, V> {
    /// How often something was forgotten.
    forgotten: u64,
    young: HashMap<K, V>,
    /// What the young ones weigh.
    weight: usize,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(crate) fn new(half: usize) -> Self {
        Self::weighing(half, |_| 1)
    }

    /// One whose entries are of different sizes: all together weigh at most about twice `half`.
    pub(crate) fn weighing(half: usize, weight: fn(&V) -> usize) -> Self {
        let generations = Generations { forgotten: 0, young: HashMap::new(), weight: 0, old: HashMap::new() };
        Self { half, weight, generations: Mutex::new(generations) }
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
        if let Some(value) = generations.young.remove(key) {
            generations.weight -= (self.weight)(&value);
        }
        generations.old.remove(key);
    }

    pub(crate) fn clear(&self) {
        let mut generations = self.lock();
        generations.forgotten += 1;
        generations.young.clear();
        generations.weight = 0;
        generations.old.clear();
    }

    fn put(&self, generations: &mut Generations<K, V>, key: K, value: V) {
        let weight = (self.weight)(&value);
        // One that weighs too much for a generation has one of its own.
        if generations.weight > 0 && generations.weight + weight > self.half {
            generations.old = std::mem::take(&mut generations.young);
            generations.weight = 0;
        }
        generations.weight += weight;
        if let Some(before) = generations.young.insert(key, value) {
            generations.weight -= (self.weight)(&before);
        }
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

    #[test]
    fn what_it_keeps_is_bounded_by_weight() {
        let cache = Cache::weighing(10, |value: &usize| *value);
        let weight = || {
            let generations = cache.lock();
            assert_eq!(generations.weight, generations.young.values().sum::<usize>());
            generations.weight + generations.old.values().sum::<usize>()
        };
        for key in 0..100 {
            cache.insert(key % 7, key % 4 + 1);
            assert!(weight() <= 20);
            cache.remove(&(key % 3));
            assert!(weight() <= 20);
        }
        cache.insert(1, 4);
        cache.insert(1, 5);
        assert_eq!(cache.get(&1), Some(5));
        // One that is too heavy is alone with what was there before.
        cache.insert(8, 30);
        assert_eq!((cache.get(&8), weight() <= 40), (Some(30), true));
    }
}
