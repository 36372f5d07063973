//! Texts of the configuration that have a form of their own.
//!
//! Each type holds a text that passed its check, and each check is registered under the format name that the
//! schema carries, so that the walk over a file and the typed reading can never disagree. No check repeats the
//! text in its answer: somebody may have pasted a secret in the wrong place.

use std::fmt;
use std::path::Path;

use crate::units;

/// Why a text was refused and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, as the end of a sentence that starts with the key.
    pub reason: String,
    /// What to do about it, as a command.
    pub remedy: String,
}

impl Fault {
    pub(crate) fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason, self.remedy)
    }
}

/// A text type: `name, format name, check`.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $format:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks a text.
            pub fn parse(text: &str) -> Result<Self, $crate::value::Fault> {
                $check(text).map(Self)
            }

            /// The checked text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::value::Fault;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "format": $format})
            }
        }
    };
}

text_type! {
    /// An `http` or `https` address without user, query and fragment. A slash at its end is dropped.
    BaseUrl, "base-url", base_url
}

impl BaseUrl {
    /// Whether the address is `https`.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

text_type! {
    /// A Matrix server name: host name or address, with an optional port.
    ServerName, "server-name", server_name
}

text_type! {
    /// A localpart, or the beginning of one: lower-case letters, digits and `._=/+-`.
    Localpart, "localpart", localpart
}

text_type! {
    /// A name of a workspace or an application service: lower-case letters, digits and `-`.
    Name, "name", name
}

text_type! {
    /// A domain that may be called, with everything below it.
    AllowedHost, "allowed-host", allowed_host
}

text_type! {
    /// The number of a DingTalk app, as text: it exceeds 32 bits.
    AgentId, "agent-id", agent_id
}

text_type! {
    /// The address of an SQLite database: `sqlite://` and a path.
    DatabaseUrl, "database-url", database_url
}

impl DatabaseUrl {
    /// The path of the SQLite file.
    pub fn sqlite_path(&self) -> &Path {
        Path::new(self.0.strip_prefix("sqlite://").unwrap_or(&self.0))
    }
}

text_type! {
    /// The name of a schema in a PostgreSQL database: lower-case letters, digits and `_`, not beginning with `pg_`.
    SchemaName, "schema-name", schema_name
}

text_type! {
    /// Whom a permission is for: `@alice:acme.example` (one person), `acme.example` (everybody of a server) or
    /// `*` (everybody).
    UserPattern, "user-pattern", user_pattern
}

impl UserPattern {
    /// Whether the pattern stands for everybody.
    pub fn is_everybody(&self) -> bool {
        self.0 == "*"
    }

    /// Whether the pattern stands for one person.
    pub fn is_person(&self) -> bool {
        self.0.starts_with('@')
    }

    /// Whether a full user id is meant.
    pub fn matches(&self, user_id: &str) -> bool {
        let Some((local, server)) = user_id.strip_prefix('@').and_then(|rest| rest.split_once(':')) else {
            return false;
        };
        !local.is_empty() && (self.is_everybody() || self.0 == user_id || self.0 == server)
    }
}

text_type! {
    /// How a ghost is called; `{name}` stands for the name in DingTalk.
    NameTemplate, "name-template", name_template
}

impl NameTemplate {
    /// The display name for a person.
    pub fn render(&self, name: &str) -> String {
        self.0.replace("{name}", name)
    }
}

/// The check behind a format name of the schema; `None` for formats that are only hints for editors.
pub(crate) fn check(format: &str, text: &str) -> Option<Result<(), Fault>> {
    Some(match format {
        "base-url" => base_url(text).map(drop),
        "server-name" => server_name(text).map(drop),
        "localpart" => localpart(text).map(drop),
        "name" => name(text).map(drop),
        "allowed-host" => allowed_host(text).map(drop),
        "agent-id" => agent_id(text).map(drop),
        "database-url" => database_url(text).map(drop),
        "schema-name" => schema_name(text).map(drop),
        "user-pattern" => user_pattern(text).map(drop),
        "name-template" => name_template(text).map(drop),
        "time-span" => units::parse_duration(text).map(drop),
        "byte-size" => units::parse_size(text).map(drop),
        "socket-address" => text.parse::<std::net::SocketAddr>().map(drop).map_err(|_| {
            Fault::new(
                "is not an address to listen on",
                "write an IP address and a port, e.g. \"0.0.0.0:8080\"",
            )
        }),
        "path" => path(text),
        _ => return None,
    })
}

fn base_url(text: &str) -> Result<String, Fault> {
    let form = "write it like \"https://host.example\" or \"http://10.0.0.7:8008\"";
    let parsed =
        url::Url::parse(text).map_err(|error| Fault::new(format!("is not an address ({error})"), form))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(Fault::new("is neither an http nor an https address", form));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(Fault::new("contains a user or a password", "leave the part before @ out"));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(Fault::new("contains a query or a fragment", "leave out what starts with ? or #"));
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

fn server_name(text: &str) -> Result<String, Fault> {
    let remedy = "write the part behind the colon of your user ids, e.g. \"acme.example\"";
    if text.contains("://") || text.starts_with('@') || text.contains('/') {
        return Err(Fault::new("is not a server name", remedy));
    }
    let host = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => {
            if port.is_empty() || port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Fault::new("is not a server name: the port is not a number", remedy));
            }
            host
        }
        _ => text,
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    if host.is_empty() || text.len() > 230 || !(plain || bracketed) {
        return Err(Fault::new("is not a server name", remedy));
    }
    Ok(text.to_owned())
}

