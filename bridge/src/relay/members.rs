//! Events of the organisation: who is in which chat, what chats and people are called, who left.

use bridge_core::clock::Timestamp;
use bridge_core::decide::organisation::{self, Decision, Known};
use bridge_core::delivery::attempt::Outcome;
use bridge_core::delivery::key::{KeySeed, OpKey, Purpose};
use bridge_core::event::OrgEvent;
use bridge_core::id::{PersonId, StaffId};
use bridge_core::op::{GhostStep, Op, Rename};
use bridge_core::organisation::{BotRecall, ChatChange, ChatEvent, PeopleEvent};
use bridge_core::portal::Chat;
use bridge_matrix::error::{Class, MatrixError};
use bridge_store::{Commit, Direction, InboxItem, Person, Remote};
use ruma::{OwnedRoomId, OwnedUserId};

use crate::app::App;
use crate::relay::facts::or_default;
use crate::relay::op::{From, Rendered, render};
use crate::relay::step::{StepError, Stepped};
use crate::relay::{direct, notices, outcome, profiles, send};

/// Names that one event may ask the address book for. Others are told when their people speak.
const MOST_ASKED: usize = 20;

/// Makes the step for an event.
pub(crate) async fn step(
    app: &App,
    item: &InboxItem,
    event: &OrgEvent,
    now: Timestamp,
) -> Result<Stepped, StepError> {
    let mut stepped = Stepped::default();
    let cause = item.envelope.key.as_str();
    match event {
        OrgEvent::Chat(event) => chat_event(app, event, cause, now, &mut stepped).await?,
        OrgEvent::Recalled(recall) => recalled(app, recall, cause, now, &mut stepped).await?,
        OrgEvent::People(event) => people_event(app, event, cause, now, &mut stepped).await?,
        OrgEvent::Withheld { name } => {
            app.health.set_over_quota(true);
            app.metrics.ignored_event(name);
        }
        OrgEvent::Other { name } => app.metrics.ignored_event(name),
        OrgEvent::Cards(cards) => notices::show(app, cards, cause, now, &mut stepped).await?,
        // Handled as what it doubles.
        OrgEvent::Message(_) => {}
    }
    Ok(stepped)
}

async fn chat_event(
    app: &App,
    event: &ChatEvent,
    cause: &str,
    now: Timestamp,
    stepped: &mut Stepped,
) -> Result<(), StepError> {
    let chat = app.chat(&event.chat).await?;
    let open = chat.as_ref().is_some_and(Chat::is_open);
    let mut owner = None;
    match &event.what {
        ChatChange::Added(people) if open => {
            for (place, staff) in people.iter().enumerate() {
                let member = profiles::member(app, staff, place < MOST_ASKED, now).await?;
                stepped.commit.people.extend(new_row(member));
            }
        }
        ChatChange::Owner(staff) if open => owner = Some(name_of(app, staff, now).await?),
        _ => {}
    }
    let decision = organisation::chat_event(chat.as_ref(), event, owner.as_deref(), cause);
    if decision.is_empty() {
        app.metrics.ignored_event("chat");
    }
    carry_out(decision, stepped);
    Ok(())
}

fn new_row(member: Option<(Person, bool)>) -> Option<Person> {
    member.and_then(|(person, new)| new.then_some(person))
}

/// What a person is called; their staff id where nobody knows.
pub(crate) async fn name_of(app: &App, staff: &StaffId, now: Timestamp) -> Result<String, StepError> {
    let member = profiles::member(app, staff, true, now).await?;
    Ok(member.map_or_else(|| staff.to_string(), |(person, _)| person.name))
}

async fn recalled(
    app: &App,
    recall: &BotRecall,
    cause: &str,
    now: Timestamp,
    stepped: &mut Stepped,
) -> Result<(), StepError> {
    let remote = Remote::Query(recall.post.clone());
    let chat = app.chat(&recall.chat).await?.filter(Chat::is_open);
    let peer = chat.as_ref().and_then(|chat| chat.peer.as_ref());
    let mut mapping = None;
    for id in direct::ids_of(&recall.chat, peer) {
        let mapped = app.store.mapping_by_remote(&id, &remote).await?;
        mapping = mapping.or_else(|| mapped.into_iter().find(|part| part.direction == Direction::FromMatrix));
    }
    let (Some(mapping), Some(_)) = (mapping, chat) else {
        app.metrics.ignored_event("robot_msg_recall");
        return Ok(());
    };
    // What was taken back here first needs no telling.
    let shown = or_default(app.matrix.event(&mapping.room, &mapping.event).await)?;
    if shown.is_none_or(|raw| bridge_matrix::wire::event::is_redacted(&raw)) {
        return Ok(());
    }
    let by = match &recall.operator {
        Some(staff) => Some(name_of(app, staff, now).await?),
        None => None,
    };
    let op = organisation::recalled(&mapping.room, mapping.event, by, cause);
    stepped.ops.extend(render(vec![op], None, None, &From::Nowhere));
    Ok(())
}

