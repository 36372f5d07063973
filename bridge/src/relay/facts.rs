//! Reads what a decision may look at.

use bridge_core::content::{Document, Target};
use bridge_core::decide::{from_dingtalk, from_matrix};
use bridge_core::event::{ChatKind, ChatMessage, RoomEvent, RoomEventKind};
use bridge_core::id::{ChatId, PersonId};
use bridge_core::portal::{Chat, ChatState};
use bridge_core::reply::file_word;
use bridge_matrix::error::{Class, MatrixError};
use bridge_store::Remote;
use ruma::{OwnedRoomId, OwnedUserId};

use crate::app::App;
use crate::encryption;
use crate::relay::direct;
use crate::relay::step::StepError;

/// What the bridge remembers about a room that is no portal.
pub(crate) fn room_setting(room: &OwnedRoomId, what: from_matrix::Remember) -> String {
    match what {
        from_matrix::Remember::InvitedDirect => format!("invited-direct:{room}"),
        from_matrix::Remember::Greeted => format!("greeted:{room}"),
        from_matrix::Remember::ToldEncrypted => format!("told-encrypted:{room}"),
    }
}

pub(crate) async fn for_chat_message(
    app: &App,
    message: &ChatMessage,
) -> Result<from_dingtalk::Facts, StepError> {
    let chat = app.chat(&message.chat).await?;
    let found_room = if chat.is_none() { portal_by_alias(app, &message.chat).await? } else { None };
    let mut quoted_event = None;
    if let Some(quote) = &message.quote {
        let by_id = quote.id.clone().map(Remote::Message);
        let by_key = quote.query_key.clone().map(Remote::Query);
        let peer = Some(&message.sender).filter(|_| message.kind == ChatKind::Direct);
        let ids = direct::ids_of(&message.chat, peer);
        for remote in by_id.into_iter().chain(by_key) {
            for id in &ids {
                let found = app.store.mapping_by_remote(id, &remote).await?;
                quoted_event = quoted_event.or_else(|| found.into_iter().next().map(|mapping| mapping.event));
            }
        }
    }
    let mut ghosts = Vec::new();
    for document in message.body.documents() {
        for person in mentioned_people(document) {
            if let Some(known) = app.store.person(&person).await? {
                ghosts.push((person, known.mxid));
            }
        }
    }
    Ok(from_dingtalk::Facts { chat, found_room, quoted_event, ghosts, ..from_dingtalk::Facts::default() })
}

/// The room of a chat's alias, if the bot is in it.
async fn portal_by_alias(app: &App, chat: &ChatId) -> Result<Option<OwnedRoomId>, StepError> {
    let Some(alias) = app.portal_alias(chat) else { return Ok(None) };
    let Some(room) = or_default(app.matrix.resolve_alias(&alias).await)? else { return Ok(None) };
    let members = or_default(app.matrix.joined_members(&room).await)?;
    Ok(members.iter().any(|member| member.user == app.own.bot).then_some(room))
}

fn mentioned_people(document: &Document) -> Vec<PersonId> {
    let mut people = Vec::new();
    document.each_mention(&mut |mention| {
        if let Target::Person(person) = &mention.target {
            people.push(person.clone());
        }
    });
    people
}

pub(crate) async fn for_room_event(app: &App, event: &RoomEvent) -> Result<from_matrix::Facts, StepError> {
    let portal = app.portal(&event.room).await?;
    let dead = portal.as_ref().is_some_and(|chat| chat.state == ChatState::Dead);
    let portal = portal.filter(Chat::is_open);
    let mut facts = from_matrix::Facts {
        bot: app.own.bot.clone(),
        portal,
        direct: false,
        invited_direct: false,
        encrypted: false,
        greeted: false,
        told_encrypted: false,
        sender_name: String::new(),
        replied: None,
        people: Vec::new(),
        dead,
        taken: None,
    };
    match &event.what {
        RoomEventKind::Message(message) if facts.portal.is_some() => {
            facts.sender_name = display_name(app, &event.room, &event.sender).await?;
            if let Some(replied) = &message.reply_to {
                facts.replied = replied_message(app, event, replied).await?;
            }
            facts.people = mentioned_ghosts(app, &message.body).await?;
        }
        RoomEventKind::File(file) if facts.portal.is_some() => {
            facts.sender_name = display_name(app, &event.room, &event.sender).await?;
            if let Some(replied) = &file.reply_to {
                facts.replied = replied_message(app, event, replied).await?;
            }
            if let Some(caption) = &file.caption {
                facts.people = mentioned_ghosts(app, caption).await?;
            }
        }
        RoomEventKind::Message(_) | RoomEventKind::Undecryptable => {
            facts.direct = is_direct(app, &event.room).await?;
        }
        RoomEventKind::Membership { user, .. } => {
            app.names.remove(&(event.room.clone(), user.clone()));
            if *user == app.own.bot {
                read_room(app, &event.room, &mut facts).await?;
            }
        }
        RoomEventKind::Encrypted | RoomEventKind::EncryptionOn => {
            facts.told_encrypted = app.encryption.is_some()
                || remembered(app, &event.room, from_matrix::Remember::ToldEncrypted).await?;
        }
        RoomEventKind::Tombstone { replacement } => {
            let other = app.portal(replacement).await?;
            let other = other.filter(|other| facts.portal.as_ref().is_some_and(|own| own.id != other.id));
            facts.taken = other.map(|other| other.title.unwrap_or_else(|| other.id.to_string()));
        }
        RoomEventKind::File(_)
        | RoomEventKind::Unsupported { .. }
        | RoomEventKind::Redaction { .. }
        | RoomEventKind::Ignored => {}
    }
    Ok(facts)
}

