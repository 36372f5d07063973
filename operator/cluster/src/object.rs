//! What every object has: a name, a UID and a version.

use std::fmt;

use serde_json::Value;

/// The name of an object within its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace; empty for kinds without.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of an object in a namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// What identifies one state of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Its name.
    pub key: Key,
    /// Its UID: another object of the same name has another one.
    pub uid: String,
    /// Its `resourceVersion`, which grows with each write; 0 when it is not a number.
    pub version: u64,
}

impl Meta {
    /// Reads it from an object. `None` for what has no name.
    pub fn of(object: &Value) -> Option<Self> {
        let meta = object.get("metadata")?;
        let text = |field: &str| meta.get(field).and_then(Value::as_str).unwrap_or_default();
        let name = text("name");
        if name.is_empty() {
            return None;
        }
        Some(Self {
            key: Key::new(text("namespace"), name),
            uid: text("uid").to_owned(),
            version: resource_version(object).parse().unwrap_or_default(),
        })
    }
}

/// `metadata.resourceVersion` as it stands there.
pub(crate) fn resource_version(object: &Value) -> &str {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_without_name_has_no_key() {
        assert_eq!(Meta::of(&json!({"metadata": {"uid": "u"}})), None);
        assert_eq!(Meta::of(&json!({"metadata": {"name": 5}})), None);
        assert_eq!(Meta::of(&json!([])), None);
    }

    #[test]
    fn a_version_that_is_no_number_is_zero() {
        let meta = Meta::of(&json!({"metadata": {"name": "a", "resourceVersion": "x1"}})).unwrap();
        assert_eq!((meta.version, meta.key.to_string()), (0, "a".to_owned()));
    }
}
