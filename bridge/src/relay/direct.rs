//! Rooms of 1:1 chats: made by themselves when a person writes, by `pm`, or from a room a ghost is invited to.
//!
//! A 1:1 chat is a person. Until DingTalk names its conversation it is known by [`portal::direct_id`], under which its
//! room's alias is made as well; so whoever comes first, and however often it is tried, there is one room.

use std::sync::Arc;

use bridge_core::clock::Timestamp;
use bridge_core::command::Language;
use bridge_core::content::Document;
use bridge_core::decide::{from_dingtalk, from_matrix};
use bridge_core::delivery::attempt::Outcome;
use bridge_core::delivery::key::{KeySeed, Purpose};
use bridge_core::envelope::{Envelope, Lane, Source};
use bridge_core::event::{ChatKind, ChatMessage, Manner, RoomEvent};
use bridge_core::id::{ChatId, PersonId};
use bridge_core::op::{Author, Ghost, GhostStep, Op, Say};
use bridge_core::portal::{self, Chat, ChatState, PortalChange};
use bridge_core::reply::{DirectReply, Reply};
use bridge_core::secret::Secret;
use bridge_dingtalk::error::Class as DingTalkClass;
use bridge_matrix::client::{CreateRoom, InitialState, Preset};
use bridge_matrix::error::{Class, MatrixError};
use bridge_store::{Commit, LinkSource, Person};
use ruma::{OwnedRoomId, OwnedUserId, UserId};
use tokio::sync::OwnedMutexGuard;

use crate::app::App;
use crate::relay::facts::or_default;
use crate::relay::op::{From, render};
use crate::relay::step::{StepError, Stepped};
use crate::relay::{facts, outcome, profiles, readback, send};

/// Held until the chat's row is durable: two lanes must not give one person two rooms.
pub(crate) type Guard = OwnedMutexGuard<()>;

/// A room and the newest event in it.
pub(crate) type Place = (OwnedRoomId, Option<String>);

/// Who is invited to rooms of 1:1 chats, and may open one.
pub(crate) fn recipients(app: &App) -> Vec<OwnedUserId> {
    let direct = &app.config.direct;
    if !direct.enabled {
        return Vec::new();
    }
    if direct.recipients.is_empty() {
        let linked = app.linked().filter(|linked| linked.link.source == LinkSource::Command);
        return linked.map(|linked| linked.link.linked_by.clone()).into_iter().collect();
    }
    direct.recipients.iter().filter_map(|user| UserId::parse(user.to_string()).ok()).collect()
}

/// All that is known of a person's 1:1 chat: the row under the name DingTalk gave it, or under the bridge's own.
pub(crate) async fn chat_of(app: &App, person: &PersonId) -> Result<Option<Chat>, StepError> {
    let mut found: Option<Chat> = None;
    for chat in app.store.chats().await? {
        if chat.kind != ChatKind::Direct || chat.peer.as_ref() != Some(person) {
            continue;
        }
        if found
            .as_ref()
            .is_none_or(|best| !best.is_open() && (chat.is_open() || !portal::is_own_id(&chat.id)))
        {
            found = Some(chat);
        }
    }
    Ok(found)
}

/// The ids under which messages of a chat were written down.
pub(crate) fn ids_of(chat: &ChatId, peer: Option<&PersonId>) -> Vec<ChatId> {
    [Some(chat.clone()), peer.and_then(portal::direct_id)].into_iter().flatten().collect()
}

/// Finds or makes the room for a person's message, if the chat has none.
pub(crate) async fn prepare(
    app: &App,
    message: &ChatMessage,
    facts: &mut from_dingtalk::Facts,
    now: Timestamp,
) -> Result<Option<Guard>, StepError> {
    let waiting = facts.chat.as_ref().is_none_or(|chat| chat.state == ChatState::Seen);
    if message.kind != ChatKind::Direct || !waiting || facts.found_room.is_some() {
        return Ok(None);
    }
    let Some(own_id) = portal::direct_id(&message.sender) else { return Ok(None) };
    let guard = Arc::clone(&app.bridging).lock_owned().await;
    facts.opened = app.store.chat(&own_id).await?.filter(|chat| chat.is_open() && chat.room.is_some());
    if facts.opened.is_some() {
        return Ok(Some(guard));
    }
    let recipients = recipients(app);
    if recipients.is_empty() {
        return Ok(None);
    }
    let known = profiles::known(app, &message.sender).await?;
    let sender_id = Some(&message.sender_id);
    let person =
        known.or_else(|| profiles::new_person(app, &message.sender, &message.sender_name, sender_id, now));
    let Some(person) = person else { return Ok(None) };
    facts.room = open(app, &person, &recipients).await?;
    Ok(facts.room.is_some().then_some(guard))
}

