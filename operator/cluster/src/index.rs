//! What is known of the objects of one kind, by name and by group.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use crate::{Key, Meta};

/// How many deleted UIDs are remembered.
const BURIED: usize = 4096;

/// What is known of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<P> {
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub version: u64,
    /// What was made of it.
    pub value: P,
}

/// What [`Index::put`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put<P> {
    /// There was none of this name, or it was another object.
    New,
    /// It differs from what was there.
    Changed(P),
    /// It is the same as what was there.
    Same,
    /// Something newer is there, or the object is deleted already: nothing was done.
    Old,
}

/// What is known of the objects of one kind. It takes what a watch says and what writes were answered, in any order:
/// older states never replace newer ones.
pub struct Index<P, G = String> {
    entries: BTreeMap<Key, Entry<P>>,
    groups: BTreeMap<G, BTreeSet<Key>>,
    group: fn(&P) -> Option<G>,
    buried: HashSet<String>,
    order: VecDeque<String>,
}

impl<P: PartialEq, G: Ord> Index<P, G> {
    /// An empty index. `group` says under what an entry is found besides its name, e.g. its owner's UID.
    pub fn new(group: fn(&P) -> Option<G>) -> Self {
        Self {
            entries: BTreeMap::new(),
            groups: BTreeMap::new(),
            group,
            buried: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes a state of an object.
    pub fn put(&mut self, meta: Meta, value: P) -> Put<P> {
        let Meta { key, uid, version } = meta;
        if self.buried.contains(&uid) {
            return Put::Old;
        }
        let is_same_object = match self.entries.get_mut(&key) {
            Some(there) if there.uid == uid => {
                // Versions that are no numbers cannot be compared; then what comes last counts.
                if version > 0 && there.version > version {
                    return Put::Old;
                }
                if there.value == value {
                    there.version = version;
                    return Put::Same;
                }
                true
            }
            _ => false,
        };
        let before = self.detach(&key);
        if let Some(group) = (self.group)(&value) {
            self.groups.entry(group).or_default().insert(key.clone());
        }
        self.entries.insert(key, Entry { uid, version, value });
        match before {
            Some(before) if is_same_object => Put::Changed(before),
            _ => Put::New,
        }
    }

    /// Takes that an object is deleted. What it was, unless another one has its name by now.
    pub fn remove(&mut self, key: &Key, uid: &str) -> Option<P> {
        self.bury(uid);
        if self.entries.get(key)?.uid != uid {
            return None;
        }
        self.detach(key)
    }

    fn detach(&mut self, key: &Key) -> Option<P> {
        let entry = self.entries.remove(key)?;
        let group = (self.group)(&entry.value);
        self.leave(key, group);
        Some(entry.value)
    }

    fn leave(&mut self, key: &Key, group: Option<G>) {
        let Some(group) = group else { return };
        if let Some(keys) = self.groups.get_mut(&group) {
            keys.remove(key);
            if keys.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    fn bury(&mut self, uid: &str) {
        if uid.is_empty() || !self.buried.insert(uid.to_owned()) {
            return;
        }
        self.order.push_back(uid.to_owned());
        if self.order.len() > BURIED
            && let Some(oldest) = self.order.pop_front()
        {
            self.buried.remove(&oldest);
        }
    }

    /// What is known of an object.
    pub fn get(&self, key: &Key) -> Option<&Entry<P>> {
        self.entries.get(key)
    }

    /// The names of a group, in order.
    pub fn group(&self, group: &G) -> impl Iterator<Item = &Key> {
        self.groups.get(group).into_iter().flatten()
    }

    /// All entries, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Entry<P>)> {
        self.entries.iter()
    }

    /// How many objects are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Thing = (&'static str, u8);

    fn index() -> Index<Thing, &'static str> {
        Index::new(|(owner, _)| Some(*owner).filter(|owner| !owner.is_empty()))
    }

    fn meta(name: &str, uid: &str, version: u64) -> Meta {
        Meta { key: Key::new("ns", name), uid: uid.to_owned(), version }
    }

    fn group(index: &Index<Thing, &'static str>, owner: &'static str) -> Vec<String> {
        index.group(&owner).map(|key| key.name.clone()).collect()
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let mut index = index();
        assert_eq!(index.put(meta("a", "1", 5), ("x", 1)), Put::New);
        assert_eq!(index.put(meta("a", "1", 4), ("x", 0)), Put::Old);
        assert_eq!(index.put(meta("a", "1", 5), ("x", 1)), Put::Same);
        assert_eq!(index.put(meta("a", "1", 6), ("x", 2)), Put::Changed(("x", 1)));
        assert_eq!(index.get(&Key::new("ns", "a")).unwrap().value, ("x", 2));
    }

    #[test]
    fn a_late_answer_does_not_bring_back_what_is_deleted() {
        let mut index = index();
        index.put(meta("a", "1", 5), ("x", 1));
        assert_eq!(index.remove(&Key::new("ns", "a"), "1"), Some(("x", 1)));
        assert_eq!(index.put(meta("a", "1", 6), ("x", 1)), Put::Old);
        assert!(index.is_empty() && group(&index, "x").is_empty());
        assert_eq!(index.put(meta("a", "2", 7), ("x", 1)), Put::New);
        assert_eq!(index.remove(&Key::new("ns", "a"), "1"), None);
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn groups_follow_the_values() {
        let mut index = index();
        index.put(meta("b", "1", 1), ("x", 1));
        index.put(meta("a", "2", 1), ("x", 1));
        index.put(meta("c", "3", 1), ("", 1));
        assert_eq!(group(&index, "x"), ["a", "b"]);
        index.put(meta("a", "2", 2), ("y", 1));
        assert_eq!((group(&index, "x"), group(&index, "y")), (vec!["b".to_owned()], vec!["a".to_owned()]));
        // Another object with the name of one whose end was missed.
        assert_eq!(index.put(meta("b", "9", 3), ("y", 1)), Put::New);
        assert_eq!((group(&index, "x").len(), group(&index, "y")), (0, vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn only_so_many_deleted_ones_are_remembered() {
        let mut index = index();
        for uid in 0..2 * BURIED {
            index.remove(&Key::new("ns", "a"), &uid.to_string());
        }
        assert_eq!((index.buried.len(), index.order.len()), (BURIED, BURIED));
    }
}
