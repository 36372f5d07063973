//! The configuration file.

use bridge_config::Config;
use dingtalk_crds::{ConditionType, DingTalk, Encryption, Receive};
use serde_json::json;

use super::World;
use crate::ChildKind;

fn with(settings: serde_json::Value) -> World {
    let mut world = World::smallest();
    world.edit(|spec| spec.settings = Some(serde_json::from_value(settings).unwrap()));
    world
}

fn config(world: &World) -> Config {
    let plan = world.plan();
    let change = plan.writes.iter().find(|change| change.child == ChildKind::ConfigMap).unwrap();
    Config::parse(change.wanted.object["data"]["config.toml"].as_str().unwrap()).unwrap()
}

#[test]
fn a_certificate_of_cert_manager_gets_a_secret_where_none_is_named() {
    let secret = |spec: &str, platform: bool| {
        let mut world = World::new(spec);
        if !platform {
            world.platform.route.ingress.tls_secret_name = None;
        }
        let plan = world.plan();
        let ingress = plan.writes.iter().find(|change| change.child == crate::ChildKind::Ingress).unwrap();
        ingress.wanted.object["spec"]["tls"][0]["secretName"].as_str().map(str::to_owned)
    };
    let asks = "workspace: acme\nroute: {ingress: {annotations: {cert-manager.io/issuer: ours}}}";
    let names = "workspace: acme\nroute: {ingress: {tlsSecretName: mine, annotations: {cert-manager.io/issuer: ours}}}";
    assert_eq!(secret(asks, false).as_deref(), Some("dingtalk-acme-tls"));
    assert_eq!(secret(asks, true).as_deref(), Some("acme-tls"), "the platform's template");
    assert_eq!(secret(names, false).as_deref(), Some("mine"));
    assert_eq!(secret("workspace: acme", false), None);
}

#[test]
fn spec_goes_over_the_platform_and_the_operator_over_both() {
    let mut world = with(json!({"queue": {"lanes": 16}, "log": {"filter": "debug"}}));
    world.platform.settings =
        serde_json::from_value(json!({"queue": {"lanes": 8, "first_pause": "2s"}})).unwrap();
    let config = config(&world);
    assert_eq!(config.queue.lanes, 16);
    assert_eq!(config.queue.first_pause.as_secs(), 2);
    assert_eq!(config.log.filter, "debug");
    assert_eq!(config.permissions.admins[0].as_str(), "@admin:acme.meldry.com");
    assert_eq!(
        config.appservice.webhook_url.unwrap().as_str(),
        "https://acme.meldry.com/bridges/dingtalk/webhook"
    );
}

#[test]
fn the_platform_chooses_by_which_way_messages_come_where_an_object_does_not() {
    let way = |object: Option<Receive>, platform: Option<Receive>| {
        let mut world = World::smallest();
        world.platform.dingtalk.receive = platform;
        world.edit(|spec| {
            spec.dingtalk = object.map(|receive| DingTalk { receive: Some(receive), ..DingTalk::default() });
        });
        config(&world).dingtalk.receive
    };
    assert_eq!(way(None, None), bridge_config::Receive::Webhook);
    assert_eq!(way(None, Some(Receive::Stream)), bridge_config::Receive::Stream);
    assert_eq!(way(Some(Receive::Both), Some(Receive::Stream)), bridge_config::Receive::Both);
    assert_eq!(way(Some(Receive::Webhook), Some(Receive::Stream)), bridge_config::Receive::Webhook);
}

#[test]
fn the_platform_switches_encryption_on_where_an_object_does_not_say_it() {
    let of = |object: Option<bool>, platform: Option<bool>| {
        let mut world = World::smallest();
        world.platform.encryption.enabled = platform;
        world.platform.encryption.wait_for_keys = platform.map(|_| "10s".to_owned());
        world.edit(|spec| {
            spec.encryption =
                object.map(|enabled| Encryption { enabled: Some(enabled), wait_for_keys: None });
        });
        let encryption = config(&world).encryption;
        (encryption.enabled, encryption.wait_for_keys.as_secs())
    };
    assert_eq!(of(None, None), (false, 30));
    assert_eq!(of(None, Some(true)), (true, 10));
    assert_eq!(of(Some(false), Some(true)), (false, 10));
    assert_eq!(of(Some(true), None), (true, 30));
}

