//! Sends one operation once.

use std::sync::atomic::Ordering;

use bridge_core::delivery::attempt::Outcome;
use bridge_core::delivery::key::OpKey;
use bridge_core::id::PersonId;
use bridge_core::reply::Reply;
use bridge_dingtalk::client::Gate;
use bridge_dingtalk::error::{ApiError, Class as DingTalkClass};
use bridge_matrix::client::SendEvent;
use bridge_matrix::error::{Class as MatrixClass, MatrixError};
use bridge_store::{Commit, Direction, MessageMapping, Person, Remote};
use bytes::Bytes;
use ruma::{OwnedRoomId, OwnedUserId, UserId};

use crate::app::App;
use crate::relay::op::{DingTalkPost, MatrixSend, Rendered};
use crate::relay::{members, outcome, profiles, recall};

/// How an attempt ended, and what is to be remembered about it.
pub(crate) struct Sent {
    pub(crate) outcome: Outcome,
    pub(crate) mapping: Option<MessageMapping>,
    /// What the room has to be told although it was sent.
    pub(crate) notice: Option<Reply>,
}

impl Sent {
    pub(crate) fn without_mapping(outcome: Outcome) -> Self {
        Self { outcome, mapping: None, notice: None }
    }
}

/// Tries to send `op` under `key`. A message for DingTalk leaves only through `gate`.
pub(crate) async fn attempt(app: &App, key: &OpKey, op: &Rendered, gate: &Gate) -> Sent {
    match op {
        Rendered::Matrix(send) => match say(app, key, send).await {
            Ok(mapping) => Sent { outcome: Outcome::Sent, mapping, notice: None },
            Err(outcome) => Sent::without_mapping(outcome),
        },
        Rendered::Join { room } => {
            let joined = app.matrix.join((&**room).into(), &app.own.bot, &[]).await;
            Sent::without_mapping(joined.map_or_else(|error| outcome::of_matrix(&error), |_| Outcome::Sent))
        }
        Rendered::Ghost { person, step } => Sent::without_mapping(members::walk(app, person, step).await),
        Rendered::Rename { room, former, name } => {
            Sent::without_mapping(members::rename(app, room, former.as_deref(), name).await)
        }
        // A file is moved on first, so this is one that could not be: it is tried again.
        Rendered::Show(_) | Rendered::Hand(_) => {
            Sent::without_mapping(Outcome::Failed { code: "not_moved".to_owned() })
        }
        Rendered::DingTalk(post) => post_to_chat(app, post, gate).await,
        Rendered::Recall(recall) => recall::attempt(app, recall).await,
    }
}

async fn say(app: &App, key: &OpKey, send: &MatrixSend) -> Result<Option<MessageMapping>, Outcome> {
    let user = match &send.ghost {
        None => app.own.bot.clone(),
        Some(person) => ready_ghost(app, person, &send.room).await?,
    };
    let event = match put(app, key, send, &user).await {
        Err(error) if may_be_outside(&error) && user != app.own.bot => {
            // Somebody removed the ghost, or what we remember is wrong: enter again, then the same transaction.
            app.joined.remove(&(user.clone(), send.room.clone()));
            enter(app, &send.room, &user).await?;
            put(app, key, send, &user).await
        }
        Err(error) if error.class == MatrixClass::UnknownDevice => {
            make_device(app, &user).await?;
            put(app, key, send, &user).await
        }
        other => other,
    };
    let event = event.map_err(|error| outcome::of_matrix(&error))?;
    Ok(send.origin.as_ref().map(|origin| MessageMapping {
        room: send.room.clone(),
        event,
        chat: origin.chat.clone(),
        remote: Remote::Message(origin.message.clone()),
        part: origin.part,
        direction: Direction::FromDingTalk,
        sender: send.ghost.as_ref().map_or_else(|| user.to_string(), PersonId::to_key),
        at: app.now(),
    }))
}

fn may_be_outside(error: &MatrixError) -> bool {
    matches!(error.class, MatrixClass::Denied | MatrixClass::NotInRoom)
}

async fn put(
    app: &App,
    key: &OpKey,
    send: &MatrixSend,
    user: &UserId,
) -> Result<ruma::OwnedEventId, MatrixError> {
    let device = app.has_devices.load(Ordering::Relaxed).then_some(&*app.device);
    let (event_type, content) = match &send.sealed {
        Some(sealed) => ("m.room.encrypted", sealed),
        None => ("m.room.message", &send.content),
    };
    app.matrix
        .send(SendEvent {
            room: &send.room,
            event_type,
            txn_id: key.as_str(),
            content: Bytes::copy_from_slice(content.as_bytes()),
            user,
            device,
            ts: send.at,
        })
        .await
}

/// The ghost of a person, registered, named and with a device. All of it happens once and is remembered; every call
/// can be repeated.
pub(crate) async fn present(app: &App, person: &PersonId) -> Result<Person, Outcome> {
    let stored = |error: bridge_store::StoreError| Outcome::Failed { code: error.code().to_owned() };
    let mut known = match app.people.get(person) {
        Some(known) => known,
        None => app
            .store
            .person(person)
            .await
            .map_err(stored)?
            .ok_or_else(|| Outcome::Refused { code: "unknown_person".to_owned() })?,
    };
    let name = app.config.bot.ghost_name.render(&known.name);
    if !known.registered || !known.device || known.shown_name.as_deref() != Some(&*name) {
        prepare(app, &mut known, name).await?;
        app.people.insert(person.clone(), known.clone());
        let commit = Commit { people: vec![known.clone()], ..Commit::default() };
        app.store.commit(commit).await.map_err(stored)?;
    }
    profiles::want(app, &known);
    Ok(known)
}

