//! What a restarted stub still knows: one JSON line per change, written before the request is answered.
//!
//! Lines are written without fsync: they outlive the process, which is all a test of restarts needs.

use crate::event::Event;
use crate::media::{self, Data};
use crate::room::{Room, RoomInner};
use crate::server::{Server, TokenOwner};
use crate::sync::{lock, write};
use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// One line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Record<'a> {
    User {
        id: Cow<'a, str>,
        password: Option<Cow<'a, str>>,
    },
    Token {
        token: Cow<'a, str>,
        user: Cow<'a, str>,
        device: Cow<'a, str>,
    },
    Device {
        user: Cow<'a, str>,
        device: Cow<'a, str>,
        name: Option<Cow<'a, str>>,
    },
    DeviceGone {
        user: Cow<'a, str>,
        device: Cow<'a, str>,
    },
    Profile {
        user: Cow<'a, str>,
        key: Cow<'a, str>,
        value: Cow<'a, Value>,
    },
    Room {
        id: Cow<'a, str>,
        version: Cow<'a, str>,
    },
    Event {
        event: Cow<'a, Event>,
        txn: Option<Cow<'a, str>>,
    },
    Alias {
        alias: Cow<'a, str>,
        room: Option<Cow<'a, str>>,
    },
    AccountData {
        key: Cow<'a, str>,
        value: Cow<'a, Value>,
    },
    /// A file; without its bytes one that was announced, or of which only the length is known.
    Media {
        id: Cow<'a, str>,
        owner: Cow<'a, str>,
        content_type: Cow<'a, str>,
        name: Option<Cow<'a, str>>,
        base64: Option<String>,
        zeros: Option<u64>,
    },
    /// These events were delivered, or are gone for good.
    Pushed {
        seqs: Cow<'a, [u64]>,
    },
    /// Number of the next transaction.
    Transaction {
        next: u64,
    },
}

impl<'a> Record<'a> {
    /// A file of the media store.
    pub(crate) fn media(id: &'a str, file: &'a media::File) -> Self {
        let (base64, zeros) = match &file.data {
            Some(Data::Kept(bytes)) => (Some(STANDARD.encode(bytes)), None),
            Some(Data::Zeros(length)) => (None, Some(*length)),
            None => (None, None),
        };
        Self::Media {
            id: id.into(),
            owner: (&file.owner).into(),
            content_type: (&file.content_type).into(),
            name: file.name.as_ref().map(Into::into),
            base64,
            zeros,
        }
    }
}

/// The open file.
pub(crate) struct Journal(Mutex<File>);

/// What the pusher has to go on with.
#[derive(Default)]
pub(crate) struct Left {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) next_transaction: u64,
}

impl Journal {
    /// Reads `path` into the server and goes on writing at its end.
    pub(crate) fn open(path: &Path, server: &Server) -> anyhow::Result<(Self, Left)> {
        let mut left = Left { next_transaction: 1, ..Left::default() };
        let mut pending = BTreeMap::new();
        let mut good = 0;
        if path.exists() {
            let mut reader = BufReader::new(File::open(path)?);
            let mut line = String::new();
            while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
                good += line.len() as u64;
                let record = serde_json::from_str(&line).with_context(|| format!("journal line: {line}"))?;
                take(server, record, &mut pending, &mut left);
                line.clear();
            }
        }
        left.events = pending.into_values().collect();
        let file =
            OpenOptions::new().create(true).append(true).open(path).context(path.display().to_string())?;
        // A line that a kill cut short was never answered.
        file.set_len(good)?;
        Ok((Self(Mutex::new(file)), left))
    }

    pub(crate) fn write(&self, record: &Record<'_>) {
        match serde_json::to_vec(record) {
            Ok(mut line) => {
                line.push(b'\n');
                if let Err(error) = lock(&self.0).write_all(&line) {
                    tracing::error!(%error, "journal");
                }
            }
            Err(error) => tracing::error!(%error, "journal"),
        }
    }
}

fn take(server: &Server, record: Record<'static>, pending: &mut BTreeMap<u64, Arc<Event>>, left: &mut Left) {
    match record {
        Record::User { id, password } => drop(server.add_user(&id, password.as_deref())),
        Record::Token { token, user, device } => {
            if let Some(user) = server.user(&user) {
                lock(&user.inner).devices.entry(device.to_string()).or_default();
                let owner = TokenOwner { user, device: device.into_owned() };
                write(&server.tokens).insert(token.into_owned(), owner);
            }
        }
        Record::Device { user, device, name } => {
            if let Some(user) = server.user(&user) {
                lock(&user.inner).devices.insert(device.into_owned(), name.map(Cow::into_owned));
            }
        }
        Record::DeviceGone { user, device } => {
            if let Some(user) = server.user(&user) {
                lock(&user.inner).devices.remove(&*device);
            }
        }
        Record::Profile { user, key, value } => {
            if let Some(user) = server.user(&user) {
                lock(&user.inner).profile.insert(key.into_owned(), value.into_owned());
            }
        }
        Record::Room { id, version } => {
            let room = Room {
                id: id.to_string(),
                version: version.into_owned(),
                inner: Mutex::new(RoomInner::default()),
            };
            write(&server.rooms).insert(id.into_owned(), Arc::new(room));
        }
        Record::Event { event, txn } => {
            let event = event.into_owned();
            if event.push {
                pending.insert(event.seq, Arc::new(event.clone()));
            }
            server.restore_event(event, txn.map(Cow::into_owned));
        }
        Record::Alias { alias, room: Some(room) } => {
            lock(&server.aliases).insert(alias.into_owned(), room.into_owned());
        }
        Record::Alias { alias, room: None } => drop(lock(&server.aliases).remove(&*alias)),
        Record::AccountData { key, value } => {
            lock(&server.account_data).insert(key.into_owned(), value.into_owned());
        }
        Record::Media { id, owner, content_type, name, base64, zeros } => {
            let kept = base64.and_then(|text| STANDARD.decode(text).ok());
            let data = kept.map(|bytes| Data::Kept(bytes.into())).or(zeros.map(Data::Zeros));
            let (owner, content_type) = (owner.into_owned(), content_type.into_owned());
            server
                .media
                .insert(&id, media::File { owner, content_type, name: name.map(Cow::into_owned), data });
        }
        Record::Pushed { seqs } => seqs.iter().for_each(|seq| drop(pending.remove(seq))),
        Record::Transaction { next } => left.next_transaction = next,
    }
}
