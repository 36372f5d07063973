//! How the homeserver learns of the bridge.

use dingtalk_crds::{ConditionType, names};

use super::World;
use crate::{AdminFact, AdminOrder, Ask, ChildKind, FinalizerChange, WhoamiFact};

const ADMIN: &str = "
workspace: acme
homeserver:
  registration: {mode: AdminAPI, adminAPI: {tokenSecretRef: {name: matrix-admin, key: token}}}
";

fn admin() -> World {
    let mut world = World::new(ADMIN);
    world.secret("matrix-admin", &[("token", "admin-token-of-the-tests\n")]);
    world
}

fn orders(asks: &[Ask]) -> Vec<&'static str> {
    asks.iter()
        .map(|ask| match ask {
            Ask::Read { .. } => "read",
            Ask::Whoami { .. } => "whoami",
            Ask::Report { .. } => "report",
            Ask::Admin { order, .. } => match order {
                AdminOrder::Look { .. } => "look",
                AdminOrder::Register { .. } => "register",
                AdminOrder::Enable => "enable",
                AdminOrder::Disable => "disable",
                AdminOrder::Remove => "remove",
            },
        })
        .collect()
}

#[test]
fn the_homeserver_is_asked_once_the_secret_is_there() {
    let mut world = World::smallest();
    assert!(orders(&world.plan().asks).is_empty());
    world.carry_out(&world.plan());
    assert_eq!(orders(&world.plan().asks), ["whoami"]);
}

#[test]
fn a_homeserver_that_must_be_restarted_is_told_what_to_mount() {
    let mut world = World::smallest();
    world.homeserver = WhoamiFact::Refused;
    world.start();
    assert_eq!(world.is(ConditionType::RegistrationReady), "False HomeserverRestartNeeded");
    let message = world.message(ConditionType::RegistrationReady);
    for part in ["dingtalk-acme-registration", "registration.yaml", "restart the homeserver"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(world.is(ConditionType::Ready), "False HomeserverRestartNeeded");
    assert!(world.plan().look_again.is_some());
    // The answer is forgotten and asked for again; nothing flaps meanwhile.
    world.whoami = WhoamiFact::Unknown;
    let plan = world.plan();
    assert_eq!(orders(&plan.asks), ["whoami"]);
    assert_eq!(plan.status, None);
    world.homeserver = WhoamiFact::Accepted;
    world.settle();
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
    world.homeserver = WhoamiFact::Unreachable("connection refused".to_owned());
    world.whoami = WhoamiFact::Unknown;
    world.settle();
    assert_eq!(world.is(ConditionType::RegistrationReady), "False HomeserverUnreachable");
}

#[test]
fn the_admin_api_is_looked_at_then_told() {
    let mut world = admin();
    let plan = world.plan();
    assert_eq!(plan.finalizer, Some(FinalizerChange::Add));
    assert_eq!(orders(&plan.asks), ["read"]);
    world.carry_out(&plan);
    let plan = world.plan();
    assert_eq!(orders(&plan.asks), ["look"]);
    let Ask::Admin { token, id, url, .. } = &plan.asks[0] else { panic!() };
    assert_eq!((token.expose(), id.as_str()), ("admin-token-of-the-tests", "dingtalk"));
    assert_eq!(url, "http://synapse-acme.tenants.svc:8008");
    world.carry_out(&plan);
    let plan = world.plan();
    assert_eq!(orders(&plan.asks), ["register"]);
    world.carry_out(&plan);
    assert_eq!(orders(&world.plan().asks), ["whoami"]);
    world.start();
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
    // Another registration is exchanged.
    world.admin = AdminFact::Present { same: false, enabled: true };
    assert_eq!(orders(&world.plan().asks), ["register"]);
}

#[test]
fn suspending_switches_the_registration_off_and_on() {
    let mut world = admin();
    world.start();
    world.edit(|spec| spec.suspend = Some(true));
    world.settle();
    assert_eq!(world.admin, AdminFact::Present { same: true, enabled: false });
    assert_eq!(world.is(ConditionType::RegistrationReady), "True Suspended");
    assert_eq!(world.is(ConditionType::Ready), "False Suspended");
    world.edit(|spec| spec.suspend = None);
    world.settle();
    assert_eq!(world.admin, AdminFact::Present { same: true, enabled: true });
}

#[test]
fn troubles_with_the_admin_api_are_told() {
    for (fact, reason) in [
        (AdminFact::TokenRefused, "False AdminTokenRefused"),
        (AdminFact::Refused("M_INVALID_PARAM".to_owned()), "False RegistrationRefused"),
        (AdminFact::Unreachable("timed out".to_owned()), "False HomeserverUnreachable"),
    ] {
        let mut world = admin();
        world.start();
        world.admin = fact;
        let last = world.settle();
        assert_eq!(world.is(ConditionType::RegistrationReady), reason);
        assert!(last.look_again.is_some());
    }
    let mut world = World::new(ADMIN);
    world.settle();
    assert_eq!(world.is(ConditionType::RegistrationReady), "False AdminTokenRefused");
    assert_eq!(world.is(ConditionType::SecretsReady), "False ReferenceMissing");
    assert!(world.seen.deployment.is_some(), "the pod does not need the admin's token");
    let mut world = admin();
    world.start();
    world.whoami = WhoamiFact::Refused;
    world.settle();
    assert_eq!(world.is(ConditionType::RegistrationReady), "False HomeserverRestartNeeded");
    assert!(world.message(ConditionType::RegistrationReady).contains("admin API"));
}

#[test]
fn tokens_are_stable_and_the_rest_follows_spec() {
    let mut world = World::running();
    let before = crate::registration::value(
        world.seen.registration_secret.as_ref().unwrap(),
        names::keys::REGISTRATION,
    )
    .cloned();
    world.edit(|spec| {
        spec.settings =
            Some(serde_json::from_value(serde_json::json!({"bot": {"ghost_prefix": "ding_"}})).unwrap());
    });
    world.settle();
    let after = crate::registration::value(
        world.seen.registration_secret.as_ref().unwrap(),
        names::keys::REGISTRATION,
    )
    .cloned();
    let read =
        |text: Option<crate::Secret>| bridge_config::Registration::from_yaml(text.unwrap().expose()).unwrap();
    let (before, after) = (read(before), read(after));
    assert_eq!(before.tokens(), after.tokens());
    assert_ne!(before.namespaces, after.namespaces);
    assert!(world.written.iter().filter(|child| **child == ChildKind::RegistrationSecret).count() == 2);
}

#[test]
fn former_sealing_keys_are_given_to_the_bridge() {
    let mut world = World::running();
    let seen = world.seen.sealing_secret.as_mut().unwrap();
    let crate::SeenMore::Secret(values) = &mut seen.more else { panic!() };
    let current = values["sealing-key"].clone();
    values.insert("sealing-key.old".to_owned(), current);
    values.insert("sealing-key.old-broken".to_owned(), crate::Secret::new("x"));
    values.insert("sealing-key".to_owned(), crate::Secret::new("fb".repeat(32)));
    seen.digest = crate::Digest([3; 32]);
    world.settle();
    let crate::SeenMore::Secret(values) = &world.seen.sealing_secret.as_ref().unwrap().more else { panic!() };
    assert_eq!(values["sealing-key"].expose(), "fb".repeat(32), "the new key is kept");
    assert!(
        world.written.ends_with(&[ChildKind::ConfigMap, ChildKind::Deployment])
            || world.written.contains(&ChildKind::ConfigMap)
    );
}
