//! Secrets that an object names.

use operator_e2e::Request;
use serde_json::{Value, json};

use crate::{api::text, stage::shared};

const HERE: &str = "t-references";

fn secret(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": HERE}, "stringData": data})
}

#[test]
fn what_is_missing_is_named_and_its_coming_is_noticed_without_asking_again_and_again() {
    shared(async |shared| {
        let (api, operator) = (&shared.stage.api, &shared.operator);
        let reads = || -> Vec<Request> {
            let of_secret = |request: &Request| request.verb == "get" && request.name == "app-of-acme";
            operator.requests().into_iter().filter(of_secret).collect()
        };
        let spec =
            json!({"workspace": "refs", "dingtalk": {"credentials": {"secretRef": {"name": "app-of-acme"}}}});
        api.bridge(HERE, "refs", &spec).await;
        let said = api.condition_until(HERE, "refs", ["SecretsReady", "False", "ReferenceMissing"]).await;
        assert!(
            said.contains("Secret app-of-acme") && said.contains("spec.dingtalk.credentials.secretRef"),
            "{said}"
        );
        assert!(api.get("Deployment", HERE, "dingtalk-refs").await.is_none(), "a pod that could not start");
        assert_eq!(reads().len(), 1, "{:?}", reads());

        api.create(&secret("app-of-acme", &json!({"appKey": "a", "agentID": "1"}))).await;
        let said = api.condition_until(HERE, "refs", ["SecretsReady", "False", "ReferenceKeyMissing"]).await;
        assert!(said.contains("appSecret"), "{said}");
        assert_eq!(reads().len(), 2, "{:?}", reads());

        api.merge("Secret", HERE, "app-of-acme", &json!({"stringData": {"appSecret": "s"}})).await;
        api.condition_until(HERE, "refs", ["SecretsReady", "True", "AllGood"]).await;
        let inputs = |object: &Value| {
            text(object, "/spec/template/metadata/annotations/bridges.meldry.com~1inputs").to_owned()
        };
        let before =
            api.until("Deployment", HERE, "dingtalk-refs", |object| !inputs(object).is_empty()).await;
        assert_eq!(reads().len(), 3, "{:?}", reads());

        api.merge("Secret", HERE, "app-of-acme", &json!({"stringData": {"appSecret": "another"}})).await;
        api.until("Deployment", HERE, "dingtalk-refs", |object| inputs(object) != inputs(&before)).await;
        assert_eq!(reads().len(), 4, "{:?}", reads());

        // Another key of it is of no concern to the pod.
        let rolled = api.get("Deployment", HERE, "dingtalk-refs").await.unwrap();
        api.merge("Secret", HERE, "app-of-acme", &json!({"stringData": {"more": "x"}})).await;
        api.reconcile(HERE, "refs", "1").await;
        let now = api.get("Deployment", HERE, "dingtalk-refs").await.unwrap();
        assert_eq!(inputs(&now), inputs(&rolled));
    });
}

#[test]
fn a_secret_that_goes_is_told_and_the_pod_that_runs_is_left_alone() {
    shared(async |shared| {
        let api = &shared.stage.api;
        api.create(&secret("hook", &json!({"token": "t", "aesKey": "k".repeat(43)}))).await;
        let spec = json!({"workspace": "going", "dingtalk": {"webhook": {"secretRef": {"name": "hook"}}}});
        api.bridge(HERE, "going", &spec).await;
        api.condition_until(HERE, "going", ["SecretsReady", "True", "AllGood"]).await;
        let before = api.until("Deployment", HERE, "dingtalk-going", |_| true).await;
        api.delete("Secret", HERE, "hook").await;
        api.condition_until(HERE, "going", ["SecretsReady", "False", "ReferenceMissing"]).await;
        let after = api.get("Deployment", HERE, "dingtalk-going").await.unwrap();
        assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);
    });
}
