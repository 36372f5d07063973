//! Section `[dingtalk]`.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::homeserver::fixed;
use crate::units::TimeSpan;
use crate::value::{AgentId, AllowedHost, BaseUrl};

/// By which way DingTalk's events and messages reach the bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Receive {
    /// DingTalk posts them to the webhook's address.
    #[default]
    Webhook,
    /// The bridge keeps a connection to DingTalk open (Stream mode); no public address is needed.
    Stream,
    /// Both at once, for a change from one to the other.
    Both,
}

/// How the bridge reaches DingTalk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DingTalk {
    /// Base address of DingTalk's current API.
    pub api_base: BaseUrl,
    /// Base address of DingTalk's older API.
    pub oapi_base: BaseUrl,
    /// Domains that may be called although their address came with a message (reply addresses); what is below a
    /// domain is included. They are called by https only. The two bases are always allowed.
    pub session_hosts: Vec<AllowedHost>,
    /// Path of a PEM file with certificates to trust besides the public ones, for a proxy or a sandbox.
    #[schemars(schema_with = "crate::value::path_schema", example = &"/etc/dingtalk-bridge/dingtalk-ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// The organisation's `CorpId`. Without it, the bridge learns it from the first message to its bot.
    #[schemars(example = &"ding0123456789abcdef")]
    pub corp_id: Option<String>,
    /// By which way DingTalk's events and messages come: `webhook` (DingTalk posts them to `appservice.webhook_url`),
    /// `stream` (the bridge connects to DingTalk, no public address is needed) or `both`. It must fit what is chosen in
    /// DingTalk's console; the command `stream` changes it at run time.
    pub receive: Receive,
    /// How long a Stream connection may be silent before it counts as dead and is replaced. After half of it the bridge
    /// asks whether DingTalk is there.
    pub stream_silence: TimeSpan,
    /// How long the bridge may be unreachable for DingTalk before the bridged rooms are told that messages may be lost.
    /// What is shorter DingTalk bridges by pushing again.
    pub gap_after: TimeSpan,
    /// How long nothing may come from DingTalk before the subscription counts as silent: `status` says so, and the room
    /// in which the app was linked is told once. A day or more counts without Saturdays and Sundays.
    pub silence_after: TimeSpan,
    /// How long one request to DingTalk may take before it counts as failed.
    pub request_timeout: TimeSpan,
    /// How long what the address book says of a person (name, picture) is taken to be true before it is asked again, at
    /// the earliest when they next say something.
    pub profile_refresh: TimeSpan,
    /// The app's credentials, for installations whose secrets come from files. Without this section an admin says
    /// `login` to the bot.
    pub credentials: Option<Credentials>,
    /// The webhook's token and key, for installations whose secrets come from files. Without this section the
    /// bridge makes its own and shows them by the command `webhook`.
    pub webhook: Option<WebhookFiles>,
    /// A number that who runs the bridge raises to have a new token and AES key made for the webhook. The former ones stay
    /// good until DingTalk uses the new ones; the room in which the app was linked is told what to paste. Without effect
    /// beside `webhook`.
    pub webhook_generation: u32,
}

impl Default for DingTalk {
    fn default() -> Self {
        Self {
            api_base: fixed(BaseUrl::parse("https://api.dingtalk.com")),
            oapi_base: fixed(BaseUrl::parse("https://oapi.dingtalk.com")),
            session_hosts: vec![
                fixed(AllowedHost::parse("dingtalk.com")),
                fixed(AllowedHost::parse("dingtalk.io")),
            ],
            ca_file: None,
            corp_id: None,
            receive: Receive::Webhook,
            stream_silence: TimeSpan::from_secs(60),
            gap_after: TimeSpan::from_secs(300),
            silence_after: TimeSpan::from_secs(2 * 86_400),
            request_timeout: TimeSpan::from_secs(15),
            profile_refresh: TimeSpan::from_secs(86_400),
            credentials: None,
            webhook: None,
            webhook_generation: 0,
        }
    }
}

/// The credentials of the DingTalk app. The secret is in a file; what is no secret stands here or in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The app's AppKey (Client ID). Either this or `app_key_file`.
    #[schemars(example = &"dingabcdefghijklmnop")]
    pub app_key: Option<String>,
    /// Path of a file that holds the app's AppKey, for a mounted secret that has all three. Either this or `app_key`.
    #[serde(default)]
    #[schemars(schema_with = "crate::value::path_schema", example = &"/etc/dingtalk-bridge/app-key")]
    pub app_key_file: Option<PathBuf>,
    /// Path of the file that holds the app's AppSecret.
    #[schemars(schema_with = "crate::value::path_schema", example = &"/etc/dingtalk-bridge/app-secret")]
    pub app_secret_file: PathBuf,
    /// The app's AgentID, as text. Either this or `agent_id_file`.
    #[schemars(example = &"3021548899")]
    pub agent_id: Option<AgentId>,
    /// Path of a file that holds the app's AgentID. Either this or `agent_id`.
    #[serde(default)]
    #[schemars(schema_with = "crate::value::path_schema", example = &"/etc/dingtalk-bridge/agent-id")]
    pub agent_id_file: Option<PathBuf>,
}

/// Where a value is that may stand in the configuration or in a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    /// In the configuration.
    Here(&'a str),
    /// In a file.
    File(&'a Path),
}

impl Credentials {
    /// Where the AppKey is. A configuration that was read names one place; `None` is one that was put together wrongly.
    pub fn app_key(&self) -> Option<Given<'_>> {
        given(self.app_key.as_deref(), self.app_key_file.as_deref())
    }

    /// Where the AgentID is; `None` as for [`Self::app_key`].
    pub fn agent_id(&self) -> Option<Given<'_>> {
        given(self.agent_id.as_ref().map(AgentId::as_str), self.agent_id_file.as_deref())
    }
}

/// The one of two that is there.
fn given<'a>(here: Option<&'a str>, file: Option<&'a Path>) -> Option<Given<'a>> {
    match (here, file) {
        (Some(text), None) => Some(Given::Here(text)),
        (None, Some(path)) => Some(Given::File(path)),
        _ => None,
    }
}

/// Token and key of the webhook, by file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookFiles {
    /// Path of the file that holds the token of the event subscription.
    #[schemars(schema_with = "crate::value::path_schema", example = &"/etc/dingtalk-bridge/webhook-token")]
    pub token_file: PathBuf,
    /// Path of the file that holds the AES key of the event subscription (43 characters).
    #[schemars(schema_with = "crate::value::path_schema", example = &"/etc/dingtalk-bridge/webhook-aes-key")]
    pub aes_key_file: PathBuf,
}
