//! How the homeserver learns of the bridge.

use dingtalk_crds::{ConditionType, names};

use super::{World, fixture::UID};
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
            Ask::TakeBack { .. } => "take back",
            Ask::Admin { order, .. } => match order {
                AdminOrder::Look { .. } => "look",
                AdminOrder::Register { .. } => "register",
                AdminOrder::Enable => "enable",
                AdminOrder::Disable => "disable",
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
    assert!(plan.look_again.is_some(), "an answer that is no news is asked for again, too");
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
    let Some(FinalizerChange::Set { registered: Some(line) }) = &plan.finalizer else { panic!("{plan:?}") };
    assert_eq!(
        *line,
        format!(
            r#"{{"uid":"{UID}","places":[{{"url":"http://synapse-acme.tenants.svc:8008","id":"dingtalk","token":{{"name":"matrix-admin","key":"token"}}}}]}}"#
        )
    );
    world.carry_out(&plan);
    let plan = world.plan();
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

/// Another address of the admin API.
fn moved(world: &mut World, url: &str) {
    let url = Some(url.to_owned());
    world.edit(|spec| {
        let registration = spec.homeserver.as_mut().unwrap().registration.as_mut().unwrap();
        registration.admin_api.as_mut().unwrap().url = url;
    });
    (world.admin, world.whoami) = (AdminFact::Unknown, WhoamiFact::Unknown);
}

fn by_secret(world: &mut World) {
    world.edit(|spec| spec.homeserver = None);
    (world.admin, world.whoami) = (AdminFact::Unknown, WhoamiFact::Unknown);
}

fn annotation(world: &World) -> Option<&String> {
    world.object.metadata.annotations.as_ref()?.get(names::REGISTERED)
}

#[test]
fn who_goes_over_to_the_secret_is_taken_back_where_it_was_registered() {
    let mut world = admin();
    world.start();
    assert_eq!(world.registered.len(), 1);
    by_secret(&mut world);
    // Nothing is forgotten before it is taken back.
    assert_eq!(world.plan().finalizer, None);
    assert!(orders(&world.plan().asks).contains(&"take back"));
    world.settle();
    assert!(world.registered.is_empty());
    assert_eq!((annotation(&world), &world.object.metadata.finalizers), (None, &None));
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
}

#[test]
fn a_crash_between_taking_back_and_writing_it_down_only_repeats_the_taking_back() {
    let mut world = admin();
    world.start();
    by_secret(&mut world);
    let plan = world.plan();
    world.carry_out(&plan);
    assert!(world.registered.is_empty() && annotation(&world).is_some());
    // Another process knows nothing.
    world.former.clear();
    assert!(orders(&world.plan().asks).contains(&"take back"));
    world.settle();
    assert_eq!(annotation(&world), None);
}

#[test]
fn an_admin_api_that_moved_is_taken_back_at_its_old_address_and_looked_at_again() {
    let mut world = admin();
    world.start();
    moved(&mut world, "http://admin.example");
    let plan = world.plan();
    let Some(FinalizerChange::Set { registered: Some(line) }) = &plan.finalizer else { panic!("{plan:?}") };
    assert!(line.contains("http://synapse-acme") && line.contains("http://admin.example"), "{line}");
    world.settle();
    assert_eq!(world.registered.iter().collect::<Vec<_>>(), ["http://admin.example"]);
    assert!(!annotation(&world).unwrap().contains("synapse-acme"));
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
}

#[test]
fn a_former_homeserver_that_is_away_keeps_nobody_from_work_and_is_told() {
    let mut world = admin();
    world.start();
    world.away = Some(AdminFact::Unreachable("no route to host".to_owned()));
    moved(&mut world, "http://admin.example");
    let last = world.settle();
    assert_eq!(world.registered.len(), 2);
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
    assert_eq!(world.is(ConditionType::RegistrationReady), "True UnregisterFailed");
    let message = world.message(ConditionType::RegistrationReady);
    for part in ["http://synapse-acme", "no route to host", names::SKIP_UNREGISTER] {
        assert!(message.contains(part), "{message}");
    }
    assert!(world.told.contains(&"Warning UnregisterFailed RegistrationReady".to_owned()));
    // Asked again after the pause, and nothing flaps.
    assert!(last.look_again.is_some());
    world.former.clear();
    let plan = world.plan();
    assert_eq!((orders(&plan.asks), plan.status), (vec!["take back"], None));
    // With the object it is tried as well, and so is the new one.
    let mut deleted = World { away: None, ..admin() };
    deleted.object = world.object.clone();
    deleted.existing = world.existing.clone();
    deleted.registered = world.registered.clone();
    deleted.delete();
    deleted.settle();
    assert!(deleted.registered.is_empty() && deleted.object.metadata.finalizers.is_none());
    // A person lets it go.
    world.annotate(names::SKIP_UNREGISTER, "true");
    world.settle();
    assert_eq!(world.is(ConditionType::RegistrationReady), "True AllGood");
    assert!(!annotation(&world).unwrap().contains("synapse-acme"));
}

#[test]
fn a_token_that_went_with_the_mode_is_named_and_the_bridge_is_ready() {
    let mut world = admin();
    world.start();
    by_secret(&mut world);
    world.existing.clear();
    world.references.clear();
    world.settle();
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
    assert_eq!(world.is(ConditionType::SecretsReady), "True AllGood");
    assert_eq!(world.is(ConditionType::RegistrationReady), "True UnregisterFailed");
    assert!(world.message(ConditionType::RegistrationReady).contains("matrix-admin"));
}

#[test]
fn a_copy_of_an_object_takes_nothing_back() {
    let mut world = admin();
    world.start();
    let line = annotation(&world).unwrap().clone();
    for (uid, line) in [("another", line.as_str()), (UID, "no JSON"), (UID, r#"{"uid":"x"}"#)] {
        let mut copy = World::smallest();
        copy.object.metadata.uid = Some(uid.to_owned());
        copy.annotate(names::REGISTERED, line);
        let plan = copy.plan();
        assert!(plan.finalizer.is_none() && orders(&plan.asks).is_empty(), "{plan:?}");
        copy.delete();
        assert!(orders(&copy.plan().asks).is_empty());
    }
}