fn localpart(text: &str) -> Result<String, Fault> {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'.' | b'_' | b'=' | b'/' | b'+' | b'-')
    };
    if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
        return Err(Fault::new(
            "is not the local part of a Matrix id",
            "use 1 to 64 of lower-case letters, digits and ._=/+-, without @ and server",
        ));
    }
    Ok(text.to_owned())
}

fn name(text: &str) -> Result<String, Fault> {
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    let inner = bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-');
    if !(inner && edge(bytes.first()) && edge(bytes.last()) && bytes.len() <= 63) {
        return Err(Fault::new(
            "is not a short name",
            "use 1 to 63 of lower-case letters, digits and -, with a letter or digit at both ends, e.g. \"acme\"",
        ));
    }
    Ok(text.to_owned())
}

fn allowed_host(text: &str) -> Result<String, Fault> {
    let remedy = "write only the domain, e.g. \"dingtalk.com\"; what is below it is included";
    match url::Host::parse(text) {
        Ok(url::Host::Domain(domain))
            if domain.contains('.') && !domain.ends_with('.') && !domain.contains('*') =>
        {
            Ok(domain)
        }
        _ => Err(Fault::new("is not a domain", remedy)),
    }
}

fn agent_id(text: &str) -> Result<String, Fault> {
    if text.is_empty() || text.parse::<u64>().is_err() {
        return Err(Fault::new(
            "is not an AgentID",
            "copy the number from the app's page in the DingTalk console",
        ));
    }
    Ok(text.to_owned())
}

fn database_url(text: &str) -> Result<String, Fault> {
    let form =
        "write \"sqlite://\" and the path of the file, e.g. \"sqlite:///var/lib/dingtalk-bridge/bridge.db\"";
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Err(Fault::new(
            "names PostgreSQL, whose address holds a password",
            "write the address into a file and name that by \"database.url_file\"",
        ));
    }
    let Some(path) = text.strip_prefix("sqlite://") else {
        return Err(Fault::new("is not the address of a database", form));
    };
    if path.is_empty() || path.ends_with('/') || path.contains('?') || path.contains(":memory:") {
        return Err(Fault::new("does not name a file", form));
    }
    Ok(text.to_owned())
}

fn schema_name(text: &str) -> Result<String, Fault> {
    let letter = |c: char| c.is_ascii_lowercase() || c == '_';
    let named = text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit());
    if !named || text.len() > 63 || text.starts_with("pg_") {
        return Err(Fault::new(
            "is not the name of a schema",
            "use lower-case letters, digits and \"_\", at most 63, not beginning with \"pg_\" or a digit",
        ));
    }
    Ok(text.to_owned())
}

fn user_pattern(text: &str) -> Result<String, Fault> {
    let form = "write \"@alice:acme.example\" for a person or \"acme.example\" for everybody of a server";
    if text == "*" {
        return Ok(text.to_owned());
    }
    if let Some(full) = text.strip_prefix('@') {
        return match full.split_once(':') {
            Some(("*", _)) => Err(Fault::new("is not a person", form)),
            Some((local, server)) if !local.is_empty() && server_name(server).is_ok() => Ok(text.to_owned()),
            _ => Err(Fault::new("is neither a person nor a server", form)),
        };
    }
    if text.starts_with("*:") || server_name(text).is_err() {
        return Err(Fault::new("is neither a person nor a server", form));
    }
    Ok(text.to_owned())
}

