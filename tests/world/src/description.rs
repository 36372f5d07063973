//! What a script has to know of a world: the one JSON line of `cargo xtask up`.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

/// The world for scripts. The names are a promise.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// Address of the homeserver's client-server API.
    pub homeserver_url: String,
    /// What stands behind the colon of user ids.
    pub server_name: String,
    /// The registration file.
    pub registration: PathBuf,
    /// Who may give the bot commands.
    pub admin: Account,
    /// The other people on the Matrix side.
    pub users: Vec<Account>,
    /// The bridge's visible bot.
    pub bot_user_id: String,
    /// Where DingTalk pushes to.
    pub webhook_url: String,
    /// What pushes are signed and encrypted with.
    pub webhook: WebhookKeys,
    /// The sandbox, page and both API origins.
    pub sandbox_url: String,
    /// The app at DingTalk.
    pub dingtalk: DingTalkApp,
    /// People of the organisation.
    pub people: Vec<DingTalkPerson>,
    /// Bridged chats; none in a bare world.
    pub chats: Vec<BridgedChat>,
    /// The bridge's database, as in its configuration.
    pub database: String,
    /// The bridge's metrics.
    pub metrics_url: String,
    /// Host names in these addresses that no DNS knows.
    pub resolve: BTreeMap<String, String>,
    /// Certificates to trust; absent without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Holds the process id of the bridge that runs now; without a cluster only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge_pid_file: Option<PathBuf>,
    /// Usable from outside the cluster; with one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Where the object is; with a cluster only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A Matrix user with everything needed to act as them.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// Full user id.
    pub user_id: String,
    /// Password for the login of any client.
    pub password: String,
    /// A token that works already.
    pub access_token: String,
}

/// Keys of the webhook.
#[derive(Clone, Debug, Serialize)]
pub struct WebhookKeys {
    /// Token of the event subscription.
    pub token: String,
    /// AES key of the event subscription, 43 characters.
    pub aes_key: String,
    /// What stands at the end of a decrypted event: the AppKey.
    pub receive_id: String,
}

/// The app at DingTalk.
#[derive(Clone, Debug, Serialize)]
pub struct DingTalkApp {
    /// AppKey, Client ID.
    pub app_key: String,
    /// AppSecret, Client Secret.
    pub app_secret: String,
    /// AgentID.
    pub agent_id: u64,
    /// robotCode.
    pub robot_code: String,
    /// The organisation.
    pub corp_id: String,
}

/// A person at DingTalk.
#[derive(Clone, Debug, Serialize)]
pub struct DingTalkPerson {
    /// userId.
    pub staff_id: String,
    /// unionId.
    pub union_id: String,
    /// Shown name.
    pub name: String,
}

/// A chat and its room.
#[derive(Clone, Debug, Serialize)]
pub struct BridgedChat {
    /// openConversationId.
    pub chat_id: String,
    /// The Matrix room.
    pub room_id: String,
    /// Title of the chat.
    pub title: String,
}
