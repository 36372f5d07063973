//! The platform's defaults: what the chart's values say for every bridge.
//!
//! The file is read strictly. A key that nobody knows is an error that names it and the nearest one that is known, and
//! a template that names an unknown placeholder is one too: a mistake here would reach every bridge of the cluster.

use std::collections::BTreeMap;

use dingtalk_crds::{
    ConfigMapKeyRef, ParentRef, PullPolicy, RegistrationMode, Resources, SecretKeyRef, SecretRef, Toleration,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{nearest::nearest, quantity::Quantity, template::Template};

/// What every bridge has unless its object says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Platform {
    /// Domain below which workspaces have their hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_domain: Option<String>,
    /// Host of a workspace. Placeholders, here and below: `{name}`, `{namespace}`, `{workspace}`, `{baseDomain}`,
    /// `{host}`, `{serverName}`.
    pub host_template: Template,
    /// The Matrix side.
    pub homeserver: HomeserverDefaults,
    /// The DingTalk side.
    pub dingtalk: DingTalkDefaults,
    /// Who may give the bot commands: templates, e.g. `@admin:{serverName}`.
    #[schemars(length(max = 64))]
    pub admins: Vec<Template>,
    /// How DingTalk reaches the webhook.
    pub route: RouteDefaults,
    /// Image of the bridge.
    pub image: ImageDefaults,
    /// Where SQLite databases are kept.
    pub storage: StorageDefaults,
    /// The pod of a bridge.
    pub workload: WorkloadDefaults,
    /// Who may reach the pods and whom they may reach.
    pub network_policy: NetworkPolicyDefaults,
    /// Sections of the bridge's configuration file, below `spec.settings` of an object.
    #[schemars(schema_with = "any_object")]
    pub settings: serde_json::Map<String, Value>,
}

impl Default for Platform {
    fn default() -> Self {
        let mut log = serde_json::Map::new();
        log.insert("format".to_owned(), "json".into());
        let mut settings = serde_json::Map::new();
        settings.insert("log".to_owned(), log.into());
        Self {
            base_domain: None,
            host_template: template("{workspace}.{baseDomain}"),
            homeserver: HomeserverDefaults::default(),
            dingtalk: DingTalkDefaults::default(),
            admins: Vec::new(),
            route: RouteDefaults::default(),
            image: ImageDefaults::default(),
            storage: StorageDefaults::default(),
            workload: WorkloadDefaults::default(),
            network_policy: NetworkPolicyDefaults::default(),
            settings,
        }
    }
}

/// The homeserver of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct HomeserverDefaults {
    /// The homeserver's name.
    pub server_name_template: Template,
    /// Address of the client-server API as pods reach it, e.g. `http://synapse-{workspace}.{namespace}.svc:8008`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_template: Option<Template>,
    /// Certificates to trust for it, in the namespace of each object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<ConfigMapKeyRef>,
    /// How the homeserver learns of a bridge.
    pub registration: RegistrationDefaults,
}

impl Default for HomeserverDefaults {
    fn default() -> Self {
        Self {
            server_name_template: template("{host}"),
            url_template: None,
            ca_config_map_ref: None,
            registration: RegistrationDefaults::default(),
        }
    }
}

/// How a homeserver learns of a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistrationDefaults {
    /// `Secret` or `AdminAPI`.
    pub mode: RegistrationMode,
    /// The homeserver's admin API.
    #[serde(rename = "adminAPI", skip_serializing_if = "Option::is_none")]
    pub admin_api: Option<AdminApiDefaults>,
}

impl Default for RegistrationDefaults {
    fn default() -> Self {
        Self { mode: RegistrationMode::Secret, admin_api: None }
    }
}

/// The homeserver's admin API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdminApiDefaults {
    /// Base address. Default: that of the client-server API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_template: Option<Template>,
    /// Where an admin's access token is, in the namespace of each object.
    pub token_secret_ref: SecretKeyRef,
}

/// Where DingTalk is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DingTalkDefaults {
    /// Base address of DingTalk's current API, for a proxy or a sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_base: Option<String>,
    /// Base address of DingTalk's older API, for a proxy or a sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oapi_base: Option<String>,
    /// Domains that may be called although their address came with a message. Default: DingTalk's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_hosts: Option<Vec<String>>,
    /// Certificates to trust for both addresses, in the namespace of each object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<ConfigMapKeyRef>,
}

