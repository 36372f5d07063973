//! Homeservers that learn of a bridge through their admin API.

use serde_json::{Value, json};
use test_support::wait_until;

use crate::{
    api::Api,
    homeserver_stub::{ADMIN_TOKEN, Homeservers},
    operator::Operator,
    stage::{LIMIT, Shared, shared},
};

const HERE: &str = "t-homeserver";

/// Makes an object in this mode, and the Secret with the admin's token.
async fn bridge(api: &Api, name: &str, token: &str) {
    bridge_in(HERE, api, name, token).await;
}

async fn bridge_in(namespace: &str, api: &Api, name: &str, token: &str) {
    let secret = format!("admin-of-{name}");
    api.create(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "namespace": namespace},
        "stringData": {"token": token},
    }))
    .await;
    let registration =
        json!({"mode": "AdminAPI", "adminAPI": {"tokenSecretRef": {"name": secret, "key": "token"}}});
    let spec = json!({"workspace": name, "suspend": true, "homeserver": {"registration": registration}});
    api.bridge(namespace, name, &spec).await;
}

fn registrations(homeservers: &Homeservers, of: &str) -> Vec<(Value, bool)> {
    homeservers.with(of, |homeserver| homeserver.registrations.values().cloned().collect())
}

/// Waits until a homeserver has a registration.
async fn registered(shared: &Shared, name: &str) {
    registered_by(shared, &shared.operator, (HERE, name), name).await;
}

/// The same at a homeserver of any name, for an object of another operator's.
async fn registered_by(shared: &Shared, by: &Operator, (namespace, name): (&str, &str), at: &str) {
    let waited = wait_until(LIMIT, "the registration", async || {
        (registrations(&shared.stage.homeservers, at).len() == 1).then_some(())
    });
    if let Err(error) = waited.await {
        let object = shared.stage.api.get("DingTalkBridge", namespace, name).await.unwrap_or_default();
        let said = by.said();
        let about: Vec<&str> =
            said.lines().filter(|line| line.contains(&format!("/{name}")) || line.contains("lead")).collect();
        panic!("{error}; it is {:#}\n{}", object, about.join("\n"));
    }
}

#[test]
fn a_bridge_is_registered_changed_by_delete_and_post_and_taken_back() {
    shared(async |shared| {
        let (api, homeservers) = (&shared.stage.api, &shared.stage.homeservers);
        bridge(api, "live", ADMIN_TOKEN).await;
        api.merge("DingTalkBridge", HERE, "live", &json!({"spec": {"suspend": false}})).await;
        let object = api.settled(HERE, "live").await;
        assert_eq!(object["metadata"]["finalizers"], json!(["bridges.meldry.com/cleanup"]));
        let found = registrations(homeservers, "live");
        assert_eq!(found.len(), 1);
        assert!(found[0].1, "it is on");
        assert_eq!(found[0].0["url"], "http://dingtalk-live.t-homeserver.svc:8080");

        // Somebody changes it, and the operator is asked to look again.
        homeservers.with("live", |homeserver| {
            homeserver.calls.clear();
            homeserver
                .registrations
                .values_mut()
                .for_each(|(registration, _)| registration["url"] = json!("http://other"));
        });
        api.reconcile(HERE, "live", "1").await;
        wait_until(LIMIT, "the registration to be set right", async || {
            (registrations(homeservers, "live").first()?.0["url"] == found[0].0["url"]).then_some(())
        })
        .await
        .unwrap();
        let calls = homeservers.with("live", |homeserver| homeserver.calls.clone());
        assert_eq!(calls, ["GET", "DELETE", "POST"]);

        api.merge("DingTalkBridge", HERE, "live", &json!({"spec": {"suspend": true}})).await;
        wait_until(LIMIT, "the registration to be off", async || {
            (!registrations(homeservers, "live").first()?.1).then_some(())
        })
        .await
        .unwrap();
        api.delete("DingTalkBridge", HERE, "live").await;
        api.gone("DingTalkBridge", HERE, "live").await;
        assert!(registrations(homeservers, "live").is_empty());
    });
}

#[test]
fn a_refused_registration_is_told_with_the_homeservers_words() {
    shared(async |shared| {
        let (api, homeservers) = (&shared.stage.api, &shared.stage.homeservers);
        homeservers
            .with("refusing", |homeserver| homeserver.refuses = Some("the namespace is not yours".into()));
        bridge(api, "refusing", ADMIN_TOKEN).await;
        let said = api
            .condition_until(HERE, "refusing", ["RegistrationReady", "False", "RegistrationRefused"])
            .await;
        assert!(said.contains("the namespace is not yours"), "{said}");
        homeservers.with("refusing", |homeserver| homeserver.refuses = None);
        api.reconcile(HERE, "refusing", "1").await;
        registered(shared, "refusing").await;
    });
}

#[test]
fn a_refused_admin_is_told_and_a_new_token_is_used_at_once() {
    shared(async |shared| {
        let api = &shared.stage.api;
        bridge(api, "nobody", "not-an-admin").await;
        api.condition_until(HERE, "nobody", ["RegistrationReady", "False", "AdminTokenRefused"]).await;
        api.merge("Secret", HERE, "admin-of-nobody", &json!({"stringData": {"token": ADMIN_TOKEN}})).await;
        registered(shared, "nobody").await;
    });
}

