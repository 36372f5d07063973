//! How full the queues are, and what is thrown away when.

use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::id::ChatId;

const DAY: Duration = Duration::from_hours(24);

/// The queues in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// What came from DingTalk.
    pub from_dingtalk: InboxDepth,
    /// What came from Matrix.
    pub from_matrix: InboxDepth,
    /// What goes to Matrix.
    pub to_matrix: OutboxDepth,
    /// What goes to DingTalk.
    pub to_dingtalk: OutboxDepth,
    /// Bytes in the feed, not yet released.
    pub feed_bytes: usize,
}

/// The chats in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChatFigures {
    /// Chats that are bridged, or are about to be.
    pub bridged: u64,
    /// Those of them whose room is known to be encrypted.
    pub encrypted: u64,
    /// Chats that were seen and not bridged yet.
    pub seen: u64,
    /// When the latest message of any chat came from DingTalk, to the minute.
    pub last_message: Option<Timestamp>,
}

/// The inbox of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboxDepth {
    /// Rows to be handled.
    pub pending: u64,
    /// Rows waiting for their chat to be bridged.
    pub held: u64,
    /// Rows that could not be handled.
    pub parked: u64,
    /// When the oldest pending row came.
    pub oldest: Option<Timestamp>,
}

/// The outbox of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxDepth {
    /// Rows queued, waiting for a retry, or being sent.
    pub unfinished: u64,
    /// Rows parked or maybe sent.
    pub failed: u64,
    /// When the oldest unfinished row was decided.
    pub oldest: Option<Timestamp>,
}

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Keys for recognising what comes again, and inbox rows that could not be handled. Longer than any peer
    /// repeats.
    pub done: Duration,
    /// Held messages.
    pub held: Duration,
    /// Parked and maybe-sent outbox rows.
    pub failed: Duration,
    /// Mappings; `None` keeps them.
    pub mappings: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { done: 14 * DAY, held: 7 * DAY, failed: 30 * DAY, mappings: None }
    }
}

/// What a purge removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Purged {
    /// Deduplication keys.
    pub keys: u64,
    /// Inbox rows that could not be handled.
    pub parked_inbox: u64,
    /// Outbox rows that had failed.
    pub failed: u64,
    /// Mappings.
    pub mappings: u64,
    /// Reply addresses that had expired.
    pub sessions: u64,
    /// Held messages that expired, by lane of the chat; the chat is named where it is known to the bridge.
    pub held: Vec<HeldExpired>,
}

/// Held messages of one chat that expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldExpired {
    /// The lane.
    pub lane: bridge_core::envelope::Lane,
    /// The chat, when the lane is the one of a known chat.
    pub chat: Option<ChatId>,
    /// How many.
    pub count: u64,
}
