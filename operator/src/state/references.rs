//! Secrets and `ConfigMap`s that specs name: what was read of them, and for whom.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use operator_plan::{RefKey, ReferenceFact, References};
use tokio::time::Instant;

use crate::key::Key;

/// How long a refusal to read is believed: no watch tells when rights change. That an object is missing is believed until
/// a watch shows it.
const DENIED: Duration = Duration::from_mins(5);

#[derive(Debug)]
struct Read {
    rv: u64,
    fact: Option<ReferenceFact>,
    at: Instant,
    readers: BTreeSet<Key>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Reads {
    reads: HashMap<(String, RefKey), Read>,
    by_reader: HashMap<Key, BTreeSet<RefKey>>,
}

impl Reads {
    /// Remembers what was read for an object.
    pub(super) fn put(&mut self, reader: &Key, reference: &RefKey, rv: u64, fact: ReferenceFact) {
        let place = (reader.namespace().to_owned(), reference.clone());
        let read = self.reads.entry(place).or_insert_with(|| Read {
            rv,
            fact: None,
            at: Instant::now(),
            readers: BTreeSet::new(),
        });
        read.rv = rv;
        read.fact = Some(fact);
        read.at = Instant::now();
        read.readers.insert(reader.clone());
        self.by_reader.entry(reader.clone()).or_default().insert(reference.clone());
    }

    /// What an object may look at.
    pub(super) fn facts(&self, reader: &Key, now: Instant) -> References {
        let named = self.by_reader.get(reader).into_iter().flatten();
        let fact = |reference: &RefKey| {
            let read = self.reads.get(&(reader.namespace().to_owned(), reference.clone()))?;
            let fact = read.fact.clone()?;
            let outdated = fact == ReferenceFact::Denied && now - read.at >= DENIED;
            (!outdated).then(|| (reference.clone(), fact))
        };
        named.filter_map(fact).collect()
    }

    /// A version of one was seen, or its end (`None`). Answers for whom it was read, if that is out of date now.
    pub(super) fn touch(&mut self, namespace: &str, reference: &RefKey, rv: Option<u64>) -> Vec<Key> {
        let Some(read) = self.reads.get_mut(&(namespace.to_owned(), reference.clone())) else {
            return Vec::new();
        };
        if rv.is_some_and(|rv| rv <= read.rv) {
            return Vec::new();
        }
        read.fact = None;
        read.readers.iter().cloned().collect()
    }

    /// An object is gone.
    pub(super) fn forget(&mut self, reader: &Key) {
        for reference in self.by_reader.remove(reader).into_iter().flatten() {
            let place = (reader.namespace().to_owned(), reference);
            if let Some(read) = self.reads.get_mut(&place) {
                read.readers.remove(reader);
                if read.readers.is_empty() {
                    self.reads.remove(&place);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_makes_those_look_who_read_an_older_one() {
        let mut reads = Reads::default();
        let (a, b) = (Key::new("ns", "a"), Key::new("ns", "b"));
        let secret = RefKey::Secret("ca".into());
        reads.put(&a, &secret, 7, ReferenceFact::Missing);
        reads.put(&b, &secret, 7, ReferenceFact::Missing);
        assert!(reads.touch("ns", &secret, Some(7)).is_empty(), "that version was read");
        assert!(reads.touch("other", &secret, Some(8)).is_empty());
        assert_eq!(reads.facts(&a, Instant::now()).len(), 1);
        assert_eq!(reads.touch("ns", &secret, Some(8)), [a.clone(), b.clone()]);
        assert!(reads.facts(&a, Instant::now()).is_empty());
        reads.forget(&a);
        reads.forget(&b);
        assert!(reads.reads.is_empty() && reads.by_reader.is_empty());
    }
}
