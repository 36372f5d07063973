//! Who has what only one may have: a workspace, a host. The older object keeps it.

use std::collections::{BTreeSet, HashMap};

use dingtalk_crds::DingTalkBridge;

use crate::key::Key;

/// An object in the order of age; the UID decides between objects of the same second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    created: String,
    uid: String,
    key: Key,
}

impl Owner {
    pub(super) fn of(key: &Key, object: &DingTalkBridge) -> Self {
        let created = object.metadata.creation_timestamp.as_ref();
        Self {
            created: created.map(|time| time.0.to_string()).unwrap_or_default(),
            uid: object.metadata.uid.clone().unwrap_or_default(),
            key: key.clone(),
        }
    }
}

/// Things of one kind and who wants them.
#[derive(Debug, Default)]
pub(super) struct Claims {
    wanted: HashMap<Key, (Owner, String)>,
    by_thing: HashMap<String, BTreeSet<Owner>>,
}

impl Claims {
    /// An object wants a thing, or none. Answers whose standing may have changed.
    pub(super) fn put(&mut self, owner: Owner, thing: Option<String>) -> Vec<Key> {
        let same = |(before, what): &(Owner, String)| *before == owner && Some(what) == thing.as_ref();
        if self.wanted.get(&owner.key).map_or(thing.is_none(), same) {
            return Vec::new();
        }
        let mut touched = self.remove(&owner.key);
        if let Some(thing) = thing {
            let owners = self.by_thing.entry(thing.clone()).or_default();
            touched.extend(owners.iter().map(|other| other.key.clone()));
            owners.insert(owner.clone());
            self.wanted.insert(owner.key.clone(), (owner, thing));
        }
        touched
    }

    /// An object wants nothing any more. Answers whose standing may have changed.
    pub(super) fn remove(&mut self, key: &Key) -> Vec<Key> {
        let Some((owner, thing)) = self.wanted.remove(key) else { return Vec::new() };
        let Some(owners) = self.by_thing.get_mut(&thing) else { return Vec::new() };
        owners.remove(&owner);
        let others = owners.iter().map(|other| other.key.clone()).collect();
        if owners.is_empty() {
            self.by_thing.remove(&thing);
        }
        others
    }

    /// The older object that has what `key` wants.
    pub(super) fn older(&self, key: &Key) -> Option<String> {
        let (owner, thing) = self.wanted.get(key)?;
        let first = self.by_thing.get(thing)?.first()?;
        (first != owner).then(|| first.key.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(created: &str, name: &str) -> Owner {
        Owner { created: created.to_owned(), uid: name.to_owned(), key: Key::new("ns", name) }
    }

    #[test]
    fn the_older_object_keeps_what_it_has_and_the_next_one_gets_it() {
        let mut claims = Claims::default();
        let thing = || Some("acme".to_owned());
        assert!(claims.put(owner("2", "b"), thing()).is_empty());
        assert_eq!(claims.put(owner("1", "a"), thing()), [Key::new("ns", "b")]);
        assert_eq!(claims.older(&Key::new("ns", "a")), None);
        assert_eq!(claims.older(&Key::new("ns", "b")).as_deref(), Some("ns/a"));
        assert!(claims.put(owner("1", "a"), thing()).is_empty(), "nothing has changed");
        assert_eq!(claims.remove(&Key::new("ns", "a")), [Key::new("ns", "b")]);
        assert_eq!(claims.older(&Key::new("ns", "b")), None);
        claims.remove(&Key::new("ns", "b"));
        assert!(claims.by_thing.is_empty() && claims.wanted.is_empty());
    }
}
