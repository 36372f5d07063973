//! Children that somebody else changes or deletes.

use serde_json::{Value, json};
use test_support::wait_until;

use crate::{
    api::{Api, children, text},
    operator::Operator,
    stage::{LIMIT, Shared, shared},
};

const HERE: &str = "t-drift";

/// A settled object without a pod, and the versions of all its children.
async fn settled(shared: &Shared, name: &str) -> Vec<String> {
    shared.stage.api.bridge(HERE, name, &json!({"workspace": name, "suspend": true})).await;
    shared.stage.api.settled(HERE, name).await;
    // The controllers of the cluster write the status of the Deployment once more.
    let observed = |object: &Value| {
        object["status"]["observedGeneration"].is_number() && object["status"]["conditions"].is_array()
    };
    shared.stage.api.until("Deployment", HERE, &format!("dingtalk-{name}"), observed).await;
    versions(&shared.stage.api, name).await
}

async fn versions(api: &Api, name: &str) -> Vec<String> {
    let mut versions = Vec::new();
    for (kind, child) in children(name) {
        let object = api.get(kind, HERE, &child).await;
        let object = object.unwrap_or_else(|| panic!("no {kind} {child}"));
        let version = text(&object, "/metadata/resourceVersion");
        versions.push(format!("{kind} {child} {} {version}", text(&object, "/metadata/uid")));
    }
    versions
}

/// Waits until the operator has written as often as expected, lets it look at everything once more, and answers what
/// it wrote since `before`, the status of this second look left out.
async fn written(api: &Api, operator: &Operator, name: &str, before: usize) -> Vec<String> {
    let what = format!("a write for {name}");
    wait_until(LIMIT, &what, async || (operator.writes(HERE, name).len() > before).then_some(()))
        .await
        .unwrap();
    api.reconcile(HERE, name, &format!("after-{before}")).await;
    operator
        .writes(HERE, name)
        .split_off(before)
        .into_iter()
        .filter(|write| !write.contains("/status"))
        .collect()
}

