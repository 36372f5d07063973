//! Deterministic keys. The only place that makes them.
//!
//! A key names an operation, not an attempt: the same cause, purpose and part give the same key after every crash,
//! so that the homeserver recognises a repetition (its transaction id is the key) and the database refuses a second
//! copy.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ghost::hex;

/// What an operation is for. One cause may lead to several operations with different purposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Carries a message over.
    Relay,
    /// Answers a command.
    Reply,
    /// Tells a room or chat about something that happened to a message.
    Notice,
    /// The one confirmation in a chat that is not bridged.
    Announce,
    /// Enters a room.
    Join,
    /// Takes a message back.
    Recall,
    /// A ghost comes into rooms, leaves them or shows another name.
    Membership,
    /// A room is given its chat's title.
    Title,
}

/// The key of one operation: at most 64 characters of `a-z0-9.-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpKey(String);

/// What the keys of one operation's parts have in common. An operation that is split when it is rendered becomes
/// several, numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeySeed(String);

impl KeySeed {
    /// The seed of what `cause` (the key of an envelope, an event id, a room) leads to for one purpose.
    pub fn new(purpose: Purpose, cause: &str) -> Self {
        let word = match purpose {
            Purpose::Relay => "relay",
            Purpose::Reply => "reply",
            Purpose::Notice => "notice",
            Purpose::Announce => "announce",
            Purpose::Join => "join",
            Purpose::Recall => "recall",
            Purpose::Membership => "membership",
            Purpose::Title => "title",
        };
        Self(format!("{word}.{}", hex(&Sha256::digest(cause)[..16])))
    }

    /// The key of one part.
    pub fn part(&self, number: usize) -> OpKey {
        OpKey(format!("{}.{number}", self.0))
    }
}

impl OpKey {
    /// A key read back from the database.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text: a transaction id, a row's key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_purpose_cause_and_part_only() {
        let key = KeySeed::new(Purpose::Relay, "msg:msgA1==").part(0);
        assert_eq!(key, KeySeed::new(Purpose::Relay, "msg:msgA1==").part(0));
        assert_ne!(key, KeySeed::new(Purpose::Relay, "msg:msgA1==").part(1));
        assert_ne!(key, KeySeed::new(Purpose::Notice, "msg:msgA1==").part(0));
        assert_ne!(key, KeySeed::new(Purpose::Relay, "msg:msga1==").part(0));
        assert!(key.as_str().len() <= 64);
    }

    #[test]
    fn keys_never_change_between_releases() {
        assert_eq!(KeySeed::new(Purpose::Relay, "msg:msgA1==").part(0).as_str(), KNOWN);
    }

    const KNOWN: &str = "relay.fe700cdcb25b0837a2480156777005b7.0";
}
