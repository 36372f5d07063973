//! What is said about the notice room, in both languages side by side.

use ruma::OwnedRoomId;

/// An answer to `notices`, or the first words in the notice room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticesReply {
    /// The room is chosen.
    On(OwnedRoomId),
    /// There is none any more, or there was none.
    Off,
    /// In the room: what it is.
    Here,
    /// The bot is not in the room.
    NotInRoom,
    /// The sender is not in the room.
    NotYours,
    /// The bot may not speak there.
    NoPower,
    /// The room is encrypted.
    Encrypted,
    /// The room is a chat's.
    Bridged,
}

impl NoticesReply {
    pub(super) fn english(&self) -> String {
        match self {
            Self::On(room) => format!("Approvals, attendance and calendar changes are shown in {room}."),
            Self::Off => {
                "No room shows approvals, attendance and calendar changes. To choose one: notices <matrix-room>"
                    .to_owned()
            }
            Self::Here => {
                "From now on this room shows approvals, attendance and calendar changes of the organisation. \
                 Nothing written here reaches DingTalk."
                    .to_owned()
            }
            Self::NotInRoom => "I am not in this room. Invite me there, then try again.".to_owned(),
            Self::NotYours => "You are not in this room. Choose one that you are in.".to_owned(),
            Self::NoPower => "I may not write in this room. Raise my power level, then try again.".to_owned(),
            Self::Encrypted => {
                "This room is encrypted, and encryption is not switched on for this bridge. Choose another.".to_owned()
            }
            Self::Bridged => {
                "This room is bridged to a DingTalk chat. Choose one of its own for notices.".to_owned()
            }
        }
    }

    pub(super) fn chinese(&self) -> String {
        match self {
            Self::On(room) => format!("审批、考勤和日程的变更显示在 {room}。"),
            Self::Off => "目前没有房间显示审批、考勤和日程的变更。选择房间：notices <matrix-room>".to_owned(),
            Self::Here => {
                "从现在起，此房间显示组织的审批、考勤和日程变更。这里的发言不会传到钉钉。".to_owned()
            }
            Self::NotInRoom => "我不在此房间中。请先邀请我，再试一次。".to_owned(),
            Self::NotYours => "你不在此房间中。请选择你所在的房间。".to_owned(),
            Self::NoPower => "我不能在此房间发言。请提高我的权限等级，再试一次。".to_owned(),
            Self::Encrypted => "此房间已加密，而本桥接未开启加密功能。请选择其他房间。".to_owned(),
            Self::Bridged => "此房间已桥接到钉钉会话。请另选一个房间显示通知。".to_owned(),
        }
    }
}

/// One of each, for the book of all sentences.
#[cfg(test)]
pub(super) fn samples() -> [NoticesReply; 8] {
    [
        NoticesReply::On(OwnedRoomId::try_from("!abc:acme.example").unwrap()),
        NoticesReply::Off,
        NoticesReply::Here,
        NoticesReply::NotInRoom,
        NoticesReply::NotYours,
        NoticesReply::NoPower,
        NoticesReply::Encrypted,
        NoticesReply::Bridged,
    ]
}
