//! What happens in a DingTalk organisation besides messages, decoded (API.md section 3.7).

use crate::clock::Timestamp;
use crate::id::{ChatId, QueryKey, StaffId};

/// Something happened to a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatEvent {
    /// The chat.
    pub chat: ChatId,
    /// Who did it, where DingTalk says so.
    pub operator: Option<StaffId>,
    /// What.
    pub what: ChatChange,
}

/// What happened to a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatChange {
    /// People came in.
    Added(Vec<StaffId>),
    /// People went out: they were removed, or left.
    Removed(Vec<StaffId>),
    /// It has another title.
    Title(String),
    /// It has another owner.
    Owner(StaffId),
    /// It is no more.
    Disbanded,
}

/// A message of the bot was taken back in DingTalk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotRecall {
    /// The chat.
    pub chat: ChatId,
    /// The message's handle.
    pub post: QueryKey,
    /// Who took it back, where DingTalk says so.
    pub operator: Option<StaffId>,
}

/// Something happened to people of the organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeopleEvent {
    /// They came.
    Joined(Vec<StaffId>),
    /// They left.
    Left(Vec<StaffId>),
    /// One is called something else.
    Renamed {
        /// Who.
        staff: StaffId,
        /// The name before, where DingTalk says so.
        former: Option<String>,
        /// The name.
        name: String,
    },
}

/// Something to be read in the notice room: who and what in few words, no more than DingTalk's event tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Card {
    /// An approval began or ended, or one of its steps did.
    Approval {
        /// A step of it: somebody has to decide, or did.
        step: bool,
        /// Its title.
        title: Option<String>,
        /// `start`, `finish`, `terminate`, `delete`, `cancel`, or something newer.
        stage: String,
        /// `agree`, `refuse`, `redirect`, or something newer; only at the end.
        result: Option<String>,
        /// Who asked; of a step: who decides.
        staff: Option<StaffId>,
        /// What the one who decided wrote.
        remark: Option<String>,
        /// When it began, or ended.
        at: Option<Timestamp>,
        /// Where it can be read; `https` only.
        url: Option<String>,
    },
    /// Somebody clocked in or out.
    CheckIn {
        /// Who.
        staff: Option<StaffId>,
        /// When.
        at: Option<Timestamp>,
        /// `Normal`, `Outside`, or something newer.
        place: Option<String>,
    },
    /// A superior changed an attendance result.
    Attendance {
        /// Whose.
        staff: Option<StaffId>,
        /// The working day, as DingTalk writes it.
        day: Option<String>,
    },
    /// An approval about attendance has another status.
    AttendanceApproval {
        /// The status, as DingTalk writes it.
        status: Option<String>,
        /// What is asked for, as DingTalk writes it.
        kind: Option<String>,
    },
    /// An entry of a calendar changed.
    Calendar {
        /// `create`, `update`, `delete`, or something newer.
        change: Option<String>,
        /// How many people it concerns.
        people: usize,
        /// When it changed.
        at: Option<Timestamp>,
    },
}
