//! The things DingTalk keeps: companies, people, apps, chats, messages. Plain data, one journal line each.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stream::Receiving;

/// Every scope a new app is granted.
pub(crate) const SCOPES: [&str; 7] = [
    "Contact.Org.Read",
    "qyapi_chat_manage",
    "qyapi_get_department_list",
    "qyapi_get_member",
    "qyapi_get_member_by_mobile",
    "qyapi_get_microapp_list",
    "qyapi_robot_sendmsg",
];

/// An organisation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Company {
    /// `ding` and 32 hexadecimal digits.
    pub corp_id: String,
    /// Name in the address book.
    pub name: String,
    /// 0 not certified, 1 high, 2 middle.
    pub auth_level: u8,
    /// Departments below the root: number and name.
    pub departments: Vec<(u64, String)>,
}

/// A member of an organisation, or somebody from outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    /// userId inside the organisation.
    pub staff_id: String,
    /// Same person across apps of one developer.
    pub union_id: String,
    /// Shown name.
    pub name: String,
    /// Organisation.
    pub corp_id: String,
    /// Mobile number, for `getbymobile`.
    pub mobile: String,
    /// Administrator of the organisation.
    pub admin: bool,
    /// From outside: callbacks carry no `senderStaffId`.
    pub external: bool,
    /// Address of the picture; empty for the default one.
    pub avatar: String,
}

/// Event subscription of an app, as saved in the console.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Webhook {
    /// Address.
    pub url: String,
    /// 3–32 letters or digits.
    pub token: String,
    /// 43 letters or digits.
    pub aes_key: String,
    /// Receive id in the envelope: the Client ID, unless registered otherwise.
    pub receive_id: String,
}

/// An internal app with a bot; `robotCode` = Client ID = `app_key`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "switches of the console, each on its own")]
pub struct App {
    /// Client ID, robotCode.
    pub app_key: String,
    /// Client Secret.
    pub app_secret: String,
    /// Above 2^32.
    pub agent_id: u64,
    /// Shown name, also the bot's.
    pub name: String,
    /// Organisation.
    pub corp_id: String,
    /// Granted scopes.
    pub scopes: BTreeSet<String>,
    /// Unpublished apps get no `senderStaffId`.
    pub published: bool,
    /// Switched off by an administrator.
    pub stopped: bool,
    /// Whether the caller's address is on the app's list.
    pub address_allowed: bool,
    /// Monthly Webhook & Stream quota used up.
    pub over_quota: bool,
    /// Whether `atUsers` carries `staffId` and `unionId` of people (documented), or not (seen live).
    pub mention_ids: bool,
    /// People whom 1:1 messages do not reach for now.
    #[serde(default)]
    pub flow_controlled: Vec<String>,
    /// How its bot and its events are received.
    #[serde(default)]
    pub receiving: Receiving,
    /// Event subscription.
    pub webhook: Option<Webhook>,
    /// Receiving address of the bot.
    pub bot_url: Option<String>,
}

/// Kind of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatKind {
    /// Group.
    Group,
    /// 1:1 between a person and a bot.
    Oto,
}

/// A conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chat {
    /// openConversationId.
    pub chat_id: String,
    /// Old name, `chat…`.
    pub old_chat_id: String,
    /// Title.
    pub title: String,
    /// Group or 1:1.
    pub kind: ChatKind,
    /// Organisation.
    pub corp_id: String,
    /// staffIds; the only one of a 1:1.
    pub members: Vec<String>,
    /// staffId of the owner.
    pub owner: String,
    /// Client IDs of the apps whose bots are in.
    pub bots: Vec<String>,
    /// Gone for good.
    pub disbanded: bool,
}

/// A webhook bot of one group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CustomBot {
    /// `access_token` of `/robot/send`.
    pub(crate) token: String,
    /// The group.
    pub(crate) chat_id: String,
    /// Signature secret `SEC…`.
    pub(crate) secret: Option<String>,
    /// Required keyword.
    pub(crate) keyword: Option<String>,
    #[serde(skip)]
    pub(crate) recent: VecDeque<i64>,
    #[serde(skip)]
    pub(crate) blocked_until: i64,
    #[serde(skip)]
    pub(crate) uuids: BTreeSet<String>,
}

