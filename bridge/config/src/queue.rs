//! Section `[queue]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, TimeSpan};

const DAY: u64 = 86_400;

/// How messages wait, how long they are tried and how long they are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Pause before the second attempt to send a message; each further pause is twice as long.
    pub first_pause: TimeSpan,
    /// Longest pause between two attempts.
    pub longest_pause: TimeSpan,
    /// Age at which a message that keeps failing is parked: the room is told, and the command `retry` sends it
    /// again. One that DingTalk throttles counts from its own first attempt, and nothing is parked while the homeserver
    /// is away.
    pub give_up_after: TimeSpan,
    /// How long messages of a chat that is not bridged yet are kept for the moment it is.
    pub held_for: TimeSpan,
    /// How long finished messages are remembered, so that one that is delivered again is recognised. At least a
    /// day.
    pub done_for: TimeSpan,
    /// How long parked messages are kept for `retry`.
    pub failed_for: TimeSpan,
    /// How long the bridge remembers which message is which on the other side; replies to older ones are shown as
    /// quotes. Without this setting it remembers for ever.
    #[schemars(example = &"365d")]
    pub mappings_for: Option<TimeSpan>,
    /// How many chats are worked on at the same time, per direction.
    #[schemars(range(min = 1, max = 4096))]
    pub lanes: u16,
    /// Memory for messages that wait to be worked on; what does not fit stays in the database.
    pub feed_memory: ByteSize,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            first_pause: TimeSpan::from_secs(1),
            longest_pause: TimeSpan::from_secs(60),
            give_up_after: TimeSpan::from_secs(3_600),
            held_for: TimeSpan::from_secs(7 * DAY),
            done_for: TimeSpan::from_secs(14 * DAY),
            failed_for: TimeSpan::from_secs(30 * DAY),
            mappings_for: None,
            lanes: 64,
            feed_memory: ByteSize::from_mib(8),
        }
    }
}
