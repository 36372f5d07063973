//! The state shared by all requests, and the one place where events come into being.

use crate::api::account::RegisterLimit;
use crate::devices::Devices;
use crate::event::{Content, Event};
use crate::faults::Faults;
use crate::ids::{Ids, now_us};
use crate::journal::{Journal, Record};
use crate::media::Media;
use crate::options::{Mode, Namespace, Options};
use crate::push::Push;
use crate::room::{Membership, Room, RoomInner};
use crate::stats::Stats;
use crate::sync::{lock, read, write};
use regex::RegexSet;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, RwLock};
use tokio::sync::Notify;

/// A local user.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) is_as: bool,
    pub(crate) inner: Mutex<UserInner>,
}

#[derive(Debug, Default)]
pub(crate) struct UserInner {
    pub(crate) password: Option<String>,
    pub(crate) profile: serde_json::Map<String, Value>,
    pub(crate) devices: HashMap<String, Option<String>>,
    pub(crate) joined: BTreeSet<String>,
    pub(crate) invited: HashSet<String>,
}

/// Who an access token of a human stands for.
#[derive(Clone, Debug)]
pub(crate) struct TokenOwner {
    pub(crate) user: Arc<User>,
    pub(crate) device: String,
}

/// An event before it has an id and a place.
pub(crate) struct Draft<'a> {
    pub(crate) kind: &'a str,
    pub(crate) sender: &'a str,
    pub(crate) state_key: Option<&'a str>,
    pub(crate) content: Content,
    pub(crate) redacts: Option<String>,
    pub(crate) ts: Option<u64>,
    /// Key in the device table under which a repeated request finds this event after a restart.
    pub(crate) device_txn: Option<String>,
}

impl<'a> Draft<'a> {
    pub(crate) fn state(kind: &'a str, sender: &'a str, key: &'a str, content: Content) -> Self {
        Self { kind, sender, state_key: Some(key), content, redacts: None, ts: None, device_txn: None }
    }
}

/// Everything.
pub(crate) struct Server {
    pub(crate) options: Options,
    pub(crate) ids: Ids,
    pub(crate) users: RwLock<HashMap<String, Arc<User>>>,
    pub(crate) tokens: RwLock<HashMap<String, TokenOwner>>,
    pub(crate) rooms: RwLock<HashMap<String, Arc<Room>>>,
    pub(crate) aliases: Mutex<HashMap<String, String>>,
    pub(crate) account_data: Mutex<HashMap<String, Value>>,
    pub(crate) devices: Mutex<Devices>,
    /// All events in stream order.
    pub(crate) log: Mutex<Vec<Arc<Event>>>,
    /// Tells whoever waits for events, for messages to devices and for changes of devices.
    pub(crate) log_grew: Notify,
    pub(crate) media: Media,
    pub(crate) push: Push,
    pub(crate) stats: Stats,
    pub(crate) faults: Faults,
    pub(crate) journal: Option<Journal>,
    pub(crate) sender: String,
    pub(crate) register_limit: Mutex<RegisterLimit>,
    /// For transactions and pings.
    pub(crate) client: reqwest::Client,
    namespace: RegexSet,
    aliases_owned: RegexSet,
}

