//! Sections `[http]`, `[health]`, `[api]` and `[log]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, TimeSpan};

/// Bounds of what callers may send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Largest body that the webhook takes, at most 1 MiB. A larger one is answered 413.
    pub webhook_body_limit: ByteSize,
    /// Largest transaction taken from the homeserver.
    pub transaction_body_limit: ByteSize,
    /// Most connections that are open at the same time; further ones wait to be accepted.
    #[schemars(range(min = 4, max = 65535))]
    pub max_connections: u32,
    /// How long a caller may take for the headers of a request.
    pub header_timeout: TimeSpan,
    /// How long a caller may take for a whole request.
    pub request_timeout: TimeSpan,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            webhook_body_limit: ByteSize::from_mib(1),
            transaction_body_limit: ByteSize::from_mib(16),
            max_connections: 512,
            header_timeout: TimeSpan::from_secs(10),
            request_timeout: TimeSpan::from_secs(30),
        }
    }
}

/// The port for probes, metrics and the status report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Where `/livez`, `/readyz` and `/metrics` are answered. Keep it inside your network.
    #[schemars(schema_with = "crate::value::socket_schema")]
    pub listen: SocketAddr,
    /// Path of the file that holds the token for `/status`, at least 32 characters: what the bridge answers there is
    /// meant for the operator that looks after it. Without this setting nobody is answered.
    #[schemars(schema_with = "crate::value::path_schema", example = &"/etc/dingtalk-bridge/status-token")]
    pub status_token_file: Option<PathBuf>,
}

impl Default for Health {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090)), status_token_file: None }
    }
}

/// The HTTP API for a platform's dashboard: what admins do by command, for programs. Off unless a token is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Where it is answered, once there is a token. Keep it inside your network; TLS is for what stands in front of it.
    #[schemars(schema_with = "crate::value::socket_schema")]
    pub listen: SocketAddr,
    /// Path of the file that holds the token callers show as `Authorization: Bearer …`, at least 32 characters. Whoever has
    /// it may do all that an admin may. Without this setting there is no API.
    #[schemars(schema_with = "crate::value::path_schema", example = &"/etc/dingtalk-bridge/api-token")]
    pub token_file: Option<PathBuf>,
}

impl Default for Api {
    fn default() -> Self {
        // Reached from this machine only, until somebody decides otherwise.
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9091)), token_file: None }
    }
}

/// What the bridge writes to standard error. No level writes secrets or message bodies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The level (`error`, `warn`, `info`, `debug`, `trace`), or a filter per part, e.g.
    /// `"info,bridge_matrix=debug"`.
    /// What `matrix_sdk_crypto` says of single messages is left out up to `info` unless it is named.
    pub filter: String,
    /// One JSON object per line, or text for people.
    pub format: LogFormat,
}

/// The form of a line of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}
