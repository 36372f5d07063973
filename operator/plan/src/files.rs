//! Where the bridge finds its files in the pod.

/// Folder of the configuration.
pub(crate) const CONFIG_FOLDER: &str = "/etc/dingtalk-bridge/config";
/// The configuration.
pub(crate) const CONFIG: &str = "/etc/dingtalk-bridge/config/config.toml";
/// Folder of all that is secret.
pub(crate) const SECRETS_FOLDER: &str = "/etc/dingtalk-bridge/secrets";
/// Folder of certificates.
pub(crate) const CA_FOLDER: &str = "/etc/dingtalk-bridge/ca";
/// Folder of the database.
pub const DATA_FOLDER: &str = "/var/lib/dingtalk-bridge";
/// The database.
pub(crate) const SQLITE_URL: &str = "sqlite:///var/lib/dingtalk-bridge/bridge.db";

/// The registration, in the folder of secrets; so are the following.
pub(crate) const REGISTRATION: &str = "registration.yaml";
pub(crate) const OTHER_REGISTRATION: &str = "registration.other.yaml";
pub(crate) const STATUS_TOKEN: &str = "status-token";
pub(crate) const SEALING_KEY: &str = "sealing-key";
pub(crate) const APP_KEY: &str = "app-key";
pub(crate) const APP_SECRET: &str = "app-secret";
pub(crate) const AGENT_ID: &str = "agent-id";
pub(crate) const WEBHOOK_TOKEN: &str = "webhook-token";
pub(crate) const WEBHOOK_AES_KEY: &str = "webhook-aes-key";
pub(crate) const DATABASE_URL: &str = "database-url";

/// Certificates for the homeserver, in their folder; so are the following.
pub(crate) const HOMESERVER_CA: &str = "homeserver.pem";
pub(crate) const DINGTALK_CA: &str = "dingtalk.pem";

/// Path of a secret's file.
pub(crate) fn secret(file: &str) -> String {
    format!("{SECRETS_FOLDER}/{file}")
}

/// Path of a certificate's file.
pub(crate) fn ca(file: &str) -> String {
    format!("{CA_FOLDER}/{file}")
}
