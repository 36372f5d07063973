//! What happened, decoded: the input of [`crate::decide`].

use std::time::Duration;

use ruma::{OwnedEventId, OwnedMxcUri, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::content::Document;
use crate::id::{ChatId, CorpId, MessageId, PersonId, QueryKey, RobotCode, SenderId, StaffId};
use crate::organisation::{BotRecall, Card, ChatEvent, PeopleEvent};
use crate::secret::Secret;

/// Group or 1:1 (`conversationType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChatKind {
    /// A group.
    Group,
    /// A 1:1 chat of a person with the bot.
    Direct,
}

/// A message that somebody wrote in DingTalk (API.md section 2.2).
#[derive(Debug, Clone, PartialEq)]
pub struct ChatMessage {
    /// Its id.
    pub id: MessageId,
    /// The chat.
    pub chat: ChatId,
    /// What kind of chat.
    pub kind: ChatKind,
    /// The chat's title, groups only.
    pub title: Option<String>,
    /// Who wrote it.
    pub sender: PersonId,
    /// The sender's id as this app knows it, also for members of the organisation.
    pub sender_id: SenderId,
    /// The sender's shown name.
    pub sender_name: String,
    /// When it was written.
    pub sent_at: Timestamp,
    /// What it says.
    pub body: ChatBody,
    /// What it answers.
    pub quote: Option<Quote>,
    /// Everyone mentioned but the bot.
    pub mentioned: Vec<Mentioned>,
    /// Where an answer can be posted for a while.
    pub session: Option<Session>,
    /// The bot that heard it.
    pub robot: Option<RobotCode>,
    /// The bot's organisation.
    pub corp: Option<CorpId>,
}

/// The body of a [`ChatMessage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatBody {
    /// Text with or without structure.
    Document(Document),
    /// Texts and files in order.
    Parts(Vec<ChatPart>),
    /// A kind that cannot cross: its name (`msgtype`) and whatever text describes it. Shown as a notice.
    Unsupported {
        /// DingTalk's name of the kind.
        kind: String,
        /// What can be said about it: a file name, a title, recognised speech.
        summary: Option<String>,
    },
    /// DingTalk withheld the content because the month's quota is used up (API.md section 2.6).
    OverQuota,
}

/// A piece of a [`ChatBody`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatPart {
    /// A text.
    Text(Document),
    /// A file.
    File(ChatFile),
}

/// A file of a DingTalk message (API.md sections 2.3 and 6).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatFile {
    /// What it is.
    pub kind: FileKind,
    /// What it can be fetched by, for a while. Whoever has it and a token of the bot can read the file.
    pub code: String,
    /// Its name, where DingTalk tells it.
    pub name: Option<String>,
    /// How long it plays.
    pub duration: Option<Duration>,
}

impl std::fmt::Debug for ChatFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatFile")
            .field("kind", &self.kind)
            .field("code", &format_args!("{} bytes", self.code.len()))
            .field("name", &self.name)
            .field("duration", &self.duration)
            .finish()
    }
}

/// What a file is to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileKind {
    /// A picture, or a sticker.
    Picture,
    /// Something somebody said.
    Voice,
    /// Another sound.
    Audio,
    /// A video.
    Video,
    /// Anything else.
    File,
}

impl ChatBody {
    /// The texts in order.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        let (whole, parts) = match self {
            Self::Document(document) => (Some(document), &[][..]),
            Self::Parts(parts) => (None, parts.as_slice()),
            Self::Unsupported { .. } | Self::OverQuota => (None, &[][..]),
        };
        whole.into_iter().chain(parts.iter().filter_map(|part| match part {
            ChatPart::Text(document) => Some(document),
            ChatPart::File(_) => None,
        }))
    }
}

/// The message that a message answers (API.md section 2.4). At least one field is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quote {
    /// Its id.
    pub id: Option<MessageId>,
    /// The bot's handle, when the bot wrote it.
    pub query_key: Option<QueryKey>,
    /// Its text, when DingTalk repeats it.
    pub text: Option<String>,
}

/// Somebody mentioned in a message (`atUsers`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mentioned {
    /// The id this app knows.
    pub sender_id: SenderId,
    /// The staff id, where DingTalk gives it.
    pub staff: Option<StaffId>,
}

