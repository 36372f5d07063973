//! What all parts of the running bridge share.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bridge_config::Config;
use bridge_core::clock::{Clock, Entropy, Timestamp};
use bridge_core::decide::away::Silence;
use bridge_core::delivery::attempt::Policy;
use bridge_core::id::{ChatId, PersonId};
use bridge_core::portal::{Chat, PortalChange};
use bridge_core::secret::Secret;
use bridge_dingtalk::client::Credentials;
use bridge_matrix::wire::transaction::OwnUsers;
use bridge_store::{Link, Person, Store, StoreError};
use ruma::{OwnedDeviceId, OwnedRoomId, OwnedUserId};
use tokio::sync::{Notify, mpsc, watch};

use crate::encryption::Encryption;
use crate::media::Media;
use crate::media::link::Links;
use crate::observe::metrics::Metrics;
use crate::receiving::Receiving;
use crate::registrations::Registrations;
use crate::relay::cache::Cache;
use crate::relay::settle::Settler;
use crate::relay::step::After;
use crate::stream::state::StreamState;
use crate::webhook_keys::{Crypts, WebhookKeys};

/// The device all of the bridge's users send from; makes repetitions safe across restarts of the homeserver.
const DEVICE: &str = "DINGTALKBRIDGE";

/// The running bridge.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) own: OwnUsers,
    pub(crate) registrations: Registrations,
    /// Digests of the sealing keys, the current one first.
    pub(crate) sealing_keys: Vec<String>,
    /// Makes and opens links to files.
    pub(crate) links: Links,
    /// What opens the report; without it there is none.
    pub(crate) status_token: Option<Secret>,
    pub(crate) started_at: Timestamp,
    pub(crate) device: OwnedDeviceId,
    /// Whether the homeserver lets us make devices; sends go without one otherwise.
    pub(crate) has_devices: AtomicBool,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) matrix: bridge_matrix::client::Client,
    pub(crate) dingtalk: bridge_dingtalk::client::Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settler: Settler,
    pub(crate) media: Media,
    /// The bot's device for encrypted rooms; none where encryption is off.
    pub(crate) encryption: Option<Encryption>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) receiving: Receiving,
    /// Wakes whoever fetches the pushes that DingTalk gave up.
    pub(crate) ask_failed: Arc<Notify>,
    pub(crate) stream: StreamState,
    pub(crate) chats: Cache<ChatId, Option<Chat>>,
    pub(crate) portals: Cache<OwnedRoomId, Option<ChatId>>,
    pub(crate) people: Cache<PersonId, Person>,
    pub(crate) joined: Cache<(OwnedUserId, OwnedRoomId), ()>,
    pub(crate) names: Cache<(OwnedRoomId, OwnedUserId), String>,
    /// When the stored reply address of a chat dies.
    pub(crate) sessions: Cache<ChatId, Timestamp>,
    /// When the address book was last asked about a person, or is about to be.
    pub(crate) asked: Cache<PersonId, Timestamp>,
    /// People about whom the address book is to be asked.
    pub(crate) wanted: mpsc::Sender<PersonId>,
    link: RwLock<Option<Arc<Linked>>>,
    webhook: RwLock<Option<WebhookKeys>>,
    /// Held by who bridges a chat, from the check until after the commit: two never choose the same room or chat.
    pub(crate) bridging: Arc<tokio::sync::Mutex<()>>,
    /// Held by who changes the webhook's keys, until the change is in use.
    pub(crate) keys: Arc<tokio::sync::Mutex<()>>,
}

/// The link with what is made from it.
pub(crate) struct Linked {
    pub(crate) link: Link,
    /// Opens event pushes; none while the webhook's keys are unusable.
    pub(crate) crypts: Option<Crypts>,
}

impl Linked {
    /// The organisation's name. Until DingTalk has told it, the AppKey stands in its place; that is no name.
    pub(crate) fn organisation(&self) -> Option<&str> {
        let name = self.link.organisation.as_str();
        (name != self.link.app_key.as_str()).then_some(name)
    }
}

/// What the probes and `status` know without asking anybody.
#[derive(Default)]
pub(crate) struct Health {
    /// Why the homeserver is not usable; none is fine.
    homeserver: Mutex<Option<String>>,
    dingtalk: Mutex<Option<String>>,
    /// Told when one of the two is usable again.
    returned: watch::Sender<()>,
    /// Told when what is known of the homeserver may be wrong.
    doubt: Notify,
    last_event: Mutex<Option<(String, Timestamp)>>,
    over_quota: AtomicBool,
    /// What the silence of the subscription means, while there is one.
    silence: Mutex<Option<Silence>>,
    /// DingTalk says that no address is subscribed.
    subscription_gone: AtomicBool,
    /// How many rows do not open with the current sealing key alone; none until they are counted.
    old_keys: Mutex<Option<u64>>,
    /// When the main loop last turned, for the liveness probe.
    pub(crate) heartbeat: AtomicI64,
}