/// Makes the room of a person's 1:1 chat, or finds the one that was made before, and invites. Every call can be
/// repeated. `None` when the homeserver does not want it.
pub(crate) async fn open(
    app: &App,
    person: &Person,
    recipients: &[OwnedUserId],
) -> Result<Option<Place>, StepError> {
    match try_open(app, person, recipients).await {
        Ok(place) => Ok(Some(place)),
        Err(Problem::Step(error)) => Err(error),
        Err(Problem::Refused(code)) => {
            tracing::warn!(person = person.id.to_key(), code, "the room of a 1:1 chat could not be made");
            Ok(None)
        }
    }
}

/// Why something with a room does not go on.
enum Problem {
    /// Not now.
    Step(StepError),
    /// Never.
    Refused(String),
}

impl std::convert::From<MatrixError> for Problem {
    fn from(error: MatrixError) -> Self {
        match outcome::of_matrix(&error) {
            Outcome::Refused { code } => Self::Refused(code),
            _ => Self::Step(StepError::Homeserver(error)),
        }
    }
}

impl std::convert::From<StepError> for Problem {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

impl std::convert::From<bridge_store::StoreError> for Problem {
    fn from(error: bridge_store::StoreError) -> Self {
        Self::Step(error.into())
    }
}

impl std::convert::From<Outcome> for Problem {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Refused { code } => Self::Refused(code),
            other => Self::Step(StepError::NotNow(outcome::code(&other).to_owned())),
        }
    }
}

async fn try_open(app: &App, person: &Person, recipients: &[OwnedUserId]) -> Result<Place, Problem> {
    let own_id = portal::direct_id(&person.id).ok_or_else(|| Problem::Refused("long_id".to_owned()))?;
    remember(app, person).await?;
    let name = app.config.bot.ghost_name.render(&person.name);
    let topic = Reply::Direct(DirectReply::Topic { name: person.name.clone() });
    let avatar = app.store.profile(&person.id).await?.and_then(|profile| profile.avatar);
    let wanted = CreateRoom {
        alias_localpart: Some(portal::alias_localpart(app.config.bot.alias_prefix.as_str(), &own_id)),
        name: Some(name),
        topic: Some(topic.text(Language::Chinese) + " · " + &topic.text(Language::English)),
        is_direct: true,
        preset: Preset::PrivateChat,
        initial_state: avatar.as_deref().map(room_avatar).into_iter().collect(),
        // The ghost invites, so that the room shows up as a chat with it.
        power_levels: Some(serde_json::json!({ "invite": 0 })),
        ..CreateRoom::default()
    };
    let mut made = app.matrix.create_room(&wanted).await?;
    if made.existed && !is_ours(app, &made.room).await? {
        if let Some(alias) = app.portal_alias(&own_id) {
            app.matrix.drop_alias(&alias).await?;
        }
        made = app.matrix.create_room(&wanted).await?;
    }
    let ghost = send::ready_ghost(app, &person.id, &made.room).await?;
    for recipient in recipients {
        if let Err(Problem::Step(error)) = invite(app, &made.room, recipient, &ghost).await {
            return Err(Problem::Step(error));
        }
    }
    let newest = readback::newest(app, &made.room).await?;
    Ok((made.room, newest))
}

fn room_avatar(avatar: &str) -> InitialState {
    InitialState {
        event_type: "m.room.avatar".to_owned(),
        state_key: String::new(),
        content: serde_json::json!({ "url": avatar }),
    }
}

/// Whether the bot is in a room that no chat has.
async fn is_ours(app: &App, room: &OwnedRoomId) -> Result<bool, StepError> {
    let members = or_default(app.matrix.joined_members(room).await)?;
    let inside = members.iter().any(|member| member.user == app.own.bot);
    Ok(inside && app.store.chat_by_room(room).await?.is_none())
}

/// Writes a person's row, where there is none.
async fn remember(app: &App, person: &Person) -> Result<(), StepError> {
    if app.store.person(&person.id).await?.is_none() {
        app.store.commit(Commit { people: vec![person.clone()], ..Commit::default() }).await?;
    }
    Ok(())
}

