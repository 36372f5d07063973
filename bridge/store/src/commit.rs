//! The one value that holds all writes.

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Envelope;
use bridge_core::event::Session;
use bridge_core::id::{ChatId, PersonId};
use bridge_core::portal::{Chat, PortalChange};
use bridge_core::secret::Secret;
use ruma::{OwnedRoomId, OwnedUserId};

use crate::crypto::CryptoRecord;
use crate::ghosts::{Person, Profile};
use crate::inbox::InboxSeq;
use crate::link::Link;
use crate::messages::{Edit, MessageMapping};
use crate::outbox::{OutboxItem, OutboxRewrite, OutboxSeq, Settlement};
use crate::sealing::ResealedRow;

/// Everything one step changes, in one transaction: after a crash all of it is there or nothing.
///
/// The fields are applied in the order in which they are written here. Commits in flight at the same time have no
/// order among them: whoever needs one before the other awaits the first.
#[derive(Default)]
pub struct Commit {
    /// New inbox rows. A key that was seen within the retention is skipped.
    pub accept: Vec<Envelope>,
    /// Handled inbox rows: deleted, the key stays for recognising repetitions.
    pub done: Vec<InboxSeq>,
    /// Rows that cannot be decoded or handled, kept with a stable code.
    pub park_inbox: Vec<(InboxSeq, String)>,
    /// Rows that wait, sealed, until their chat is bridged.
    pub hold: Vec<InboxSeq>,
    /// New outbox rows.
    pub enqueue: Vec<OutboxItem>,
    /// Operations that got further: each takes the place of the one its row had. A row that is gone stays gone.
    pub rewrite: Vec<OutboxRewrite>,
    /// Rows about to be sent to a network without idempotency.
    pub sending: Vec<OutboxSeq>,
    /// What became of rows that were sent.
    pub settle: Vec<(OutboxSeq, Settlement)>,
    /// Events and the messages they are.
    pub map: Vec<MessageMapping>,
    /// Events that change others. Kept as long as mappings are.
    pub edits: Vec<Edit>,
    /// What messages tell about chats. One that is not known is inserted whole; of a known one kind, title, bot and
    /// peer are replaced, its announcement stays announced and its last message the latest. Where it stands and its
    /// room are changed by [`Self::portals`] alone, so that two lanes never write over one another. A room belongs to
    /// one chat only.
    pub chats: Vec<Chat>,
    /// Where chats stand. Nothing of a chat that is not known.
    pub portals: Vec<(ChatId, PortalChange)>,
    /// Whole rows, replaced or inserted.
    pub people: Vec<Person>,
    /// When a person left the organisation; `None` for one who came back.
    pub departed: Vec<(PersonId, Option<Timestamp>)>,
    /// What the address book said of people. Whole rows, replaced or inserted.
    pub profiles: Vec<(PersonId, Profile)>,
    /// A ghost is in a room, or no longer.
    pub memberships: Vec<(OwnedUserId, OwnedRoomId, bool)>,
    /// The latest reply address of a chat, sealed.
    pub session: Vec<(ChatId, Session)>,
    /// `Some(Some)`: linked. `Some(None)`: unlinked, its secret and all reply addresses are deleted.
    pub link: Option<Option<Link>>,
    /// Small sealed values by name; `None` deletes.
    pub settings: Vec<(String, Option<Secret>)>,
    /// Parked or maybe-sent rows that become queued again, with no attempts counted.
    pub unpark: Vec<OutboxSeq>,
    /// Rows that were sealed anew with the current key. See [`crate::Store::reseal`].
    pub reseal: Vec<ResealedRow>,
    /// What the bot's device for encrypted rooms has learnt: each record is written anew or forgotten.
    pub crypto: Vec<CryptoRecord>,
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    /// Envelopes that were new.
    pub accepted: usize,
    /// Envelopes that had come before, or twice in this commit.
    pub duplicates: usize,
}