impl Server {
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        // As `re.match` of Python does: from the start; the end is the writer's business.
        let set = |list: &[Namespace]| RegexSet::new(list.iter().map(|n| format!("^(?:{})", n.regex)));
        let namespace = set(&options.registration.namespaces.users)?;
        let aliases_owned = set(&options.registration.namespaces.aliases)?;
        // Fails when the program has chosen one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        let sender = format!("@{}:{}", options.registration.sender_localpart, options.server_name);
        Ok(Self {
            ids: Ids::new()?,
            users: RwLock::default(),
            tokens: RwLock::default(),
            rooms: RwLock::default(),
            aliases: Mutex::default(),
            account_data: Mutex::default(),
            devices: Mutex::default(),
            log: Mutex::default(),
            log_grew: Notify::new(),
            media: Media::new(options.max_upload),
            push: Push::new(&options),
            stats: Stats::new(),
            faults: Faults::default(),
            journal: None,
            sender,
            register_limit: Mutex::new(RegisterLimit::new()),
            client,
            namespace,
            aliases_owned,
            options,
        })
    }

    pub(crate) fn is_palpo(&self) -> bool {
        self.options.mode == Mode::Palpo
    }

    /// Whether a user id belongs to the bridge.
    pub(crate) fn is_as_id(&self, user_id: &str) -> bool {
        if let Some(user) = read(&self.users).get(user_id) {
            return user.is_as;
        }
        self.in_namespace(user_id)
    }

    pub(crate) fn in_namespace(&self, user_id: &str) -> bool {
        user_id == self.sender || (self.is_local(user_id) && self.namespace.is_match(user_id))
    }

    pub(crate) fn owns_alias(&self, alias: &str) -> bool {
        self.aliases_owned.is_match(alias)
    }

    pub(crate) fn is_local(&self, user_id: &str) -> bool {
        user_id.split_once(':').is_some_and(|(_, server)| server == self.options.server_name)
    }

    pub(crate) fn user_id(&self, localpart: &str) -> String {
        format!("@{localpart}:{}", self.options.server_name)
    }

    pub(crate) fn user(&self, user_id: &str) -> Option<Arc<User>> {
        read(&self.users).get(user_id).cloned()
    }

    pub(crate) fn room(&self, room_id: &str) -> Option<Arc<Room>> {
        read(&self.rooms).get(room_id).cloned()
    }

    pub(crate) fn record(&self, record: &Record<'_>) {
        if let Some(journal) = &self.journal {
            journal.write(record);
        }
    }

    /// Makes a user; `None` when there is one already.
    pub(crate) fn add_user(&self, user_id: &str, password: Option<&str>) -> Option<Arc<User>> {
        let is_as = self.in_namespace(user_id);
        let mut users = write(&self.users);
        if users.contains_key(user_id) {
            return None;
        }
        let mut inner = UserInner { password: password.map(str::to_owned), ..UserInner::default() };
        let localpart = user_id[1..].split(':').next().unwrap_or_default();
        inner.profile.insert("displayname".to_owned(), localpart.into());
        let user = Arc::new(User { id: user_id.to_owned(), is_as, inner: Mutex::new(inner) });
        users.insert(user_id.to_owned(), Arc::clone(&user));
        // Under the lock: the journal must know a user before anything the user does.
        self.record(&Record::User { id: user_id.into(), password: password.map(Into::into) });
        drop(users);
        Some(user)
    }

    /// Makes an access token (and its device) for a human.
    pub(crate) fn add_token(&self, user: &Arc<User>, device: Option<&str>) -> (String, String) {
        let token = format!("syt_{}", self.ids.opaque());
        let device = device.map_or_else(|| self.ids.opaque()[22..32].to_uppercase(), str::to_owned);
        let is_new = {
            let mut user = lock(&user.inner);
            let is_new = !user.devices.contains_key(&device);
            user.devices.entry(device.clone()).or_default();
            is_new
        };
        self.record(&Record::Token {
            token: token.as_str().into(),
            user: user.id.as_str().into(),
            device: device.as_str().into(),
        });
        let owner = TokenOwner { user: Arc::clone(user), device: device.clone() };
        write(&self.tokens).insert(token.clone(), owner);
        if is_new {
            lock(&self.devices).add(&user.id, &device);
            self.device_changed(user);
        }
        (token, device)
    }

    /// Tells clients, and the bridge where it is interested, that somebody's devices or identity are others.
    pub(crate) fn device_changed(&self, user: &User) {
        lock(&self.devices).changed(&user.id);
        self.log_grew.notify_waiters();
        if self.push.tells_changes() && (user.is_as || self.meets_bridge(user)) {
            self.push.add_changed(&user.id);
        }
    }

    /// Whether somebody is in a room with one of the bridge's users.
    fn meets_bridge(&self, user: &User) -> bool {
        let rooms = lock(&user.inner).joined.clone();
        rooms.iter().any(|id| self.room(id).is_some_and(|room| lock(&room.inner).as_joined > 0))
    }

    /// Gives an accepted event its id and place; the caller holds the room's lock and has checked it.
    pub(crate) fn append(&self, room: &Room, inner: &mut RoomInner, draft: Draft<'_>) -> Arc<Event> {
        let target = draft.state_key.filter(|_| draft.kind == "m.room.member");
        let target_is_as = target.is_some_and(|user| self.is_as_id(user));
        let sender_is_as =
            inner.members.get(draft.sender).map_or_else(|| self.is_as_id(draft.sender), |m| m.is_as);
        let interesting = inner.as_joined > 0 || sender_is_as || target_is_as;
        let prev = draft.state_key.and_then(|key| inner.state_event(draft.kind, key));
        let now = now_us();
        let mut event = Event {
            seq: 0,
            event_id: format!("${}", self.ids.opaque()),
            room_id: room.id.clone(),
            kind: draft.kind.to_owned(),
            sender: draft.sender.to_owned(),
            state_key: draft.state_key.map(str::to_owned),
            content: draft.content.raw,
            redacts: draft.redacts,
            origin_server_ts: draft.ts.unwrap_or(now / 1000),
            received_us: now,
            prev_content: prev.map(|event| event.content.clone()),
            redacted_by: None,
            push: interesting && (self.options.echo || !sender_is_as) && self.push.enabled(),
        };
        let event = {
            let mut log = lock(&self.log);
            event.seq = log.len() as u64;
            let event = Arc::new(event);
            log.push(Arc::clone(&event));
            self.record(&Record::Event {
                event: Cow::Borrowed(&event),
                txn: draft.device_txn.as_deref().map(Into::into),
            });
            event
        };
        inner.apply(room, &event, target_is_as);
        if let Some(key) = draft.device_txn {
            inner.device_txns.insert(key, event.event_id.clone());
        }
        if let Some(target) = target {
            self.follow_membership(room, inner, target);
        }
        self.log_grew.notify_waiters();
        if event.push {
            self.push.add(Arc::clone(&event));
        }
        event
    }

    /// Keeps the list of rooms at the user in step with the room's members.
    pub(crate) fn follow_membership(&self, room: &Room, inner: &RoomInner, target: &str) {
        let Some(user) = self.user(target) else { return };
        let mut user = lock(&user.inner);
        user.joined.remove(&room.id);
        user.invited.remove(&room.id);
        match inner.membership(target) {
            Some(Membership::Join) => user.joined.insert(room.id.clone()),
            Some(Membership::Invite) => user.invited.insert(room.id.clone()),
            _ => false,
        };
    }

    /// Puts the events of the journal back; called before anything is served.
    pub(crate) fn restore_event(&self, event: Event, txn: Option<String>) {
        let Some(room) = self.room(&event.room_id) else { return };
        let event = Arc::new(event);
        lock(&self.log).push(Arc::clone(&event));
        let mut inner = lock(&room.inner);
        let target = event.state_key.as_deref().filter(|_| event.kind == "m.room.member");
        inner.apply(&room, &event, target.is_some_and(|user| self.is_as_id(user)));
        if let Some(key) = txn {
            inner.device_txns.insert(key, event.event_id.clone());
        }
        if let Some(target) = target {
            self.follow_membership(&room, &inner, target);
        }
    }
}
