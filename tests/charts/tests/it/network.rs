//! The policy for the operator's network.

use dingtalk_crds::names;
use serde_json::json;

use crate::helm;

fn policy(values: &str) -> Option<helm::Object> {
    let objects = helm::render(&format!("{}{values}", helm::LEAST))?;
    objects.into_iter().find(|object| object.kind() == "NetworkPolicy")
}

#[test]
fn only_the_port_of_probes_and_metrics_is_open() {
    let Some(policy) = policy("") else { return };
    assert_eq!(*policy.at("/spec/policyTypes"), json!(["Ingress"]));
    assert_eq!(*policy.at("/spec/ingress"), json!([{"ports": [{"port": "health", "protocol": "TCP"}]}]));
}

#[test]
fn who_may_read_the_metrics_can_be_limited() {
    let Some(policy) =
        policy("networkPolicy: {metricsFrom: [{podSelector: {matchLabels: {app: prometheus}}}]}\n")
    else {
        return;
    };
    assert_eq!(
        *policy.at("/spec/ingress/0/from"),
        json!([{"podSelector": {"matchLabels": {"app": "prometheus"}}}])
    );
}

#[test]
fn limited_egress_leaves_dns_the_bridges_and_what_is_named() {
    let Some(policy) = policy(
        "watch: {namespaces: [a]}\nnetworkPolicy: {egress: [{to: [{ipBlock: {cidr: 10.0.0.1/32}}]}]}\n",
    ) else {
        return;
    };
    assert_eq!(*policy.at("/spec/policyTypes"), json!(["Ingress", "Egress"]));
    assert_eq!(*policy.at("/spec/egress/0/ports/0/port"), json!(53));
    let bridges = policy.at("/spec/egress/1");
    let (label, app) = names::APP;
    assert_eq!(bridges["to"][0]["podSelector"]["matchLabels"], json!({label: app}));
    assert_eq!(bridges["to"][0]["namespaceSelector"]["matchExpressions"][0]["values"], json!(["a"]));
    assert_eq!(bridges["ports"], json!([{"port": names::HEALTH_PORT, "protocol": "TCP"}]));
    assert_eq!(*policy.at("/spec/egress/2"), json!({"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}));
}