/// How far a message of a person has come on its way to the bot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Deliveries tried.
    pub attempts: u32,
    /// HTTP status of the last one; none when there was no answer.
    pub last_status: Option<u16>,
    /// Answered with 200.
    pub answered: bool,
    /// Time of the first 200 answer, ms since 1970.
    pub answered_at: Option<i64>,
    /// How long the last answer took, in microseconds.
    pub answer_us: Option<u64>,
    /// What went wrong last, or why it never went out.
    pub error: Option<String>,
}

/// Something a person wrote.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// `msg…==`.
    pub msg_id: String,
    /// The chat.
    pub chat_id: String,
    /// Who wrote it.
    pub staff_id: String,
    /// ms since 1970.
    pub time: i64,
    /// What people see in the chat.
    pub text: String,
    /// Bot that receives it; none when no bot is mentioned or the kind never reaches bots.
    pub app_key: Option<String>,
    /// The callback, byte for byte; the same at every delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Quoted part of the callback: kind and content.
    pub quotable: Value,
    /// Id of the message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// Deliveries so far.
    #[serde(default)]
    pub progress: Progress,
}

/// By which way a bridge sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// `groupMessages/send`.
    Group,
    /// `oToMessages/batchSend`.
    Oto,
    /// sessionWebhook, or the direct answer to a callback.
    Session,
    /// `/robot/send`.
    Custom,
    /// Work notice.
    Work,
}

/// Something a bridge sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// Position in the log, from 0.
    pub index: usize,
    /// ms since 1970.
    pub time: i64,
    /// Way.
    pub channel: Channel,
    /// Chat it landed in; for work notices `work/<staffId>`.
    pub chat_id: String,
    /// `msgKey`, or `msgtype` of webhooks.
    pub msg_key: String,
    /// Parsed `msgParam`, or the webhook's JSON.
    pub body: Value,
    /// Id under which people can quote it.
    pub msg_id: String,
    /// Handle of app-bot messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_query_key: Option<String>,
    /// App that sent it; none for custom bots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_key: Option<String>,
    /// People really mentioned: listed in `at` and written in the text.
    #[serde(default)]
    pub mentions: Vec<String>,
    /// Taken back.
    #[serde(default)]
    pub recalled: bool,
}

/// A reply address handed out with a callback.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    /// `session` of the query.
    pub(crate) id: String,
    /// Chat it posts to.
    pub(crate) chat_id: String,
    /// App whose callback carried it.
    pub(crate) app_key: String,
    /// End of its life, ms since 1970.
    pub(crate) expires: i64,
}

/// An access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Token {
    /// The token.
    pub(crate) text: String,
    /// Its app.
    pub(crate) app_key: String,
    /// End of its life, ms since 1970.
    pub(crate) expires: i64,
}

/// An event on its way, or failed for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Deduplication key, also where the body does not show it.
    pub event_id: String,
    /// Receiving app.
    pub app_key: String,
    /// `EventType`.
    pub event_type: String,
    /// ms since 1970.
    pub time: i64,
    /// Decrypted body.
    pub body: Value,
    /// Deliveries so far.
    #[serde(default)]
    pub progress: Progress,
    /// Given up; on the failed list until it is fetched.
    #[serde(default)]
    pub failed: bool,
    /// Fetched from the failed list.
    #[serde(default)]
    pub fetched: bool,
}

/// Something a person attached, reachable by download code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct File {
    /// `downloadCode`.
    pub(crate) code: String,
    /// Bot it is bound to.
    pub(crate) app_key: String,
    /// Path part of the temporary address.
    pub(crate) key: String,
    /// Content, Base64.
    pub(crate) base64: String,
    /// Without content: this many generated bytes.
    pub(crate) size: u64,
    /// Codes and addresses can be ended on command.
    pub(crate) expired: bool,
}

/// Something a bridge uploaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Media {
    /// `@…` or `$…`.
    pub(crate) id: String,
    /// image, voice, video or file.
    pub(crate) kind: String,
    /// File name.
    pub(crate) name: String,
    /// Declared content type.
    pub(crate) content_type: String,
    /// Length.
    pub(crate) size: usize,
    /// Those of a large one are not kept over a restart.
    #[serde(with = "small")]
    pub(crate) bytes: bytes::Bytes,
}

/// Bytes as base64, if they are few.
mod small {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use bytes::Bytes;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    const MOST: usize = 64 << 10;

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        let kept: &[u8] = if bytes.len() > MOST { &[] } else { bytes };
        STANDARD.encode(kept).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map(Bytes::from).map_err(D::Error::custom)
    }
}
