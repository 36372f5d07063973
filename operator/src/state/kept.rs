//! A child as it is kept between passes: one record in a few hundred bytes, of which there are ten for each object.

use std::sync::Arc;

use operator_plan::{Digest, Secret, Seen, SeenMore};

/// What [`Seen`] has, in less space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    uid: Box<str>,
    /// One text for all children of an object, as far as it is the same.
    owner: Option<Arc<str>>,
    /// The same.
    workspace: Option<Arc<str>>,
    adopt: Option<Box<str>>,
    labelled: bool,
    deleting: bool,
    pub(super) digest: Digest,
    more: Option<Box<More>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum More {
    /// By key, in order.
    Secret(Box<[(Box<str>, Secret)]>),
    Other(SeenMore),
}

impl From<Seen> for Kept {
    fn from(seen: Seen) -> Self {
        let Seen { uid, owner, labelled, workspace, adopt, deleting, digest, more } = seen;
        let more = match more {
            SeenMore::Nothing => None,
            SeenMore::Secret(values) => {
                Some(More::Secret(values.into_iter().map(|(key, value)| (key.into(), value)).collect()))
            }
            other => Some(More::Other(other)),
        };
        Self {
            uid: uid.into(),
            owner: owner.map(Into::into),
            workspace: workspace.map(Into::into),
            adopt: adopt.map(Into::into),
            labelled,
            deleting,
            digest,
            more: more.map(Box::new),
        }
    }
}

impl Kept {
    /// Its UID.
    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    /// As a decision sees it.
    pub(super) fn seen(&self) -> Seen {
        let Self { uid, owner, workspace, adopt, labelled, deleting, digest, more } = self;
        Seen {
            uid: uid.to_string(),
            owner: owner.as_deref().map(str::to_owned),
            labelled: *labelled,
            workspace: workspace.as_deref().map(str::to_owned),
            adopt: adopt.as_deref().map(str::to_owned),
            deleting: *deleting,
            digest: *digest,
            more: match more.as_deref() {
                None => SeenMore::Nothing,
                Some(More::Secret(values)) => SeenMore::Secret(
                    values.iter().map(|(key, value)| (key.to_string(), value.clone())).collect(),
                ),
                Some(More::Other(more)) => more.clone(),
            },
        }
    }

    /// Takes the texts of another child where they are the same.
    pub(super) fn share(&mut self, other: &Self) {
        let take = |own: &mut Option<Arc<str>>, other: &Option<Arc<str>>| {
            if own == other {
                own.clone_from(other);
            }
        };
        take(&mut self.owner, &other.owner);
        take(&mut self.workspace, &other.workspace);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn seen(more: SeenMore) -> Seen {
        Seen {
            uid: "u".into(),
            owner: Some("o".into()),
            labelled: true,
            workspace: Some("acme".into()),
            adopt: Some("a".into()),
            deleting: false,
            digest: Digest([7; 32]),
            more,
        }
    }

    #[test]
    fn nothing_is_lost() {
        let values = BTreeMap::from([("b".to_owned(), Secret::new("2")), ("a".to_owned(), Secret::new("1"))]);
        let route = SeenMore::HttpRoute { accepted: Some(Err("no such gateway".into())) };
        for more in [SeenMore::Nothing, SeenMore::Secret(values), route] {
            assert_eq!(Kept::from(seen(more.clone())).seen(), seen(more));
        }
    }

    #[test]
    fn children_share_what_they_have_in_common() {
        let (first, mut second) = (Kept::from(seen(SeenMore::Nothing)), Kept::from(seen(SeenMore::Nothing)));
        let stranger = Kept::from(Seen { owner: None, ..seen(SeenMore::Nothing) });
        second.share(&stranger);
        assert_eq!(second.owner.as_deref(), Some("o"));
        second.share(&first);
        assert_eq!(second, first);
        assert!(Arc::ptr_eq(second.owner.as_ref().unwrap(), first.owner.as_ref().unwrap()));
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Kept>() <= 112, "{}", size_of::<Kept>());
    }
}
