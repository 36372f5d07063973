//! The kind `DingTalkBridge` and its `spec`.

#![expect(unreachable_pub, reason = "the derive macro repeats each type inside a function")]

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    database::Database, dingtalk::DingTalk, encryption::Encryption, homeserver::Homeserver,
    rotation::Rotation, route::Route, status::DingTalkBridgeStatus, workload::Workload,
};

/// A bridge between one DingTalk organisation and one Matrix homeserver. `workspace` is all that must be said; whatever
/// else is not set is the platform's default, which is resolved at use and never written into this object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "bridges.meldry.com",
    version = "v1alpha1",
    kind = "DingTalkBridge",
    plural = "dingtalkbridges",
    singular = "dingtalkbridge",
    shortname = "dtb",
    category = "meldry",
    namespaced,
    status = "DingTalkBridgeStatus",
    derive = "PartialEq",
    doc = "A bridge between one DingTalk organisation and one Matrix homeserver.",
    selectable = ".spec.workspace",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Workspace","type":"string","jsonPath":".spec.workspace"}"#,
    printcolumn = r#"{"name":"Organization","type":"string","jsonPath":".status.dingtalk.organization"}"#,
    printcolumn = r#"{"name":"Chats","type":"integer","jsonPath":".status.bridgedChats"}"#,
    printcolumn = r#"{"name":"Webhook","type":"string","jsonPath":".status.webhookURL","priority":1}"#,
    printcolumn = r#"{"name":"Bot","type":"string","jsonPath":".status.botUserID","priority":1}"#,
    printcolumn = r#"{"name":"Image","type":"string","jsonPath":".status.image","priority":1}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("self.metadata.name.size() <= 40 && !self.metadata.name.contains('.')")
        .message("metadata.name must have at most 40 characters and no dot, so that the names of the bridge's Service and Secrets are valid")
)]
pub struct DingTalkBridgeSpec {
    /// Short name of the workspace: lower-case letters, digits and `-`. It is bound into all that the bridge seals, so
    /// it never changes. No two objects may have the same.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("workspace cannot change: everything sealed at rest is bound to it; make a new object instead"))]
    pub workspace: String,
    /// Name of the workspace for people, used in the bot's replies. Default: `workspace`.
    #[schemars(length(min = 1, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Public host name on which the webhook is served. Default: the platform's template, usually
    /// `<workspace>.<base domain>`.
    #[schemars(
        length(min = 1, max = 230),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The Matrix side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homeserver: Option<Homeserver>,
    /// The DingTalk side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dingtalk: Option<DingTalk>,
    /// Encrypted rooms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Who may do what on the Matrix side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// Where the bridge keeps what it must not lose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// What happens to the database's claim and the sealing key when this object is deleted: `Retain` (default) keeps
    /// both, `Delete` removes both for good. A PostgreSQL database is never touched.
    #[schemars(schema_with = "crate::choice::<DataPolicy>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_policy: Option<DataPolicy>,
    /// How DingTalk reaches the webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Who may reach the pod and whom it may reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// More settings of the bridge, in the sections and keys of its configuration file, e.g. `{log: {filter: debug}}`.
    /// What the operator sets itself is refused here and named in the condition ConfigValid.
    #[schemars(schema_with = "settings_schema")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<serde_json::Map<String, serde_json::Value>>,
    /// When tokens and keys are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// `true`: no pod runs; all data, Secrets and addresses stay. DingTalk's pushes are not answered meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

fn settings_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "maxProperties": 16})
}

/// What happens to data when its object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DataPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It goes, for good.
    Delete,
}

/// Who may do what on the Matrix side. An entry is a person (`@alice:acme.example`) or everybody of a server
/// (`acme.example`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Permissions {
    /// Who may give the bot commands. Default: the platform's template. Nobody can link the workspace while it is
    /// empty.
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admins: Option<Vec<String>>,
    /// Whose messages cross to DingTalk. Default `["*"]`, everybody in a bridged room.
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
}

/// Who may reach the pod and whom it may reach. It is enforced by the cluster's network, if that does so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// `false`: no NetworkPolicy is made. Default: the platform's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Address ranges that the pod may reach beside DNS and public addresses on port 443, e.g. of a homeserver or a
    /// database outside the cluster.
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 50), regex(pattern = "^[0-9a-fA-F:.]+/[0-9]{1,3}$"))
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_cidrs: Option<Vec<String>>,
}