/// How DingTalk reaches a webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteDefaults {
    /// `Ingress`, `Gateway` or `None`.
    #[serde(rename = "type")]
    pub type_: RouteType,
    /// For type `Ingress`.
    pub ingress: IngressDefaults,
    /// For type `Gateway`.
    pub gateway: GatewayDefaults,
}

/// Kinds of routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RouteType {
    /// An Ingress per bridge.
    #[default]
    Ingress,
    /// An `HTTPRoute` per bridge.
    Gateway,
    /// Nothing.
    None,
}

/// The Ingress of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressDefaults {
    /// Class. Default: the cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Annotations; an object's own are added.
    pub annotations: BTreeMap<String, String>,
    /// Secret with the certificate, e.g. `{workspace}-tls`. Default: the controller's own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_secret_name: Option<Template>,
}

/// The `HTTPRoute` of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayDefaults {
    /// Gateways that routes attach to.
    #[schemars(length(max = 4))]
    pub parent_refs: Vec<ParentRef>,
}

/// The image of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageDefaults {
    /// Name with tag or digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// When it is pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Secrets with which it is pulled, in the namespace of each object.
    #[schemars(length(max = 8))]
    pub pull_secrets: Vec<SecretRef>,
}

/// The claim of a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageDefaults {
    /// Storage class of new claims; those that exist keep theirs. Default: the cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Size.
    pub size: String,
}

impl Default for StorageDefaults {
    fn default() -> Self {
        Self { class_name: None, size: "1Gi".to_owned() }
    }
}

/// The pod of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadDefaults {
    /// Requests and limits of the container. An object that sets them sets all of them.
    pub resources: Resources,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pod tolerates.
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Labels; an object's own are added.
    pub labels: BTreeMap<String, String>,
    /// Annotations; an object's own are added.
    pub annotations: BTreeMap<String, String>,
}

/// Who may reach the pods and whom they may reach.
///
/// A pod may always be reached on its port for webhook and transactions from its own namespace, where its homeserver
/// usually is, and on the port of its report from the operator. It may always reach DNS, its own namespace, the
/// namespaces of its homeserver and of DingTalk's replacement if their addresses are Services, and public addresses on
/// port 443.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkPolicyDefaults {
    /// Whether bridges get a `NetworkPolicy`.
    pub enabled: bool,
    /// Address ranges that pods may reach besides.
    #[schemars(length(max = 16))]
    pub egress_cidrs: Vec<String>,
    /// Namespaces of the ingress controllers or gateways, and of homeservers that are elsewhere. Empty: the port for
    /// webhook and transactions may be reached from everywhere, which a controller on the host's network needs.
    #[schemars(length(max = 16))]
    pub ingress_namespaces: Vec<String>,
    /// Namespaces that may read the metrics.
    #[schemars(length(max = 16))]
    pub metrics_namespaces: Vec<String>,
}

impl Default for NetworkPolicyDefaults {
    fn default() -> Self {
        Self {
            enabled: true,
            egress_cidrs: Vec::new(),
            ingress_namespaces: Vec::new(),
            metrics_namespaces: Vec::new(),
        }
    }
}

/// Why the platform's file was refused; a line per mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlatformError(pub String);

