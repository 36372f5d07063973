//! A route by the Gateway API, with its real definition, and what a Gateway's controller says of it.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::wait_until;
use tokio::{process::Command, sync::OnceCell};

use crate::{
    api::{path, text},
    stage::{LIMIT, Stage, shared},
};

const HERE: &str = "t-gateway";

/// The module with the definitions, and the checksum of it that the checksum database of Go has.
const MODULE: &str = "sigs.k8s.io/gateway-api@v1.4.1";
const SUM: &str = "h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8=";

/// Installs the definition of `HTTPRoute`; it is fetched once and kept where Go keeps its modules.
pub(crate) async fn install_routes(stage: &Stage) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED
        .get_or_init(async || {
            let mut go = Command::new("go");
            go.args(["mod", "download", "-json", MODULE]).current_dir(stage.folder()).env("GOFLAGS", "");
            let output = go.output().await.unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let module: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
            assert_eq!(module["Sum"], SUM, "{module}");
            let file = "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml";
            let definition = std::fs::read_to_string(format!("{}/{file}", text(&module, "/Dir"))).unwrap();
            stage.cluster.apply(&definition).await.unwrap();
            let routes = "crd/httproutes.gateway.networking.k8s.io";
            let wait = ["wait", "--for=condition=Established", "--timeout=60s", routes];
            // A definition without any condition yet is an error to kubectl.
            let established = async || stage.cluster.kubectl(&wait).await.ok();
            wait_until(LIMIT, "the definition of HTTPRoute", established).await.unwrap();
        })
        .await;
}

/// What the Gateway's controller says of the route.
async fn say(stage: &Stage, generation: &Value, conditions: &[(&str, &str, &str)]) {
    let condition = |(type_, status, reason): &(&str, &str, &str)| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": format!("says {reason}"),
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let conditions: Vec<Value> = conditions.iter().map(condition).collect();
    let parent = json!({
        "controllerName": "example.com/gateway",
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public", "sectionName": "https"},
        "conditions": conditions,
    });
    let address = format!("{}/status", path("HTTPRoute", HERE, "dingtalk-acme"));
    let body = json!({"status": {"parents": [parent]}}).to_string();
    let answer = stage.api.send(Method::PATCH, &address, Some(("application/merge-patch+json", body))).await;
    assert!(answer.as_ref().is_some_and(|(code, _)| *code == 200), "{answer:?}");
}

#[test]
fn what_a_gateway_says_of_the_route_is_the_objects_condition() {
    shared(async |shared| {
        let (stage, api) = (&shared.stage, &shared.stage.api);
        install_routes(stage).await;
        let gateway = json!({"parentRefs": [{"name": "public", "sectionName": "https"}]});
        let spec = json!({
            "workspace": "gateway-acme", "suspend": true, "route": {"gateway": gateway},
            "homeserver": {"serverName": "gateway-acme.demo.localhost"},
        });
        api.bridge(HERE, "acme", &spec).await;
        let route = api.until("HTTPRoute", HERE, "dingtalk-acme", |_| true).await;
        assert_eq!(text(&route, "/spec/rules/0/matches/0/path/type"), "Exact");
        assert_eq!(text(&route, "/spec/rules/0/matches/0/path/value"), "/bridges/dingtalk/webhook");
        assert_eq!(route["spec"]["hostnames"], json!(["gateway-acme.demo.localhost"]));
        let wait = async |status: &str, reason: &str| {
            api.condition_until(HERE, "acme", ["RouteAccepted", status, reason]).await
        };
        wait("False", "RoutePending").await;

        let now = &route["metadata"]["generation"];
        say(stage, now, &[("Accepted", "False", "NotAllowedByListeners")]).await;
        let said = wait("False", "RouteRefused").await;
        assert!(said.contains("Gateway public: NotAllowedByListeners: says NotAllowedByListeners"), "{said}");
        say(stage, now, &[("Accepted", "True", "Accepted"), ("ResolvedRefs", "True", "ResolvedRefs")]).await;
        wait("True", "AllGood").await;
        say(stage, now, &[("Accepted", "True", "Accepted"), ("ResolvedRefs", "False", "BackendNotFound")])
            .await;
        let said = wait("False", "RouteRefused").await;
        assert!(said.contains("BackendNotFound"), "{said}");

        // The route changes, and what was said of the former one does not count.
        say(stage, now, &[("Accepted", "True", "Accepted"), ("ResolvedRefs", "True", "ResolvedRefs")]).await;
        wait("True", "AllGood").await;
        api.merge("DingTalkBridge", HERE, "acme", &json!({"spec": {"host": "other.demo.localhost"}})).await;
        wait("False", "RoutePending").await;
        let route = api.get("HTTPRoute", HERE, "dingtalk-acme").await.unwrap();
        say(stage, &route["metadata"]["generation"], &[("Accepted", "True", "Accepted")]).await;
        wait("True", "AllGood").await;

        // The server stores it as it was written, so two contents took two writes.
        let writes = shared.operator.writes(HERE, "acme");
        assert_eq!(writes.iter().filter(|write| write.contains("httproutes")).count(), 2, "{writes:#?}");
    });
}
