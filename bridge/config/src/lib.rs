//! The configuration file and the registration of the DingTalk bridge, as types.
//!
//! No file access: texts come in, values go out. Secrets are paths in the file, never values. The doc comments of
//! the sections are the documentation: [`schema`], [`example`] and [`markdown`] print them, and the reading of a
//! file ([`Config::parse`]) walks the same schema, so that what is documented is what is accepted.

mod check;
mod database;
mod dingtalk;
mod direct;
mod document;
mod encryption;
mod error;
mod homeserver;
mod http;
mod media;
mod queue;
mod registration;
mod report;
mod rules;
mod security;
mod units;
mod value;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::database::{Database, DatabaseKind};
pub use crate::dingtalk::{Credentials, DingTalk, Given, Receive, WebhookFiles};
pub use crate::direct::Direct;
pub use crate::document::{example, markdown, schema};
pub use crate::encryption::Encryption;
pub use crate::error::ConfigError;
pub use crate::homeserver::{Appservice, Bot, Homeserver, Workspace};
pub use crate::http::{Api, Health, Http, Log, LogFormat};
pub use crate::media::Media;
pub use crate::queue::Queue;
pub use crate::registration::{Namespace, Namespaces, Registration, RegistrationNames, Token, Tokens};
pub use crate::report::{
    CredentialsSource, EncryptionReport, EncryptionState, LEAST_TOKEN_LENGTH, LastEvent, MOST_REPORT_BYTES,
    Organization, Queued, REPORT_PATH, Report, SealingReport, SecretsInUse, StreamReport, Time, Waiting,
    WebhookInUse,
};
pub use crate::security::{Permissions, SealingKey, Security};
pub use crate::units::{ByteSize, TimeSpan};
pub use crate::value::{
    AgentId, AllowedHost, BaseUrl, DatabaseUrl, Fault, Localpart, Name, NameTemplate, SchemaName, ServerName,
    UserPattern,
};

/// The path of the webhook on the public host; it never changes.
pub const WEBHOOK_PATH: &str = "/bridges/dingtalk/webhook";

/// Configuration of the DingTalk bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The tenant this bridge works for.
    pub workspace: Workspace,
    /// How the bridge reaches the Matrix homeserver.
    pub homeserver: Homeserver,
    /// The bridge's own address and what the homeserver and DingTalk call it by.
    #[serde(default)]
    pub appservice: Appservice,
    /// The visible bot, the ghosts and how they are called.
    #[serde(default)]
    pub bot: Bot,
    /// How the bridge reaches DingTalk.
    #[serde(default)]
    pub dingtalk: DingTalk,
    /// Chats of one person with the bot (1:1), which become rooms by themselves. Whoever is named here reads what
    /// people write to the bot in private.
    #[serde(default)]
    pub direct: Direct,
    /// Where the bridge keeps what it must not lose: an SQLite file, or a PostgreSQL database.
    #[serde(default)]
    pub database: Database,
    /// The key that seals secrets and messages at rest.
    pub security: Security,
    /// Who may do what. Closed by default: without admins nobody can give the bot commands.
    #[serde(default)]
    pub permissions: Permissions,
    /// How messages wait, how often they are tried and how long they are kept.
    #[serde(default)]
    pub queue: Queue,
    /// How files are moved. The size limits are those of the two sides.
    #[serde(default)]
    pub media: Media,
    /// Encrypted rooms. The bot gets one device, whose keys are in the database; the homeserver must deliver messages
    /// to devices to application services.
    #[serde(default)]
    pub encryption: Encryption,
    /// Bounds of what callers may send.
    #[serde(default)]
    pub http: Http,
    /// The port for probes, metrics and the status report.
    #[serde(default)]
    pub health: Health,
    /// The HTTP API for a platform's dashboard: what admins do by command, for programs. Off unless a token is configured.
    #[serde(default)]
    pub api: Api,
    /// What the bridge writes to standard error. No level writes secrets or message bodies.
    #[serde(default)]
    pub log: Log,
}

impl Config {
    /// Reads a configuration file. All mistakes are reported, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<ConfigError>> {
        check::parse(text)
    }

    /// The bot's full user id.
    pub fn bot_user_id(&self) -> String {
        format!("@{}:{}", self.bot.localpart, self.homeserver.server_name)
    }
}

#[cfg(test)]
mod tests;
