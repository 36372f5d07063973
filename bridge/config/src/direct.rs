//! Section `[direct]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::UserPattern;

/// Chats of one person with the bot (1:1), which become rooms by themselves. Whoever is named here reads what people
/// write to the bot in private.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Direct {
    /// Whether a 1:1 chat becomes a room by itself. Without it such a chat waits for `bridge`, as a group does.
    pub enabled: bool,
    /// The Matrix users, each in full, who are invited to the rooms of 1:1 chats and may open one (`pm`, inviting a
    /// ghost). Empty means whoever said `login` to the bot, and nobody where the credentials come from files.
    #[schemars(example = vec!["@alice:acme.example"])]
    pub recipients: Vec<UserPattern>,
}

impl Default for Direct {
    fn default() -> Self {
        Self { enabled: true, recipients: Vec::new() }
    }
}
