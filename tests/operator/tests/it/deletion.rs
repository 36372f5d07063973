//! The end of an object, and of its namespace.

use serde_json::json;
use test_support::wait_until;

use crate::{
    api::{Api, children},
    stage::{LIMIT, shared},
};

const HERE: &str = "t-deletion";

/// Waits until the children with an owner are gone, and answers which are left.
async fn left(api: &Api, name: &str) -> Vec<String> {
    api.gone("DingTalkBridge", HERE, name).await;
    let mut left = Vec::new();
    for (kind, child) in children(name) {
        let is_data = kind == "PersistentVolumeClaim" || child.ends_with("-sealing-key");
        if !is_data {
            api.gone(kind, HERE, &child).await;
        } else if api.get(kind, HERE, &child).await.is_some() {
            left.push(child);
        }
    }
    left
}

#[test]
fn claim_and_key_outlive_their_object_and_are_taken_up_again() {
    shared(async |shared| {
        let api = &shared.stage.api;
        let spec = json!({"workspace": "kept", "suspend": true});
        api.bridge(HERE, "kept", &spec).await;
        api.settled(HERE, "kept").await;
        let key = api.get("Secret", HERE, "dingtalk-kept-sealing-key").await.unwrap();
        let claim = api.get("PersistentVolumeClaim", HERE, "dingtalk-kept-data").await.unwrap();
        api.delete("DingTalkBridge", HERE, "kept").await;
        assert_eq!(left(api, "kept").await, ["dingtalk-kept-sealing-key", "dingtalk-kept-data"]);

        // Another workspace of the same name is another thing.
        api.bridge(HERE, "kept", &json!({"workspace": "stranger", "suspend": true})).await;
        for condition in ["SecretsReady", "DatabaseReady"] {
            api.condition_until(HERE, "kept", [condition, "False", "NameConflict"]).await;
        }
        api.delete("DingTalkBridge", HERE, "kept").await;
        assert_eq!(left(api, "kept").await, ["dingtalk-kept-sealing-key", "dingtalk-kept-data"]);

        api.bridge(HERE, "kept", &spec).await;
        api.settled(HERE, "kept").await;
        let key_now = api.get("Secret", HERE, "dingtalk-kept-sealing-key").await.unwrap();
        let claim_now = api.get("PersistentVolumeClaim", HERE, "dingtalk-kept-data").await.unwrap();
        assert_eq!((&key_now["data"], &key_now["metadata"]["uid"]), (&key["data"], &key["metadata"]["uid"]));
        assert_eq!(claim_now["metadata"]["uid"], claim["metadata"]["uid"]);
    });
}

#[test]
fn data_goes_with_an_object_that_says_so() {
    shared(async |shared| {
        let api = &shared.stage.api;
        api.bridge(
            HERE,
            "dropped",
            &json!({"workspace": "dropped", "suspend": true, "dataPolicy": "Delete"}),
        )
        .await;
        let object = api.settled(HERE, "dropped").await;
        assert_eq!(object["metadata"]["finalizers"], json!(["bridges.meldry.com/cleanup"]));
        api.delete("DingTalkBridge", HERE, "dropped").await;
        api.gone("DingTalkBridge", HERE, "dropped").await;
        for (kind, child) in children("dropped") {
            api.gone(kind, HERE, &child).await;
        }
    });
}

/// A policy of the cluster's that keeps one claim.
const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: claims-are-kept}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [DELETE], resources: [persistentvolumeclaims]}
  validations:
  - {expression: "request.name != 'dingtalk-audited-data'", message: claims are kept until the audit}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: claims-are-kept}
spec: {policyName: claims-are-kept, validationActions: [Deny]}
"#;