/// A reply address (API.md section 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Where to post. A secret: who has it can write into the chat.
    pub webhook: Secret,
    /// When it dies.
    pub expires_at: Timestamp,
}

/// An event push of DingTalk.
#[derive(Debug, Clone, PartialEq)]
pub enum OrgEvent {
    /// The event named `chat_message`: the same body as a callback.
    Message(Box<ChatMessage>),
    /// Something happened to a chat.
    Chat(ChatEvent),
    /// A message of the bot was taken back.
    Recalled(BotRecall),
    /// Something happened to people.
    People(PeopleEvent),
    /// Something to be read in the notice room, one or more of a kind.
    Cards(Vec<Card>),
    /// DingTalk withheld the event because the month's quota is used up (API.md section 2.6).
    Withheld {
        /// DingTalk's name of the event.
        name: String,
    },
    /// An event the bridge does nothing with.
    Other {
        /// DingTalk's name of the event.
        name: String,
    },
}

/// Something that happened in a Matrix room.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomEvent {
    /// Its id.
    pub id: OwnedEventId,
    /// The room.
    pub room: OwnedRoomId,
    /// Who did it.
    pub sender: OwnedUserId,
    /// When, by the sender's homeserver.
    pub sent_at: Timestamp,
    /// What.
    pub what: RoomEventKind,
}

/// What happened in a Matrix room.
#[derive(Debug, Clone, PartialEq)]
pub enum RoomEventKind {
    /// Somebody wrote something.
    Message(RoomMessage),
    /// Somebody sent a file.
    File(Box<RoomFile>),
    /// Something the bridge cannot carry over; the room is told.
    Unsupported {
        /// Its `msgtype` or event type.
        kind: String,
    },
    /// A message nobody but its clients can read: the room is encrypted.
    Encrypted,
    /// A message that the bridge could not decrypt, though it takes part in encrypted rooms.
    Undecryptable,
    /// Somebody's membership changed.
    Membership {
        /// Whose.
        user: OwnedUserId,
        /// To what.
        membership: Membership,
        /// The inviter meant a direct chat.
        is_direct: bool,
    },
    /// The room was made encrypted.
    EncryptionOn,
    /// The room lives on as another room.
    Tombstone {
        /// The other room.
        replacement: OwnedRoomId,
    },
    /// Somebody took an event back.
    Redaction {
        /// The event.
        target: OwnedEventId,
    },
    /// Nothing the bridge cares for.
    Ignored,
}

/// A membership, as far as the bridge tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// Invited.
    Invite,
    /// Joined.
    Join,
    /// Left, kicked, banned.
    Leave,
    /// Knocking or something newer.
    Other,
}

/// A text message in a Matrix room.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomMessage {
    /// How it was said.
    pub manner: Manner,
    /// What was said.
    pub body: Document,
    /// The event it answers.
    pub reply_to: Option<OwnedEventId>,
    /// The event it corrects.
    pub replaces: Option<OwnedEventId>,
}

/// A file in a Matrix room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomFile {
    /// What it is.
    pub kind: FileKind,
    /// Where it is.
    pub uri: OwnedMxcUri,
    /// Its name; may be empty.
    pub name: String,
    /// Its MIME type, as the sender claims.
    pub content_type: Option<String>,
    /// Its size in bytes, as the sender claims.
    pub size: Option<u64>,
    /// How long it plays.
    pub duration: Option<Duration>,
    /// Width and height in pixels.
    pub dimensions: Option<(u32, u32)>,
    /// What opens it, where it is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<FileKey>,
    /// A picture that stands for it.
    pub thumbnail: Option<OwnedMxcUri>,
    /// What the sender says about it.
    #[serde(skip)]
    pub caption: Option<Document>,
    /// The event it answers.
    #[serde(skip)]
    pub reply_to: Option<OwnedEventId>,
}

/// What opens an encrypted file (Client-Server API, "Sending encrypted attachments"). It does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileKey {
    /// The AES-256 key.
    pub key: [u8; 32],
    /// The first counter block.
    pub iv: [u8; 16],
    /// SHA-256 of the ciphertext; none while the file is not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<[u8; 32]>,
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// How something is said (`m.text`, `m.notice`, `m.emote`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Manner {
    /// By a person.
    Text,
    /// By a program.
    Notice,
    /// About oneself ("/me").
    Emote,
}
