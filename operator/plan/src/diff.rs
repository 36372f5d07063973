//! What differs between what is wanted and what the cluster has.

use std::time::Duration;

use crate::{
    Change, ChildKind, Children, Deletion, Digest, Facts, Refusal, Seen,
    outcome::Wanted,
    standing::{Me, Standing},
};

/// What is known about one child.
#[derive(Clone, Copy)]
pub(crate) struct Child<'a> {
    pub kind: ChildKind,
    pub standing: Standing<'a>,
    pub wanted: Option<&'a Wanted>,
    /// A refusal of what is wanted now.
    pub refused: Option<&'a Refusal>,
}

impl<'a> Child<'a> {
    pub(crate) fn new(
        kind: ChildKind,
        facts: &'a Facts<'_>,
        wanted: &'a Children<Option<Wanted>>,
        me: Me<'_>,
    ) -> Self {
        let wanted = wanted.get(kind).as_ref();
        let refused = facts.refused.get(kind).as_ref();
        Self {
            kind,
            standing: Standing::of(kind, facts.seen.get(kind).as_ref(), me),
            wanted,
            // A Secret that is made anew differs each time, so any refusal of one counts.
            refused: refused.filter(|refusal| refusal.digest != Refusal::DELETION).filter(|refusal| {
                wanted.is_some_and(|wanted| kind.is_secret() || wanted.digest == refusal.digest)
            }),
        }
    }

    /// A child of which nothing is known.
    pub(crate) const fn absent(kind: ChildKind) -> Self {
        Self { kind, standing: Standing::Free, wanted: None, refused: None }
    }

    /// What the cluster has of it.
    pub(crate) fn seen(&self) -> Option<&'a Seen> {
        self.standing.ours()
    }

    /// Whether the cluster has it as it is wanted.
    pub(crate) fn in_sync(&self) -> bool {
        matches!((self.seen(), self.wanted), (Some(seen), Some(wanted)) if seen.digest == wanted.digest)
    }

    /// Whether it is to be written now.
    fn due(&self, now: jiff::Timestamp) -> bool {
        let placeable = matches!(self.standing, Standing::Free | Standing::Ours(_));
        let resting = self.refused.is_some_and(|refusal| refusal.rests(now).is_some());
        self.wanted.is_some() && placeable && !self.in_sync() && !resting
    }
}

/// Wave in which a child is written. The claim follows the sealing key: were it there first and the key were not, it
/// would look like a database whose key has been lost. The Deployment follows all that its pod mounts.
const fn wave(kind: ChildKind) -> u8 {
    match kind {
        ChildKind::Claim | ChildKind::Deployment => 1,
        _ => 0,
    }
}

/// What a pod reads when it starts, and what lets it through to whom it calls. A pod that may not have a change of the
/// platform's yet must not get it by a restart.
pub(crate) const fn is_pods(kind: ChildKind) -> bool {
    matches!(
        kind,
        ChildKind::RegistrationSecret
            | ChildKind::ConfigMap
            | ChildKind::Deployment
            | ChildKind::NetworkPolicy
    )
}

/// Children that differ. `hold` keeps the Deployment back, `stays` all that is a pod's and is there.
pub(crate) fn writes(facts: &Facts<'_>, children: &[Child<'_>], hold: bool, stays: bool) -> Vec<Change> {
    // Nor is a claim made whose key could not be written.
    let keyless = children.iter().any(|child| {
        child.kind == ChildKind::SealingSecret && child.seen().is_none() && !child.due(facts.now)
    });
    let mut writes: Vec<Change> = children
        .iter()
        .filter(|child| child.due(facts.now))
        .filter(|child| !(stays && is_pods(child.kind) && child.seen().is_some()))
        .filter(|child| match child.kind {
            ChildKind::Deployment => !hold,
            ChildKind::Claim => !keyless || child.seen().is_some(),
            // The cluster would not know the kind.
            ChildKind::HttpRoute => facts.operator.has_http_routes,
            _ => true,
        })
        .filter_map(|child| {
            let wanted = child.wanted?.clone();
            let applied: Option<Digest> = *facts.applied.get(child.kind);
            Some(Change {
                child: child.kind,
                wave: wave(child.kind),
                uid: child.seen().map(|seen| seen.uid.clone()),
                repair: applied == Some(wanted.digest),
                wanted,
            })
        })
        .collect();
    writes.sort_by_key(|change| (change.wave, change.child));
    writes
}

/// How long the deletion of a child is left alone yet that was refused.
pub(crate) fn undeletable(facts: &Facts<'_>, kind: ChildKind) -> Option<Duration> {
    let refusal = facts.refused.get(kind).as_ref().filter(|refusal| refusal.digest == Refusal::DELETION)?;
    refusal.rests(facts.now)
}

/// Children that are not wanted any more. Data is never among them. A route goes when the one that replaces it stands.
pub(crate) fn deletions(facts: &Facts<'_>, children: &[Child<'_>]) -> Vec<Deletion> {
    let route = |kind| matches!(kind, ChildKind::Ingress | ChildKind::HttpRoute);
    let replaced =
        children.iter().filter(|child| route(child.kind) && child.wanted.is_some()).all(Child::in_sync);
    children
        .iter()
        .filter(|child| child.wanted.is_none() && undeletable(facts, child.kind).is_none())
        .filter(|child| match child.kind {
            ChildKind::Ingress | ChildKind::HttpRoute => replaced,
            ChildKind::NetworkPolicy => true,
            _ => false,
        })
        .filter_map(|child| Some(Deletion { child: child.kind, uid: child.seen()?.uid.clone() }))
        .collect()
}
