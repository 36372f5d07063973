//! The HTTP API as types. The bridge reads and writes these, and the `OpenAPI` document is made from them.

mod document;
mod operations;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use document::openapi;
pub use operations::{OPERATIONS, Operation};

/// What every path begins with.
pub const BASE: &str = "/api/v1";

/// Most bytes of a request's body.
pub const MOST_BODY_BYTES: usize = 16 << 10;

/// Most failed messages in one answer.
pub const MOST_FAILURES: u32 = 1_000;

/// Failed messages in an answer when the request does not say how many.
pub const USUAL_FAILURES: u32 = 100;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What went wrong.
    pub error: ProblemDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemDetail {
    /// A stable word; docs/errors.md says what each means and what to do.
    pub code: String,
    /// A sentence for people, in English. It may change.
    pub message: String,
}

/// Credentials of a DingTalk app.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkRequest {
    /// AppKey (`ClientId`); case-sensitive.
    pub app_key: String,
    /// AppSecret (`ClientSecret`); case-sensitive. It is sealed in the database and never answered.
    pub app_secret: String,
    /// AgentID.
    pub agent_id: u64,
}

/// The linked DingTalk app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The organisation's name, as DingTalk gives it.
    pub organization: String,
    /// Whether the AgentID could be checked; the app may lack the permission for that, which nothing else needs.
    pub agent_checked: bool,
}

/// How the bridge stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "an answer for programs: each is a fact of its own")]
pub struct Status {
    /// Version of the bridge.
    pub version: String,
    /// The workspace it works for.
    pub workspace: String,
    /// When this process started (RFC 3339, UTC).
    pub started_at: String,
    /// Whether everything is usable and nothing waits for too long.
    pub ready: bool,
    /// Why it is not ready, a line each.
    pub problems: Vec<String>,
    /// The bot's Matrix user id.
    pub bot_user_id: String,
    /// The address for DingTalk's console, when the configuration names it.
    pub webhook_url: Option<String>,
    /// By which way DingTalk's messages come.
    pub receiving: Receiving,
    /// Whether the event subscription seems to be paused or gone: nothing has come for too long.
    pub subscription_silent: bool,
    /// The linked organisation's name; none while no app is linked. Until DingTalk has told it, the AppKey.
    pub organization: Option<String>,
    /// Whether the credentials come from the configuration, so that they cannot be changed here.
    pub credentials_from_configuration: bool,
    /// The last event that came from DingTalk.
    pub last_event: Option<LastEvent>,
    /// Whether DingTalk withholds messages because the monthly quota is used up.
    pub over_quota: bool,
    /// Chats that are bridged.
    pub bridged_chats: u64,
    /// Chats that were seen and are not bridged.
    pub seen_chats: u64,
    /// Messages kept for chats that are not bridged.
    pub held_messages: u64,
    /// On the way to Matrix.
    pub to_matrix: Waiting,
    /// On the way to DingTalk.
    pub to_dingtalk: Waiting,
    /// Messages that were given up and wait for a retry.
    pub failed_messages: u64,
    /// What came in and could not be read.
    pub unreadable: u64,
}

/// The way on which DingTalk's messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Receiving {
    /// DingTalk calls the webhook.
    Webhook,
    /// The bridge keeps a connection to DingTalk.
    Stream,
    /// Both.
    Both,
}

/// An event of DingTalk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastEvent {
    /// When it came (RFC 3339, UTC).
    pub time: String,
    /// What it was.
    pub kind: String,
}

/// A queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Messages in it.
    pub messages: u64,
    /// Age of the oldest in seconds; none while it is empty.
    pub oldest_seconds: Option<u64>,
}

/// The chats that the bot has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chats {
    /// Every one, by id.
    pub chats: Vec<Chat>,
}

/// A DingTalk group or 1:1 chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chat {
    /// DingTalk's id of it (`openConversationId`).
    pub id: String,
    /// Its title, when DingTalk told it.
    pub title: Option<String>,
    /// Whether it is a group or a chat of two.
    pub kind: ChatKind,
    /// Where it stands.
    pub state: ChatState,
    /// The Matrix room it is bridged to.
    pub room_id: Option<String>,
}

/// The kind of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChatKind {
    /// A group.
    Group,
    /// A chat of two.
    Direct,
}

/// Where a chat stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChatState {
    /// Messages came, and it was never bridged.
    Seen,
    /// It is bridged, and what was held for it is coming.
    Bridging,
    /// It is bridged.
    Bridged,
    /// It was bridged once.
    Unbridged,
    /// DingTalk has disbanded it.
    Disbanded,
}

/// Where a chat is to be bridged to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BridgeRequest {
    /// A room id (`!…`) or an alias (`#name:server`). The bot must be in the room with power level 50.
    pub room: String,
}

/// A chat that is bridged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bridge {
    /// The chat.
    pub chat_id: String,
    /// Its title; its id until DingTalk told one.
    pub title: String,
    /// The room.
    pub room_id: String,
    /// Messages that were held for this and come now; 0 if it was bridged before.
    pub held_messages: u64,
}

/// Messages that were given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failures {
    /// How many there are.
    pub total: u64,
    /// The newest of them, the newest first.
    pub failures: Vec<Failure>,
}

/// A message that was given up. Its text is not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its number, for a retry.
    pub number: i64,
    /// Where it was to go.
    pub network: Network,
    /// Whether it may have arrived all the same: then a retry may show it twice.
    pub may_have_arrived: bool,
    /// Why, as a stable word.
    pub code: String,
    /// The Matrix event or DingTalk message it is about.
    pub cause: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when (RFC 3339, UTC).
    pub failed_at: String,
}

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Network {
    /// Matrix.
    Matrix,
    /// DingTalk.
    Dingtalk,
}

/// What a retry did: so many messages are on their way again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retried {
    /// Towards Matrix.
    pub to_matrix: u64,
    /// Towards DingTalk.
    pub to_dingtalk: u64,
    /// How many of them may have arrived before, so that they may be seen twice.
    pub maybe_twice: u64,
}