fn name_template(text: &str) -> Result<String, Fault> {
    if !text.contains("{name}") {
        return Err(Fault::new("does not contain {name}", "write e.g. \"{name} (DingTalk)\""));
    }
    if text.len() > 100 || text.chars().any(char::is_control) {
        return Err(Fault::new(
            "is longer than 100 bytes or contains control characters",
            "shorten it to one line",
        ));
    }
    Ok(text.to_owned())
}

fn path(text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() || text.contains('\0') {
        return Err(Fault::new(
            "is not a path",
            "write the path of a file, e.g. \"/etc/dingtalk-bridge/name\"",
        ));
    }
    if text.contains('\n') || text.starts_with("-----BEGIN") {
        return Err(Fault::new(
            "holds a content, not a path",
            "put the content into a file and name that file here",
        ));
    }
    Ok(())
}

/// Schema of a path.
pub(crate) fn path_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "format": "path"})
}

/// Schema of a list of paths.
pub(crate) fn paths_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "array", "items": {"type": "string", "format": "path"}})
}

/// Schema of an address to listen on.
pub(crate) fn socket_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "format": "socket-address"})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_the_slash_at_the_end() {
        assert_eq!(BaseUrl::parse("https://a.example/").unwrap().as_str(), "https://a.example");
        assert_eq!(BaseUrl::parse("http://10.0.0.7:8008/x/").unwrap().as_str(), "http://10.0.0.7:8008/x");
        for wrong in
            ["", "a.example", "ftp://a.example", "https://u:p@a.example", "https://a.example?x", "https://"]
        {
            assert!(BaseUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn server_names_are_hosts() {
        for right in ["acme.example", "acme.example:8448", "localhost", "10.0.0.7:1", "[::1]:8448", "[::1]"] {
            assert!(ServerName::parse(right).is_ok(), "{right}");
        }
        for wrong in
            ["", "https://acme.example", "@alice:acme.example", "acme.example:", "acme example", ":80"]
        {
            assert!(ServerName::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn patterns_match_persons_servers_and_everybody() {
        let matches = |pattern: &str, user: &str| UserPattern::parse(pattern).unwrap().matches(user);
        assert!(matches("@alice:acme.example", "@alice:acme.example"));
        assert!(!matches("@alice:acme.example", "@alice:acme.example.org"));
        assert!(matches("acme.example", "@bob:acme.example"));
        assert!(!matches("acme.example", "@bob:not-acme.example"));
        assert!(!matches("acme.example", "acme.example"));
        assert!(matches("acme.example:8448", "@bob:acme.example:8448"));
        assert!(matches("*", "@bob:anywhere.example"));
        for wrong in
            ["", "@alice", "@:acme.example", "*:acme.example", "@*:acme.example", "alice@acme.example"]
        {
            assert!(UserPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn postgresql_is_named_as_not_yet_there() {
        let fault = DatabaseUrl::parse("postgres://bridge:hunter2@db/bridge").unwrap_err();
        assert!(fault.reason.contains("PostgreSQL"));
        assert!(!fault.to_string().contains("hunter2"));
        let url = DatabaseUrl::parse("sqlite:///var/lib/x.db").unwrap();
        assert_eq!(url.sqlite_path(), Path::new("/var/lib/x.db"));
        assert!(DatabaseUrl::parse("sqlite://:memory:").is_err());
    }

    #[test]
    fn only_domains_can_be_allowed() {
        assert_eq!(AllowedHost::parse("DingTalk.com").unwrap().as_str(), "dingtalk.com");
        for wrong in [
            "",
            "localhost",
            "10.0.0.7",
            "[::1]",
            "https://dingtalk.com",
            "*.dingtalk.com",
            "dingtalk.com:443",
            "com.",
        ] {
            assert!(AllowedHost::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn agent_ids_may_exceed_32_bits() {
        assert!(AgentId::parse("3021548899").is_ok());
        assert!(AgentId::parse("dinga1").is_err());
    }
}
