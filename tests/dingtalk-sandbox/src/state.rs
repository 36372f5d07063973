//! All state behind one short lock, and its journal.
//!
//! Every change is an [`Entry`]; applying the journal's entries in order gives the state again. The lock is never held
//! over an await, and nothing done under it grows with the number of messages.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fs::File as DiskFile,
    io::{BufRead, BufReader, Write},
    path::Path,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    ids::Ids,
    model::{
        App, Chat, ChatKind, Company, CustomBot, Event, File, Media, Message, Person, Progress, Sent,
        Session, Token,
    },
};

/// One journal line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub(crate) enum Entry {
    Company(Company),
    Person(Person),
    App(App),
    Chat(Chat),
    CustomBot(CustomBot),
    Token(Token),
    TokensExpired { app_key: Option<String> },
    Session(Session),
    SessionsExpired,
    Message(Box<Message>),
    Progress { msg_id: String, progress: Progress },
    Sent(Box<Sent>),
    Recalled { index: usize },
    RecallExpired { index: usize },
    Event(Event),
    File(File),
    Media(Media),
}

/// The world as data.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ids: Ids,
    pub(crate) companies: BTreeMap<String, Company>,
    pub(crate) people: BTreeMap<String, Person>,
    pub(crate) people_order: Vec<String>,
    pub(crate) apps: BTreeMap<String, App>,
    pub(crate) chats: HashMap<String, Chat>,
    pub(crate) chat_order: Vec<String>,
    pub(crate) custom_bots: BTreeMap<String, CustomBot>,
    pub(crate) tokens: HashMap<String, Token>,
    pub(crate) sessions: HashMap<String, Session>,
    session_order: VecDeque<(i64, String)>,
    pub(crate) messages: Vec<Message>,
    message_index: HashMap<String, usize>,
    pub(crate) sent: Vec<Arc<Sent>>,
    sent_by_msg: HashMap<String, usize>,
    sent_by_key: HashMap<String, Vec<usize>>,
    /// Places in `sent` that can no longer be taken back, whatever their time.
    pub(crate) settled: HashSet<usize>,
    pub(crate) events: Vec<Event>,
    event_index: HashMap<String, usize>,
    pub(crate) files: HashMap<String, File>,
    pub(crate) media: HashMap<String, Media>,
    /// Work notices: task and its app.
    pub(crate) tasks: HashMap<u64, String>,
    /// Waiting callbacks per chat; a chat with an entry has a running worker.
    pub(crate) lanes: HashMap<String, VecDeque<usize>>,
    /// Messages whose callback was answered.
    pub(crate) answered: usize,
    journal: Option<DiskFile>,
    journal_error: bool,
}

impl State {
    /// Empty, or what the journal says.
    pub(crate) fn open(seed: u64, journal: Option<&Path>) -> anyhow::Result<Self> {
        let mut state = Self {
            ids: Ids::new(seed, 0),
            companies: BTreeMap::new(),
            people: BTreeMap::new(),
            people_order: Vec::new(),
            apps: BTreeMap::new(),
            chats: HashMap::new(),
            chat_order: Vec::new(),
            custom_bots: BTreeMap::new(),
            tokens: HashMap::new(),
            sessions: HashMap::new(),
            session_order: VecDeque::new(),
            messages: Vec::new(),
            message_index: HashMap::new(),
            sent: Vec::new(),
            sent_by_msg: HashMap::new(),
            sent_by_key: HashMap::new(),
            settled: HashSet::new(),
            events: Vec::new(),
            event_index: HashMap::new(),
            files: HashMap::new(),
            media: HashMap::new(),
            tasks: HashMap::new(),
            lanes: HashMap::new(),
            answered: 0,
            journal: None,
            journal_error: false,
        };
        let Some(path) = journal else { return Ok(state) };
        let mut lines = 0;
        let mut file = DiskFile::options().read(true).create(true).append(true).open(path)?;
        let mut whole = true;
        for line in BufReader::new(&file).split(b'\n') {
            let line = line?;
            whole = false;
            lines += 1;
            match serde_json::from_slice::<Entry>(&line) {
                Ok(entry) => state.apply(entry),
                Err(_) if line.is_empty() => {}
                // A killed sandbox may leave half a line, and the next start goes on after it.
                Err(error) => tracing::warn!(%error, line = lines, "journal line left out"),
            }
        }
        if !whole {
            file.write_all(b"\n")?;
        }
        state.ids = Ids::new(seed, lines);
        state.journal = Some(file);
        Ok(state)
    }

