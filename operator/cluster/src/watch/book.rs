//! Which objects a watch has told of: what it needs to notice what changed or went while it did not look. There are ten
//! and more for each object that is looked after, so an entry is small.

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

use crate::{Key, Meta};

/// A UID, which nearly always is a UUID.
#[derive(Debug, PartialEq, Eq)]
enum Uid {
    Uuid(Uuid),
    Text(Box<str>),
}

impl Uid {
    fn of(text: &str) -> Self {
        match Uuid::try_parse(text) {
            // Another spelling would not come out again as it went in.
            Ok(uuid) if uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text => {
                Self::Uuid(uuid)
            }
            _ => Self::Text(text.into()),
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::Uuid(uuid) => uuid.to_string(),
            Self::Text(text) => text.into(),
        }
    }
}

/// What is remembered of an object.
#[derive(Debug)]
struct Known {
    uid: Uid,
    version: u64,
    /// The list that saw it last, or that was the last when an event told of it.
    list: u64,
}

/// What an object that was seen is to the watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It was not known, or not in this version.
    Changed,
    /// It was told of.
    Known,
    /// One of the same name with this UID was known, and is gone.
    Replaced(String),
}

/// The objects of one watch.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// By namespace, then by name.
    known: HashMap<Arc<str>, HashMap<Box<str>, Known>>,
    list: u64,
}

impl Book {
    /// A new list begins.
    pub(super) fn begin(&mut self) {
        self.list += 1;
    }

    /// The list is complete: what it did not have is gone.
    pub(super) fn end(&mut self) -> Vec<(Key, String)> {
        let list = self.list;
        self.take(|known| known.list != list)
    }

    /// Nothing is there any more.
    pub(super) fn clear(&mut self) -> Vec<(Key, String)> {
        self.take(|_| true)
    }

    fn take(&mut self, is_gone: impl Fn(&Known) -> bool) -> Vec<(Key, String)> {
        let mut gone = Vec::new();
        for (namespace, objects) in &mut self.known {
            let taken = objects.extract_if(|_, known| is_gone(known));
            gone.extend(taken.map(|(name, known)| (Key::new(&**namespace, name), known.uid.into_text())));
        }
        self.known.retain(|_, objects| !objects.is_empty());
        gone
    }

    /// An object was seen.
    pub(super) fn see(&mut self, meta: &Meta) -> News {
        let Key { namespace, name } = &meta.key;
        let now = Known { uid: Uid::of(&meta.uid), version: meta.version, list: self.list };
        let objects = match self.known.get_mut(namespace.as_str()) {
            Some(objects) => objects,
            None => self.known.entry(namespace.as_str().into()).or_default(),
        };
        let before = match objects.get_mut(name.as_str()) {
            Some(known) => Some(std::mem::replace(known, now)),
            None => objects.insert(name.as_str().into(), now),
        };
        match before {
            Some(before) if before.uid != Uid::of(&meta.uid) => News::Replaced(before.uid.into_text()),
            Some(before) if before.version == meta.version && meta.version > 0 => News::Known,
            _ => News::Changed,
        }
    }

    /// An object is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        let Some(objects) = self.known.get_mut(key.namespace.as_str()) else { return };
        objects.remove(key.name.as_str());
        if objects.is_empty() {
            self.known.remove(key.namespace.as_str());
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.known.values().map(HashMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_comes_out_as_it_went_in() {
        for text in [
            "0b6d9a36-41c2-4dd0-9d3f-3d8d2b1f7a55",
            "0B6D9A36-41C2-4DD0-9D3F-3D8D2B1F7A55",
            "0b6d9a3641c24dd09d3f3d8d2b1f7a55",
            "u1",
            "",
        ] {
            assert_eq!(Uid::of(text).into_text(), text);
        }
        assert!(matches!(Uid::of("0b6d9a36-41c2-4dd0-9d3f-3d8d2b1f7a55"), Uid::Uuid(_)));
    }

    #[test]
    fn it_tells_what_changed_and_what_went() {
        let mut book = Book::default();
        let meta = |namespace: &str, name: &str, uid: &str, version| Meta {
            key: Key::new(namespace, name),
            uid: uid.into(),
            version,
        };
        book.begin();
        assert_eq!(book.see(&meta("a", "x", "1", 5)), News::Changed);
        assert_eq!(book.see(&meta("b", "x", "2", 5)), News::Changed);
        assert_eq!(book.see(&meta("a", "x", "1", 5)), News::Known);
        assert_eq!(book.see(&meta("a", "x", "1", 6)), News::Changed);
        assert_eq!(book.see(&meta("a", "x", "3", 7)), News::Replaced("1".into()));
        assert_eq!((book.end(), book.len()), (vec![], 2));
        book.begin();
        assert_eq!(book.see(&meta("a", "x", "3", 7)), News::Known);
        assert_eq!(book.end(), [(Key::new("b", "x"), "2".to_owned())]);
        book.forget(&Key::new("a", "x"));
        book.forget(&Key::new("a", "x"));
        assert!(book.known.is_empty());
        assert_eq!(book.see(&meta("", "y", "4", 0)), News::Changed);
        assert_eq!(book.see(&meta("", "y", "4", 0)), News::Changed, "a version that says nothing");
        assert_eq!(book.clear(), [(Key::new("", "y"), "4".to_owned())]);
        assert_eq!(book.len(), 0);
    }
}