#[test]
fn a_wrong_setting_is_named_where_it_was_written() {
    for (settings, parts) in [
        (json!({"queue": {"lines": 16}}), &["spec.settings.queue.lines", "did you mean"][..]),
        (json!({"queue": {"lanes": 0}}), &["spec.settings.queue.lanes", "out of range"]),
        (json!({"queue": {"lanes": 1.5}}), &["spec.settings.queue.lanes", "whole number"]),
        (json!({"queue": {"lanes": null}}), &["spec.settings.queue.lanes", "null"]),
        (json!({"queue": "fast"}), &["spec.settings.queue"]),
        (json!({"dingtalk": "x"}), &["spec.settings.dingtalk", "section"]),
        (
            json!({"homeserver": {"url": "http://x"}}),
            &["spec.settings.homeserver.url", "set spec.homeserver.url instead"],
        ),
        (
            json!({"workspace": {"name": "x"}}),
            &["spec.settings.workspace.name", "set spec.displayName instead"],
        ),
        (
            json!({"encryption": {"enabled": true}}),
            &["spec.settings.encryption.enabled", "set spec.encryption.enabled instead"],
        ),
        (json!({"health": {}}), &["spec.settings.health", "remove it"]),
        (json!({"security": {"sealing_key_file": "x"}}), &["spec.settings.security", "remove it"]),
        (json!({"bot": {"localpart": "dingtalk_bot"}}), &["spec.settings.bot.localpart"]),
    ] {
        let mut world = with(settings);
        world.settle();
        assert_eq!(world.is(ConditionType::ConfigValid), "False InvalidSetting");
        let message = world.message(ConditionType::ConfigValid);
        for part in parts {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(world.written.is_empty());
    }
}

#[test]
fn a_wrong_field_of_spec_is_named_as_such() {
    let mut world = World::new("{workspace: acme, permissions: {admins: ['*']}}");
    world.settle();
    assert!(world.message(ConditionType::ConfigValid).starts_with("spec.permissions.admins:"));
    let mut world = World::new("{workspace: acme, dingtalk: {apiBase: 'ftp://x'}}");
    world.settle();
    assert!(world.message(ConditionType::ConfigValid).starts_with("spec.dingtalk.apiBase:"));
    let mut world = World::smallest();
    world.platform.settings = serde_json::from_value(json!({"queue": {"lanes": 0}})).unwrap();
    world.settle();
    assert!(world.message(ConditionType::ConfigValid).starts_with("the platform's settings.queue.lanes:"));
}

#[test]
fn what_neither_says_is_asked_for_by_both_names() {
    let mut world = World::smallest();
    world.platform.base_domain = None;
    world.settle();
    assert_eq!(world.is(ConditionType::ConfigValid), "False DefaultMissing");
    let message = world.message(ConditionType::ConfigValid);
    assert!(message.contains("spec.host") && message.contains("baseDomain"), "{message}");
    for (change, field) in [
        (
            (|platform| platform.homeserver.url_template = None) as fn(&mut crate::Platform),
            "spec.homeserver.url",
        ),
        (|platform| platform.image.reference = None, "spec.workload.image"),
        (|platform| platform.route.type_ = crate::RouteType::Gateway, "spec.route.gateway.parentRefs"),
        (
            |platform| platform.homeserver.registration.mode = dingtalk_crds::RegistrationMode::AdminApi,
            "adminAPI.tokenSecretRef",
        ),
    ] {
        let mut world = World::smallest();
        change(&mut world.platform);
        world.settle();
        assert_eq!(world.is(ConditionType::ConfigValid), "False DefaultMissing");
        assert!(world.message(ConditionType::ConfigValid).contains(field), "{field}");
    }
}

#[test]
fn a_homeserver_that_accepted_the_bridge_keeps_its_name() {
    let mut world = World::running();
    world.platform.base_domain = Some("other.example".to_owned());
    world.settle();
    assert_eq!(world.is(ConditionType::ConfigValid), "False InvalidSetting");
    assert!(
        world
            .message(ConditionType::ConfigValid)
            .contains("set spec.homeserver.serverName to acme.meldry.com")
    );
    world.edit(|spec| {
        spec.homeserver = serde_saphyr::from_str("{serverName: acme.meldry.com}").unwrap();
    });
    world.start();
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
    assert_eq!(
        world.object.status.as_ref().unwrap().webhook_url.as_deref(),
        Some("https://acme.other.example/bridges/dingtalk/webhook")
    );
    // Before anybody accepted it, a mistake can be corrected.
    let mut world = World::smallest();
    world.homeserver = crate::WhoamiFact::Refused;
    world.start();
    world.edit(|spec| spec.host = Some("chat.example".to_owned()));
    world.settle();
    assert_eq!(world.is(ConditionType::ConfigValid), "True AllGood");
}

#[test]
fn a_mistake_does_not_stop_what_runs() {
    let mut world = World::running();
    let before = world.seen.clone();
    world.edit(|spec| spec.host = Some("no host".to_owned()));
    world.settle();
    assert_eq!(world.seen, before);
    assert_eq!(world.is(ConditionType::ConfigValid), "False InvalidSetting");
    assert_eq!(world.is(ConditionType::WorkloadAvailable), "True AllGood");
    assert_eq!(world.is(ConditionType::Ready), "False InvalidSetting");
}
