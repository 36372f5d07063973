//! `spec.dingtalk`.

#![expect(unreachable_pub, reason = "the derive macro repeats each type inside a function")]

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{ConfigMapKeyRef, SecretKeyRef, SecretRef};

/// By which way DingTalk's messages and events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Receive {
    /// DingTalk posts to the webhook.
    Webhook,
    /// The bridge keeps a connection to DingTalk open; nothing has to be reachable from outside.
    Stream,
    /// Both, for a change from one to the other.
    Both,
}

impl Receive {
    /// The word in the bridge's configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Stream => "stream",
            Self::Both => "both",
        }
    }
}

/// The DingTalk side of the bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DingTalk {
    /// The app's credentials, for workspaces whose secrets are kept in Secrets. Without it an admin says `login` to
    /// the bot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Token and AES key that were made in the DingTalk console. Without it the bridge makes its own and shows them by
    /// the command `webhook`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// By which way DingTalk's messages and events come; it must fit what is chosen in DingTalk's console. `Stream` needs
    /// no address that DingTalk can reach. An admin's command `stream` changes it. Default: the platform's, else
    /// `Webhook`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive: Option<Receive>,
    /// The organisation's CorpId. Without it the bridge learns it from the first message.
    #[serde(rename = "corpID")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corp_id: Option<String>,
    /// Base address of DingTalk's current API, for a proxy or a sandbox.
    #[schemars(length(max = 255), regex(pattern = "^https?://[^\\s/?#@]+(/[^\\s?#]*)?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_base: Option<String>,
    /// Base address of DingTalk's older API, for a proxy or a sandbox.
    #[schemars(length(max = 255), regex(pattern = "^https?://[^\\s/?#@]+(/[^\\s?#]*)?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oapi_base: Option<String>,
    /// Certificates to trust for both, besides the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<ConfigMapKeyRef>,
}

/// The app's credentials: one Secret that holds all three, or the AppSecret alone with the other two written here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) != (has(self.appKey) || has(self.agentID) || has(self.appSecretRef))")
    .message("name one source of the credentials: either secretRef (a Secret with the keys appKey, appSecret and agentID), or appKey, agentID and appSecretRef together"))]
#[x_kube(validation = Rule::new("has(self.secretRef) || (has(self.appKey) && has(self.agentID) && has(self.appSecretRef))")
    .message("appKey, agentID and appSecretRef belong together: set all three, or secretRef instead"))]
pub struct Credentials {
    /// A Secret with the keys `appKey`, `appSecret` and `agentID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// The app's AppKey (Client ID).
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9_-]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_key: Option<String>,
    /// The app's AgentID, as text.
    #[serde(rename = "agentID")]
    #[schemars(length(min = 1, max = 20), regex(pattern = "^[0-9]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Where the app's AppSecret is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_secret_ref: Option<SecretKeyRef>,
}

/// Keys of the event subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// A Secret with the keys `token` and `aesKey` (43 characters).
    pub secret_ref: SecretRef,
}
