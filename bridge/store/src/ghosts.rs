//! People of DingTalk and their Matrix accounts.

use bridge_core::clock::Timestamp;
use bridge_core::id::{PersonId, SenderId};
use ruma::OwnedUserId;

/// What the bridge knows of a person. `mxid` belongs to one person only: a commit that gives it to a second fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The person.
    pub id: PersonId,
    /// The ghost's user id.
    pub mxid: OwnedUserId,
    /// Last known name in DingTalk.
    pub name: String,
    /// The id this app knows them by, also for members of the organisation.
    pub sender_id: Option<SenderId>,
    /// The ghost is registered with the homeserver.
    pub registered: bool,
    /// The ghost has a device.
    pub device: bool,
    /// The display name as last set in Matrix.
    pub shown_name: Option<String>,
    /// When the row changed last.
    pub updated_at: Timestamp,
}

/// What the address book said of a person when it was asked last, and what is shown of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Where the picture was that is shown; none while none is.
    pub source: Option<String>,
    /// The picture that is shown, an `mxc:` address.
    pub avatar: Option<String>,
}
