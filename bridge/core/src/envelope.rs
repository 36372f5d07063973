//! What came in, wrapped but not decoded.

use crate::clock::Timestamp;

/// Which door something came through; tells the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Source {
    /// A bot callback of DingTalk: the JSON body (API.md section 2.2).
    Callback = 0,
    /// An event push of DingTalk: the decrypted JSON (API.md section 3.6).
    Event = 1,
    /// An event of a Matrix room in client format (Matrix specification, application service API).
    Matrix = 2,
    /// The bridge itself: a chat was chosen for a room, what was held for it comes now. The body is empty.
    Backfill = 3,
}

impl Source {
    /// The inverse of `as u8`.
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Callback),
            1 => Some(Self::Event),
            2 => Some(Self::Matrix),
            3 => Some(Self::Backfill),
            _ => None,
        }
    }

    /// The label in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Callback => "callback",
            Self::Event => "event",
            Self::Matrix => "matrix",
            Self::Backfill => "backfill",
        }
    }
}

/// An ordered queue: everything in one lane is handled one after the other, lanes run beside each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(String);

impl Lane {
    /// From a DingTalk chat.
    pub fn from_chat(chat: &str) -> Self {
        Self(format!("d:{chat}"))
    }

    /// From a Matrix room.
    pub fn from_room(room: &str) -> Self {
        Self(format!("m:{room}"))
    }

    /// Whether it begins in a Matrix room.
    pub fn is_from_room(&self) -> bool {
        self.0.starts_with("m:")
    }

    /// DingTalk events that belong to no chat.
    pub fn organisation() -> Self {
        Self("o:".to_owned())
    }

    /// From the text in the database.
    pub fn from_key(key: String) -> Self {
        Self(key)
    }

    /// The text for the database.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One thing that came in. Undecoded, so that what is misread can be replayed after the fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The door.
    pub source: Source,
    /// Unique over all sources; a second envelope with the same key is the same thing again.
    pub key: String,
    /// The queue it belongs to.
    pub lane: Lane,
    /// When it came.
    pub received_at: Timestamp,
    /// The bytes as they came (bounded by the door).
    pub body: Vec<u8>,
}
