//! Section `[database]`.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::TimeSpan;
use crate::value::{DatabaseUrl, SchemaName};

/// The file of a database that is not named.
const DEFAULT_FILE: &str = "/var/lib/dingtalk-bridge/bridge.db";

/// Where the bridge keeps what it must not lose: an SQLite file, or a PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite://` and the path of the file; it is created when missing. The folder must be on a local disk, not on
    /// a network share. Without this and `url_file` it is `"sqlite:///var/lib/dingtalk-bridge/bridge.db"`.
    #[schemars(example = &"sqlite:///var/lib/dingtalk-bridge/bridge.db")]
    pub url: Option<DatabaseUrl>,
    /// Path of a file with the address of a PostgreSQL database (14 or newer), instead of `url`:
    /// `postgres://user:password@host:5432/database`, and `?sslmode=verify-full` behind it to insist on TLS (`prefer`
    /// without it; also `disable`, `require`, `verify-ca`). It must lead to the server itself or to a pooler of
    /// sessions, not of transactions.
    #[schemars(schema_with = "crate::value::path_schema", example = &"/etc/dingtalk-bridge/database-url")]
    pub url_file: Option<PathBuf>,
    /// The schema in the PostgreSQL database, so that several workspaces can share one. It is made if it is missing
    /// and the role may. Without it: the first one of the role's search path.
    #[schemars(example = &"acme")]
    pub schema: Option<SchemaName>,
    /// Path of a PEM file with certificates to trust besides the public ones, for a PostgreSQL server with a private
    /// certificate authority.
    #[schemars(schema_with = "crate::value::path_schema", example = &"/etc/dingtalk-bridge/database-ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// Connections for reading, beside the one that writes. Each costs some memory, with SQLite a thread as well.
    #[schemars(range(min = 1, max = 16))]
    pub read_connections: u32,
    /// How long connecting to PostgreSQL may take before it is tried again.
    pub connect_timeout: TimeSpan,
    /// How long one statement of PostgreSQL may take before it is given up and tried again.
    pub statement_timeout: TimeSpan,
}

/// Which database is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind<'a> {
    /// SQLite, in this file.
    Sqlite(&'a Path),
    /// PostgreSQL, whose address is in this file.
    PostgreSql(&'a Path),
}

impl Database {
    /// Which database is meant.
    pub fn kind(&self) -> DatabaseKind<'_> {
        match (&self.url_file, &self.url) {
            (Some(file), _) => DatabaseKind::PostgreSql(file),
            (None, Some(url)) => DatabaseKind::Sqlite(url.sqlite_path()),
            (None, None) => DatabaseKind::Sqlite(Path::new(DEFAULT_FILE)),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            schema: None,
            ca_file: None,
            read_connections: 2,
            connect_timeout: TimeSpan::from_secs(5),
            statement_timeout: TimeSpan::from_secs(10),
        }
    }
}
