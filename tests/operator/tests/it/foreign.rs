//! Objects of somebody else under the names of children.

use serde_json::{Value, json};

use crate::{
    api::{condition, text},
    stage::shared,
};

const HERE: &str = "t-foreign";

/// An object that somebody made before, for each kind.
fn foreign(kind: &str, name: &str) -> Value {
    let (api_version, rest) = match kind {
        "Secret" => ("v1", json!({"stringData": {"theirs": "yes"}})),
        "ConfigMap" => ("v1", json!({"data": {"theirs": "yes"}})),
        "ServiceAccount" => ("v1", json!({})),
        "Service" => ("v1", json!({"spec": {"ports": [{"port": 1}], "selector": {"app": "theirs"}}})),
        "PersistentVolumeClaim" => (
            "v1",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}},
                            "storageClassName": "nobodys"}}),
        ),
        "Deployment" => (
            "apps/v1",
            json!({"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "theirs"}}, "template": {
                "metadata": {"labels": {"app": "theirs"}},
                "spec": {"containers": [{"name": "c", "image": "docker.io/local/none:1"}]}}}}),
        ),
        other => panic!("{other}"),
    };
    let mut object = json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": HERE},
    });
    object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    object
}

#[test]
fn a_foreign_object_is_never_touched_named_in_a_condition_and_replaced_when_it_is_gone() {
    shared(async |shared| {
        let api = &shared.stage.api;
        for (name, kind, ending, type_) in [
            ("service", "Service", "", "WorkloadAvailable"),
            ("secret", "Secret", "-registration", "SecretsReady"),
            ("key", "Secret", "-sealing-key", "SecretsReady"),
            ("map", "ConfigMap", "", "WorkloadAvailable"),
            ("claim", "PersistentVolumeClaim", "-data", "DatabaseReady"),
            ("workload", "Deployment", "", "WorkloadAvailable"),
        ] {
            let child = format!("dingtalk-{name}{ending}");
            api.create(&foreign(kind, &child)).await;
            // What a controller of the cluster writes into it is not the operator's doing.
            let made = api
                .until(kind, HERE, &child, |object| {
                    kind != "Deployment" || object["status"]["observedGeneration"].is_number()
                })
                .await;
            api.bridge(HERE, name, &json!({"workspace": name})).await;
            let object = api
                .bridge_until(HERE, name, "to name the conflict", |object| {
                    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
                    conditions.into_iter().flatten().any(|found| {
                        found["reason"] == "NameConflict"
                            && text(found, "/message").contains(&format!("{kind} {child}"))
                    })
                })
                .await;
            assert_eq!(condition(&object, type_)["reason"], "NameConflict", "{kind}: {object:#}");
            assert_eq!(condition(&object, "Ready")["status"], "False", "{kind}");

            api.reconcile(HERE, name, "while-it-is-there").await;
            let now = api.get(kind, HERE, &child).await.unwrap();
            assert_eq!(now["metadata"]["uid"], made["metadata"]["uid"], "{kind}");
            assert_eq!(now["spec"], made["spec"], "{kind}");
            assert_eq!(now["data"], made["data"], "{kind}");
            let managers = now["metadata"]["managedFields"].to_string();
            assert!(!managers.contains("dingtalk-operator"), "{kind}: {managers}");

            api.delete(kind, HERE, &child).await;
            api.gone(kind, HERE, &child).await;
            api.reconcile(HERE, name, "when-it-is-gone").await;
            let ours = |object: &Value| {
                text(object, "/metadata/labels/app.kubernetes.io~1managed-by") == "dingtalk-operator"
            };
            api.until(kind, HERE, &child, ours).await;
            api.bridge_until(HERE, name, "to have no conflict", |object| {
                !object["status"]["conditions"].to_string().contains("NameConflict")
            })
            .await;
        }
    });
}

#[test]
fn an_object_is_taken_over_when_it_names_the_uid_that_may_and_not_for_any_other_word() {
    shared(async |shared| {
        let api = &shared.stage.api;
        api.create(&foreign("ConfigMap", "dingtalk-adopter")).await;
        api.bridge(HERE, "adopter", &json!({"workspace": "adopter", "suspend": true})).await;
        let object = api
            .bridge_until(HERE, "adopter", "to name the conflict", |object| {
                object["status"]["conditions"].to_string().contains("NameConflict")
            })
            .await;
        let adopt = async |by: &str| {
            let note = json!({"metadata": {"annotations": {"bridges.meldry.com/adopt": by}}});
            api.merge("ConfigMap", HERE, "dingtalk-adopter", &note).await;
            api.reconcile(HERE, "adopter", &format!("for-{by}")).await
        };
        for word in ["true", "00000000-0000-0000-0000-000000000000"] {
            let object = adopt(word).await;
            assert!(object["status"]["conditions"].to_string().contains("NameConflict"), "{word}");
        }
        adopt(text(&object, "/metadata/uid")).await;
        api.settled(HERE, "adopter").await;
        let taken = api.get("ConfigMap", HERE, "dingtalk-adopter").await.unwrap();
        assert!(text(&taken, "/data/config.toml").contains("adopter"));
        assert_eq!(text(&taken, "/data/theirs"), "yes", "what was in it stays");
        assert_eq!(taken["metadata"]["ownerReferences"][0]["uid"], object["metadata"]["uid"]);
    });
}