#[test]
fn a_homeserver_that_reads_registrations_at_its_start_is_named_as_such() {
    shared(async |shared| {
        let (api, homeservers) = (&shared.stage.api, &shared.stage.homeservers);
        homeservers.with("starting", |homeserver| homeserver.needs_restart = true);
        api.bridge(HERE, "starting", &json!({"workspace": "starting", "suspend": true})).await;
        let said = api
            .condition_until(HERE, "starting", ["RegistrationReady", "False", "HomeserverRestartNeeded"])
            .await;
        assert!(said.contains("dingtalk-starting-registration") && said.contains("restart"), "{said}");
        // The same answer again and again is no reason to stop asking.
        let asked = wait_until(LIMIT, "the homeserver to be asked again and again", async || {
            homeservers.with("starting", |homeserver| homeserver.whoami >= 3).then_some(())
        });
        asked.await.unwrap();
        homeservers.with("starting", |homeserver| homeserver.needs_restart = false);
        api.reconcile(HERE, "starting", "1").await;
        api.settled(HERE, "starting").await;
    });
}

#[test]
fn an_object_waits_for_a_homeserver_that_cannot_take_it_back_unless_told_otherwise() {
    shared(async |shared| {
        let (api, homeservers) = (&shared.stage.api, &shared.stage.homeservers);
        bridge(api, "stuck", ADMIN_TOKEN).await;
        registered(shared, "stuck").await;
        homeservers.with("stuck", |homeserver| homeserver.is_broken = true);
        api.delete("DingTalkBridge", HERE, "stuck").await;
        let said =
            api.condition_until(HERE, "stuck", ["RegistrationReady", "False", "UnregisterFailed"]).await;
        assert!(said.contains("bridges.meldry.com/skip-unregister"), "{said}");
        api.condition_until(HERE, "stuck", ["Ready", "False", "CleanupFailed"]).await;
        let skip = json!({"metadata": {"annotations": {"bridges.meldry.com/skip-unregister": "true"}}});
        api.merge("DingTalkBridge", HERE, "stuck", &skip).await;
        api.gone("DingTalkBridge", HERE, "stuck").await;
    });
}

/// Where the operator has written down that an object is registered.
fn written_down(object: &Value) -> &str {
    object["metadata"]["annotations"]["bridges.meldry.com/registered"].as_str().unwrap_or_default()
}

/// The operator is killed after the homeserver has taken the registration away and before anybody knows, and while the one
/// at the former address cannot be taken back.
#[test]
fn what_is_registered_elsewhere_than_spec_says_is_taken_back_although_the_operator_dies_between() {
    const THERE: &str = "t-taking-back";
    shared(async |shared| {
        let (stage, api, homeservers) = (&shared.stage, &shared.stage.api, &shared.stage.homeservers);
        let mut operator = stage.operator("taking-back", "o-taking-back", &[THERE]).await;
        operator.leads().await;
        for name in ["switched", "moved"] {
            bridge_in(THERE, api, name, ADMIN_TOKEN).await;
        }
        for name in ["switched", "moved"] {
            let here = stage.homeserver(name);
            let object = api
                .bridge_until(THERE, name, "to be registered", |object| written_down(object).contains(&here))
                .await;
            assert_eq!(object["metadata"]["finalizers"], json!(["bridges.meldry.com/cleanup"]));
            registered_by(shared, &operator, (THERE, name), name).await;
        }
        homeservers.with("switched", |homeserver| homeserver.is_silent = true);
        homeservers.with("moved", |homeserver| homeserver.is_broken = true);
        api.merge("DingTalkBridge", THERE, "switched", &json!({"spec": {"homeserver": null}})).await;
        let url = stage.homeserver("moved-to");
        let elsewhere = json!({"spec": {"homeserver": {"registration": {"adminAPI": {"url": url}}}}});
        api.merge("DingTalkBridge", THERE, "moved", &elsewhere).await;
        let removed = wait_until(LIMIT, "the registration to be taken away", async || {
            registrations(homeservers, "switched").is_empty().then_some(())
        });
        removed.await.unwrap();
        registered_by(shared, &operator, (THERE, "moved"), "moved-to").await;
        operator.process().kill().await.unwrap();
        assert!(
            written_down(&api.get("DingTalkBridge", THERE, "switched").await.unwrap()).contains("/switched")
        );

        homeservers.with("switched", |homeserver| homeserver.is_silent = false);
        operator.start_again().await;
        let object = api
            .bridge_until(THERE, "switched", "to have nothing left to do", |object| {
                object["metadata"]["finalizers"].is_null()
            })
            .await;
        assert_eq!(written_down(&object), "");
        let calls = homeservers.with("switched", |homeserver| homeserver.calls.clone());
        assert!(calls.ends_with(&["DELETE".to_owned(), "DELETE".to_owned()]), "{calls:?}");
        api.bridge_until(THERE, "moved", "to remember both", |object| {
            written_down(object).contains("/moved\"") && written_down(object).contains("/moved-to\"")
        })
        .await;
        homeservers.with("moved", |homeserver| homeserver.is_broken = false);
        api.reconcile(THERE, "moved", "1").await;
        api.bridge_until(THERE, "moved", "to have the new one only", |object| {
            !written_down(object).contains("/moved\"")
        })
        .await;
        assert!(registrations(homeservers, "moved").is_empty());
        registered_by(shared, &operator, (THERE, "moved"), "moved-to").await;
        operator.stop().await;
    });
}
