//! The trait both databases implement.

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Lane;
use bridge_core::event::Session;
use bridge_core::id::{ChatId, PersonId, SenderId};
use bridge_core::portal::Chat;
use bridge_core::secret::Secret;
use futures_util::future::BoxFuture;
use ruma::{EventId, OwnedEventId, RoomId, UserId};
use tokio::sync::mpsc;

use crate::commit::{Commit, Committed};
use crate::crypto::CryptoRecords;
use crate::error::StoreError;
use crate::feed::Feed;
use crate::figures::{ChatFigures, Depth, Purged, Retention};
use crate::ghosts::{Person, Profile};
use crate::inbox::{InboxItem, InboxSeq, ParkedInbox};
use crate::link::Link;
use crate::messages::{MessageMapping, Remote};
use crate::outbox::{Failed, OutboxRow, OutboxSeq};
use crate::sealing::{ResealPosition, Resealed, Sealing};

/// What a method of [`Store`] returns.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// What a look at a sound database found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The newest migration that ran; 0 for an empty database.
    pub version: i64,
    /// The newest migration this version knows.
    pub latest: i64,
    /// Which keys its rows need; nothing of an empty database.
    pub sealing: Sealing,
}

/// Durable state. Reads see every commit that was answered before they began.
pub trait Store: Send + Sync {
    /// Does all of it or nothing. The answer comes after it is durable. Waits while many
    /// commits are queued. A future dropped before its answer leaves the commit done or not done, never half.
    fn commit(&self, commit: Commit) -> Answer<'_, Committed>;

    /// The consumer's end of the feed; `Some` once. The protocol is in [`crate::feed`].
    fn take_feed(&self) -> Option<mpsc::UnboundedReceiver<Feed>>;

    /// The consumer of a spilled lane has taken every row up to `through`. `true`: the lane's further rows come
    /// through the feed; `false`: read on with [`Self::pending_inbox`]. See [`crate::feed`].
    fn feed_resumed(&self, lane: &Lane, through: InboxSeq) -> bool;

    /// The number for the next [`crate::OutboxItem`].
    fn next_outbox_seq(&self) -> OutboxSeq;

    /// Lanes with pending inbox rows or unfinished outbox rows, each once, sorted.
    fn pending_lanes(&self) -> Answer<'_, Vec<Lane>>;

    /// Rows of a lane still to be handled, above `after`, in order, at most `limit`. Held and parked rows are not
    /// among them. A row that does not open makes the call fail.
    fn pending_inbox<'a>(&'a self, lane: &'a Lane, after: InboxSeq, limit: u32)
    -> Answer<'a, Vec<InboxItem>>;

    /// Held rows of a lane above `after`, in order, at most `limit`.
    fn held<'a>(&'a self, lane: &'a Lane, after: InboxSeq, limit: u32) -> Answer<'a, Vec<InboxItem>>;

    /// Inbox rows that could not be handled, newest first, at most `limit`.
    fn parked_inbox(&self, limit: u32) -> Answer<'_, Vec<ParkedInbox>>;

    /// Rows of a lane that are queued, wait for a retry or are being sent, in order, at most `limit`.
    fn unfinished_outbox<'a>(&'a self, lane: &'a Lane, limit: u32) -> Answer<'a, Vec<OutboxRow>>;

    /// Outbox rows that were given up, newest first, at most `limit`.
    fn failed(&self, limit: u32) -> Answer<'_, Vec<Failed>>;

    /// One outbox row in any state; `None` when it is done.
    fn outbox_item(&self, seq: OutboxSeq) -> Answer<'_, Option<OutboxRow>>;

    /// One chat.
    fn chat<'a>(&'a self, id: &'a ChatId) -> Answer<'a, Option<Chat>>;

    /// The chat of a room.
    fn chat_by_room<'a>(&'a self, room: &'a RoomId) -> Answer<'a, Option<Chat>>;

    /// All chats, by id.
    fn chats(&self) -> Answer<'_, Vec<Chat>>;

    /// One person.
    fn person<'a>(&'a self, id: &'a PersonId) -> Answer<'a, Option<Person>>;

