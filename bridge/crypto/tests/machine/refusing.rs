//! A store that refuses commits or keeps them waiting, and takes pictures of what is on the disk after each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Lane;
use bridge_core::event::Session;
use bridge_core::id::{ChatId, PersonId, SenderId};
use bridge_core::portal::Chat;
use bridge_core::secret::Secret;
use bridge_store::{
    Answer, ChatFigures, Commit, Committed, CryptoRecords, Depth, Failed, Feed, InboxItem, InboxSeq, Link,
    MessageMapping, OutboxRow, OutboxSeq, ParkedInbox, Person, Profile, Purged, Remote, ResealPosition,
    Resealed, Retention, Sealing, Store, StoreError,
};
use futures_util::{FutureExt, future::BoxFuture};
use ruma::{EventId, OwnedEventId, RoomId, UserId};
use tokio::sync::{mpsc, watch};

use crate::Folder;

/// The store.
pub(crate) struct Refusing {
    inner: Arc<dyn Store>,
    folder: Arc<Folder>,
    refuse: AtomicUsize,
    is_open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
    pictures: Mutex<Vec<Folder>>,
}

impl Refusing {
    pub(crate) async fn open(folder: Arc<Folder>) -> Arc<Self> {
        Arc::new(Self {
            inner: folder.store().await,
            folder,
            refuse: AtomicUsize::new(0),
            is_open: watch::Sender::new(true),
            waiting: watch::Sender::new(0),
            pictures: Mutex::default(),
        })
    }

    /// Refuses the next commits.
    pub(crate) fn refuse(&self, number: usize) {
        self.refuse.store(number, Ordering::SeqCst);
    }

    /// Keeps commits waiting, or lets them through.
    pub(crate) fn set_open(&self, is_open: bool) {
        self.is_open.send_replace(is_open);
    }

    /// Waits until a commit waits.
    pub(crate) async fn someone_waits(&self) {
        self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await.unwrap();
    }

    /// The disk after each commit since the last time.
    pub(crate) fn pictures(&self) -> Vec<Folder> {
        std::mem::take(&mut *self.pictures.lock().unwrap())
    }
}

/// Passed on as it is.
macro_rules! passed_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(fn $name<'a>(&'a self $(, $argument: $kind)*) -> $answer {
            self.inner.$name($($argument),*)
        })*
    };
}

impl Store for Refusing {
    fn commit(&self, commit: Commit) -> Answer<'_, Committed> {
        async {
            self.waiting.send_modify(|waiting| *waiting += 1);
            let open = self.is_open.subscribe().wait_for(|is_open| *is_open).await.map(drop);
            self.waiting.send_modify(|waiting| *waiting -= 1);
            open.unwrap();
            let refused =
                self.refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if refused.is_ok() {
                return Err(StoreError::late());
            }
            let committed = self.inner.commit(commit).await?;
            self.pictures.lock().unwrap().push(self.folder.after_crash());
            Ok(committed)
        }
        .boxed()
    }

    fn take_feed(&self) -> Option<mpsc::UnboundedReceiver<Feed>> {
        self.inner.take_feed()
    }

    fn feed_resumed(&self, lane: &Lane, through: InboxSeq) -> bool {
        self.inner.feed_resumed(lane, through)
    }

    fn next_outbox_seq(&self) -> OutboxSeq {
        self.inner.next_outbox_seq()
    }

    passed_on! {
        pending_lanes() -> Answer<'a, Vec<Lane>>;
        pending_inbox(lane: &'a Lane, after: InboxSeq, limit: u32) -> Answer<'a, Vec<InboxItem>>;
        held(lane: &'a Lane, after: InboxSeq, limit: u32) -> Answer<'a, Vec<InboxItem>>;
        parked_inbox(limit: u32) -> Answer<'a, Vec<ParkedInbox>>;
        unfinished_outbox(lane: &'a Lane, limit: u32) -> Answer<'a, Vec<OutboxRow>>;
        failed(limit: u32) -> Answer<'a, Vec<Failed>>;
        outbox_item(seq: OutboxSeq) -> Answer<'a, Option<OutboxRow>>;
        chat(id: &'a ChatId) -> Answer<'a, Option<Chat>>;
        chat_by_room(room: &'a RoomId) -> Answer<'a, Option<Chat>>;
        chats() -> Answer<'a, Vec<Chat>>;
        person(id: &'a PersonId) -> Answer<'a, Option<Person>>;
        person_by_mxid(mxid: &'a UserId) -> Answer<'a, Option<Person>>;
        person_by_sender_id(sender: &'a SenderId) -> Answer<'a, Option<Person>>;
        people_named(name: &'a str, limit: u32) -> Answer<'a, Vec<Person>>;
        departed(id: &'a PersonId) -> Answer<'a, Option<Timestamp>>;
        profile(id: &'a PersonId) -> Answer<'a, Option<Profile>>;
        is_joined(mxid: &'a UserId, room: &'a RoomId) -> Answer<'a, bool>;
        session(chat: &'a ChatId) -> Answer<'a, Option<Session>>;
        mapping_by_event(event: &'a EventId) -> Answer<'a, Vec<MessageMapping>>;
        edits_of(original: &'a EventId) -> Answer<'a, Vec<OwnedEventId>>;
        mapping_by_remote(chat: &'a ChatId, remote: &'a Remote) -> Answer<'a, Vec<MessageMapping>>;
        seen(keys: &'a [String]) -> Answer<'a, Vec<bool>>;
        link() -> Answer<'a, Option<Link>>;
        setting(key: &'a str) -> Answer<'a, Option<Secret>>;
        crypto_record(kind: &'a str, name: &'a str) -> Answer<'a, Option<Vec<u8>>>;
        crypto_records(kind: &'a str, which: CryptoRecords<'a>) -> Answer<'a, Vec<(String, Vec<u8>)>>;
        crypto_count(kind: &'a str, which: CryptoRecords<'a>) -> Answer<'a, u64>;
        depth() -> Answer<'a, Depth>;
        chat_figures() -> Answer<'a, ChatFigures>;
        purge(now: Timestamp, retention: Retention) -> Answer<'a, Purged>;
        sealing() -> Answer<'a, Sealing>;
        reseal(from: ResealPosition) -> Answer<'a, Resealed>;
        check() -> Answer<'a, ()>;
        size_bytes() -> Answer<'a, u64>;
        taken_over() -> BoxFuture<'a, ()>;
        close() -> Answer<'a, ()>;
    }
}
