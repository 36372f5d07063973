//! `homeserver.yaml`, written as JSON (every JSON document is YAML, and nothing has to be quoted by hand).

use anyhow::Result;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Settings that differ between tests.
#[derive(Clone, Debug)]
pub struct SynapseOptions {
    /// The part after the colon of user ids; needs no DNS.
    pub server_name: String,
    /// Port to listen on; a free one when absent.
    pub port: Option<u16>,
    /// `default_room_version`; Synapse's own default when absent.
    pub room_version: Option<String>,
    /// Names of `experimental_features` to switch on.
    pub experimental: Vec<String>,
    /// Upload limit in Synapse's notation.
    pub max_upload_size: String,
    /// Further keys of the configuration; they replace those made here.
    pub extra: Map<String, Value>,
}

impl Default for SynapseOptions {
    fn default() -> Self {
        Self {
            server_name: "localhost.test".to_owned(),
            port: None,
            room_version: None,
            experimental: Vec::new(),
            max_upload_size: "50M".to_owned(),
            extra: Map::new(),
        }
    }
}

impl SynapseOptions {
    /// The features an appservice needs for encrypted rooms.
    pub const ENCRYPTION: [&str; 2] =
        ["msc3202_transaction_extensions", "msc2409_to_device_messages_enabled"];
}

pub(super) fn write(
    dir: &Path,
    port: u16,
    registration: Option<&Path>,
    shared_secret: &str,
    options: &SynapseOptions,
) -> Result<()> {
    let log = json!({
        "version": 1,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"file": {
            "class": "logging.FileHandler", "formatter": "plain", "filename": dir.join("homeserver.log"),
        }},
        "root": {"level": "WARNING", "handlers": ["file"]},
        "disable_existing_loggers": false,
    });
    std::fs::write(dir.join("log.yaml"), serde_json::to_string_pretty(&log)?)?;
    let mut config = json!({
        "server_name": options.server_name,
        "report_stats": false,
        "pid_file": dir.join("homeserver.pid"),
        "log_config": dir.join("log.yaml"),
        "signing_key_path": dir.join("signing.key"),
        "media_store_path": dir.join("media"),
        "suppress_key_server_warning": true,
        "trusted_key_servers": [],
        "macaroon_secret_key": "macaroons-of-the-tests",
        "registration_shared_secret": shared_secret,
        "database": {"name": "sqlite3", "args": {"database": dir.join("homeserver.db")}},
        "listeners": [{
            "port": port, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["client"]}],
        }],
        "app_service_config_files": registration.into_iter().collect::<Vec<_>>(),
        "presence": {"enabled": false},
        "max_upload_size": options.max_upload_size,
    });
    if let Some(version) = &options.room_version {
        config["default_room_version"] = version.as_str().into();
    }
    for feature in &options.experimental {
        config["experimental_features"][feature] = true.into();
    }
    if let Value::Object(config) = &mut config {
        config.extend(unlimited());
        config.extend(options.extra.clone());
    }
    std::fs::write(dir.join("homeserver.yaml"), serde_json::to_string_pretty(&config)?)?;
    Ok(())
}

/// Every rate limit out of the way: humans in tests type faster than people.
fn unlimited() -> Map<String, Value> {
    let free = json!({"per_second": 100_000, "burst_count": 100_000});
    let plain = [
        "rc_message",
        "rc_registration",
        "rc_registration_token_validity",
        "rc_admin_redaction",
        "rc_joins_per_room",
        "rc_media_create",
        "rc_room_creation",
        "rc_key_requests",
        "rc_user_directory",
        "rc_profile",
    ];
    let nested: [(&str, &[&str]); 4] = [
        ("rc_login", &["address", "account", "failed_attempts"]),
        ("rc_joins", &["local", "remote"]),
        ("rc_invites", &["per_room", "per_user", "per_issuer"]),
        ("rc_presence", &["per_user"]),
    ];
    let mut limits: Map<_, _> = plain.iter().map(|key| ((*key).to_owned(), free.clone())).collect();
    for (key, parts) in nested {
        let parts: Map<_, _> = parts.iter().map(|part| ((*part).to_owned(), free.clone())).collect();
        limits.insert(key.to_owned(), parts.into());
    }
    limits
}
