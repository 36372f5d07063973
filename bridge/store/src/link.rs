//! The DingTalk app the workspace is linked to.

use bridge_core::clock::Timestamp;
use bridge_core::id::{CorpId, RobotCode};
use bridge_core::secret::Secret;
use ruma::{OwnedRoomId, OwnedUserId};

/// Where the credentials came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LinkSource {
    /// An admin's command.
    Command = 0,
    /// The configuration.
    File = 1,
}

impl LinkSource {
    /// The inverse of `as u8`.
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Command),
            1 => Some(Self::File),
            _ => None,
        }
    }
}

/// The link. There is at most one per database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The app's AppKey, which is also its bot's code.
    pub app_key: RobotCode,
    /// Its AppSecret. Sealed in the database.
    pub app_secret: Secret,
    /// Its AgentID.
    pub agent_id: u64,
    /// The organisation, once a callback named it.
    pub corp: Option<CorpId>,
    /// The organisation's name.
    pub organisation: String,
    /// Who linked it.
    pub linked_by: OwnedUserId,
    /// When.
    pub linked_at: Timestamp,
    /// The room it was linked from.
    pub room: Option<OwnedRoomId>,
    /// Where the credentials came from.
    pub source: LinkSource,
}
