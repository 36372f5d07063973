//! Section `[encryption]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::TimeSpan;

/// Encrypted rooms. The bot gets one device, whose keys are in the database; the homeserver must deliver messages to
/// devices to application services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Encryption {
    /// Whether the bridge takes part in encrypted rooms. Without it the bot says in such a room what to do instead. While
    /// chats are bridged to encrypted rooms, `false` has no effect.
    pub enabled: bool,
    /// How long a message whose key has not come keeps the later ones of its room waiting. Then the room is told.
    pub wait_for_keys: TimeSpan,
}

impl Default for Encryption {
    fn default() -> Self {
        Self { enabled: false, wait_for_keys: TimeSpan::from_secs(30) }
    }
}
