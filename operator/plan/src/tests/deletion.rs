//! The end of an object.

use dingtalk_crds::{ConditionType, names};

use super::World;
use crate::{AdminFact, Ask, ChildKind, FinalizerChange, Refusal};

#[test]
fn an_object_without_anything_to_undo_has_no_finalizer_and_is_left_to_the_cluster() {
    let mut world = World::running();
    assert_eq!(world.object.metadata.finalizers, None);
    world.delete();
    let plan = world.plan();
    assert!(
        plan.writes.is_empty()
            && plan.deletions.is_empty()
            && plan.asks.is_empty()
            && plan.finalizer.is_none()
    );
    world.carry_out(&plan);
    assert_eq!(world.is(ConditionType::Ready), "False Deleting");
    assert_eq!(world.plan().status, None);
}

#[test]
fn data_goes_only_when_the_object_says_so() {
    let mut world = World::new("{workspace: acme, dataPolicy: Delete}");
    world.start();
    assert_eq!(world.object.metadata.finalizers, Some(vec![names::FINALIZER.to_owned()]));
    world.delete();
    let plan = world.plan();
    let gone: Vec<ChildKind> = plan.deletions.iter().map(|deletion| deletion.child).collect();
    assert_eq!(gone, [ChildKind::Claim, ChildKind::SealingSecret]);
    assert_eq!(plan.finalizer, None, "the data goes first");
    for child in gone {
        world.seen.get_mut(child).as_mut().unwrap().deleting = true;
    }
    let plan = world.plan();
    assert!(plan.deletions.is_empty());
    assert_eq!(plan.finalizer, Some(FinalizerChange::Remove));
}

#[test]
fn the_finalizer_goes_when_it_is_needed_no_more() {
    let mut world = World::new("{workspace: acme, dataPolicy: Delete}");
    world.start();
    world.edit(|spec| spec.data_policy = None);
    assert_eq!(world.plan().finalizer, Some(FinalizerChange::Remove));
}

#[test]
fn a_registration_is_taken_back_before_the_data_goes() {
    let mut world = World::everything();
    world.start();
    world.delete();
    let plan = world.plan();
    assert!(matches!(&plan.asks[..], [Ask::TakeBack { .. }]), "{plan:?}");
    assert!(plan.deletions.is_empty() && plan.finalizer.is_none());
    world.carry_out(&plan);
    let plan = world.plan();
    assert_eq!(plan.deletions.len(), 2);
    world.carry_out(&plan);
    assert_eq!(world.plan().finalizer, Some(FinalizerChange::Remove));
}

#[test]
fn a_homeserver_that_is_gone_does_not_hold_the_object_for_ever() {
    let mut world = World::everything();
    world.start();
    world.delete();
    world.away = Some(AdminFact::Unreachable("no route to host".to_owned()));
    let last = world.settle();
    assert!(last.look_again.is_some() && last.finalizer.is_none());
    assert_eq!(world.is(ConditionType::RegistrationReady), "False UnregisterFailed");
    assert!(world.message(ConditionType::RegistrationReady).contains(names::SKIP_UNREGISTER));
    assert!(world.told.contains(&"Warning UnregisterFailed RegistrationReady".to_owned()));
    // Asked again after the pause, without a change of the status.
    assert_eq!(world.is(ConditionType::Ready), "False CleanupFailed");
    world.former.clear();
    let plan = world.plan();
    assert!(matches!(&plan.asks[..], [Ask::TakeBack { .. }]));
    assert_eq!(plan.status, None);
    world.annotate(names::SKIP_UNREGISTER, "true");
    assert_eq!(world.plan().deletions.len(), 2);
    // A spec that became unreadable holds it just as little.
    world.edit(|spec| spec.host = Some("no host".to_owned()));
    assert_eq!(world.plan().deletions.len(), 2);
}

#[test]
fn an_admin_token_that_is_gone_is_named() {
    let mut world = World::everything();
    world.start();
    world.delete();
    world.existing.clear();
    world.references.clear();
    world.settle();
    assert_eq!(world.is(ConditionType::RegistrationReady), "False UnregisterFailed");
    assert!(world.message(ConditionType::RegistrationReady).contains("matrix-admin"));
}

#[test]
fn hands_off_means_the_end_as_well() {
    let mut world = World::everything();
    world.start();
    world.delete();
    world.annotate(names::PAUSED, "true");
    let plan = world.plan();
    assert!(plan.asks.is_empty() && plan.deletions.is_empty() && plan.finalizer.is_none());
    world.carry_out(&plan);
    assert!(world.message(ConditionType::Paused).contains("the deletion waits"));
}

#[test]
fn after_an_hour_the_object_goes_and_the_registration_that_stays_is_told() {
    let mut world = World::everything();
    world.start();
    world.delete();
    world.away = Some(AdminFact::Unreachable("no route to host".to_owned()));
    world.settle();
    world.now += jiff::SignedDuration::from_mins(59);
    assert!(world.plan().finalizer.is_none() && world.plan().deletions.is_empty());
    world.now += jiff::SignedDuration::from_mins(1);
    let plan = world.plan();
    assert_eq!(plan.deletions.len(), 2, "the data goes as it was to");
    world.carry_out(&plan);
    let plan = world.plan();
    assert_eq!(plan.finalizer, Some(FinalizerChange::Remove));
    assert!(plan.notes[0].note.contains("by hand") && plan.notes[0].note.contains("no route to host"));
}

#[test]
fn data_that_the_cluster_does_not_let_go_is_told_and_tried_again_after_a_pause() {
    let mut world = World::new("{workspace: acme, dataPolicy: Delete}");
    world.start();
    world.delete();
    let refusal = Refusal {
        digest: Refusal::DELETION,
        denied: false,
        conflict: false,
        message: "volumes are kept until the audit".to_owned(),
        at: world.now,
    };
    *world.refused.get_mut(ChildKind::Claim) = Some(refusal);
    let plan = world.plan();
    assert_eq!(plan.deletions.len(), 1, "the other one goes");
    world.carry_out(&plan);
    let plan = world.plan();
    assert!(plan.deletions.is_empty() && plan.finalizer.is_none(), "no request");
    world.carry_out(&plan);
    assert_eq!(world.is(ConditionType::DatabaseReady), "False CleanupFailed");
    assert_eq!(world.is(ConditionType::Ready), "False CleanupFailed");
    for part in ["dingtalk-acme-data", "until the audit", "dataPolicy: Retain"] {
        assert!(world.message(ConditionType::DatabaseReady).contains(part));
    }
    assert!(world.told.contains(&"Warning CleanupFailed DatabaseReady".to_owned()));
    let plan = world.plan();
    assert!(plan.status.is_none() && plan.look_again.is_some());
    // A person keeps the data.
    let spec = world.object.spec.clone();
    world.edit(|spec| spec.data_policy = None);
    assert_eq!(world.plan().finalizer, Some(FinalizerChange::Remove));
    world.object.spec = spec;
    world.now += jiff::SignedDuration::from_mins(5);
    assert_eq!(world.plan().deletions.len(), 1);
}

#[test]
fn an_object_that_never_was_in_order_goes_at_once() {
    let mut world = World::everything();
    world.edit(|spec| spec.host = Some("no host".to_owned()));
    world.object.metadata.finalizers = Some(vec![names::FINALIZER.to_owned()]);
    world.delete();
    assert_eq!(world.plan().finalizer, Some(FinalizerChange::Remove));
}
