//! What the API server refuses.

use dingtalk_crds::ConditionType;

use super::World;
use crate::{ChildKind, Refusal};

/// The API server refuses what is wanted of a child.
fn refuse(world: &mut World, child: ChildKind, denied: bool) {
    let plan = world.plan();
    let change = plan.writes.iter().find(|change| change.child == child).expect("a write");
    *world.refused.get_mut(child) = Some(Refusal {
        digest: change.wanted.digest,
        denied,
        conflict: false,
        message: "exceeded quota: tenants".to_owned(),
        at: world.now,
    });
}

#[test]
fn a_refused_write_is_told_and_not_repeated_until_it_has_rested() {
    for (child, type_) in [
        (ChildKind::TokensSecret, ConditionType::SecretsReady),
        (ChildKind::Claim, ConditionType::DatabaseReady),
        (ChildKind::Deployment, ConditionType::WorkloadAvailable),
        (ChildKind::Ingress, ConditionType::RouteAccepted),
    ] {
        let mut world = World::smallest();
        refuse(&mut world, child, false);
        let last = world.settle();
        assert!(!world.written.contains(&child));
        assert_eq!(world.is(type_), "False ApplyRefused", "{child:?}");
        assert!(world.message(type_).contains("exceeded quota"));
        assert!(last.look_again.is_some());
        world.now += jiff::SignedDuration::from_mins(6);
        assert!(world.plan().writes.iter().any(|change| change.child == child), "{child:?} is tried again");
    }
}

#[test]
fn other_content_is_tried_at_once() {
    let mut world = World::smallest();
    refuse(&mut world, ChildKind::Ingress, false);
    world.settle();
    world.platform.route.ingress.class_name = Some("other".to_owned());
    assert!(world.plan().writes.iter().any(|change| change.child == ChildKind::Ingress));
}

#[test]
fn missing_rights_are_told_as_such() {
    let mut world = World::smallest();
    refuse(&mut world, ChildKind::Service, true);
    world.settle();
    assert_eq!(world.is(ConditionType::WorkloadAvailable), "False AccessDenied");
}

#[test]
fn a_claim_that_may_not_grow_is_told_and_still_used() {
    let mut world = World::running();
    world.edit(|spec| {
        spec.database = serde_json::from_value(serde_json::json!({"sqlite": {"size": "5Gi"}})).unwrap();
    });
    refuse(&mut world, ChildKind::Claim, false);
    world.settle();
    assert_eq!(world.is(ConditionType::DatabaseReady), "True ResizeRefused");
    assert!(
        world.message(ConditionType::DatabaseReady).contains("has 1Gi and was not allowed to grow to 5Gi")
    );
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
    assert!(world.told.contains(&"Warning ResizeRefused DatabaseReady".to_owned()), "{:?}", world.told);
}
