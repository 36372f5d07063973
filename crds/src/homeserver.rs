//! `spec.homeserver`.

#![expect(unreachable_pub, reason = "the derive macro repeats each type inside a function")]

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{ConfigMapKeyRef, SecretKeyRef};

/// The Matrix side of the bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.serverName) || (has(self.serverName) && self.serverName == oldSelf.serverName)")
    .message("serverName cannot change: it is part of every user id and room; make a new object instead"))]
pub struct Homeserver {
    /// The homeserver's name, the part behind the colon of its user ids. Default: the platform's template, usually the
    /// host.
    #[schemars(length(min = 1, max = 230), regex(pattern = "^[A-Za-z0-9.:\\[\\]-]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Address of the client-server API as pods reach it. Default: the platform's template.
    #[schemars(length(max = 255), regex(pattern = "^https?://[^\\s/?#@]+(/[^\\s?#]*)?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Certificates to trust for it, besides the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<ConfigMapKeyRef>,
    /// How the homeserver learns of the bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
}

/// How the homeserver learns of the bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode == 'AdminAPI' || !has(self.adminAPI)")
    .message("adminAPI is used with mode AdminAPI only: set mode to AdminAPI or remove adminAPI"))]
pub struct Registration {
    /// `Secret`: the homeserver mounts the Secret named in `status.homeserver.registration.secretName` and reads it at
    /// its start (Synapse). `AdminAPI`: the operator registers the bridge live through the homeserver's admin API and
    /// takes the registration back when this object is deleted.
    pub mode: RegistrationMode,
    /// The admin API; needed with mode `AdminAPI` unless the platform has defaults.
    #[serde(rename = "adminAPI")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_api: Option<AdminApi>,
}

/// Ways in which a homeserver learns of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RegistrationMode {
    /// The homeserver mounts the Secret.
    Secret,
    /// The operator calls the homeserver's admin API.
    #[serde(rename = "AdminAPI")]
    AdminApi,
}

/// The homeserver's admin API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminApi {
    /// Base address; default `spec.homeserver.url`.
    #[schemars(length(max = 255), regex(pattern = "^https?://[^\\s/?#@]+(/[^\\s?#]*)?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where an admin's access token is.
    pub token_secret_ref: SecretKeyRef,
}
