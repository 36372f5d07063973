//! Which `DingTalkBridge`: namespace and name.

use std::{fmt, sync::Arc};

/// Namespace and name of an object. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(Arc<(String, String)>);

impl Key {
    /// The object `name` in `namespace`.
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self(Arc::new((namespace.into(), name.into())))
    }

    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.0.0
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.0.1
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.name())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
