//! Mistakes that the schema knows.

use serde_json::{Value, json};

use crate::{api::path, stage::shared};

const HERE: &str = "t-admission";

/// An object of this name and `spec`.
fn object(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "bridges.meldry.com/v1alpha1", "kind": "DingTalkBridge",
        "metadata": {"name": name, "namespace": HERE}, "spec": spec,
    })
}

#[test]
fn a_mistake_is_refused_with_the_field_and_the_remedy() {
    shared(async |shared| {
        let api = &shared.stage.api;
        let with = |more: Value| {
            let mut spec = json!({"workspace": "mistaken"});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        let cases = [
            (json!({}), ["spec.workspace", "Required"]),
            (with(json!({"workspace": "A company"})), ["spec.workspace", "should match"]),
            (with(json!({"hots": "a.example"})), ["spec.hots", "unknown field"]),
            (with(json!({"host": "https://a.example"})), ["spec.host", "should match"]),
            (with(json!({"host": "localhost"})), ["spec.host", "should match"]),
            (
                with(json!({"dingtalk": {"credentials": {"secretRef": {"name": "a"}, "appKey": "b"}}})),
                ["spec.dingtalk.credentials", "name one source of the credentials: either secretRef"],
            ),
            (
                with(json!({"dingtalk": {"credentials": {"appKey": "b"}}})),
                ["spec.dingtalk.credentials", "set all three, or secretRef instead"],
            ),
            (
                with(
                    json!({"database": {"sqlite": {}, "postgresql": {"secretRef": {"name": "a", "key": "b"}}}}),
                ),
                ["spec.database", "name one database: either sqlite or postgresql"],
            ),
            (
                with(json!({"database": {"postgresql": {}}})),
                ["spec.database.postgresql", "either secretRef or cloudNativePG"],
            ),
            (
                with(json!({"route": {"ingress": {}, "disabled": true}})),
                ["spec.route", "name one way: ingress, gateway, or disabled: true"],
            ),
            (
                with(json!({"route": {"ingress": {}, "gateway": {"parentRefs": [{"name": "a"}]}}})),
                ["spec.route", "name one way"],
            ),
            (
                with(json!({"homeserver": {"registration": {"mode": "Secret", "adminAPI": {
                    "tokenSecretRef": {"name": "a", "key": "b"}}}}})),
                ["spec.homeserver.registration", "set mode to AdminAPI or remove adminAPI"],
            ),
            (with(json!({"dataPolicy": "Keep"})), ["spec.dataPolicy", "supported values"]),
            (
                with(json!({"database": {"sqlite": {"size": "much"}}})),
                ["spec.database.sqlite.size", "should match"],
            ),
        ];
        let path = format!("{}?fieldValidation=Strict", path("DingTalkBridge", HERE, ""));
        for (spec, words) in cases {
            let body = ("application/json", object("mistaken", &spec).to_string());
            let (code, answer) = api.send(reqwest::Method::POST, &path, Some(body)).await.unwrap();
            assert!((400..500).contains(&code), "accepted: {spec}");
            for word in words {
                assert!(
                    answer["message"].as_str().unwrap().contains(word),
                    "{spec}: no {word} in {answer:#}"
                );
            }
        }
        for name in ["a".repeat(41), "a.b".to_owned()] {
            let body = ("application/json", object(&name, &json!({"workspace": "mistaken"})).to_string());
            let (code, answer) = api.send(reqwest::Method::POST, &path, Some(body)).await.unwrap();
            assert_eq!(code, 422, "{answer:#}");
            let said = answer["message"].as_str().unwrap();
            assert!(said.contains("metadata.name must have at most 40 characters and no dot"), "{said}");
        }
    });
}

#[test]
fn kubectl_refuses_a_field_that_does_not_exist() {
    shared(async |shared| {
        let text = object("typed", &json!({"workspace": "typed", "suspended": true})).to_string();
        let file = shared.stage.folder().join("typed.json");
        std::fs::write(&file, text).unwrap();
        let words = ["apply", "--validate=strict", "-f", file.to_str().unwrap()];
        let error = shared.stage.cluster.kubectl(&words).await.unwrap_err().to_string();
        assert!(error.contains("unknown field") && error.contains("spec.suspended"), "{error}");
    });
}

#[test]
fn what_cannot_change_is_refused_later_too() {
    shared(async |shared| {
        let api = &shared.stage.api;
        let spec = json!({
            "workspace": "fixed", "suspend": true,
            "homeserver": {"serverName": "fixed.example"},
            "database": {"sqlite": {"size": "1Gi", "storageClassName": "local-path"}},
        });
        api.bridge(HERE, "fixed", &spec).await;
        let change = async |change: Value| {
            let body = ("application/merge-patch+json", json!({"spec": change}).to_string());
            api.send(reqwest::Method::PATCH, &path("DingTalkBridge", HERE, "fixed"), Some(body))
                .await
                .unwrap()
        };
        for (spec, field, remedy) in [
            (json!({"workspace": "other"}), "spec.workspace", "make a new object instead"),
            (
                json!({"database": {"sqlite": {"size": "512Mi"}}}),
                "spec.database.sqlite",
                "volumes only grow; set it to the former value or more",
            ),
            (
                json!({"database": {"sqlite": {"storageClassName": "other"}}}),
                "spec.database.sqlite",
                "make a new object and move the data",
            ),
            (
                json!({"homeserver": {"serverName": "b.example"}}),
                "spec.homeserver",
                "make a new object instead",
            ),
        ] {
            let (code, answer) = change(spec.clone()).await;
            assert_eq!(code, 422, "{spec}: {answer:#}");
            let said = answer["message"].as_str().unwrap();
            assert!(said.contains(field) && said.contains(remedy), "{spec}: {said}");
        }
        let (code, answer) = change(json!({"database": {"sqlite": {"size": "2Gi"}}})).await;
        assert_eq!(code, 200, "{answer:#}");
    });
}