    /// Applies a change and writes it down before anybody is told.
    pub(crate) fn record(&mut self, entry: Entry) {
        if let Some(file) = &mut self.journal {
            let written = serde_json::to_vec(&entry).map_err(std::io::Error::from).and_then(|mut line| {
                line.push(b'\n');
                file.write_all(&line)
            });
            if let Err(error) = written
                && !std::mem::replace(&mut self.journal_error, true)
            {
                tracing::error!(%error, "the journal cannot be written; a restart will lose state");
            }
        }
        self.apply(entry);
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Company(company) => {
                self.companies.insert(company.corp_id.clone(), company);
            }
            Entry::Person(person) => {
                if !self.people.contains_key(&person.staff_id) {
                    self.people_order.push(person.staff_id.clone());
                }
                self.people.insert(person.staff_id.clone(), person);
            }
            Entry::App(app) => {
                self.apps.insert(app.app_key.clone(), app);
            }
            Entry::Chat(chat) => {
                if !self.chats.contains_key(&chat.chat_id) {
                    self.chat_order.push(chat.chat_id.clone());
                }
                self.chats.insert(chat.chat_id.clone(), chat);
            }
            Entry::CustomBot(bot) => {
                self.custom_bots.insert(bot.token.clone(), bot);
            }
            Entry::Token(token) => {
                self.tokens.insert(token.text.clone(), token);
            }
            Entry::TokensExpired { app_key } => {
                self.tokens.retain(|_, token| app_key.as_ref().is_some_and(|key| *key != token.app_key));
            }
            Entry::Session(session) => {
                while self.session_order.front().is_some_and(|(expires, _)| *expires < crate::now_ms()) {
                    if let Some((_, id)) = self.session_order.pop_front() {
                        self.sessions.remove(&id);
                    }
                }
                self.session_order.push_back((session.expires, session.id.clone()));
                self.sessions.insert(session.id.clone(), session);
            }
            Entry::RecallExpired { index } => {
                self.settled.insert(index);
            }
            Entry::SessionsExpired => {
                self.sessions.clear();
                self.session_order.clear();
            }
            Entry::Message(message) => {
                self.message_index.insert(message.msg_id.clone(), self.messages.len());
                self.messages.push(*message);
            }
            Entry::Progress { msg_id, progress } => {
                if let Some(message) = self.message_index.get(&msg_id).and_then(|i| self.messages.get_mut(*i))
                {
                    self.answered += usize::from(progress.answered && !message.progress.answered);
                    message.progress = progress;
                }
            }
            Entry::Sent(sent) => {
                self.sent_by_msg.insert(sent.msg_id.clone(), self.sent.len());
                if let Some(key) = &sent.process_query_key {
                    self.sent_by_key.entry(key.clone()).or_default().push(self.sent.len());
                }
                self.sent.push(Arc::from(sent));
            }
            Entry::Recalled { index } => {
                if let Some(sent) = self.sent.get_mut(index) {
                    Arc::make_mut(sent).recalled = true;
                }
            }
            Entry::Event(event) => {
                let position = *self.event_index.entry(event.event_id.clone()).or_insert(self.events.len());
                match self.events.get_mut(position) {
                    Some(known) => *known = event,
                    None => self.events.push(event),
                }
            }
            Entry::File(file) => {
                self.files.insert(file.code.clone(), file);
            }
            Entry::Media(media) => {
                self.media.insert(media.id.clone(), media);
            }
        }
    }

    /// Position of a person's message.
    pub(crate) fn message_position(&self, msg_id: &str) -> Option<usize> {
        self.message_index.get(msg_id).copied()
    }

    /// A person's message.
    pub(crate) fn message(&self, msg_id: &str) -> Option<&Message> {
        self.messages.get(self.message_position(msg_id)?)
    }

    /// A bridge's message, by the id people quote.
    pub(crate) fn sent_by_msg(&self, msg_id: &str) -> Option<&Arc<Sent>> {
        self.sent.get(*self.sent_by_msg.get(msg_id)?)
    }

    /// What was sent under a key: one entry per receiver.
    pub(crate) fn sent_by_key(&self, key: &str) -> &[usize] {
        self.sent_by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// An event, by its id.
    pub(crate) fn event(&self, event_id: &str) -> Option<&Event> {
        self.events.get(*self.event_index.get(event_id)?)
    }

    /// Makes the 1:1 chat of an app's bot and a person known, and gives its id.
    pub(crate) fn one_to_one(&mut self, app_key: &str, staff_id: &str) -> String {
        let chat_id = crate::ids::one_to_one(app_key, staff_id);
        if !self.chats.contains_key(&chat_id) {
            let title = self.people.get(staff_id).map_or(staff_id, |p| p.name.as_str()).to_owned();
            let corp_id = self.apps.get(app_key).map(|app| app.corp_id.clone()).unwrap_or_default();
            self.record(Entry::Chat(Chat {
                chat_id: chat_id.clone(),
                old_chat_id: String::new(),
                title,
                kind: ChatKind::Oto,
                corp_id,
                members: vec![staff_id.to_owned()],
                owner: staff_id.to_owned(),
                bots: vec![app_key.to_owned()],
                disbanded: false,
            }));
        }
        chat_id
    }
}
