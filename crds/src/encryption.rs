//! `spec.encryption`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Encrypted rooms and encrypted direct chats with the bot. The condition EncryptionReady tells whether they work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Encryption {
    /// `true`: the bot takes part in encrypted rooms. The homeserver must deliver messages to devices to the bridge; for
    /// Synapse docs/encryption.md names the settings. `false`: in such a room the bot says what to do instead. While
    /// chats are bridged to encrypted rooms, `false` has no effect. Default: the platform's, else `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How long a message whose key has not come keeps the later ones of its room waiting. Then the room is told.
    /// Default: the platform's, else `30s`.
    #[schemars(regex(pattern = "^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_for_keys: Option<String>,
}
