//! The platform's defaults: what the chart's values say for every bridge.
//!
//! The file is read strictly. A key that nobody knows is an error that names it and the nearest one that is known, and
//! a template that names an unknown placeholder is one too: a mistake here would reach every bridge of the cluster.

mod read;

use std::collections::BTreeMap;

use dingtalk_crds::{
    ConfigMapKeyRef, Encryption, ParentRef, PullPolicy, Receive, RegistrationMode, Resources, SecretKeyRef,
    SecretRef, Toleration,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::read::PlatformError;
use crate::template::Template;

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
    /// Encrypted rooms.
    pub encryption: Encryption,
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
            encryption: Encryption::default(),
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

/// Where DingTalk is, and by which way it sends.
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
    /// By which way messages and events come where an object does not say it: `Webhook`, `Stream` or `Both`. Default:
    /// `Webhook`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive: Option<Receive>,
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
