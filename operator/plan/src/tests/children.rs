//! The children as they are sent, recorded.

use serde_json::Value;

use super::World;
use crate::{ChildKind, Plan};

/// The written objects as YAML, in order. Their secrets are the tests' own.
fn written(plan: &Plan) -> String {
    let objects = plan.writes.iter().map(|change| {
        format!("# wave {}\n{}", change.wave, serde_saphyr::to_string(&change.wanted.object).unwrap())
    });
    objects.collect::<Vec<_>>().join("---\n")
}

fn one(plan: &Plan, child: ChildKind) -> Value {
    plan.writes.iter().find(|change| change.child == child).expect("a write").wanted.object.clone()
}

#[test]
fn five_lines_give_all_children() {
    insta::assert_snapshot!("five_lines", written(&World::smallest().plan()));
}

#[test]
fn everything_set_gives_everything() {
    let mut world = World::everything();
    // The Deployment waits for what it mounts.
    let first = world.plan();
    assert!(first.writes.iter().all(|change| change.child != ChildKind::Deployment));
    for ask in &first.asks {
        world.carry_out(&Plan { asks: vec![ask.clone()], ..Plan::default() });
    }
    insta::assert_snapshot!("everything", written(&world.plan()));
}

#[test]
fn a_gateway_gives_an_http_route() {
    let world = World::new(
        "{workspace: acme, route: {gateway: {parentRefs: [{name: public, namespace: gateways, sectionName: https}]}}}",
    );
    let plan = world.plan();
    insta::assert_snapshot!(
        "http_route",
        serde_saphyr::to_string(&one(&plan, ChildKind::HttpRoute)).unwrap()
    );
    assert!(plan.writes.iter().all(|change| change.child != ChildKind::Ingress));
}

#[test]
fn no_route_is_no_route() {
    let plan =
        World::new("{workspace: acme, route: {disabled: true}, networkPolicy: {enabled: false}}").plan();
    let unwanted = [ChildKind::Ingress, ChildKind::HttpRoute, ChildKind::NetworkPolicy];
    assert!(plan.writes.iter().all(|change| !unwanted.contains(&change.child)));
}

#[test]
fn suspended_is_no_pod_and_nothing_else() {
    let mut world = World::running();
    world.edit(|spec| spec.suspend = Some(true));
    let plan = world.plan();
    assert_eq!(plan.writes.len(), 1);
    assert_eq!(one(&plan, ChildKind::Deployment)["spec"]["replicas"], 0);
}

#[test]
fn the_route_is_exchanged_without_a_gap() {
    let mut world = World::running();
    world.edit(|spec| {
        spec.route =
            serde_json::from_value(serde_json::json!({"gateway": {"parentRefs": [{"name": "public"}]}}))
                .unwrap();
    });
    let plan = world.plan();
    assert_eq!(plan.writes.iter().map(|change| change.child).collect::<Vec<_>>(), [ChildKind::HttpRoute]);
    assert!(plan.deletions.is_empty(), "the Ingress goes when the HTTPRoute stands");
    world.settle();
    assert!(world.seen.ingress.is_none() && world.seen.http_route.is_some());
    world.edit(|spec| spec.route = serde_json::from_value(serde_json::json!({"disabled": true})).unwrap());
    world.settle();
    assert!(world.seen.ingress.is_none() && world.seen.http_route.is_none());
}

#[test]
fn a_changed_input_rolls_the_pod_and_nothing_else_does() {
    let mut world = World::everything();
    world.start();
    let before = world.seen.deployment.clone().unwrap().digest;
    world.secret("matrix-admin", &[("token", "another")]);
    world.references.clear();
    assert!(world.settle().writes.is_empty());
    assert_eq!(
        world.seen.deployment.clone().unwrap().digest,
        before,
        "the pod does not get the admin's token"
    );
    world.secret("proxy", &[("url", "http://proxy:3129")]);
    world.references.clear();
    world.settle();
    assert_ne!(world.seen.deployment.clone().unwrap().digest, before);
}

#[test]
fn a_new_object_needs_one_write_per_child_and_one_for_the_status() {
    let mut world = World::smallest();
    let plan = world.plan();
    assert_eq!(plan.writes.len(), 10);
    world.carry_out(&plan);
    let second = world.plan();
    assert!(second.writes.is_empty() && second.status.is_some());
}

#[test]
fn a_claim_grows_but_never_shrinks_and_keeps_its_class() {
    let mut world = World::running();
    let size = |world: &mut World, size: &str| {
        let size = size.to_owned();
        world.edit(|spec| {
            spec.database = serde_json::from_value(serde_json::json!({"sqlite": {"size": size}})).unwrap();
        });
        world.plan()
    };
    assert!(size(&mut world, "512Mi").writes.is_empty());
    let plan = size(&mut world, "2048Mi");
    assert_eq!(one(&plan, ChildKind::Claim)["spec"]["resources"]["requests"]["storage"], "2Gi");
    world.settle();
    world.platform.storage.class_name = Some("other".to_owned());
    assert!(world.plan().writes.is_empty(), "an existing claim keeps the class that it has");
}
