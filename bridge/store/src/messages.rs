//! Which event is which message.

use bridge_core::clock::Timestamp;
use bridge_core::id::{ChatId, MessageId, QueryKey};
use ruma::{OwnedEventId, OwnedRoomId};

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Written in DingTalk.
    FromDingTalk = 0,
    /// Written in Matrix.
    FromMatrix = 1,
}

impl Direction {
    /// The inverse of `as u8`.
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::FromDingTalk),
            1 => Some(Self::FromMatrix),
            _ => None,
        }
    }
}

/// What DingTalk calls a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Remote {
    /// A message somebody wrote.
    Message(MessageId),
    /// A message the bot sent, by its recall handle.
    Query(QueryKey),
    /// A message the bot posted to a session webhook: DingTalk gives no name for it.
    None,
}

/// An event that changes another one. DingTalk shows it as a message of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The event.
    pub event: OwnedEventId,
    /// The event that it changes.
    pub original: OwnedEventId,
    /// When it was decided about.
    pub at: Timestamp,
}

/// One event and the message, or the part of one, it is. Keyed by event and part: a later mapping of the same pair
/// replaces the earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageMapping {
    /// The room.
    pub room: OwnedRoomId,
    /// The event.
    pub event: OwnedEventId,
    /// The chat.
    pub chat: ChatId,
    /// The message.
    pub remote: Remote,
    /// Which part, where one became several; from 0.
    pub part: u16,
    /// Which way it went.
    pub direction: Direction,
    /// Who wrote it: a Matrix user id or a `PersonId` key.
    pub sender: String,
    /// When it crossed.
    pub at: Timestamp,
}