async fn people_event(
    app: &App,
    event: &PeopleEvent,
    cause: &str,
    now: Timestamp,
    stepped: &mut Stepped,
) -> Result<(), StepError> {
    let people = match event {
        PeopleEvent::Joined(people) | PeopleEvent::Left(people) => people.as_slice(),
        PeopleEvent::Renamed { staff, .. } => std::slice::from_ref(staff),
    };
    let mut rows = Vec::new();
    let mut facts = Vec::new();
    for staff in people {
        let id = PersonId::Staff(staff.clone());
        let Some(person) = profiles::known(app, &id).await? else { continue };
        let departed = app.store.departed(&id).await?.is_some();
        facts.push(Known { id, name: person.name.clone(), departed });
        rows.push(person);
    }
    let decision = organisation::people_event(&facts, event, cause);
    if decision.is_empty() {
        app.metrics.ignored_event("people");
    }
    for (id, name) in &decision.renamed {
        let Some(row) = rows.iter().find(|row| row.id == *id) else { continue };
        stepped.ops.extend(rename_direct(app, row, name, cause).await?);
        let row = Person { name: name.clone(), updated_at: now, ..row.clone() };
        app.people.insert(id.clone(), row.clone());
        stepped.commit.people.push(row);
    }
    let departed = decision.departed.iter();
    stepped.commit.departed.extend(departed.map(|(id, left)| (id.clone(), left.then_some(now))));
    carry_out(decision, stepped);
    Ok(())
}

/// The room of a person's 1:1 chat is called as they are.
async fn rename_direct(
    app: &App,
    person: &Person,
    name: &str,
    cause: &str,
) -> Result<Vec<(OpKey, Rendered)>, StepError> {
    let chat = direct::chat_of(app, &person.id).await?.filter(Chat::is_open);
    let Some(room) = chat.and_then(|chat| chat.room) else { return Ok(Vec::new()) };
    let shown = &app.config.bot.ghost_name;
    let rename = Rename {
        room,
        former: Some(shown.render(&person.name)),
        name: shown.render(name),
        key: KeySeed::new(Purpose::Title, &format!("{cause}/{}", person.id.to_key())),
    };
    Ok(render(vec![Op::Rename(rename)], None, None, &From::Nowhere))
}

fn carry_out(decision: Decision, stepped: &mut Stepped) {
    for op in decision.ops {
        stepped.ops.extend(render(vec![op], None, None, &From::Nowhere));
    }
    stepped.commit.chats.extend(decision.chat);
    stepped.commit.portals.extend(decision.portal);
}

/// Has a ghost do something. What the homeserver will never allow is left undone: no message is lost by it.
pub(crate) async fn walk(app: &App, person: &PersonId, step: &GhostStep) -> Outcome {
    match try_walk(app, person, step).await {
        Ok(()) => Outcome::Sent,
        Err(Outcome::Refused { code }) => {
            tracing::warn!(person = person.to_key(), code, "a ghost could not come, go or be renamed");
            Outcome::Sent
        }
        Err(outcome) => outcome,
    }
}

async fn try_walk(app: &App, person: &PersonId, step: &GhostStep) -> Result<(), Outcome> {
    let stored = |error: bridge_store::StoreError| Outcome::Failed { code: error.code().to_owned() };
    if let GhostStep::Enter(room) = step {
        return send::ready_ghost(app, person, room).await.map(drop);
    }
    let Some(known) = profiles::known(app, person).await.map_err(stored)?.filter(|known| known.registered)
    else {
        return Ok(());
    };
    match step {
        GhostStep::Enter(_) => Ok(()),
        GhostStep::Show => send::present(app, person).await.map(drop),
        GhostStep::Leave(room) => leave(app, &known.mxid, room).await,
        GhostStep::LeaveAll => {
            let rooms = app.matrix.joined_rooms(&known.mxid).await;
            for room in rooms.map_err(|error| outcome::of_matrix(&error))? {
                leave(app, &known.mxid, &room).await?;
            }
            Ok(())
        }
    }
}

async fn leave(app: &App, ghost: &OwnedUserId, room: &OwnedRoomId) -> Result<(), Outcome> {
    if let Err(error) = app.matrix.leave(room, ghost).await
        && error.class != Class::Denied
    {
        return Err(outcome::of_matrix(&error));
    }
    app.joined.remove(&(ghost.clone(), room.clone()));
    let memberships = vec![(ghost.clone(), room.clone(), false)];
    let written = app.store.commit(Commit { memberships, ..Commit::default() }).await;
    written.map(drop).map_err(|error| Outcome::Failed { code: error.code().to_owned() })
}

/// Gives a room its chat's title, if it has no name or the chat's former title.
pub(crate) async fn rename(app: &App, room: &OwnedRoomId, former: Option<&str>, name: &str) -> Outcome {
    match try_rename(app, room, former, name).await {
        Ok(()) => Outcome::Sent,
        Err(error) => match outcome::of_matrix(&error) {
            Outcome::Refused { code } => {
                tracing::info!(room = room.as_str(), code, "the bot may not rename this room");
                Outcome::Sent
            }
            outcome => outcome,
        },
    }
}

async fn try_rename(
    app: &App,
    room: &OwnedRoomId,
    former: Option<&str>,
    name: &str,
) -> Result<(), MatrixError> {
    let state = app.matrix.state(room, "m.room.name", "").await?;
    let current = state.as_ref().and_then(|content| content.get("name")?.as_str()).unwrap_or_default();
    if !current.is_empty() && Some(current) != former {
        return Ok(());
    }
    let content = serde_json::json!({ "name": name });
    app.matrix.put_state(room, "m.room.name", "", &content, &app.own.bot).await.map(drop)
}
