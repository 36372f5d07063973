//! `registration.yaml`: what the homeserver and the bridge must agree on. A pure function of names and tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::value::Fault;
use crate::{BaseUrl, Config, Localpart, Name, ServerName};

/// A token of the registration; it does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Wraps a token.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Both tokens of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// What the bridge shows the homeserver.
    pub as_token: Token,
    /// What the homeserver shows the bridge.
    pub hs_token: Token,
}

/// The names that a registration is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationNames {
    /// Name of the bridge at the homeserver.
    pub id: Name,
    /// The homeserver's name.
    pub server_name: ServerName,
    /// Local part of the technical user.
    pub sender_localpart: Localpart,
    /// Local part of the visible bot.
    pub bot_localpart: Localpart,
    /// Beginning of the ghosts' local parts.
    pub ghost_prefix: Localpart,
    /// Beginning of the portal aliases' local parts.
    pub alias_prefix: Localpart,
}

impl RegistrationNames {
    /// The names that a configuration asks for.
    pub fn of(config: &Config) -> Self {
        Self {
            id: config.appservice.id.clone(),
            server_name: config.homeserver.server_name.clone(),
            sender_localpart: config.appservice.sender_localpart.clone(),
            bot_localpart: config.bot.localpart.clone(),
            ghost_prefix: config.bot.ghost_prefix.clone(),
            alias_prefix: config.bot.alias_prefix.clone(),
        }
    }
}

/// The registration of the bridge at the homeserver. Unknown keys of a file are left out when it is written again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Name of the bridge at the homeserver.
    pub id: String,
    /// Where the homeserver sends transactions; `None` means that it sends nothing.
    pub url: Option<String>,
    /// What the bridge shows the homeserver.
    pub as_token: Token,
    /// What the homeserver shows the bridge.
    pub hs_token: Token,
    /// Local part of the technical user.
    pub sender_localpart: String,
    /// Whether the homeserver limits the rate of the bridge's users. Absent means yes with some homeservers.
    #[serde(default = "limited")]
    pub rate_limited: bool,
    /// Whether typing notices and receipts come too.
    #[serde(default)]
    pub receive_ephemeral: bool,
    /// Whether device lists and one-time key counts come too; encryption will need them.
    #[serde(rename = "org.matrix.msc3202", default)]
    pub device_lists: bool,
    /// Networks that the bridge speaks.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// What belongs to the bridge alone.
    pub namespaces: Namespaces,
}

fn limited() -> bool {
    true
}

/// Patterns of the ids that belong to the bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// The bot and the ghosts.
    pub users: Vec<Namespace>,
    /// Portal aliases.
    pub aliases: Vec<Namespace>,
    /// None: rooms belong to nobody.
    pub rooms: Vec<Namespace>,
}

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Whether nobody else may create such an id.
    pub exclusive: bool,
    /// The pattern of the full id.
    pub regex: String,
}

impl Namespace {
    fn exclusive(regex: String) -> Self {
        Self { exclusive: true, regex }
    }
}

impl Registration {
    /// Makes a registration.
    pub fn build(names: &RegistrationNames, url: &BaseUrl, tokens: Tokens) -> Self {
        let server = escape(names.server_name.as_str());
        let user = |local: &str| Namespace::exclusive(format!("^@{local}:{server}$"));
        let ghosts = format!("{}.+", escape(names.ghost_prefix.as_str()));
        let aliases = format!("^#{}.+:{server}$", escape(names.alias_prefix.as_str()));
        Self {
            id: names.id.to_string(),
            url: Some(url.to_string()),
            as_token: tokens.as_token,
            hs_token: tokens.hs_token,
            sender_localpart: names.sender_localpart.to_string(),
            rate_limited: false,
            receive_ephemeral: true,
            device_lists: true,
            protocols: vec!["dingtalk".to_owned()],
            namespaces: Namespaces {
                users: vec![user(&escape(names.bot_localpart.as_str())), user(&ghosts)],
                aliases: vec![Namespace::exclusive(aliases)],
                rooms: Vec::new(),
            },
        }
    }

    /// The file's text.
    pub fn to_yaml(&self) -> Result<String, Fault> {
        let body = serde_saphyr::to_string(self).map_err(|_| {
            Fault::new("the registration cannot be written as YAML", "report this as a defect")
        })?;
        Ok(format!(
            "# Registration of the DingTalk bridge; secret. The homeserver and the bridge read the same file.\n{body}"
        ))
    }

    /// Reads a file. The answer to a wrong one names no value of it.
    pub fn from_yaml(text: &str) -> Result<Self, Fault> {
        serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().map_or_else(String::new, |at| format!(" at line {}", at.line()));
            Fault::new(
                format!("is not a registration{place}"),
                "make a new one with: dingtalk-bridge registration generate",
            )
        })
    }

    /// The tokens.
    pub fn tokens(&self) -> Tokens {
        Tokens { as_token: self.as_token.clone(), hs_token: self.hs_token.clone() }
    }

    /// Compares with what a configuration asks for: one sentence with a remedy per difference, none if all is well.
    pub fn check(&self, config: &Config) -> Vec<String> {
        const REWRITE: &str = "run `dingtalk-bridge registration generate` again (it keeps the tokens) and restart the homeserver";
        let url = config.appservice.url.clone();
        let own = self.url.as_deref().and_then(|url| BaseUrl::parse(url).ok());
        let expected = url
            .as_ref()
            .or(own.as_ref())
            .map(|url| Self::build(&RegistrationNames::of(config), url, self.tokens()));
        let mut drifts = Vec::new();
        let mut differs = |wrong: bool, what: &str, remedy: &str| {
            if wrong {
                drifts.push(format!("{what}; {remedy}"));
            }
        };
        differs(self.as_token.0.len() < 16, "as_token is shorter than 16 characters", REWRITE);
        differs(self.hs_token.0.len() < 16, "hs_token is shorter than 16 characters", REWRITE);
        differs(self.as_token == self.hs_token, "as_token and hs_token are the same", REWRITE);
        let Some(expected) = expected else {
            differs(
                true,
                "url is missing, so the homeserver sends nothing",
                "set appservice.url and generate again",
            );
            return drifts;
        };
        differs(
            own.is_none() || url.is_some_and(|url| Some(url) != own),
            "url is not appservice.url of the configuration",
            REWRITE,
        );
        differs(self.id != expected.id, "id is not appservice.id of the configuration", REWRITE);
        differs(
            self.sender_localpart != expected.sender_localpart,
            "sender_localpart is not appservice.sender_localpart of the configuration",
            REWRITE,
        );
        for namespace in &expected.namespaces.users {
            differs(
                !self.namespaces.users.contains(namespace),
                &format!("namespaces.users lacks the exclusive pattern {}", namespace.regex),
                REWRITE,
            );
        }
        for namespace in &expected.namespaces.aliases {
            differs(
                !self.namespaces.aliases.contains(namespace),
                &format!("namespaces.aliases lacks the exclusive pattern {}", namespace.regex),
                REWRITE,
            );
        }
        differs(
            self.rate_limited,
            "rate_limited is not false, so the homeserver slows the bridge down",
            REWRITE,
        );
        differs(!self.receive_ephemeral, "receive_ephemeral is not true", REWRITE);
        differs(!self.device_lists, "org.matrix.msc3202 is not true", REWRITE);
        drifts
    }
}

/// Makes a text match itself in a regular expression of any homeserver.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if matches!(c, '.' | '+' | '[' | ']' | '(' | ')' | '{' | '}' | '*' | '?' | '^' | '$' | '|' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