/// The ghost invites somebody to a direct chat, unless they are in it, invited, or shut out.
async fn invite(app: &App, room: &OwnedRoomId, user: &UserId, ghost: &UserId) -> Result<(), Problem> {
    let membership = app.matrix.membership(room, user).await?;
    if matches!(membership.as_deref(), Some("join" | "invite" | "ban")) {
        return Ok(());
    }
    let content = serde_json::json!({ "membership": "invite", "is_direct": true });
    match app.matrix.put_state(room, "m.room.member", user.as_str(), &content, ghost).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.class, Class::Denied | Class::Permanent) => {
            tracing::info!(room = room.as_str(), "a ghost could not invite, the bot tries: {error}");
            Ok(app.matrix.invite(room, user).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// The row of a person's 1:1 chat that DingTalk has not named.
fn new_row(app: &App, person: &Person, place: Place, now: Timestamp) -> Option<Chat> {
    let (room, synced_to) = place;
    Some(Chat {
        id: portal::direct_id(&person.id)?,
        kind: ChatKind::Direct,
        title: Some(person.name.clone()),
        state: ChatState::Bridged,
        room: Some(room),
        robot: app.linked().map(|linked| linked.link.app_key.clone()),
        peer: Some(person.id.clone()),
        announced: true,
        first_seen: now,
        last_message: now,
        synced_to,
    })
}

/// Has what was held for a chat come, in the chat's own lane.
pub(crate) fn backfill(chat: &ChatId, cause: &str, now: Timestamp) -> Envelope {
    Envelope {
        source: Source::Backfill,
        key: format!("backfill:{cause}"),
        lane: Lane::from_chat(chat.as_str()),
        received_at: now,
        body: chat.as_str().as_bytes().to_vec(),
    }
}

/// Somebody who may opens a person's chat: in a room that is given, or in one that is made.
pub(crate) async fn begin(
    app: &App,
    person: &Person,
    user: &OwnedUserId,
    given: Option<Place>,
    cause: &str,
    now: Timestamp,
    stepped: &mut Stepped,
) -> Result<DirectReply, StepError> {
    let name = person.name.clone();
    let guard = Arc::clone(&app.bridging).lock_owned().await;
    let known = chat_of(app, &person.id).await?;
    if let Some(chat) = known.as_ref().filter(|chat| chat.is_open())
        && let Some(room) = chat.room.clone()
    {
        if let Err(Problem::Step(error)) = invite(app, &room, user, &person.mxid).await {
            return Err(error);
        }
        return Ok(DirectReply::Exists { name, room });
    }
    if person.id.staff().is_none() {
        return Ok(DirectReply::External { name });
    }
    if app.store.departed(&person.id).await?.is_some() {
        return Ok(DirectReply::Departed { name });
    }
    let place = match given {
        Some(place) => place,
        None => match open(app, person, &recipients(app)).await? {
            Some(place) => place,
            None => return Ok(DirectReply::NoBot),
        },
    };
    let room = place.0.clone();
    if let Some(chat) = known {
        // What was held for it comes first.
        let (room, synced_to) = place;
        stepped.commit.accept.push(backfill(&chat.id, cause, now));
        stepped.commit.portals.push((chat.id, PortalChange::Choose { room, synced_to }));
    } else if let Some(chat) = new_row(app, person, place, now) {
        stepped.commit.chats.push(chat);
    }
    stepped.guard = Some(guard);
    Ok(DirectReply::Opened { name, room })
}

/// A person by staff id of whom nobody may have heard: the address book decides. `None`: there is nobody.
pub(crate) async fn look_up(app: &App, id: &PersonId, now: Timestamp) -> Result<Option<Person>, StepError> {
    if let Some(person) = profiles::known(app, id).await? {
        return Ok(Some(person));
    }
    let Some(staff) = id.staff() else { return Ok(None) };
    match app.dingtalk.user(staff).await {
        Ok(user) => Ok(profiles::new_person(app, id, &user.name, None, now)),
        Err(error) if error.class == DingTalkClass::Denied => {
            // The app may not read the address book: sending will tell.
            Ok(profiles::new_person(app, id, staff.as_str(), None, now))
        }
        Err(error) => {
            tracing::info!(staff = staff.as_str(), code = error.code, "the address book names nobody");
            Ok(None)
        }
    }
}

/// A ghost was invited to a room by somebody who is none of ours.
pub(crate) async fn invited(
    app: &App,
    event: &RoomEvent,
    ghost: &OwnedUserId,
    portal: Option<&Chat>,
    now: Timestamp,
    stepped: &mut Stepped,
) -> Result<(), StepError> {
    let known = app.store.person_by_mxid(ghost).await?;
    if portal.is_some() {
        let op = say(event, Author::Bot, &DirectReply::InvitedIntoPortal);
        stepped.ops.extend(render(vec![op], None, None, &From::Nowhere));
        if let Some(person) = known {
            stepped.ops.extend(render(vec![leave(event, &person.id)], None, None, &From::Nowhere));
        }
        return Ok(());
    }
    let allowed = recipients(app);
    if !allowed.contains(&event.sender) {
        // Strangers are not told by people whom the bridge does not know.
        if let Some(person) = known.filter(|_| event.sender.server_name() == app.own.server) {
            let recipients = allowed.iter().map(ToString::to_string).collect();
            refuse(event, &person.id, &DirectReply::NotForYou { recipients }, stepped);
        }
        return Ok(());
    }
    let prefix = app.config.bot.ghost_prefix.as_str();
    let id = match known {
        Some(person) => Some(person.id),
        None => bridge_core::ghost::decode(prefix, ghost.localpart()),
    };
    let Some(id) = id else { return Ok(()) };
    let Some(person) = look_up(app, &id, now).await? else {
        let wanted = id.staff().map_or_else(|| ghost.to_string(), ToString::to_string);
        // The ghost of nobody has to say that it is nobody's.
        stepped.commit.people.extend(profiles::new_person(app, &id, &wanted, None, now));
        refuse(event, &id, &DirectReply::Unknown { wanted }, stepped);
        return Ok(());
    };
    remember(app, &person).await?;
    let reply = match settle(app, event, &person).await {
        Ok(Ok(place)) => {
            let cause = event.id.as_str();
            begin(app, &person, &event.sender, Some(place), cause, now, stepped).await?
        }
        Ok(Err(reply)) => reply,
        Err(Problem::Step(error)) => return Err(error),
        Err(Problem::Refused(code)) => {
            tracing::info!(room = event.room.as_str(), code, "a room could not become a 1:1 chat");
            DirectReply::NoBot
        }
    };
    if matches!(reply, DirectReply::Opened { .. }) {
        let topic = DirectReply::Topic { name: person.name.clone() };
        stepped.ops.extend(render(vec![say(event, Author::Bot, &topic)], None, None, &From::Nowhere));
        let alias = portal::direct_id(&person.id).and_then(|id| app.portal_alias(&id));
        if let Some(alias) = alias
            && let Err(error) = app.matrix.claim_alias(&alias, &event.room).await
        {
            tracing::warn!(room = event.room.as_str(), "the room of a 1:1 chat has no alias: {error}");
        }
    } else {
        let told = facts::room_setting(&event.room, from_matrix::Remember::ToldEncrypted);
        stepped.commit.settings.push((told, Some(Secret::new(now.0.to_string()))));
        refuse(event, &person.id, &reply, stepped);
        let bot = app.own.bot.clone();
        if let Err(error) = app.matrix.leave(&event.room, &bot).await {
            tracing::debug!(room = event.room.as_str(), "the bot does not leave: {error}");
        }
    }
    Ok(())
}

/// Ghost and bot come into the room; whether it can be a 1:1 chat's.
async fn settle(
    app: &App,
    event: &RoomEvent,
    person: &Person,
) -> Result<Result<Place, DirectReply>, Problem> {
    let ghost = send::present(app, &person.id).await?.mxid;
    let (room, bot) = (&event.room, &app.own.bot);
    app.matrix.join((&**room).into(), &ghost, &[]).await?;
    let content = serde_json::json!({ "membership": "invite" });
    if app.matrix.membership(room, bot).await.ok().flatten().as_deref() != Some("join") {
        app.matrix.put_state(room, "m.room.member", bot.as_str(), &content, &ghost).await?;
        app.matrix.join((&**room).into(), bot, &[]).await?;
    }
    let memberships = vec![(ghost.clone(), room.clone(), true)];
    app.store.commit(Commit { memberships, ..Commit::default() }).await?;
    let members = app.matrix.joined_members(room).await?;
    let expected = |user: &OwnedUserId| *user == ghost || user == bot || *user == event.sender;
    if !members.iter().all(|member| expected(&member.user)) {
        return Ok(Err(DirectReply::NotDirect));
    }
    if crate::encryption::shuts_out(app, room).await? {
        return Ok(Err(DirectReply::Encrypted));
    }
    Ok(Ok((room.clone(), readback::newest(app, room).await?)))
}

/// The ghost says why not, and leaves.
fn refuse(event: &RoomEvent, person: &PersonId, reply: &DirectReply, stepped: &mut Stepped) {
    for op in [say(event, Author::Ghost(person.clone()), reply), leave(event, person)] {
        stepped.ops.extend(render(vec![op], None, None, &From::Nowhere));
    }
}

fn say(event: &RoomEvent, author: Author, reply: &DirectReply) -> Op {
    Op::Say(Say {
        room: event.room.clone(),
        author,
        manner: Manner::Notice,
        body: Document::plain(&Reply::Direct(reply.clone()).bilingual()),
        reply_to: None,
        at: None,
        key: KeySeed::new(Purpose::Notice, event.id.as_str()),
    })
}

fn leave(event: &RoomEvent, person: &PersonId) -> Op {
    let key = KeySeed::new(Purpose::Membership, event.id.as_str());
    Op::Ghost(Ghost { person: person.clone(), step: GhostStep::Leave(event.room.clone()), key })
}
