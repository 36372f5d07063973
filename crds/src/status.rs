//! The `status` of a `DingTalkBridge`. It is a function of what was seen; no secret and no message text is in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition::Condition, rotation::RotationStatus};

/// What the operator sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DingTalkBridgeStatus {
    /// Generation of the object that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One condition per concern, `Ready` sums them up. All are there from the first visit.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Address to paste into the DingTalk console.
    #[serde(rename = "webhookURL", skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// The bot that admins talk to.
    #[serde(rename = "botUserID", skip_serializing_if = "Option::is_none")]
    pub bot_user_id: Option<String>,
    /// The Matrix side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homeserver: Option<HomeserverStatus>,
    /// The DingTalk side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dingtalk: Option<DingTalkStatus>,
    /// How many chats are bridged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridged_chats: Option<i64>,
    /// How many messages failed for good and wait for `retry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_messages: Option<i64>,
    /// Image in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Version that the running bridge reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Replacements of tokens and keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStatus>,
    /// The last value of the annotation `bridges.meldry.com/reconcile-requested-at` that was acted upon: every child was
    /// read and compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// The Matrix side as resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HomeserverStatus {
    /// The homeserver's name.
    pub server_name: String,
    /// Address of the client-server API.
    pub url: String,
    /// The registration.
    pub registration: RegistrationStatus,
}

/// The registration at the homeserver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationStatus {
    /// Its id.
    pub id: String,
    /// Secret with the registration under the key `registration.yaml`.
    pub secret_name: String,
    /// First 16 hexadecimal digits of the SHA-256 of the file that the homeserver must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The DingTalk side as the bridge reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DingTalkStatus {
    /// Whether the bridge is linked to an organisation.
    pub linked: bool,
    /// Name of the organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The organisation's CorpId, once known.
    #[serde(rename = "corpID", skip_serializing_if = "Option::is_none")]
    pub corp_id: Option<String>,
    /// When the last event came from DingTalk; refreshed at most once in five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_event_time: Option<String>,
    /// What the last event was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_kind: Option<String>,
}
