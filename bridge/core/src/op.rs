//! What to do, as data: the output of [`crate::decide`].

use ruma::{OwnedEventId, OwnedRoomId};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::content::Document;
use crate::delivery::key::KeySeed;
use crate::event::{ChatFile, Manner, RoomFile};
use crate::id::{ChatId, PersonId, QueryKey, RobotCode, StaffId};

/// One operation on a network. The key makes it the same operation however often it is tried.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Say something in a Matrix room.
    Say(Say),
    /// Show a file of DingTalk in a Matrix room.
    Show(Show),
    /// Post something in a DingTalk chat.
    Post(Post),
    /// Hand a file of Matrix to a DingTalk chat.
    Hand(Hand),
    /// The bot enters a room.
    Join {
        /// The room.
        room: OwnedRoomId,
        /// What its keys are made from.
        key: KeySeed,
    },
    /// The bot takes back what it posted.
    Recall(Recall),
    /// A ghost does something.
    Ghost(Ghost),
    /// A room gets the title of its chat.
    Rename(Rename),
}

/// A message for a Matrix room.
#[derive(Debug, Clone, PartialEq)]
pub struct Say {
    /// The room.
    pub room: OwnedRoomId,
    /// Who says it.
    pub author: Author,
    /// How.
    pub manner: Manner,
    /// What.
    pub body: Document,
    /// The event it answers.
    pub reply_to: Option<OwnedEventId>,
    /// The time it carries, when that is not the time of sending.
    pub at: Option<Timestamp>,
    /// What its keys are made from.
    pub key: KeySeed,
}

/// A file of DingTalk for a Matrix room. What cannot be shown becomes a notice under the same key.
#[derive(Debug, Clone, PartialEq)]
pub struct Show {
    /// The room.
    pub room: OwnedRoomId,
    /// Whose ghost shows it.
    pub author: PersonId,
    /// The file.
    pub file: ChatFile,
    /// The bot that heard of it: its download code works for no other.
    pub robot: Option<RobotCode>,
    /// The event it answers.
    pub reply_to: Option<OwnedEventId>,
    /// The time it carries, when that is not the time of sending.
    pub at: Option<Timestamp>,
    /// What its keys are made from.
    pub key: KeySeed,
}

/// A file of Matrix for a DingTalk chat. Who sent it and what they say about it is a [`Post`] before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Hand {
    /// The chat.
    pub chat: ChatId,
    /// The file.
    pub file: RoomFile,
    /// The Matrix event it comes from.
    pub cause: OwnedEventId,
    /// What its keys are made from.
    pub key: KeySeed,
}

/// Who says something in Matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// The bot.
    Bot,
    /// The ghost of a person.
    Ghost(PersonId),
}

/// A message for a DingTalk chat, written by the bot.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// The chat.
    pub chat: ChatId,
    /// What it says, prefix included.
    pub body: Document,
    /// Whom it addresses so that DingTalk notifies them, where the channel allows.
    pub mentions: Vec<StaffId>,
    /// The Matrix event it comes from; none for what the bot says of its own accord.
    pub cause: Option<OwnedEventId>,
    /// What its keys are made from.
    pub key: KeySeed,
}

/// Posts of the bot to be taken back. Doing it twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recall {
    /// The chat.
    pub chat: ChatId,
    /// The posts, by their handles.
    pub posts: Vec<QueryKey>,
    /// The Matrix event that they carried.
    pub event: OwnedEventId,
    /// What its keys are made from.
    pub key: KeySeed,
}

/// Something that a ghost does besides speaking. Doing it twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ghost {
    /// Whose ghost.
    pub person: PersonId,
    /// What.
    pub step: GhostStep,
    /// What its keys are made from.
    pub key: KeySeed,
}

/// What a ghost does besides speaking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GhostStep {
    /// Comes into a room.
    Enter(OwnedRoomId),
    /// Leaves a room.
    Leave(OwnedRoomId),
    /// Leaves all rooms.
    LeaveAll,
    /// Shows the name the person has now, if the ghost is there already.
    Show,
}

/// A room whose name follows its chat's title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The room.
    pub room: OwnedRoomId,
    /// The chat's title before. A room with another name than this keeps it.
    pub former: Option<String>,
    /// The title.
    pub name: String,
    /// What its keys are made from.
    pub key: KeySeed,
}