async fn read_room(app: &App, room: &OwnedRoomId, facts: &mut from_matrix::Facts) -> Result<(), StepError> {
    facts.invited_direct = remembered(app, room, from_matrix::Remember::InvitedDirect).await?;
    facts.encrypted = encryption::shuts_out(app, room).await?;
    facts.greeted = remembered(app, room, from_matrix::Remember::Greeted).await?;
    facts.told_encrypted = remembered(app, room, from_matrix::Remember::ToldEncrypted).await?;
    Ok(())
}

async fn remembered(app: &App, room: &OwnedRoomId, what: from_matrix::Remember) -> Result<bool, StepError> {
    Ok(app.store.setting(&room_setting(room, what)).await?.is_some())
}

/// Whether a room has two members: the bot and a person.
pub(crate) async fn is_direct(app: &App, room: &OwnedRoomId) -> Result<bool, StepError> {
    Ok(or_default(app.matrix.joined_members(room).await)?.len() == 2)
}

/// The name a person has in a room.
async fn display_name(app: &App, room: &OwnedRoomId, user: &OwnedUserId) -> Result<String, StepError> {
    let key = (room.clone(), user.clone());
    if let Some(name) = app.names.get(&key) {
        return Ok(name);
    }
    let member = or_default(app.matrix.state(room, "m.room.member", user.as_str()).await)?;
    let name = member
        .as_ref()
        .and_then(|content| content.get("displayname"))
        .and_then(|name| name.as_str())
        .filter(|name| !name.trim().is_empty())
        .unwrap_or(user.localpart())
        .to_owned();
    app.names.insert(key, name.clone());
    Ok(name)
}

/// Author and text of a message that is answered. Not known is no failure: the answer crosses without the quote.
async fn replied_message(
    app: &App,
    event: &RoomEvent,
    replied: &ruma::OwnedEventId,
) -> Result<Option<(String, String)>, StepError> {
    let Some(raw) = or_default(app.matrix.event(&event.room, replied).await)? else { return Ok(None) };
    let Ok(mut parent) = bridge_matrix::wire::event::decode(&raw) else { return Ok(None) };
    if parent.what == RoomEventKind::Encrypted {
        let Some(opened) = encryption::reading::open(app, &parent, &raw).await? else { return Ok(None) };
        parent = opened;
    }
    let text = match parent.what {
        RoomEventKind::Message(message) => message.body.to_plain_text(),
        RoomEventKind::File(file) => match &file.caption {
            Some(caption) => format!("[{}] {}", file_word(file.kind), caption.to_plain_text()),
            None => format!("[{}] {}", file_word(file.kind), file.name),
        },
        _ => return Ok(None),
    };
    let author = match app.store.person_by_mxid(&parent.sender).await? {
        Some(person) => person.name,
        None => display_name(app, &event.room, &parent.sender).await?,
    };
    Ok(Some((author, text)))
}

async fn mentioned_ghosts(app: &App, document: &Document) -> Result<Vec<(OwnedUserId, PersonId)>, StepError> {
    let mut users = Vec::new();
    document.each_mention(&mut |mention| {
        if let Target::User(user) = &mention.target
            && app.own.is_ghost(user.as_str())
        {
            users.push(user.clone());
        }
    });
    let mut found = Vec::new();
    for user in users {
        if let Some(person) = app.store.person_by_mxid(&user).await? {
            found.push((user, person.id));
        }
    }
    Ok(found)
}

/// A fact that the homeserver will not tell us is as good as none; one it cannot tell now is waited for.
pub(crate) fn or_default<T: Default>(answer: Result<T, MatrixError>) -> Result<T, StepError> {
    match answer {
        Ok(value) => Ok(value),
        Err(error) => match error.class {
            Class::Retry | Class::Throttled { .. } | Class::UnknownToken => Err(StepError::Homeserver(error)),
            _ => Ok(T::default()),
        },
    }
}
