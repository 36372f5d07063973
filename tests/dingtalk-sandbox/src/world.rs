//! The running world: state, clock, client, and the tasks that push.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, broadcast, watch};

use crate::{
    Options,
    faults::Faults,
    ids::Ids,
    model::{App, Channel, Chat, ChatKind, Company, CustomBot, Person, SCOPES, Sent},
    state::{Entry, State},
    stream::Streams,
};

/// Everything the handlers and the pushing tasks share.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) base_url: String,
    pub(crate) client: reqwest::Client,
    pub(crate) faults: Faults,
    pub(crate) live: broadcast::Sender<Arc<str>>,
    /// Counts changes, so that waiting needs no polling.
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) permits: Semaphore,
    /// Wakes redeliveries that wait.
    pub(crate) wake: Notify,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) stream: Streams,
    state: Mutex<State>,
}

/// What a bridge's operator has to know, and ids for tests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorldInfo {
    /// Client ID.
    pub app_key: String,
    /// Client Secret.
    pub app_secret: String,
    /// AgentID.
    pub agent_id: u64,
    /// Equals the Client ID.
    pub robot_code: String,
    /// Organisation id.
    pub corp_id: String,
    /// Organisation name.
    pub organization: String,
    /// People of the first company.
    pub people: Vec<PersonInfo>,
    /// Chats of the app's bot.
    pub chats: Vec<ChatInfo>,
}

/// A person, short.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PersonInfo {
    /// userId.
    pub staff_id: String,
    /// unionId.
    pub union_id: String,
    /// Shown name.
    pub name: String,
}

/// A chat, short.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChatInfo {
    /// openConversationId.
    pub chat_id: String,
    /// Title.
    pub title: String,
    /// Group or 1:1.
    pub kind: ChatKind,
}

impl World {
    pub(crate) fn open(options: Options, base_url: String) -> anyhow::Result<Arc<Self>> {
        let mut state = State::open(options.seed, options.state.as_deref()).context("reading the journal")?;
        if state.companies.is_empty() {
            populate(&mut state, &options);
        }
        // Another part of the process may have chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(options.in_flight.max(8));
        if let Some(path) = &options.ca {
            let pem = std::fs::read(path).with_context(|| path.display().to_string())?;
            client = client.tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem)?);
        }
        for (host, address) in &options.resolve {
            client = client.resolve(host, *address);
        }
        Ok(Arc::new(Self {
            base_url,
            client: client.build()?,
            faults: Faults::default(),
            live: broadcast::channel(1024).0,
            changed: watch::channel(0).0,
            permits: Semaphore::new(options.in_flight.max(1)),
            wake: Notify::new(),
            stop: watch::channel(false).0,
            stream: Streams::default(),
            state: Mutex::new(state),
            options,
        }))
    }

    /// The state, for a moment; never keep it over an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until done or until the sandbox stops.
    pub(crate) fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stopped| *stopped) => {}
                () = work => {}
            }
        });
    }

    /// Tells who waits, and the page.
    pub(crate) fn announce(&self, make: impl FnOnce() -> serde_json::Value) {
        self.changed.send_modify(|count| *count += 1);
        if self.live.receiver_count() > 0 {
            let _ = self.live.send(Arc::from(make().to_string()));
        }
    }

    /// Appends to the log of what bridges sent.
    pub(crate) fn log_sent(&self, state: &mut State, mut sent: Sent) {
        sent.index = state.sent.len();
        sent.time = crate::now_ms();
        sent.msg_id = state.ids.message();
        state.record(Entry::Sent(Box::new(sent)));
        if let Some(logged) = state.sent.last() {
            self.announce(|| serde_json::json!({"event": "sent", "sent": logged.as_ref()}));
        }
    }

    /// The ready-made company, app, people and chats.
    pub(crate) fn info(&self) -> WorldInfo {
        let state = self.state();
        let app = state.apps.values().find(|app| app.app_key == default_app_key(self.options.seed));
        let app = app.or_else(|| state.apps.values().next());
        let (app_key, app_secret, agent_id, corp_id) = app
            .map(|a| (a.app_key.clone(), a.app_secret.clone(), a.agent_id, a.corp_id.clone()))
            .unwrap_or_default();
        let organization = state.companies.get(&corp_id).map(|c| c.name.clone()).unwrap_or_default();
        let people = state
            .people_order
            .iter()
            .filter_map(|id| state.people.get(id))
            .filter(|person| person.corp_id == corp_id)
            .map(|p| PersonInfo {
                staff_id: p.staff_id.clone(),
                union_id: p.union_id.clone(),
                name: p.name.clone(),
            })
            .collect();
        let chats = state
            .chat_order
            .iter()
            .filter_map(|id| state.chats.get(id))
            .filter(|chat| chat.bots.contains(&app_key) && !chat.disbanded)
            .map(|c| ChatInfo { chat_id: c.chat_id.clone(), title: c.title.clone(), kind: c.kind })
            .collect();
        WorldInfo {
            robot_code: app_key.clone(),
            app_key,
            app_secret,
            agent_id,
            corp_id,
            organization,
            people,
            chats,
        }
    }
}

