//! A chat and its Matrix room.

use ruma::{OwnedRoomId, RoomAliasId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::event::ChatKind;
use crate::ghost::hex;
use crate::id::{ChatId, PersonId, RobotCode};

/// Where a chat stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatState {
    /// Seen, not bridged: its messages are held.
    Seen,
    /// Chosen for a room; the held messages come first, then it is bridged.
    Bridging,
    /// Messages cross.
    Bridged,
    /// Was bridged, and an admin took the bridge down: its messages are not kept.
    Unbridged,
    /// DingTalk says it is gone.
    Dead,
}

impl ChatState {
    /// The text in the database, in `--json` output and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Bridging => "bridging",
            Self::Bridged => "bridged",
            Self::Unbridged => "unbridged",
            Self::Dead => "dead",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Seen, Self::Bridging, Self::Bridged, Self::Unbridged, Self::Dead]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// What the bridge knows of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// The conversation.
    pub id: ChatId,
    /// Group or 1:1.
    pub kind: ChatKind,
    /// Last known title, or the person's name in a 1:1 chat.
    pub title: Option<String>,
    /// Where it stands.
    pub state: ChatState,
    /// The room, once chosen.
    pub room: Option<OwnedRoomId>,
    /// The bot in it, as its callbacks say.
    pub robot: Option<RobotCode>,
    /// The person at the other end of a 1:1 chat.
    pub peer: Option<PersonId>,
    /// Whether the one confirmation message was queued.
    pub announced: bool,
    /// When the first message came.
    pub first_seen: Timestamp,
    /// When the latest message came from DingTalk.
    pub last_message: Timestamp,
    /// The room's newest event up to which nothing is missing, once known.
    pub synced_to: Option<String>,
}

impl Chat {
    /// Whether its messages cross, or will as soon as what was held has come.
    pub fn is_open(&self) -> bool {
        matches!(self.state, ChatState::Bridging | ChatState::Bridged)
    }
}

/// A change of where a chat stands. Each says from which standing it leads away: it comes from another lane than the
/// chat's own and may meet a standing that changed meanwhile, and then it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortalChange {
    /// A room was chosen: what is held comes first, then messages cross. Fails when the room is another chat's.
    Choose {
        /// The room.
        room: OwnedRoomId,
        /// Its newest event, up to which nothing is missing.
        synced_to: Option<String>,
    },
    /// All that was held for it has been sent.
    Open,
    /// The room lives on as another one. Fails when that is another chat's.
    Move {
        /// The room up to now.
        from: OwnedRoomId,
        /// The room from now on.
        to: OwnedRoomId,
    },
    /// Nothing crosses any more, if this is still its room.
    Close {
        /// The room up to now.
        room: OwnedRoomId,
    },
    /// DingTalk says it is gone. Its room stays, to tell whoever writes there.
    End,
    /// A chat that is gone gives its room away, if this is still its room.
    Release {
        /// The room up to now.
        room: OwnedRoomId,
    },
    /// Nothing is missing in the room up to this event, if this is still its room.
    Synced {
        /// The room.
        room: OwnedRoomId,
        /// The event.
        event: String,
    },
}

impl PortalChange {
    /// The rooms that stand for another chat, or for none, afterwards.
    pub fn rooms(&self) -> Vec<&OwnedRoomId> {
        match self {
            Self::Choose { room, .. } | Self::Close { room } | Self::Release { room } => vec![room],
            Self::Move { from, to } => vec![from, to],
            Self::Open | Self::End | Self::Synced { .. } => Vec::new(),
        }
    }
}

/// What the ids begin with that the bridge gives 1:1 chats itself. DingTalk's own begin with `cid`.
const DIRECT: &str = "direct:";

/// The bridge's own id of a person's 1:1 chat, for as long as DingTalk has not named it, and for its room's alias.
/// `None` if the person's id is too long for one.
pub fn direct_id(person: &PersonId) -> Option<ChatId> {
    ChatId::parse(format!("{DIRECT}{}", person.to_key())).ok()
}

/// Whether an id is one of [`direct_id`]'s.
pub fn is_own_id(chat: &ChatId) -> bool {
    chat.as_str().starts_with(DIRECT)
}

/// The localpart of the alias that finds a chat's room again: `<prefix>` and 20 bytes of a hash in hex.
pub fn alias_localpart(prefix: &str, chat: &ChatId) -> String {
    format!("{prefix}{}", hex(&Sha256::digest(chat.as_str())[..20]))
}

/// The whole alias of a chat's room.
pub fn alias(prefix: &str, server: &str, chat: &ChatId) -> Option<ruma::OwnedRoomAliasId> {
    RoomAliasId::parse(format!("#{}:{server}", alias_localpart(prefix, chat))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_hide_the_chat_and_are_stable() {
        let chat = ChatId::parse("cidQ7xMadeUpGrp1TestAbC4w==").unwrap();
        let alias = alias("dingtalk_", "acme.example", &chat).unwrap();
        assert_eq!(alias, "#dingtalk_a2049da58c4af839a94f8cd6df6161dd65b18be1:acme.example");
        assert!(!alias.as_str().contains("cid"));
    }

    #[test]
    fn states_round_trip() {
        for state in
            [ChatState::Seen, ChatState::Bridging, ChatState::Bridged, ChatState::Unbridged, ChatState::Dead]
        {
            assert_eq!(ChatState::parse(state.as_str()), Some(state));
        }
        assert_eq!(ChatState::parse("open"), None);
    }
}
