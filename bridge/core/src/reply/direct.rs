//! What is said about 1:1 chats, in both languages side by side.

use std::fmt::Write as _;

use ruma::OwnedRoomId;

use super::names;

/// An answer to `pm`, to the invitation of a ghost, or words of a 1:1 chat's room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectReply {
    /// What the room is, as its topic and when it becomes one.
    Topic {
        /// The person.
        name: String,
    },
    /// The room is ready.
    Opened {
        /// The person.
        name: String,
        /// The room.
        room: OwnedRoomId,
    },
    /// There is a room already.
    Exists {
        /// The person.
        name: String,
        /// The room.
        room: OwnedRoomId,
    },
    /// Only these may see 1:1 chats.
    NotForYou {
        /// Who may.
        recipients: Vec<String>,
    },
    /// Nobody has this name or staff id.
    Unknown {
        /// What was asked for.
        wanted: String,
    },
    /// Several people have this name.
    Ambiguous {
        /// Their names and staff ids; none is somebody from outside.
        people: Vec<(String, Option<String>)>,
    },
    /// The person is from outside and cannot be written to first.
    External {
        /// The person.
        name: String,
    },
    /// The person has left the organisation.
    Departed {
        /// The person.
        name: String,
    },
    /// The room has more people in it than the two.
    NotDirect,
    /// The room is encrypted.
    Encrypted,
    /// The bot cannot come into the room.
    NoBot,
    /// The room is bridged to a chat: its people are invited in DingTalk.
    InvitedIntoPortal,
}

impl DirectReply {
    pub(super) fn english(&self) -> String {
        match self {
            Self::Topic { name } => format!("1:1 chat with {name} in DingTalk, through the organisation's bot"),
            Self::Opened { name, room } => format!("Your chat with {name} is open: {room}"),
            Self::Exists { name, room } => format!("There is a chat with {name} already: {room}"),
            Self::NotForYou { recipients } if recipients.is_empty() => {
                "Nobody is chosen to see 1:1 chats of this workspace. Who runs the bridge can change that \
                 (direct.enabled, direct.recipients)."
                    .to_owned()
            }
            Self::NotForYou { recipients } => format!(
                "1:1 chats of this workspace are shown to {} only. Who runs the bridge can change that \
                 (direct.recipients).",
                names(recipients)
            ),
            Self::Unknown { wanted } => format!(
                "I know nobody called \"{wanted}\". Write the name as DingTalk shows it, of somebody who has \
                 written before, or the person's staff id (UserID)."
            ),
            Self::Ambiguous { people } => {
                let mut text = "Several people are called so. Please write the staff id:".to_owned();
                for (name, staff) in people {
                    let _ = match staff {
                        Some(staff) => write!(text, "\n  pm {staff} – {name}"),
                        None => write!(text, "\n  {name} – from outside the organisation"),
                    };
                }
                text
            }
            Self::External { name } => format!(
                "{name} is from outside the organisation: DingTalk lets bots answer them, not write to them first."
            ),
            Self::Departed { name } => format!("{name} has left the organisation and cannot be reached."),
            Self::NotDirect => {
                "A 1:1 chat needs a room of its own with nobody else in it. Start a direct chat with me, or send pm \
                 to the bot."
                    .to_owned()
            }
            Self::Encrypted => {
                "This room is encrypted, and encryption is not switched on for this bridge. Send pm to the bot: it \
                 opens a room that works."
                    .to_owned()
            }
            Self::NoBot => {
                "The bot of the bridge cannot come into this room. Give me the right to invite it, or send pm to \
                 the bot: it opens a room that works."
                    .to_owned()
            }
            Self::InvitedIntoPortal => {
                "⚠ This room is bridged to a DingTalk chat. Whoever is to take part is invited there, in DingTalk."
                    .to_owned()
            }
        }
    }

    pub(super) fn chinese(&self) -> String {
        match self {
            Self::Topic { name } => format!("通过组织的机器人与 {name} 的钉钉单聊"),
            Self::Opened { name, room } => format!("与 {name} 的单聊已打开：{room}"),
            Self::Exists { name, room } => format!("已有与 {name} 的单聊：{room}"),
            Self::NotForYou { recipients } if recipients.is_empty() => {
                "本工作区没有指定可查看单聊的用户。桥接的维护者可以修改（direct.enabled、direct.recipients）。".to_owned()
            }
            Self::NotForYou { recipients } => format!(
                "本工作区的单聊只向以下用户显示：{}。桥接的维护者可以修改（direct.recipients）。",
                names(recipients)
            ),
            Self::Unknown { wanted } => format!(
                "没有找到“{wanted}”。请写对方在钉钉中显示的姓名（须曾发过消息），或其 UserID（工号）。"
            ),
            Self::Ambiguous { people } => {
                let mut text = "有多人叫这个名字，请改用 UserID：".to_owned();
                for (name, staff) in people {
                    let _ = match staff {
                        Some(staff) => write!(text, "\n  pm {staff} – {name}"),
                        None => write!(text, "\n  {name} – 组织外人员"),
                    };
                }
                text
            }
            Self::External { name } => {
                format!("{name} 不在本组织内：钉钉只允许机器人回复，不能主动发起。")
            }
            Self::Departed { name } => format!("{name} 已离开组织，无法联系。"),
            Self::NotDirect => "单聊需要一个没有其他人的房间。请与我新建私聊，或向机器人发送 pm。".to_owned(),
            Self::Encrypted => {
                "此房间已加密，而本桥接未开启加密功能。请向机器人发送 pm，它会打开可用的房间。".to_owned()
            }
            Self::NoBot => {
                "桥接机器人无法进入此房间。请允许我邀请它，或向机器人发送 pm，它会打开可用的房间。".to_owned()
            }
            Self::InvitedIntoPortal => "⚠ 此房间已桥接到钉钉会话。要加入的人请在钉钉中邀请。".to_owned(),
        }
    }
}

/// One of each, for the book of all sentences.
#[cfg(test)]
pub(super) fn samples() -> [DirectReply; 13] {
    let (name, room) = ("林小桥".to_owned(), OwnedRoomId::try_from("!abc:acme.example").unwrap());
    [
        DirectReply::Topic { name: name.clone() },
        DirectReply::Opened { name: name.clone(), room: room.clone() },
        DirectReply::Exists { name: name.clone(), room },
        DirectReply::NotForYou { recipients: vec!["@ada:acme.example".into()] },
        DirectReply::NotForYou { recipients: vec![] },
        DirectReply::Unknown { wanted: "Lin".into() },
        DirectReply::Ambiguous {
            people: vec![(name.clone(), Some("user0142".into())), (name.clone(), None)],
        },
        DirectReply::External { name: name.clone() },
        DirectReply::Departed { name },
        DirectReply::NotDirect,
        DirectReply::Encrypted,
        DirectReply::NoBot,
        DirectReply::InvitedIntoPortal,
    ]
}
