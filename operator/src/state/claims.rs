//! Who has what only one may have: a workspace, a host. The older object keeps it.

use std::{collections::HashMap, sync::Arc};

use dingtalk_crds::DingTalkBridge;

use crate::key::Key;

/// An object in the order of age; the UID decides between objects of the same second. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner(Arc<(Box<str>, Box<str>, Key)>);

impl Owner {
    pub(super) fn of(key: &Key, object: &DingTalkBridge) -> Self {
        let created = object.metadata.creation_timestamp.as_ref();
        let created = created.map(|time| time.0.to_string()).unwrap_or_default();
        Self::new(&created, object.metadata.uid.as_deref().unwrap_or_default(), key.clone())
    }

    fn new(created: &str, uid: &str, key: Key) -> Self {
        Self(Arc::new((created.into(), uid.into(), key)))
    }

    fn key(&self) -> &Key {
        &self.0.2
    }
}

/// Things of one kind and who wants them. Nearly everything is wanted by one object.
#[derive(Debug, Default)]
pub(super) struct Claims {
    wanted: HashMap<Key, (Owner, Arc<str>)>,
    /// In the order of age.
    by_thing: HashMap<Arc<str>, Vec<Owner>>,
}

impl Claims {
    /// An object wants a thing, or none. Answers whose standing may have changed.
    pub(super) fn put(&mut self, owner: Owner, thing: Option<&str>) -> Vec<Key> {
        let same = |(before, what): &(Owner, Arc<str>)| *before == owner && Some(&**what) == thing;
        if self.wanted.get(owner.key()).map_or(thing.is_none(), same) {
            return Vec::new();
        }
        let mut touched = self.remove(owner.key());
        if let Some(thing) = thing {
            let known = self.by_thing.get_key_value(thing).map(|(thing, _)| Arc::clone(thing));
            let thing = known.unwrap_or_else(|| thing.into());
            let owners = self.by_thing.entry(Arc::clone(&thing)).or_insert_with(|| Vec::with_capacity(1));
            touched.extend(owners.iter().map(|other| other.key().clone()));
            let place = owners.partition_point(|other| *other < owner);
            owners.insert(place, owner.clone());
            self.wanted.insert(owner.key().clone(), (owner, thing));
        }
        touched
    }

    /// An object wants nothing any more. Answers whose standing may have changed.
    pub(super) fn remove(&mut self, key: &Key) -> Vec<Key> {
        let Some((owner, thing)) = self.wanted.remove(key) else { return Vec::new() };
        let Some(owners) = self.by_thing.get_mut(&thing) else { return Vec::new() };
        owners.retain(|other| *other != owner);
        let others = owners.iter().map(|other| other.key().clone()).collect();
        if owners.is_empty() {
            self.by_thing.remove(&thing);
        }
        others
    }

    /// The older object that has what `key` wants.
    pub(super) fn older(&self, key: &Key) -> Option<String> {
        let (owner, thing) = self.wanted.get(key)?;
        let first = self.by_thing.get(thing)?.first()?;
        (first != owner).then(|| first.key().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(created: &str, name: &str) -> Owner {
        Owner::new(created, name, Key::new("ns", name))
    }

    #[test]
    fn the_older_object_keeps_what_it_has_and_the_next_one_gets_it() {
        let mut claims = Claims::default();
        let thing = || Some("acme");
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