impl Health {
    pub(crate) fn new() -> Self {
        let health = Self::default();
        health.set_homeserver(Some("not asked yet".to_owned()));
        health
    }

    pub(crate) fn set_homeserver(&self, problem: Option<String>) {
        self.note(&self.homeserver, problem);
    }

    fn note(&self, of: &Mutex<Option<String>>, problem: Option<String>) {
        let fine = problem.is_none();
        let before = std::mem::replace(&mut *of.lock().unwrap_or_else(PoisonError::into_inner), problem);
        if fine && before.is_some() {
            self.returned.send_replace(());
        }
    }

    /// Changes when the homeserver or DingTalk is usable again: what waits for another attempt need not wait longer.
    pub(crate) fn returns(&self) -> watch::Receiver<()> {
        self.returned.subscribe()
    }

    /// A call failed although the homeserver was fine, or it called although it was away: it is looked at now.
    pub(crate) fn doubt_homeserver(&self) {
        self.doubt.notify_one();
    }

    /// Waits until what is known of the homeserver is in doubt.
    pub(crate) async fn homeserver_in_doubt(&self) {
        self.doubt.notified().await;
    }

    pub(crate) fn homeserver(&self) -> Option<String> {
        self.homeserver.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_dingtalk(&self, problem: Option<String>) {
        self.note(&self.dingtalk, problem);
    }

    pub(crate) fn dingtalk(&self) -> Option<String> {
        self.dingtalk.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_rows_with_old_keys(&self, rows: u64) {
        *self.old_keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
    }

    pub(crate) fn rows_with_old_keys(&self) -> Option<u64> {
        *self.old_keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn heard(&self, kind: &str, now: Timestamp) {
        // A message to the bot proves nothing about the subscription to events.
        if kind != "callback" {
            self.set_subscription_gone(false);
        }
        let mut last = self.last_event.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *last {
            Some((known, at)) if known == kind => *at = now,
            other => *other = Some((kind.to_owned(), now)),
        }
    }

    pub(crate) fn last_event(&self) -> Option<(String, Timestamp)> {
        self.last_event.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_silence(&self, silence: Option<Silence>) {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = silence;
    }

    pub(crate) fn silence(&self) -> Option<Silence> {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_subscription_gone(&self, gone: bool) {
        self.subscription_gone.store(gone, Ordering::Relaxed);
    }

    pub(crate) fn subscription_gone(&self) -> bool {
        self.subscription_gone.load(Ordering::Relaxed)
    }

    pub(crate) fn set_over_quota(&self, over: bool) {
        self.over_quota.store(over, Ordering::Relaxed);
    }

    pub(crate) fn over_quota(&self) -> bool {
        self.over_quota.load(Ordering::Relaxed)
    }
}

/// What [`App::new`] is made from.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) own: OwnUsers,
    pub(crate) registrations: Registrations,
    /// Digests of the sealing keys, the current one first.
    pub(crate) sealing_keys: Vec<String>,
    pub(crate) links: Links,
    pub(crate) status_token: Option<Secret>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) matrix: bridge_matrix::client::Client,
    pub(crate) dingtalk: bridge_dingtalk::client::Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settler: Settler,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) wanted: mpsc::Sender<PersonId>,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            config,
            own,
            registrations,
            sealing_keys,
            links,
            status_token,
            store,
            matrix,
            dingtalk,
            clock,
            entropy,
            settler,
            encryption,
            wanted,
        } = parts;
        let receiving = Receiving::new(config.dingtalk.receive);
        Self {
            media: Media::new(config.media.transfers),
            config,
            own,
            registrations,
            sealing_keys,
            links,
            status_token,
            started_at: clock.now(),
            device: OwnedDeviceId::from(DEVICE),
            has_devices: AtomicBool::new(true),
            store,
            matrix,
            dingtalk,
            clock,
            entropy,
            settler,
            encryption,
            metrics: Metrics::new(),
            health: Health::new(),
            receiving,
            ask_failed: Arc::default(),
            stream: StreamState::default(),
            chats: Cache::new(2_048),
            portals: Cache::new(2_048),
            people: Cache::new(4_096),
            joined: Cache::new(8_192),
            names: Cache::new(2_048),
            sessions: Cache::new(2_048),
            asked: Cache::new(4_096),
            wanted,
            link: RwLock::new(None),
            webhook: RwLock::new(None),
            bridging: Arc::default(),
            keys: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The link of the moment.
    pub(crate) fn linked(&self) -> Option<Arc<Linked>> {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a link into use, or takes it out of use.
    pub(crate) fn set_link(&self, link: Option<Link>) {
        self.dingtalk.set_credentials(link.as_ref().map(|link| Credentials {
            app_key: link.app_key.to_string(),
            app_secret: link.app_secret.clone(),
        }));
        let keys = self.webhook_keys();
        let linked = link.map(|link| {
            let crypts = keys.and_then(|keys| Crypts::new(keys, link.app_key.as_str()));
            Arc::new(Linked { link, crypts })
        });
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = linked;
        self.receiving.tell();
    }

    /// Forgets the chats that a commit changed, and takes into use what it made durable.
    pub(crate) fn took(&self, chats: &[Chat], portals: &[(ChatId, PortalChange)], after: Vec<After>) {
        for chat in chats {
            self.forget_chat(&chat.id, chat.room.as_ref().as_slice());
        }
        for (chat, change) in portals {
            self.forget_chat(chat, &change.rooms());
        }
        for after in after {
            self.take(after);
        }
    }

    fn take(&self, after: After) {
        match after {
            After::Linked(link) => {
                self.set_link(Some(*link));
                self.health.set_dingtalk(None);
            }
            After::Unlinked => {
                self.set_link(None);
                self.sessions.clear();
            }
            After::Keys(keys) => self.set_webhook_keys(keys),
            After::Receive(choice) => self.receiving.choose(choice),
        }
    }

    pub(crate) fn webhook_keys(&self) -> Option<WebhookKeys> {
        self.webhook.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes other webhook keys into use.
    pub(crate) fn set_webhook_keys(&self, keys: WebhookKeys) {
        *self.webhook.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
        let link = self.linked().map(|linked| linked.link.clone());
        self.set_link(link);
    }

    /// The row of a chat, from memory where possible.
    pub(crate) async fn chat(&self, id: &ChatId) -> Result<Option<Chat>, StoreError> {
        if let Some(known) = self.chats.get(id) {
            return Ok(known);
        }
        let mark = self.chats.mark();
        let found = self.store.chat(id).await?;
        self.chats.fill(id.clone(), found.clone(), mark);
        Ok(found)
    }

    /// The chat of a room, from memory where possible.
    pub(crate) async fn portal(&self, room: &OwnedRoomId) -> Result<Option<Chat>, StoreError> {
        if let Some(known) = self.portals.get(room) {
            return match known {
                Some(id) => Ok(self.chat(&id).await?.filter(|chat| chat.room.as_ref() == Some(room))),
                None => Ok(None),
            };
        }
        let mark = self.portals.mark();
        let found = self.store.chat_by_room(room).await?;
        self.portals.fill(room.clone(), found.as_ref().map(|chat| chat.id.clone()), mark);
        Ok(found)
    }

    /// The alias of a chat's room.
    pub(crate) fn portal_alias(&self, chat: &ChatId) -> Option<ruma::OwnedRoomAliasId> {
        bridge_core::portal::alias(self.config.bot.alias_prefix.as_str(), self.own.server.as_str(), chat)
    }

    /// Forgets a chat whose row was written, and the rooms it had and has: it is read again when it is needed.
    /// Before the write it is too early, since another lane would remember the former row.
    pub(crate) fn forget_chat(&self, chat: &ChatId, rooms: &[&OwnedRoomId]) {
        self.chats.remove(chat);
        for room in rooms {
            self.portals.remove(*room);
        }
    }

    /// Forgets all that was remembered, after a write that failed.
    pub(crate) fn forget(&self) {
        self.chats.clear();
        self.portals.clear();
        self.people.clear();
        self.sessions.clear();
    }

    /// How long and how often sending is tried.
    pub(crate) fn policy(&self) -> Policy {
        let queue = &self.config.queue;
        Policy {
            first_pause: queue.first_pause.get(),
            longest_pause: queue.longest_pause.get(),
            give_up_after: queue.give_up_after.get(),
        }
    }

    /// A byte of chance, to spread retries.
    pub(crate) fn chance(&self) -> u8 {
        let mut byte = [0];
        self.entropy.fill(&mut byte);
        byte[0]
    }
}

/// A request to a peer that answers nobody must not take for ever.
pub(crate) const PEER_CHECK: Duration = Duration::from_secs(30);