/// Children of which the version differs.
fn changed(before: &[String], after: &[String]) -> Vec<String> {
    let differs = after.iter().filter(|version| !before.contains(version));
    differs.map(|version| version.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_deleted_child_is_made_anew_by_one_write_and_the_others_stay() {
    shared(async |shared| {
        let (api, operator) = (&shared.stage.api, &shared.operator);
        let before = settled(shared, "deleted").await;
        for (kind, plural) in
            [("ConfigMap", "configmaps"), ("Service", "services"), ("ServiceAccount", "serviceaccounts")]
        {
            let count = operator.writes(HERE, "deleted").len();
            api.delete(kind, HERE, "dingtalk-deleted").await;
            let writes = written(api, operator, "deleted", count).await;
            assert_eq!(writes, [format!("patch {plural} dingtalk-deleted 201")]);
        }
        let after = versions(api, "deleted").await;
        assert_eq!(
            changed(&before, &after),
            ["ConfigMap dingtalk-deleted", "ServiceAccount dingtalk-deleted", "Service dingtalk-deleted"]
        );
    });
}

#[test]
fn a_child_edited_by_hand_is_set_back_by_one_write() {
    shared(async |shared| {
        let (api, operator) = (&shared.stage.api, &shared.operator);
        settled(shared, "edited").await;
        let original =
            |kind: &'static str, name: &'static str| async move { api.get(kind, HERE, name).await };
        let token = original("Secret", "dingtalk-edited-registration").await.unwrap();
        let edits = [
            ("Deployment", "dingtalk-edited", json!({"spec": {"replicas": 3}}), "/spec/replicas"),
            (
                "Service",
                "dingtalk-edited",
                json!({"metadata": {"labels": {"bridges.meldry.com/workspace": "other"}}}),
                "/metadata/labels/bridges.meldry.com~1workspace",
            ),
            ("ConfigMap", "dingtalk-edited", json!({"data": {"config.toml": "x = 1"}}), "/data/config.toml"),
            (
                "Ingress",
                "dingtalk-edited",
                json!({"spec": {"ingressClassName": "other"}}),
                "/spec/ingressClassName",
            ),
        ];
        for (kind, name, edit, pointer) in edits {
            let before = api.get(kind, HERE, name).await.unwrap();
            let count = operator.writes(HERE, "edited").len();
            api.merge(kind, HERE, name, &edit).await;
            let writes = written(api, operator, "edited", count).await;
            assert_eq!(writes.len(), 1, "{kind}: {writes:?}");
            assert!(writes[0].starts_with("patch ") && writes[0].ends_with(" 200"), "{writes:?}");
            let after = api.get(kind, HERE, name).await.unwrap();
            assert_eq!(after.pointer(pointer), before.pointer(pointer), "{kind}");
        }
        assert_eq!(
            original("Secret", "dingtalk-edited-registration").await.unwrap()["data"],
            token["data"],
            "tokens do not change because something else does"
        );
    });
}

#[test]
fn a_registration_that_was_edited_is_whole_again() {
    shared(async |shared| {
        let (api, operator) = (&shared.stage.api, &shared.operator);
        settled(shared, "tokens").await;
        let name = "dingtalk-tokens-registration";
        let before = api.get("Secret", HERE, name).await.unwrap();
        let count = operator.writes(HERE, "tokens").len();
        // `rubbish`, and a key that nobody knows.
        let edit = json!({"data": {"registration.yaml": "cnViYmlzaA==", "more": "bW9yZQ=="}});
        api.merge("Secret", HERE, name, &edit).await;
        written(api, operator, "tokens", count).await;
        let whole = |object: &Value| {
            let value = text(object, "/data/registration.yaml");
            value != "cnViYmlzaA==" && !value.is_empty()
        };
        let after = api.until("Secret", HERE, name, whole).await;
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    });
}

#[test]
fn a_child_without_the_labels_that_it_is_found_by_gets_them_back() {
    shared(async |shared| {
        let (api, operator) = (&shared.stage.api, &shared.operator);
        settled(shared, "labels").await;
        for (kind, name) in [("Service", "dingtalk-labels"), ("ConfigMap", "dingtalk-labels")] {
            let before = api.get(kind, HERE, name).await.unwrap();
            let count = operator.writes(HERE, "labels").len();
            let edit = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
            api.merge(kind, HERE, name, &edit).await;
            let labelled = |object: &Value| {
                text(object, "/metadata/labels/app.kubernetes.io~1managed-by") == "dingtalk-operator"
            };
            let after = api.until(kind, HERE, name, labelled).await;
            assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "it is the same object");
            let writes = written(api, operator, "labels", count).await;
            // The first one finds the name taken, which is how the operator learns that it is its own child.
            let done = writes.iter().filter(|write| write.ends_with(" 200")).count();
            assert_eq!((done, writes.len() <= 2), (1, true), "{writes:?}");
        }
    });
}

#[test]
fn what_others_add_is_theirs() {
    shared(async |shared| {
        let (api, operator) = (&shared.stage.api, &shared.operator);
        settled(shared, "added").await;
        let count = operator.writes(HERE, "added").len();
        let note =
            json!({"metadata": {"annotations": {"example.com/note": "mine"}, "labels": {"team": "a"}}});
        for (kind, name) in children("added") {
            api.merge(kind, HERE, &name, &note).await;
        }
        let asked = operator.requests().len();
        api.reconcile(HERE, "added", "1").await;
        // Who asks for a look at everything gets one that does not trust the watches.
        let read: Vec<String> = operator
            .requests()
            .split_off(asked)
            .into_iter()
            .filter(|request| request.verb == "get")
            .map(|request| request.name)
            .collect();
        for (kind, name) in children("added") {
            assert!(read.contains(&name), "the {kind} {name} was not read: {read:?}");
        }
        let mut writes = operator.writes(HERE, "added").split_off(count);
        writes.retain(|write| !write.contains("/status"));
        assert_eq!(writes, [""; 0]);
        for (kind, name) in children("added") {
            let child = api.get(kind, HERE, &name).await.unwrap();
            assert_eq!(text(&child, "/metadata/annotations/example.com~1note"), "mine", "{kind} {name}");
        }
    });
}

#[test]
fn a_repair_is_told_as_an_event() {
    shared(async |shared| {
        let api = &shared.stage.api;
        let before = settled(shared, "told").await;
        assert_eq!(before.len(), 10);
        api.delete("Service", HERE, "dingtalk-told").await;
        let told = wait_until(LIMIT, "an event about the repair", async || {
            let events = api.list("Event", HERE, "").await;
            events
                .into_iter()
                .find(|event| event["reason"] == "DriftRepaired" && event["regarding"]["name"] == "told")
        });
        let event = told.await.unwrap();
        assert!(text(&event, "/note").contains("Service dingtalk-told"), "{event:#}");
    });
}
