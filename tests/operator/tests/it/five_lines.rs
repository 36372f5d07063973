//! The smallest object.

use dingtalk_crds::{ConditionType, names};
use serde_json::{Value, json};
use test_support::wait_until;

use crate::{
    api::{children, condition, text},
    stage::{LIMIT, shared},
};

const FIVE_LINES: &str = "\
apiVersion: bridges.meldry.com/v1alpha1
kind: DingTalkBridge
metadata: {name: acme, namespace: t-five}
spec:
  workspace: acme
";

#[test]
fn five_lines_make_every_child_with_its_owner_and_a_status() {
    shared(async |shared| {
        let (cluster, api) = (&shared.stage.cluster, &shared.stage.api);
        assert_eq!(FIVE_LINES.lines().count(), 5);
        cluster.apply(FIVE_LINES).await.unwrap();
        let object = api.settled("t-five", "acme").await;
        for (kind, name) in children("acme") {
            let child = api.get(kind, "t-five", &name).await.unwrap_or_else(|| panic!("no {kind} {name}"));
            let labels = &child["metadata"]["labels"];
            for (label, value) in [
                (names::MANAGED_BY.0, names::MANAGED_BY.1),
                (names::APP.0, names::APP.1),
                (names::INSTANCE, "acme"),
                (names::WORKSPACE, "acme"),
            ] {
                assert_eq!(labels[label], value, "{kind} {name}");
            }
            // What holds the user's data outlives the object, so it has no owner.
            let is_data = kind == "PersistentVolumeClaim" || name.ends_with("-sealing-key");
            let owner = &child["metadata"]["ownerReferences"];
            if is_data {
                assert!(owner.is_null(), "{kind} {name}: {owner}");
            } else {
                assert_eq!(owner[0]["uid"], object["metadata"]["uid"], "{kind} {name}");
                assert_eq!(owner[0]["controller"], true, "{kind} {name}");
            }
        }
        for type_ in ConditionType::ALL {
            assert!(!condition(&object, type_.as_str()).is_null(), "no condition {type_}: {object:#}");
        }
        assert_eq!(
            text(&object, "/status/webhookURL"),
            "https://acme.demo.localhost/bridges/dingtalk/webhook"
        );
        assert_eq!(text(&object, "/status/botUserID"), "@dingtalkbot:acme.demo.localhost");
        assert!(object["metadata"]["finalizers"].is_null(), "a finalizer that nothing needs");
        let wait = ["wait", "-n", "t-five", "--for=condition=ConfigValid", "--timeout=60s", "dtb/acme"];
        cluster.kubectl(&wait).await.unwrap();
    });
}

#[test]
fn the_webhook_and_nothing_else_of_its_host_is_public() {
    shared(async |shared| {
        let api = &shared.stage.api;
        api.bridge("t-five", "public", &json!({"workspace": "public", "suspend": true})).await;
        api.settled("t-five", "public").await;
        let ingress = api.get("Ingress", "t-five", "dingtalk-public").await.unwrap();
        let rules = ingress["spec"]["rules"].as_array().unwrap();
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0]["host"], "public.demo.localhost");
        let paths = rules[0]["http"]["paths"].as_array().unwrap();
        assert_eq!(paths.len(), 1);
        assert_eq!(
            (&paths[0]["path"], &paths[0]["pathType"]),
            (&json!(names::WEBHOOK_PATH), &json!("Exact"))
        );
    });
}

#[test]
fn an_object_with_k_children_takes_k_writes_and_one_for_the_status() {
    shared(async |shared| {
        let (api, operator) = (&shared.stage.api, &shared.operator);
        let mut statuses: Vec<usize> = Vec::new();
        // While other tests keep the cluster busy, a homeserver or a controller that answers late costs a second status.
        let calm = wait_until(4 * LIMIT, "an object with one status", async || {
            let number = statuses.len();
            let name = format!("counted-{number}");
            api.bridge("t-five", &name, &json!({"workspace": name, "suspend": true})).await;
            api.settled("t-five", &name).await;
            // What came after the status of this one would have been written before another one is settled.
            let marker = format!("marker-{number}");
            api.bridge("t-five", &marker, &json!({"workspace": marker, "suspend": true})).await;
            api.settled("t-five", &marker).await;
            let writes = operator.writes("t-five", &name);
            let of_status = writes.iter().filter(|write| write.contains("dingtalkbridges/status")).count();
            assert_eq!(writes.len() - of_status, children(&name).len(), "{writes:#?}");
            statuses.push(of_status);
            (of_status == 1).then_some(())
        });
        calm.await.unwrap_or_else(|error| panic!("{error}: {statuses:?}"));
    });
}

#[test]
fn kubectl_get_reads_well_and_explain_is_complete() {
    shared(async |shared| {
        let (cluster, api) = (&shared.stage.cluster, &shared.stage.api);
        api.bridge("t-five", "shown", &json!({"workspace": "shown", "suspend": true})).await;
        api.settled("t-five", "shown").await;
        let table = cluster.kubectl(&["get", "dtb", "-n", "t-five", "shown"]).await.unwrap();
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(
            lines.next().unwrap(),
            ["NAME", "READY", "REASON", "WORKSPACE", "ORGANIZATION", "CHATS", "AGE"]
        );
        let row = lines.next().unwrap();
        assert_eq!(row[..4], ["shown", "False", "Suspended", "shown"]);
        let wide = cluster.kubectl(&["get", "dtb", "-n", "t-five", "shown", "-o", "wide"]).await.unwrap();
        assert!(wide.contains("https://shown.demo.localhost/bridges/dingtalk/webhook"), "{wide}");

        let explained = cluster.kubectl(&["explain", "dtb.spec", "--recursive"]).await.unwrap();
        let definition = dingtalk_crds::definition().unwrap();
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut fields = Vec::new();
        collect(spec, "", &mut fields);
        assert!(fields.len() > 50, "{fields:?}");
        for (field, description) in fields {
            let name = field.rsplit('.').next().unwrap();
            let is_there = |line: &str| line.split_whitespace().next() == Some(name);
            assert!(explained.lines().any(is_there), "{field} is not explained:\n{explained}");
            assert!(!description.is_empty(), "{field} has no description");
        }
    });
}

/// Every field below a schema, with its description.
fn collect<'a>(schema: &'a Value, path: &str, into: &mut Vec<(String, &'a str)>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        into.push((path.clone(), text(field, "/description")));
        collect(field, &path, into);
        collect(&field["items"], &path, into);
    }
}