#[test]
fn data_that_the_cluster_does_not_let_go_is_told_and_a_person_can_keep_it() {
    shared(async |shared| {
        let (api, cluster) = (&shared.stage.api, &shared.stage.cluster);
        cluster.apply(POLICY).await.unwrap();
        let spec = json!({"workspace": "audited", "suspend": true, "dataPolicy": "Delete"});
        api.bridge(HERE, "audited", &spec).await;
        api.settled(HERE, "audited").await;
        let claim = "dingtalk-audited-data";
        let refused = wait_until(LIMIT, "the policy to be in force", async || {
            cluster.kubectl(&["-n", HERE, "delete", "pvc", claim, "--dry-run=server"]).await.err().map(drop)
        });
        refused.await.unwrap();
        api.delete("DingTalkBridge", HERE, "audited").await;
        let said = api.condition_until(HERE, "audited", ["DatabaseReady", "False", "CleanupFailed"]).await;
        for part in [claim, "until the audit", "spec.dataPolicy: Retain"] {
            assert!(said.contains(part), "{said}");
        }
        api.condition_until(HERE, "audited", ["Ready", "False", "CleanupFailed"]).await;
        // Nobody hammers on the API server meanwhile: one refusal is one request.
        api.reconcile(HERE, "audited", "1").await;
        api.bridge_until(HERE, "audited", "to be looked at", |object| {
            object["status"]["lastHandledReconcileAt"] == "1"
        })
        .await;
        let asked = || {
            let requests = shared.operator.requests().into_iter();
            requests.filter(|request| request.verb == "delete" && request.name == claim).count()
        };
        assert!((1..=2).contains(&asked()), "{} deletions", asked());
        api.merge("DingTalkBridge", HERE, "audited", &json!({"spec": {"dataPolicy": "Retain"}})).await;
        api.gone("DingTalkBridge", HERE, "audited").await;
        assert!(api.get("PersistentVolumeClaim", HERE, claim).await.is_some());
        cluster.kubectl(&["delete", "validatingadmissionpolicybinding", "claims-are-kept"]).await.unwrap();
    });
}

#[test]
fn a_changed_mind_about_data_takes_the_finalizer_away() {
    shared(async |shared| {
        let api = &shared.stage.api;
        api.bridge(HERE, "spared", &json!({"workspace": "spared", "suspend": true, "dataPolicy": "Delete"}))
            .await;
        api.settled(HERE, "spared").await;
        api.merge("DingTalkBridge", HERE, "spared", &json!({"spec": {"dataPolicy": "Retain"}})).await;
        api.bridge_until(HERE, "spared", "to have no finalizer", |object| {
            object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
        })
        .await;
        api.delete("DingTalkBridge", HERE, "spared").await;
        assert_eq!(left(api, "spared").await, ["dingtalk-spared-sealing-key", "dingtalk-spared-data"]);
    });
}

#[test]
fn a_namespace_that_goes_takes_all_with_it_and_nothing_is_tried_for_ever() {
    shared(async |shared| {
        let (api, operator) = (&shared.stage.api, &shared.operator);
        for name in ["one", "two"] {
            let spec = json!({"workspace": format!("{name}-going"), "suspend": true});
            api.bridge("t-going", name, &spec).await;
            api.settled("t-going", name).await;
        }
        api.delete("Namespace", "", "t-going").await;
        api.gone("Namespace", "", "t-going").await;
        let refused = || {
            let requests = operator.requests().into_iter();
            requests
                .filter(|request| request.namespace == "t-going" && request.is_write() && request.code >= 400)
                .count()
        };
        let before = refused();
        // What is tried again and again would be tried while these are made.
        for name in ["after-a", "after-b"] {
            api.bridge(HERE, name, &json!({"workspace": name, "suspend": true})).await;
            api.settled(HERE, name).await;
        }
        let more = refused() - before;
        let most = 2 * children("one").len();
        assert!(more <= most, "{more} requests refused: more than one for each child");
        assert!(operator.lives().await, "{:?}", operator.page("/livez").await);
        assert_eq!(operator.page("/readyz").await.unwrap().0, 200);
    });
}
