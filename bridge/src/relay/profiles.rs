//! Who people are: their rows, and what DingTalk's address book says of those nobody has met.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::ghost;
use bridge_core::id::{PersonId, SenderId, StaffId};
use bridge_core::portal::Chat;
use bridge_dingtalk::error::{ApiError, BAN, Class, code};
use bridge_matrix::client::Upload;
use bridge_store::{Commit, Person, Profile, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::relay::step::StepError;
use crate::relay::{direct, outcome, send};

/// Most people who wait to be asked about. One more is asked about when they next say something.
pub(crate) const MOST_WANTED: usize = 1_024;

/// How long to wait after a question that was not answered.
const PAUSE: Duration = Duration::from_secs(1);

/// The row of a person whom nobody has met; `None` only where the server's name leaves no room for ghosts.
pub(crate) fn new_person(
    app: &App,
    id: &PersonId,
    name: &str,
    sender_id: Option<&SenderId>,
    now: Timestamp,
) -> Option<Person> {
    let mxid = ghost::user_id(app.config.bot.ghost_prefix.as_str(), app.own.server.as_str(), id)?;
    Some(Person {
        id: id.clone(),
        mxid,
        name: name.to_owned(),
        sender_id: sender_id.cloned(),
        registered: false,
        device: false,
        shown_name: None,
        updated_at: now,
    })
}

/// The row of a person, from memory where possible.
pub(crate) async fn known(app: &App, id: &PersonId) -> Result<Option<Person>, StoreError> {
    if let Some(person) = app.people.get(id) {
        return Ok(Some(person));
    }
    let person = app.store.person(id).await?;
    if let Some(person) = &person {
        app.people.insert(id.clone(), person.clone());
    }
    Ok(person)
}

/// The row of a member of the organisation, and whether it is new. The address book is asked for the name of one
/// whom nobody has met, if `ask`; what it does not tell now is told when the person first says something.
pub(crate) async fn member(
    app: &App,
    staff: &StaffId,
    ask: bool,
    now: Timestamp,
) -> Result<Option<(Person, bool)>, StepError> {
    let id = PersonId::Staff(staff.clone());
    if let Some(person) = known(app, &id).await? {
        return Ok(Some((person, false)));
    }
    let name = if ask { look_up(app, staff).await } else { None };
    let name = name.unwrap_or_else(|| staff.to_string());
    Ok(new_person(app, &id, &name, None, now).map(|person| (person, true)))
}

/// A person's name in the address book.
async fn look_up(app: &App, staff: &StaffId) -> Option<String> {
    app.linked()?;
    match app.dingtalk.user(staff).await {
        Ok(user) => Some(user.name),
        Err(error) => {
            tracing::info!(staff = staff.as_str(), code = error.code, "the address book names nobody");
            None
        }
    }
}

/// Has the address book asked about a person who says something, unless that was done a while ago.
pub(crate) fn want(app: &App, person: &Person) {
    if person.id.staff().is_none() || app.linked().is_none() {
        return;
    }
    let (now, every) = (app.now(), app.config.dingtalk.profile_refresh.get());
    let fresh = app.asked.get(&person.id).is_some_and(|at| now.since(at) < every);
    if !fresh && app.wanted.try_send(person.id.clone()).is_ok() {
        app.asked.insert(person.id.clone(), now);
    }
}

/// Asks about one person after the other.
pub(crate) async fn run(app: Arc<App>, mut wanted: mpsc::Receiver<PersonId>, stop: CancellationToken) {
    loop {
        let next = tokio::select! {
            next = wanted.recv() => next,
            () = stop.cancelled() => None,
        };
        let Some(id) = next else { return };
        let Err(pause) = refresh(&app, &id).await else { continue };
        app.asked.remove(&id);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Asks about a person and shows what is new. The error says how long to leave everybody in peace.
async fn refresh(app: &App, id: &PersonId) -> Result<(), Duration> {
    let stored = |error: StoreError| {
        tracing::warn!(code = error.code(), "a profile could not be read or written");
        PAUSE
    };
    let (now, every) = (app.now(), app.config.dingtalk.profile_refresh.get());
    let before = app.store.profile(id).await.map_err(stored)?;
    if before.as_ref().is_some_and(|profile| now.since(profile.asked_at) < every) {
        return Ok(());
    }
    let (Some(staff), Some(person)) = (id.staff(), app.store.person(id).await.map_err(stored)?) else {
        return Ok(());
    };
    let mut profile = Profile { asked_at: now, ..before.unwrap_or_default() };
    match app.dingtalk.user(staff).await {
        Ok(user) => {
            if user.avatar != profile.source {
                show(app, &person, user.avatar, &mut profile).await?;
            }
            // Who has written is called as they are in chats.
            if person.sender_id.is_none() && person.name != user.name {
                let person = Person { name: user.name, updated_at: now, ..person };
                app.people.insert(id.clone(), person.clone());
                app.store
                    .commit(Commit { people: vec![person], ..Commit::default() })
                    .await
                    .map_err(stored)?;
                send::present(app, id).await.map_err(|_| PAUSE)?;
            }
        }
        Err(error) => unless_final(&error, "the address book says nothing of a person")?,
    }
    let profiles = vec![(id.clone(), profile)];
    app.store.commit(Commit { profiles, ..Commit::default() }).await.map(drop).map_err(stored)
}

/// Shows a person's picture, once: a change is an event in each of their rooms.
async fn show(
    app: &App,
    person: &Person,
    source: Option<String>,
    profile: &mut Profile,
) -> Result<(), Duration> {
    let matrix = |error: bridge_matrix::error::MatrixError| {
        tracing::warn!(
            code = outcome::code(&outcome::of_matrix(&error)),
            "a picture could not be shown: {error}"
        );
        PAUSE
    };
    let shown = match &source {
        None => String::new(),
        Some(address) => match app.dingtalk.picture(address).await {
            Ok(picture) => {
                let file = Upload::of_bytes(picture.content_type, None, picture.bytes.into());
                let upload = app.matrix.upload(&person.mxid, file);
                let patience = app.config.homeserver.request_timeout.get();
                let Ok(uploaded) = tokio::time::timeout(patience, upload).await else {
                    tracing::warn!("a picture could not be shown: the homeserver does not take it in time");
                    return Err(PAUSE);
                };
                uploaded.map_err(matrix)?.to_string()
            }
            Err(error) => {
                if error.code == code::FILE_NOT_ALLOWED {
                    app.metrics.refused("file", code::FILE_NOT_ALLOWED);
                }
                unless_final(&error, "a person's picture cannot be fetched")?;
                profile.source = source;
                return Ok(());
            }
        },
    };
    app.matrix.set_avatar(&person.mxid, &shown).await.map_err(matrix)?;
    let chat = direct::chat_of(app, &person.id).await.map_err(|_| PAUSE)?.filter(Chat::is_open);
    if let Some(room) = chat.and_then(|chat| chat.room) {
        let content = serde_json::json!({ "url": shown });
        if let Err(error) = app.matrix.put_state(&room, "m.room.avatar", "", &content, &app.own.bot).await {
            tracing::info!(room = room.as_str(), "a room keeps its picture: {error}");
        }
    }
    profile.source = source;
    profile.avatar = Some(shown).filter(|shown| !shown.is_empty());
    Ok(())
}

/// Passes what will not change; else says how long to wait.
fn unless_final(error: &ApiError, what: &str) -> Result<(), Duration> {
    tracing::info!(code = error.code, "{what}");
    match error.class {
        Class::Throttled { retry_after } => Err(retry_after),
        Class::Banned => Err(BAN),
        Class::Retry | Class::TokenExpired | Class::BadCredentials | Class::MaybeSent => Err(PAUSE),
        _ => Ok(()),
    }
}
