//! The whole decision.

use dingtalk_crds::{DataPolicy, DingTalkBridge, names};

use crate::{
    Facts, FinalizerChange, Plan, Platform, asks, deletion, diff, notes, resolve, rollout, status,
    visit::Visit,
};

/// What one object needs now.
///
/// The caller carries the plan out and plans again with what it has learned, until nothing is left to do.
pub fn plan(facts: &Facts<'_>) -> Plan {
    if facts.object.metadata.deletion_timestamp.is_some() {
        return deletion::plan(facts);
    }
    let visit = Visit::new(facts);
    let children = visit.children(facts);
    let mut plan = Plan::default();
    if visit.open() {
        plan.finalizer = finalizer(facts, &visit);
        plan.writes = diff::writes(facts, &children, visit.holds(&children), visit.stays());
        plan.deletions = diff::deletions(facts, &children);
    }
    plan.asks = asks::asks(facts, &visit, &children);
    plan.look_again = asks::look_again(facts, &visit, &children, &plan.asks);
    let status = status::status(facts, &visit, &children);
    // Events tell what the status tells, at the same moment: when no child is left to write.
    if plan.writes.is_empty() && status.is_some() {
        plan.notes = notes::transitions(facts, status.as_ref());
        plan.notes.extend(notes::rotations(facts, status.as_ref()));
    }
    plan.notes.extend(notes::repairs(facts, &plan.writes));
    plan.status = status;
    plan.member = rollout::member(facts, &visit);
    plan
}

/// The public host of an object, if its webhook is to be reached there; older objects keep theirs.
pub fn host(object: &DingTalkBridge, platform: &Platform) -> Option<String> {
    resolve::host(object, platform)
}

/// The finalizer is there exactly as long as something has to be done at the end.
fn finalizer(facts: &Facts<'_>, visit: &Visit) -> Option<FinalizerChange> {
    let registered = visit.places.line();
    let needed = registered.is_some() || facts.object.spec.data_policy == Some(DataPolicy::Delete);
    match (needed, has_finalizer(facts)) {
        (true, true) if visit.places.is_settled() => None,
        (true, _) => Some(FinalizerChange::Set { registered }),
        (false, true) => Some(FinalizerChange::Remove),
        (false, false) => None,
    }
}

/// Whether the object has the operator's finalizer.
pub(crate) fn has_finalizer(facts: &Facts<'_>) -> bool {
    facts.object.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == names::FINALIZER)
}
