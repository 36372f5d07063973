//! The values of the chart `dingtalk-operator`, as types: doc comments are the schema's descriptions, and a key that is
//! not here is refused by Helm.

#![expect(clippy::doc_markdown, reason = "the comments are descriptions for people who read YAML")]

use operator_plan::Platform;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

/// A wrapper whose only use is its schema.
macro_rules! values {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(JsonSchema)]
            #[schemars(rename_all = "camelCase", deny_unknown_fields)]
            #[expect(dead_code, reason = "only the schema is wanted")]
            struct $name { $($(#[$field_doc])* $field: $kind,)+ }
        )+
    };
}

values! {
    /// Values of the chart dingtalk-operator.
    Values {
        /// Container images of operator and bridge.
        images: Option<Images>,
        /// Pods of the operator.
        #[schemars(range(min = 1, max = 5))]
        replicas: Option<u32>,
        /// Where DingTalkBridge objects are served.
        watch: Option<Watch>,
        /// The operator itself.
        operator: Option<Operator>,
        /// How a change of the platform reaches bridges that run.
        rollout: Option<operator_plan::RolloutSettings>,
        /// The operator's pods.
        pod: Option<Pod>,
        /// Defaults for every bridge.
        #[schemars(schema_with = "platform")]
        platform: Option<Value>,
        /// Who may reach the operator's pods.
        network_policy: Option<NetworkPolicy>,
        /// The operator's share of the API server.
        api_priority: Option<ApiPriority>,
        /// For clusters with the Prometheus operator.
        monitoring: Option<Monitoring>,
        /// Given by Helm to every chart; not used here.
        global: Option<Map<String, Value>>,
    }
    /// Container images of operator and bridge.
    Images {
        /// Registry and folder that have dingtalk-operator and dingtalk-bridge.
        #[schemars(regex(pattern = r"^([a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*/?)?$"))]
        registry: Option<String>,
        /// Tag of both. Default: the version of the chart.
        #[schemars(regex(pattern = r"^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$"))]
        tag: Option<String>,
        /// The operator's whole reference, instead of registry and tag.
        #[schemars(regex(pattern = r"^\S*$"))]
        operator: Option<String>,
        /// When the operator's image is pulled.
        pull_policy: Option<PullPolicy>,
        /// Secrets with which the operator's image is pulled.
        pull_secrets: Option<Vec<NamedSecret>>,
    }
    /// A Secret.
    NamedSecret {
        /// Its name.
        #[schemars(length(min = 1, max = 253))]
        name: String,
    }
    /// Where DingTalkBridge objects are served.
    Watch {
        /// Namespaces.
        #[schemars(inner(regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")))]
        namespaces: Option<Vec<String>>,
    }
    /// The operator itself.
    Operator {
        /// Objects that are worked on at the same time.
        #[schemars(range(min = 1, max = 512))]
        concurrency: Option<u32>,
        /// Hours after which each object is looked at although nothing is known to have changed.
        #[schemars(range(min = 1, max = 168))]
        resync_hours: Option<u32>,
        /// Address on which probes and metrics are served.
        #[schemars(regex(pattern = "^[0-9a-fA-F.:]+$"))]
        health_address: Option<String>,
        /// What is logged, and how.
        log: Option<Log>,
    }
    /// What is logged, and how.
    Log {
        /// Level, and levels of parts.
        #[schemars(length(min = 1))]
        filter: Option<String>,
        /// How.
        format: Option<LogFormat>,
    }
    /// The operator's pods.
    Pod {
        /// Requests and limits.
        resources: Option<dingtalk_crds::Resources>,
        /// More labels.
        labels: Option<std::collections::BTreeMap<String, String>>,
        /// More annotations.
        annotations: Option<std::collections::BTreeMap<String, String>>,
        /// Labels that a node must have.
        node_selector: Option<std::collections::BTreeMap<String, String>>,
        /// Taints that are tolerated.
        tolerations: Option<Vec<dingtalk_crds::Toleration>>,
        /// Priority class.
        priority_class_name: Option<String>,
    }
    /// Who may reach the operator's pods.
    NetworkPolicy {
        /// false: no NetworkPolicy is made.
        enabled: Option<bool>,
        /// Peers that may read the metrics, as in a NetworkPolicy.
        metrics_from: Option<Vec<Map<String, Value>>>,
        /// Rules for what the operator may reach, as in a NetworkPolicy.
        egress: Option<Vec<Map<String, Value>>>,
    }
    /// The operator's share of the API server.
    ApiPriority {
        /// false: the operator shares with all other accounts.
        enabled: Option<bool>,
        /// Its share, while all ordinary accounts together have 100.
        #[schemars(range(min = 1, max = 1000))]
        shares: Option<u32>,
    }
    /// For clusters with the Prometheus operator.
    Monitoring {
        /// Labels by which Prometheus finds the objects.
        labels: Option<std::collections::BTreeMap<String, String>>,
        /// How metrics are read.
        service_monitor: Option<ServiceMonitor>,
        /// How the metrics of the bridges are read.
        pod_monitor: Option<PodMonitor>,
        /// Dashboards for Grafana.
        dashboards: Option<Dashboards>,
        /// When somebody is called.
        alerts: Option<Alerts>,
    }
    /// How metrics are read.
    ServiceMonitor {
        /// true: a ServiceMonitor is made.
        enabled: Option<bool>,
        /// How often.
        #[schemars(regex(pattern = "^[0-9]+(ms|s|m)$"))]
        interval: Option<String>,
    }
    /// How the metrics of the bridges are read.
    PodMonitor {
        /// true: a PodMonitor is made.
        enabled: Option<bool>,
        /// How often.
        #[schemars(regex(pattern = "^[0-9]+(ms|s|m)$"))]
        interval: Option<String>,
    }
    /// Dashboards for Grafana.
    Dashboards {
        /// true: a ConfigMap for each is made.
        enabled: Option<bool>,
        /// Labels by which Grafana's sidecar finds them.
        labels: Option<std::collections::BTreeMap<String, String>>,
    }
    /// When somebody is called.
    Alerts {
        /// true: a PrometheusRule is made.
        enabled: Option<bool>,
        /// Address of the page with a section for each alert.
        #[serde(rename = "runbookURL")]
        runbook_url: Option<String>,
    }
}

