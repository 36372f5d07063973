//! `Progressing`: whether the cluster still follows the last change. A bridge stays `Ready` during a rollout as long as
//! its old pod serves.

use dingtalk_crds::{ConditionStatus, Reason};

use super::{Check, Verdict, View, checks, first};
use crate::{ChildKind, SeenMore, diff::is_pods, standing::Standing, visit::standing};

pub(super) const CHECKS: &[Check] = &[deleting, overdue, unwritten, rolling, waiting, settled];

fn deleting(view: &View<'_>) -> Option<Verdict> {
    view.facts
        .object
        .metadata
        .deletion_timestamp
        .is_some()
        .then(|| Verdict::holds(Reason::Deleting, "the object is being deleted"))
}

fn overdue(view: &View<'_>) -> Option<Verdict> {
    match &standing(view.facts, ChildKind::Deployment).ours()?.more {
        SeenMore::Deployment { deadline_exceeded: true, .. } => Some(Verdict::fails(
            Reason::DeadlineExceeded,
            "the new pod made no progress within its deadline; see WorkloadAvailable, or set the last change back",
        )),
        _ => None,
    }
}

fn unwritten(view: &View<'_>) -> Option<Verdict> {
    if !view.visit.open() {
        return None;
    }
    let held = view.visit.holds(view.children);
    let coming = view.children.iter().find(|child| {
        let waits = child.kind == ChildKind::Deployment && held
            || child.kind == ChildKind::HttpRoute && !view.facts.operator.has_http_routes
            || view.visit.stays() && is_pods(child.kind) && child.seen().is_some();
        child.wanted.is_some()
            && !waits
            && child.refused.is_none()
            && child.standing != Standing::Foreign
            && !child.in_sync()
    })?;
    let what = view.describe(coming.kind);
    Some(Verdict::holds(
        Reason::RollingOut,
        if coming.standing == Standing::Leaving {
            format!("the {what} is being deleted and is made anew when it is gone")
        } else {
            format!("the {what} is about to be written")
        },
    ))
}

fn rolling(view: &View<'_>) -> Option<Verdict> {
    let SeenMore::Deployment { generation, observed, updated, available, .. } =
        &standing(view.facts, ChildKind::Deployment).ours()?.more
    else {
        return None;
    };
    let wanted = i32::from(view.facts.object.spec.suspend != Some(true));
    let starting = || {
        let workload = first(view, checks(dingtalk_crds::ConditionType::WorkloadAvailable));
        matches!(workload, Verdict::Is(ConditionStatus::False, Reason::PodStarting, _))
    };
    let message = if observed < generation {
        "the cluster has not seen the last change of the Deployment yet"
    } else if *updated < wanted {
        "the new pod is being made"
    } else if *available < wanted && starting() {
        "the new pod starts"
    } else {
        return None;
    };
    Some(Verdict::holds(Reason::RollingOut, message))
}

fn waiting(view: &View<'_>) -> Option<Verdict> {
    (view.visit.open() && view.visit.stays()).then(|| {
        Verdict::holds(
            Reason::WaitingForWave,
            "a change of the platform's, e.g. a new image, comes in waves and has not come to this object yet; what runs goes on running",
        )
    })
}

#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
fn settled(_: &View<'_>) -> Option<Verdict> {
    Some(Verdict::fails(Reason::Settled, "there is nothing left to do"))
}
