//! What the claim and the route say of themselves.

use dingtalk_crds::ConditionType;

use super::World;
use crate::{Seen, SeenMore};

#[test]
fn the_claim_is_told_about() {
    let claim = |world: &mut World, to: &str, has: Option<&str>, words: Option<&str>| {
        let Some(Seen { more: SeenMore::Claim { phase, capacity, trouble, .. }, .. }) = &mut world.seen.claim
        else {
            panic!("no claim")
        };
        to.clone_into(phase);
        *capacity = has.map(str::to_owned);
        *trouble = words.map(str::to_owned);
        world.settle();
        world.is(ConditionType::DatabaseReady)
    };
    let mut world = World::smallest();
    world.settle();
    assert_eq!(world.is(ConditionType::DatabaseReady), "Unknown VolumePending");
    assert!(
        !world.told.iter().any(|note| note.contains("VolumePending")),
        "waiting for the pod is no trouble"
    );
    assert_eq!(claim(&mut world, "Bound", Some("1Gi"), None), "True AllGood");
    assert_eq!(claim(&mut world, "Lost", None, None), "False VolumeLost");
    assert_eq!(claim(&mut world, "Bound", Some("512Mi"), None), "True AllGood");
    assert!(world.message(ConditionType::DatabaseReady).contains("grows from 512Mi to 1Gi"));
    assert_eq!(claim(&mut world, "Bound", Some("512Mi"), Some("cannot expand")), "True ResizeRefused");
    world.edit(|spec| spec.database = serde_saphyr::from_str("{sqlite: {size: 100Mi}}").unwrap());
    world.settle();
    assert!(world.message(ConditionType::DatabaseReady).contains("volumes do not shrink"));
}

#[test]
fn the_gateway_has_its_say() {
    let mut world = World::new("{workspace: acme, route: {gateway: {parentRefs: [{name: public}]}}}");
    world.start();
    assert_eq!(world.is(ConditionType::RouteAccepted), "True AllGood");
    for (answer, reason) in
        [(None, "False RoutePending"), (Some(Err("NotAllowedByListeners".to_owned())), "False RouteRefused")]
    {
        world.seen.http_route.as_mut().unwrap().more = SeenMore::HttpRoute { accepted: answer };
        world.settle();
        assert_eq!(world.is(ConditionType::RouteAccepted), reason);
    }
    let mut world = World::new("{workspace: acme, route: {disabled: true}}");
    world.start();
    assert_eq!(world.is(ConditionType::RouteAccepted), "True RouteDisabled");
    let mut world = World::running();
    world.edit(|spec| {
        spec.route = serde_saphyr::from_str("{gateway: {parentRefs: [{name: public}]}}").unwrap();
    });
    world.operator.has_http_routes = false;
    world.settle();
    assert_eq!(world.is(ConditionType::RouteAccepted), "False RouteKindMissing");
    assert!(world.seen.ingress.is_some(), "the old route stays until there is a new one");
}
