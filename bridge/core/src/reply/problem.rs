//! Why an admin's wish is not fulfilled.

use ruma::OwnedRoomId;

use super::{en, zh};
use crate::command::Language;
use crate::id::ChatId;

/// Why `login` did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginProblem {
    /// The pair is wrong.
    InvalidPair,
    /// The AgentID is of another app.
    ForeignAgent,
    /// The app lacks a permission.
    MissingScope(String),
    /// DingTalk takes calls from other addresses only.
    AddressNotAllowed,
    /// DingTalk asks to wait.
    Throttled,
    /// DingTalk could not be reached.
    Network(String),
    /// DingTalk said something else.
    Other(String),
}

/// Why `bridge` did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BridgeProblem {
    /// There is no such room, or the bot is not in it.
    NotInRoom,
    /// The bot may not invite or send.
    Power {
        /// The bot's level.
        have: i64,
        /// The level it needs.
        need: i64,
    },
    /// The room is encrypted.
    Encrypted,
    /// No message came from this chat.
    UnknownChat(ChatId),
    /// The room has another chat.
    RoomTaken(String),
    /// Room and chat are bridged to each other.
    AlreadyBridged(String),
    /// The chat has a room.
    ChatTaken(OwnedRoomId),
    /// DingTalk disbanded the chat.
    Dead,
    /// The room is a direct chat with the bot.
    ManagementRoom,
    /// The sender is not in the room or may not change it.
    NoPowerOfSender,
}

impl LoginProblem {
    /// The stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidPair => "invalid_pair",
            Self::ForeignAgent => "foreign_agent",
            Self::MissingScope(_) => "missing_scope",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::Throttled => "dingtalk_throttled",
            Self::Network(_) => "dingtalk_unreachable",
            Self::Other(_) => "dingtalk_refused",
        }
    }

    /// What to say about it, without a word about the message that held the secret.
    pub fn sentence(&self, language: Language) -> String {
        match language {
            Language::English => en::login_problem(self),
            Language::Chinese => zh::login_problem(self),
        }
    }
}

impl BridgeProblem {
    /// The stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotInRoom => "not_in_room",
            Self::Power { .. } => "no_power",
            Self::Encrypted => "encrypted_room",
            Self::UnknownChat(_) => "unknown_chat",
            Self::RoomTaken(_) => "room_taken",
            Self::AlreadyBridged(_) => "already_bridged",
            Self::ChatTaken(_) => "chat_taken",
            Self::Dead => "chat_disbanded",
            Self::ManagementRoom => "management_room",
            Self::NoPowerOfSender => "sender_not_in_room",
        }
    }
}