/// Blank entry for [`World::log_sent`], which fills in place, time and id.
pub(crate) fn sent(channel: Channel, chat_id: &str, msg_key: &str, body: serde_json::Value) -> Sent {
    Sent {
        index: 0,
        time: 0,
        channel,
        chat_id: chat_id.to_owned(),
        msg_key: msg_key.to_owned(),
        body,
        msg_id: String::new(),
        process_query_key: None,
        app_key: None,
        mentions: Vec::new(),
        recalled: false,
    }
}

fn default_app_key(seed: u64) -> String {
    format!("ding{}", &Ids::named(seed, "app key").hex32()[..16])
}

/// An app as the console makes it: published, with every scope, without addresses.
pub(crate) fn new_app(ids: &mut Ids, app_key: String, name: &str, corp_id: &str) -> App {
    App {
        app_key,
        app_secret: ids.secret64(),
        agent_id: ids.number(),
        name: name.to_owned(),
        corp_id: corp_id.to_owned(),
        scopes: SCOPES.iter().map(ToString::to_string).collect(),
        published: true,
        stopped: false,
        address_allowed: true,
        over_quota: false,
        mention_ids: true,
        flow_controlled: Vec::new(),
        receiving: crate::stream::Receiving::default(),
        webhook: None,
        bot_url: None,
    }
}

/// The world a fresh sandbox starts with.
fn populate(state: &mut State, options: &Options) {
    const NAMES: [&str; 8] = ["林小桥", "周桥桥", "陈管理", "王海", "李娜", "赵一", "孙宁", "吴雨"];
    const TITLES: [&str; 4] = ["桥接测试群", "项目讨论", "产品发布", "值班"];
    let seed = options.seed;
    let corp_id = format!("ding{}", Ids::named(seed, "company").hex32());
    let mut ids = Ids::named(seed, "app");
    let app = new_app(&mut ids, default_app_key(seed), "桥接机器人", &corp_id);
    let app_key = app.app_key.clone();
    state.record(Entry::Company(Company {
        corp_id: corp_id.clone(),
        name: options.company.clone(),
        auth_level: 2,
        departments: vec![(432_825_033, "研发部".to_owned())],
    }));
    state.record(Entry::App(app));
    let mut staff = Vec::new();
    for number in 0..options.people {
        let staff_id = format!("user{:04}", 142 + number);
        let name = match NAMES.get(number) {
            Some(name) => (*name).to_owned(),
            None => format!("同事{}", number + 1),
        };
        state.record(Entry::Person(Person {
            union_id: format!("{}iEiE", &Ids::named(seed, &staff_id).hex32()[..20]),
            staff_id: staff_id.clone(),
            name,
            corp_id: corp_id.clone(),
            mobile: format!("138{:08}", 142 + number),
            admin: number == 2,
            external: false,
            avatar: String::new(),
        }));
        staff.push(staff_id);
    }
    for number in 0..options.groups {
        let mut ids = Ids::named(seed, &format!("group {number}"));
        let title = match TITLES.get(number) {
            Some(title) => (*title).to_owned(),
            None => format!("群 {}", number + 1),
        };
        let chat = Chat {
            chat_id: ids.conversation(),
            old_chat_id: ids.chat(),
            title,
            kind: ChatKind::Group,
            corp_id: corp_id.clone(),
            members: staff.clone(),
            owner: staff.first().cloned().unwrap_or_default(),
            bots: vec![app_key.clone()],
            disbanded: false,
        };
        // An app bot has a webhook address of its own in each of its groups.
        let bot = CustomBot { token: ids.hex32(), chat_id: chat.chat_id.clone(), ..CustomBot::default() };
        state.record(Entry::Chat(chat));
        state.record(Entry::CustomBot(bot));
    }
}
