//! One bridge as a rollout sees it.

use dingtalk_crds::names;
use jiff::Timestamp;

use super::{Pending, Staged};
use crate::{
    ChildKind, Facts, SeenMore,
    condition::is_broken,
    visit::{Visit, standing},
};

/// What a rollout knows of one bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Place among the others: by chance, but always the same.
    pub rank: u64,
    /// Whether its label makes it a canary.
    pub canary: bool,
    /// Whether a change of the platform's has not come to it yet.
    pub waiting: bool,
    /// The last one that came.
    pub staged: Option<Staged>,
    /// How its pod is.
    pub health: Health,
}

/// How the pod of what was written last is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is ready, since then if that is known.
    Ready(Option<Timestamp>),
    /// It cannot start, and none else serves: no image, it ends again and again, or its deadline has passed.
    Broken,
    /// It is not there yet, or not ready.
    Away,
}

impl Health {
    /// Whether it is ready.
    pub const fn is_ready(self) -> bool {
        matches!(self, Self::Ready(_))
    }
}

/// The object's part in a rollout; `None` when it takes none: nothing is built, no pod is wanted, or hands are off.
pub(crate) fn member(facts: &Facts<'_>, visit: &Visit) -> Option<Member> {
    let workspace = visit.workspace.as_ref().ok()?;
    if workspace.suspended || visit.paused {
        return None;
    }
    let seen = standing(facts, ChildKind::Deployment).ours()?;
    let SeenMore::Deployment { available, marks, .. } = &seen.more else {
        return None;
    };
    let uid = facts.object.metadata.uid.as_deref().unwrap_or_default();
    let rank =
        crate::Digest::of_bytes(uid.as_bytes()).0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let labels = facts.object.metadata.labels.as_ref();
    let pod = facts.pod.filter(|pod| seen.more.has_followed() && pod.ready);
    Some(Member {
        rank,
        canary: labels.and_then(|labels| labels.get(names::CANARY)).is_some_and(|value| value == "true"),
        waiting: visit.pending == Pending::Waits || matches!(visit.pending, Pending::OwnWith { .. }),
        staged: marks.staged.clone(),
        health: match pod {
            Some(pod) => Health::Ready(pod.ready_since),
            None if *available == 0 && is_broken(facts) => Health::Broken,
            None => Health::Away,
        },
    })
}
