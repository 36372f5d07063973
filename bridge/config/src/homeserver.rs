//! Sections `[workspace]`, `[homeserver]`, `[appservice]` and `[bot]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::TimeSpan;
use crate::value::{BaseUrl, Localpart, Name, NameTemplate, ServerName};

/// The tenant this bridge works for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// The workspace's short name. It is bound into everything that is sealed at rest, so it never changes.
    #[schemars(example = &"acme")]
    pub id: Name,
    /// The workspace's name for people, used in replies. Without it, the id is used.
    #[schemars(example = &"Acme Ltd.")]
    pub name: Option<String>,
}

impl Workspace {
    /// The name for people.
    pub fn display_name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.id.as_str())
    }
}

/// How the bridge reaches the Matrix homeserver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Homeserver {
    /// Address of the homeserver's client-server API, as the bridge reaches it.
    #[schemars(example = &"http://homeserver:8008")]
    pub url: BaseUrl,
    /// The homeserver's name: the part behind the colon of its user ids.
    #[schemars(example = &"acme.example")]
    pub server_name: ServerName,
    /// Path of the registration file that the homeserver has too. `dingtalk-bridge registration generate` makes
    /// it; the bridge takes its tokens from there.
    #[schemars(
        schema_with = "crate::value::path_schema",
        example = &"/etc/dingtalk-bridge/registration.yaml"
    )]
    pub registration: PathBuf,
    /// Path of a second registration, while its tokens are rotated: the former one, or the next one. The homeserver may
    /// show the `hs_token` of either, and is shown the `as_token` that it knows.
    #[serde(default)]
    #[schemars(
        schema_with = "crate::value::path_schema",
        example = &"/etc/dingtalk-bridge/registration.other.yaml"
    )]
    pub other_registration: Option<PathBuf>,
    /// Path of a PEM file with certificates to trust besides the public ones, for a homeserver with a private
    /// certificate authority.
    #[serde(default)]
    #[schemars(
        schema_with = "crate::value::path_schema",
        example = &"/etc/dingtalk-bridge/homeserver-ca.pem"
    )]
    pub ca_file: Option<PathBuf>,
    /// How long one request to the homeserver may take before it counts as failed and is tried again.
    #[serde(default = "thirty_seconds")]
    pub request_timeout: TimeSpan,
}

fn thirty_seconds() -> TimeSpan {
    TimeSpan::from_secs(30)
}

/// The bridge's own address and what the homeserver and DingTalk call it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Appservice {
    /// Name of this bridge at the homeserver: the `id` of the registration. It never changes.
    pub id: Name,
    /// Where the bridge listens for the homeserver's transactions and for DingTalk's webhook.
    #[schemars(schema_with = "crate::value::socket_schema")]
    pub listen: SocketAddr,
    /// Address under which the homeserver reaches the bridge: the `url` of the registration. Needed by
    /// `registration generate` and `registration check` only.
    #[schemars(example = &"http://dingtalk-bridge:8080")]
    pub url: Option<BaseUrl>,
    /// Public address of the webhook, shown to admins for the DingTalk console. Its path is
    /// `/bridges/dingtalk/webhook`.
    #[schemars(example = &"https://acme.example/bridges/dingtalk/webhook")]
    pub webhook_url: Option<BaseUrl>,
    /// Local part of the registration's technical user. Nobody sees it; it must not be the bot.
    pub sender_localpart: Localpart,
}

impl Default for Appservice {
    fn default() -> Self {
        Self {
            id: fixed(Name::parse("dingtalk")),
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            url: None,
            webhook_url: None,
            sender_localpart: fixed(Localpart::parse("_dingtalk_as")),
        }
    }
}

/// The visible bot, the ghosts and how they are called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bot {
    /// Local part of the bot that people talk to.
    pub localpart: Localpart,
    /// The bot's display name.
    pub display_name: String,
    /// Local parts of ghosts start with this. Changing it makes every person a new user.
    pub ghost_prefix: Localpart,
    /// Local parts of portal aliases start with this.
    pub alias_prefix: Localpart,
    /// Display name of a ghost; `{name}` stands for the person's name in DingTalk. Example: `"{name} (DingTalk)"`.
    pub ghost_name: NameTemplate,
}

impl Default for Bot {
    fn default() -> Self {
        Self {
            localpart: fixed(Localpart::parse("dingtalkbot")),
            display_name: "DingTalk bridge".to_owned(),
            ghost_prefix: fixed(Localpart::parse("dingtalk_")),
            alias_prefix: fixed(Localpart::parse("dingtalk_")),
            ghost_name: fixed(NameTemplate::parse("{name}")),
        }
    }
}

/// A default that is written in this crate; a test reads them all.
pub(crate) fn fixed<T>(parsed: Result<T, crate::value::Fault>) -> T {
    match parsed {
        Ok(value) => value,
        Err(fault) => unreachable!("a default of the configuration {fault}"),
    }
}