    /// The person of a ghost.
    fn person_by_mxid<'a>(&'a self, mxid: &'a UserId) -> Answer<'a, Option<Person>>;

    /// The person the app knows by this id. Where a person was first external and later found to be a member of
    /// the organisation, the member.
    fn person_by_sender_id<'a>(&'a self, sender: &'a SenderId) -> Answer<'a, Option<Person>>;

    /// People with exactly this name, by key, at most `limit`.
    fn people_named<'a>(&'a self, name: &'a str, limit: u32) -> Answer<'a, Vec<Person>>;

    /// When a person left the organisation; `None` while they are in it, as far as is known.
    fn departed<'a>(&'a self, id: &'a PersonId) -> Answer<'a, Option<Timestamp>>;

    /// What the address book said of a person; `None` before it was asked.
    fn profile<'a>(&'a self, id: &'a PersonId) -> Answer<'a, Option<Profile>>;

    /// Whether a ghost was last recorded as being in a room.
    fn is_joined<'a>(&'a self, mxid: &'a UserId, room: &'a RoomId) -> Answer<'a, bool>;

    /// The latest reply address of a chat, whether expired or not.
    fn session<'a>(&'a self, chat: &'a ChatId) -> Answer<'a, Option<Session>>;

    /// What an event is, by part.
    fn mapping_by_event<'a>(&'a self, event: &'a EventId) -> Answer<'a, Vec<MessageMapping>>;

    /// The events that change an event, oldest first.
    fn edits_of<'a>(&'a self, original: &'a EventId) -> Answer<'a, Vec<OwnedEventId>>;

    /// Which events a message is, by part. Empty for [`Remote::None`].
    fn mapping_by_remote<'a>(
        &'a self,
        chat: &'a ChatId,
        remote: &'a Remote,
    ) -> Answer<'a, Vec<MessageMapping>>;

    /// For each key whether it was accepted within the retention.
    fn seen<'a>(&'a self, keys: &'a [String]) -> Answer<'a, Vec<bool>>;

    /// The link.
    fn link(&self) -> Answer<'_, Option<Link>>;

    /// One sealed value.
    fn setting<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Secret>>;

    /// One record of the bot's device.
    fn crypto_record<'a>(&'a self, kind: &'a str, name: &'a str) -> Answer<'a, Option<Vec<u8>>>;

    /// Records of the bot's device with their names, by name.
    fn crypto_records<'a>(
        &'a self,
        kind: &'a str,
        which: CryptoRecords<'a>,
    ) -> Answer<'a, Vec<(String, Vec<u8>)>>;

    /// How many such records there are.
    fn crypto_count<'a>(&'a self, kind: &'a str, which: CryptoRecords<'a>) -> Answer<'a, u64>;

    /// How full the queues are. Reads every unfinished row's head: not for every message.
    fn depth(&self) -> Answer<'_, Depth>;

    /// How many chats there are, without reading them one by one.
    fn chat_figures(&self) -> Answer<'_, ChatFigures>;

    /// Throws away what is older than its retention, in small transactions between the commits. A crash leaves a
    /// part of it for the next time.
    fn purge(&self, now: Timestamp, retention: Retention) -> Answer<'_, Purged>;

    /// How many rows are sealed with which key. Reads all sealed rows.
    fn sealing(&self) -> Answer<'_, Sealing>;

    /// Seals a few rows anew that an old key sealed, from a position on; repeated with the answer's position until
    /// there is none, it does so with all of them. Safe to interrupt: what is done stays done, and other commits go on.
    fn reseal(&self, from: ResealPosition) -> Answer<'_, Resealed>;

    /// Whether the database is sound and of this version. Reads all of it.
    fn check(&self) -> Answer<'_, ()>;

    /// Bytes on disk.
    fn size_bytes(&self) -> Answer<'_, u64>;

    /// Resolves when another process has taken over the database, which can happen to one that was cut off from it or
    /// stood still. Nothing is written any more, and what is in memory is out of date: the process must end.
    fn taken_over(&self) -> BoxFuture<'_, ()>;

    /// Finishes what is queued, refuses what comes later, and releases the database to other processes. Dropping
    /// the store without it loses nothing that was answered.
    fn close(&self) -> Answer<'_, ()>;
}