/// The ghost of a person, as [`present`] has it, and in the room.
pub(crate) async fn ready_ghost(
    app: &App,
    person: &PersonId,
    room: &OwnedRoomId,
) -> Result<OwnedUserId, Outcome> {
    let stored = |error: bridge_store::StoreError| Outcome::Failed { code: error.code().to_owned() };
    let known = present(app, person).await?;
    let place = (known.mxid.clone(), room.clone());
    if app.joined.get(&place).is_none() {
        if !app.store.is_joined(&known.mxid, room).await.map_err(stored)? {
            enter(app, room, &known.mxid).await?;
            let memberships = vec![(known.mxid.clone(), room.clone(), true)];
            app.store.commit(Commit { memberships, ..Commit::default() }).await.map_err(stored)?;
        }
        app.joined.insert(place, ());
    }
    Ok(known.mxid)
}

async fn prepare(app: &App, person: &mut Person, name: String) -> Result<(), Outcome> {
    if !person.registered {
        match app.matrix.register(&person.mxid).await {
            Ok(()) => {}
            // Some homeservers limit registrations but make the user when it first acts.
            Err(error) if matches!(error.class, MatrixClass::Throttled { .. }) => {}
            Err(error) => return Err(outcome::of_matrix(&error)),
        }
        person.registered = true;
    }
    if !person.device {
        make_device(app, &person.mxid).await?;
        person.device = true;
    }
    if person.shown_name.as_deref() != Some(&*name) {
        app.matrix.set_displayname(&person.mxid, &name).await.map_err(|error| outcome::of_matrix(&error))?;
        person.shown_name = Some(name);
    }
    Ok(())
}

/// Makes the device. A homeserver that cannot is done without: it keeps transaction ids in memory only.
pub(crate) async fn make_device(app: &App, user: &UserId) -> Result<(), Outcome> {
    if !app.has_devices.load(Ordering::Relaxed) {
        return Ok(());
    }
    match app.matrix.put_device(user, &app.device, "DingTalk bridge").await {
        Ok(()) => Ok(()),
        Err(error) if error.is_unrecognized() => {
            tracing::warn!(
                "the homeserver makes no devices for us: repetitions are recognised until it restarts"
            );
            app.has_devices.store(false, Ordering::Relaxed);
            Ok(())
        }
        Err(error) => Err(outcome::of_matrix(&error)),
    }
}

/// Brings a ghost into a room: the bot invites, the ghost joins.
async fn enter(app: &App, room: &OwnedRoomId, user: &UserId) -> Result<(), Outcome> {
    if let Err(error) = app.matrix.invite(room, user).await
        && !may_be_outside(&error)
    {
        return Err(outcome::of_matrix(&error));
    }
    // A refused invitation does not matter where anybody may join.
    app.matrix.join((&**room).into(), user, &[]).await.map(drop).map_err(|error| outcome::of_matrix(&error))
}

async fn post_to_chat(app: &App, post: &DingTalkPost, gate: &Gate) -> Sent {
    if app.linked().is_none() {
        return Sent::without_mapping(Outcome::Refused { code: "not_linked".to_owned() });
    }
    let mut result = None;
    if let Some(body) = &post.session_body {
        result = through_session(app, post, body, gate).await;
    }
    let result = match (result, &post.api_body) {
        (Some(Err(error)), Some(body)) if error.class == DingTalkClass::SessionGone => {
            through_api(app, post, body, gate).await
        }
        (Some(result), _) => result,
        (None, Some(body)) => through_api(app, post, body, gate).await,
        (None, None) => return Sent::without_mapping(Outcome::Refused { code: "session_gone".to_owned() }),
    };
    note_health(app, result.as_ref().err());
    let remote = match result {
        Ok(remote) => remote,
        Err(error) => return Sent::without_mapping(outcome::of_dingtalk(&error)),
    };
    let mapping = post.origin.as_ref().map(|origin| MessageMapping {
        room: origin.room.clone(),
        event: origin.event.clone(),
        chat: post.chat.clone(),
        remote,
        part: origin.part,
        direction: Direction::FromMatrix,
        sender: origin.sender.to_string(),
        at: app.now(),
    });
    Sent { outcome: Outcome::Sent, mapping, notice: None }
}

/// Posts to the chat's reply address; `None` when there is none that lives.
async fn through_session(
    app: &App,
    post: &DingTalkPost,
    body: &str,
    gate: &Gate,
) -> Option<Result<Remote, ApiError>> {
    let session = app.store.session(&post.chat).await.ok().flatten()?;
    if session.expires_at <= app.now() || !app.dingtalk.allowed(session.webhook.expose()) {
        return None;
    }
    Some(app.dingtalk.post_session(&session.webhook, body.as_bytes(), gate).await.map(|()| Remote::None))
}

async fn through_api(app: &App, post: &DingTalkPost, body: &str, gate: &Gate) -> Result<Remote, ApiError> {
    let Some(staff) = &post.peer else {
        return app.dingtalk.send_group(body.as_bytes(), gate).await.map(Remote::Query);
    };
    let sent = app.dingtalk.send_direct(body.as_bytes(), gate).await?;
    match sent.failure_for(staff) {
        Some(error) => Err(error),
        None => Ok(Remote::Query(sent.key)),
    }
}

/// Lets the probes and `status` know how DingTalk answers.
pub(crate) fn note_health(app: &App, error: Option<&ApiError>) {
    match error {
        None => app.health.set_dingtalk(None),
        Some(error) => match error.class {
            DingTalkClass::BadCredentials
            | DingTalkClass::Denied
            | DingTalkClass::QuotaExhausted
            | DingTalkClass::Banned
            | DingTalkClass::Retry
            | DingTalkClass::MaybeSent => app.health.set_dingtalk(Some(error.code.clone())),
            _ => {}
        },
    }
}