/// When an image is pulled.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only the schema is wanted")]
enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// How it is logged.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only the schema is wanted")]
enum LogFormat {
    Json,
    Text,
}

/// The platform's defaults, by the operator's own type.
fn platform(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = Platform::schema();
    if let Some(fields) = schema.as_object_mut() {
        // It is a part of a schema here.
        fields.remove("$schema");
        fields.remove("title");
    }
    schema.try_into().unwrap_or_default()
}

/// The schema of the values.
#[must_use]
pub fn values_schema() -> Value {
    let mut schema = schemars::schema_for!(Values).to_value();
    tidy(&mut schema);
    if let Some(fields) = schema.as_object_mut() {
        let mut noted = Map::new();
        noted.insert(
            "$comment".into(),
            json!("Generated by `cargo xtask generate` from tests/charts/src/values.rs and operator/plan; do not edit."),
        );
        noted.extend(std::mem::take(fields));
        *fields = noted;
    }
    schema
}

/// Takes away what Helm's messages would only be longer by: a value that is not wanted is left out, never null, and
/// number formats say nothing.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            // A field that is called so is no format.
            if fields.get("format").is_some_and(Value::is_string) {
                fields.remove("format");
            }
            if let Some(Value::Array(kinds)) = fields.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [kind] = kinds.as_slice() {
                    let kind = kind.clone();
                    fields.insert("type".into(), kind);
                }
            }
            if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
                choices.retain(|choice| *choice != json!({"type": "null"}));
                if let [choice] = choices.as_slice() {
                    let choice = choice.clone();
                    fields.remove("anyOf");
                    if let Value::Object(choice) = choice {
                        fields.extend(choice);
                    }
                }
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
