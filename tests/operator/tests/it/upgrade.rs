//! Definition and operator of different versions, and what an upgrade writes. A cluster of its own, since the definition is
//! everybody's.

use cluster::Extent;
use jiff::Timestamp;
use operator_e2e::Request;
use reqwest::Method;
use serde_json::{Map, Value, json};
use test_support::wait_until;

use crate::{
    api::condition,
    operator::Operator,
    stage::{LIMIT, Stage, alone, quick},
};

const HERE: &str = "t-upgrade";

/// Fields of a section of a definition.
fn fields<'a>(definition: &'a mut Value, section: &str) -> &'a mut Map<String, Value> {
    let pointer = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{section}/properties");
    definition.pointer_mut(&pointer).and_then(Value::as_object_mut).unwrap()
}

/// Installs a definition and waits until the API server publishes it.
async fn install(stage: &Stage, definition: &Value, is_it: impl Fn(&Value) -> bool) {
    stage.cluster.apply(&definition.to_string()).await.unwrap();
    let published = async || {
        let (_, document) =
            stage.api.send(Method::GET, "/openapi/v3/apis/bridges.meldry.com/v1alpha1", None).await?;
        let schema = &document["components"]["schemas"]["com.meldry.bridges.v1alpha1.DingTalkBridge"];
        (schema.is_object() && is_it(&schema["properties"])).then_some(())
    };
    wait_until(LIMIT, "the definition to be published", published).await.unwrap();
}

async fn restart(operator: &mut Operator) {
    operator.stop().await;
    operator.start_again().await;
    operator.ready().await;
    operator.leads().await;
}

/// Waits until the operator has told which fields differ, and answers the text of its readiness.
async fn told(operator: &Operator, state: &str) -> String {
    let differs = async || {
        (operator.metric("dingtalk_operator_definition_fields", &[("state", state)]).await? > 0.5)
            .then_some(())
    };
    wait_until(LIMIT, "the difference to be told", differs)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", operator.said()));
    let (code, text) = operator.page("/readyz").await.unwrap();
    assert_eq!(code, 200, "{text}");
    text
}

/// What it has asked to be written since then. A request stands in the audit log only a moment after its effect can be seen, so
/// the length of the log tells nothing of what is older.
fn written(operator: &Operator, since: Timestamp) -> Vec<Request> {
    let is_later = |write: &Request| write.at.parse::<Timestamp>().unwrap() > since;
    let writes = operator.requests().into_iter().filter(Request::is_write);
    writes.filter(is_later).collect()
}

#[test]
fn an_older_or_newer_definition_is_told_and_an_upgrade_writes_no_more_than_what_differs() {
    alone(async || {
        let objects = if quick() { 20 } else { 100 };
        let stage = Stage::start("upgrade", Extent::Controllers).await;
        let mut older = dingtalk_crds::definition().unwrap();
        fields(&mut older, "status").remove("image");
        fields(&mut older, "status").remove("webhookURL");
        fields(&mut older, "spec").remove("displayName");
        install(&stage, &older, |properties| properties["spec"]["properties"]["displayName"].is_null()).await;
        let mut operator = stage.operator("upgraded", "o-upgrade", &[HERE]).await;
        operator.leads().await;
        let text = told(&operator, "lacking").await;
        assert!(
            text.contains("older") && text.contains("spec.displayName") && text.contains("status.image"),
            "{text}"
        );

        let list: Vec<Value> = (0..objects)
            .map(|number| {
                json!({
                    "apiVersion": "bridges.meldry.com/v1alpha1", "kind": "DingTalkBridge",
                    "metadata": {"name": format!("u{number}"), "namespace": HERE},
                    "spec": {"workspace": format!("upgrade-{number}"), "suspend": true},
                })
            })
            .collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": list});
        stage.cluster.apply(&list.to_string()).await.unwrap();
        let settled = async || {
            let bridges = stage.api.list("DingTalkBridge", HERE, "").await;
            let is_settled = |bridge: &&Value| {
                condition(bridge, "Progressing")["status"] == "False"
                    && condition(bridge, "RegistrationReady")["status"] == "True"
            };
            (bridges.iter().filter(is_settled).count() == objects).then_some(())
        };
        wait_until(4 * LIMIT, "all objects to be settled", settled).await.unwrap();

        // It serves, and looks at everything again without writing what the cluster would drop again.
        stage.api.reconcile(HERE, "u0", "once").await;
        let since = Timestamp::now();
        stage.api.reconcile(HERE, "u0", "twice").await;
        let of_u0 = || -> Vec<Request> {
            let writes = written(&operator, since).into_iter();
            writes.filter(|write| write.name == "u0" || write.name.starts_with("dingtalk-u0")).collect()
        };
        let noted = async || (!of_u0().is_empty()).then_some(());
        wait_until(LIMIT, "the second look to be noted", noted).await.unwrap();
        assert_eq!(of_u0().len(), 1, "{:#?}", of_u0());

        // The definition of this release, and the operator started anew: each status gets what it lacked.
        let since = Timestamp::now();
        let definition = dingtalk_crds::definition().unwrap();
        install(&stage, &definition, |properties| properties["status"]["properties"]["image"].is_object())
            .await;
        restart(&mut operator).await;
        let complete = async || {
            let bridges = stage.api.list("DingTalkBridge", HERE, "").await;
            bridges.iter().all(|bridge| bridge["status"]["webhookURL"].is_string()).then_some(())
        };
        wait_until(4 * LIMIT, "every status to be complete", complete).await.unwrap();
        let noted = async || (written(&operator, since).len() >= objects).then_some(());
        wait_until(LIMIT, "every write to be noted", noted).await.unwrap();
        let upgrade = written(&operator, since);
        assert!(upgrade.iter().all(|write| write.resource == "dingtalkbridges/status"), "{upgrade:#?}");
        assert_eq!(upgrade.len(), objects, "one write each");

        // A newer definition than the operator's changes nothing.
        let since = Timestamp::now();
        let mut newer = definition;
        fields(&mut newer, "spec").insert("later".to_owned(), json!({"type": "string"}));
        install(&stage, &newer, |properties| properties["spec"]["properties"]["later"].is_object()).await;
        restart(&mut operator).await;
        let text = told(&operator, "unknown").await;
        assert!(text.contains("newer") && text.contains("spec.later"), "{text}");
        stage
            .api
            .bridge(HERE, "last", &json!({"workspace": "upgrade-last", "suspend": true, "later": "x"}))
            .await;
        stage.api.settled(HERE, "last").await;
        let mut others = written(&operator, since);
        others.retain(|write| !write.name.contains("last"));
        assert!(others.is_empty(), "{others:#?}");
        operator.stop().await;
        stage.cluster.stop().await.unwrap();
    });
}
