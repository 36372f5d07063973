//! Whether an object in the cluster is ours.

use crate::{ChildKind, Seen};

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Me<'a> {
    pub uid: &'a str,
    pub workspace: &'a str,
}

/// What stands at the place of a child.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Standing<'a> {
    /// Nothing.
    Free,
    /// The child, or what may become it.
    Ours(&'a Seen),
    /// The child, on its way out: it can only be waited for.
    Leaving,
    /// Somebody else's object. It is never touched.
    Foreign,
}

impl<'a> Standing<'a> {
    pub(crate) fn of(child: ChildKind, seen: Option<&'a Seen>, me: Me<'_>) -> Self {
        let Some(seen) = seen else { return Self::Free };
        match (is_ours(child, seen, me), seen.deleting) {
            (false, _) => Self::Foreign,
            (true, true) => Self::Leaving,
            (true, false) => Self::Ours(seen),
        }
    }

    pub(crate) fn ours(self) -> Option<&'a Seen> {
        match self {
            Self::Ours(seen) => Some(seen),
            _ => None,
        }
    }
}

fn is_ours(child: ChildKind, seen: &Seen, me: Me<'_>) -> bool {
    // Without an identity nothing can be told from anything.
    if me.uid.is_empty() {
        return false;
    }
    if seen.adopt.as_deref() == Some(me.uid) {
        return true;
    }
    match &seen.owner {
        Some(owner) => owner == me.uid,
        // What holds data outlives its object, and is taken up again by one of the same name for the same workspace.
        None => child.is_user_data() && seen.labelled && seen.workspace.as_deref() == Some(me.workspace),
    }
}