impl Platform {
    /// Reads the file.
    ///
    /// # Errors
    /// When a key is unknown, a template names an unknown placeholder or a value has the wrong form. Every unknown key
    /// is named.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let options = serde_saphyr::options! { with_snippet: false };
        let found: Option<Value> = serde_saphyr::from_str_with_options(text, options.clone())
            .map_err(|error| PlatformError(error.to_string()))?;
        let Some(found) = found else { return Ok(Self::default()) };
        let mut unknown = Vec::new();
        unknown_keys("", &found, &Self::schema(), &mut unknown);
        if !unknown.is_empty() {
            return Err(PlatformError(unknown.join("\n")));
        }
        let platform: Self = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| PlatformError(error.to_string()))?;
        let wrong = platform.mistakes();
        if wrong.is_empty() { Ok(platform) } else { Err(PlatformError(wrong.join("\n"))) }
    }

    /// The schema of the file, in one piece; the chart's values use it.
    pub fn schema() -> Value {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        settings.into_generator().into_root_schema_for::<Self>().to_value()
    }

    /// What no type says.
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut refuse = |wrong: bool, sentence: &str| {
            if wrong {
                mistakes.push(sentence.to_owned());
            }
        };
        let circular = |template: &Template, names: &[&str]| names.iter().any(|name| template.uses(name));
        refuse(
            circular(&self.host_template, &["host", "serverName"]),
            "hostTemplate uses {host} or {serverName}, which are made from it; use {workspace}, {name}, {namespace} and {baseDomain}",
        );
        refuse(
            circular(&self.homeserver.server_name_template, &["serverName"]),
            "homeserver.serverNameTemplate uses {serverName}, which is made from it; use {host}",
        );
        refuse(
            Quantity::parse(&self.storage.size).is_none(),
            "storage.size is not an amount; write e.g. 1Gi",
        );
        refuse(
            self.route.type_ == RouteType::Gateway && self.route.gateway.parent_refs.is_empty(),
            "route.type is Gateway, but route.gateway.parentRefs is empty; name the Gateway that routes attach to",
        );
        refuse(
            self.homeserver.registration.mode == RegistrationMode::Secret
                && self.homeserver.registration.admin_api.is_some(),
            "homeserver.registration.adminAPI is used with mode AdminAPI only; set the mode or remove it",
        );
        mistakes
    }
}

/// A template that is written in this crate; a test reads them all.
fn template(text: &str) -> Template {
    match Template::parse(text) {
        Ok(template) => template,
        Err(fault) => unreachable!("a default of the platform has {fault}"),
    }
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object"})
}

/// Names every key that the schema does not know, with the one that was probably meant.
fn unknown_keys(path: &str, found: &Value, schema: &Value, unknown: &mut Vec<String>) {
    // An optional section is a choice between the section and nothing.
    let branch = schema["anyOf"]
        .as_array()
        .and_then(|branches| branches.iter().find(|one| one["properties"].is_object()));
    let schema = branch.unwrap_or(schema);
    match found {
        Value::Object(fields) => {
            let Some(properties) = schema["properties"].as_object() else { return };
            for (key, value) in fields {
                let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if let Some(property) = properties.get(key) {
                    unknown_keys(&place, value, property, unknown);
                } else if let Some(meant) = nearest(key, properties.keys().map(String::as_str)) {
                    unknown.push(format!("unknown key {place:?}; did you mean {meant:?}?"));
                } else {
                    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                    unknown
                        .push(format!("unknown key {place:?}; remove it; known here: {}", known.join(", ")));
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                unknown_keys(&format!("{path}[{at}]"), item, &schema["items"], unknown);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(Platform::parse("").unwrap(), Platform::default());
        assert_eq!(Platform::parse("{}").unwrap(), Platform::default());
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest_known_one() {
        let error = Platform::parse(
            "basedomain: a.example\nhomeserver: {registration: {mode: Secret, adminApi: {}}}\nimage: {pullSecrets: [{nam: x}]}\nzzz: 1\n",
        )
        .unwrap_err()
        .to_string();
        for part in [
            r#"unknown key "basedomain"; did you mean "baseDomain"?"#,
            r#"unknown key "homeserver.registration.adminApi"; did you mean "adminAPI"?"#,
            r#"unknown key "image.pullSecrets[0].nam"; did you mean "name"?"#,
            r#"unknown key "zzz"; remove it; known here: baseDomain"#,
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for (text, part) in [
            ("hostTemplate: '{host}.example'", "hostTemplate uses {host}"),
            ("hostTemplate: '{wrkspace}.example'", "did you mean {workspace}?"),
            ("homeserver: {serverNameTemplate: '{serverName}'}", "serverNameTemplate"),
            ("storage: {size: big}", "storage.size"),
            ("route: {type: Gateway}", "parentRefs"),
            ("route: {type: Nothing}", "Nothing"),
            (
                "homeserver: {registration: {mode: Secret, adminAPI: {tokenSecretRef: {name: a, key: b}}}}",
                "adminAPI",
            ),
            ("image: [", ""),
        ] {
            let error = Platform::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = serde_saphyr::to_string(&Platform::default()).unwrap();
        assert_eq!(Platform::parse(&text).unwrap(), Platform::default());
    }
}
