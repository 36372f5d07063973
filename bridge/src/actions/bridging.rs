//! Bridging a chat and taking a bridge down.

use std::sync::Arc;

use bridge_core::envelope::Lane;
use bridge_core::id::ChatId;
use bridge_core::portal::{Chat, ChatState, PortalChange};
use bridge_core::reply::{BridgeProblem, Reply};
use bridge_store::InboxSeq;
use ruma::{OwnedRoomId, RoomAliasId, RoomId};

use crate::actions::{Actor, notice_key, tell};
use crate::app::App;
use crate::relay::facts::or_default;
use crate::relay::step::{StepError, Stepped};
use crate::relay::{direct, readback};

/// The level that lets a bot invite ghosts in a room with usual settings.
const MODERATOR: i64 = 50;

/// Most held messages that are counted.
const COUNTED: u32 = 10_000;

/// What was bridged.
pub(crate) struct Bridged {
    pub(crate) title: String,
    pub(crate) room: OwnedRoomId,
    /// Messages that were held and come now.
    pub(crate) held: u64,
}

/// Why nothing was bridged.
pub(crate) enum Refusal {
    NotLinked,
    Problem(BridgeProblem),
}

/// Bridges a chat to a room, given by id or alias.
pub(crate) async fn bridge(
    app: &App,
    actor: Actor<'_>,
    target: &str,
    chat: &ChatId,
    stepped: &mut Stepped,
) -> Result<Result<Bridged, Refusal>, StepError> {
    if app.linked().is_none() {
        return Ok(Err(Refusal::NotLinked));
    }
    stepped.guard = Some(Arc::clone(&app.bridging).lock_owned().await);
    let (room, chat) = match check(app, actor, target, chat).await? {
        Ok(found) => found,
        Err(problem) => return Ok(Err(Refusal::Problem(problem))),
    };
    let lane = Lane::from_chat(chat.id.as_str());
    let held = app.store.held(&lane, InboxSeq(0), COUNTED).await?.len() as u64;
    let synced_to = readback::newest(app, &room).await?;
    let title = title(&chat);
    claim_alias(app, &chat.id, &room).await;
    // What was held comes in the chat's own lane, so that nothing newer overtakes it.
    stepped.commit.accept.push(direct::backfill(&chat.id, actor.cause, app.now()));
    // A chat that is no more gives its room to the new one.
    if let Some(dead) = app.portal(&room).await?.filter(|other| other.id != chat.id) {
        stepped.commit.portals.push((dead.id, PortalChange::Release { room: room.clone() }));
    }
    let change = PortalChange::Choose { room: room.clone(), synced_to };
    stepped.commit.portals.push((chat.id, change));
    let said = Reply::RoomBridged { title: title.clone() }.bilingual();
    tell(stepped, room.clone(), &said, notice_key(actor, "bridged"));
    Ok(Ok(Bridged { title, room, held }))
}

/// Makes the chat's alias stand for the room, so that the portal is found again even without the database.
async fn claim_alias(app: &App, chat: &ChatId, room: &RoomId) {
    let Some(alias) = app.portal_alias(chat) else { return };
    if let Err(error) = app.matrix.claim_alias(&alias, room).await {
        tracing::warn!(room = room.as_str(), alias = alias.as_str(), "the portal has no alias: {error}");
    }
}

async fn check(
    app: &App,
    actor: Actor<'_>,
    target: &str,
    chat: &ChatId,
) -> Result<Result<(OwnedRoomId, Chat), BridgeProblem>, StepError> {
    let bot = &app.own.bot;
    let Some(room) = find_room(app, target).await? else { return Ok(Err(BridgeProblem::NotInRoom)) };
    let members = or_default(app.matrix.joined_members(&room).await)?;
    if !members.iter().any(|member| member.user == *bot) {
        return Ok(Err(BridgeProblem::NotInRoom));
    }
    if let Some(asked_in) = actor.room {
        if !members.iter().any(|member| member.user == *actor.user) {
            return Ok(Err(BridgeProblem::NoPowerOfSender));
        }
        if *room == *asked_in {
            return Ok(Err(BridgeProblem::ManagementRoom));
        }
    }
    if crate::encryption::shuts_out(app, &room).await? {
        return Ok(Err(BridgeProblem::Encrypted));
    }
    let levels = app.matrix.power_levels(&room).await.map_err(StepError::Homeserver)?;
    if !levels.can_invite(bot) || !levels.can_send(bot, "m.room.message") || levels.user(bot) < MODERATOR {
        return Ok(Err(BridgeProblem::Power { have: levels.user(bot), need: MODERATOR }));
    }
    if let Some(other) = app.portal(&room).await?.filter(Chat::is_open) {
        let title = title(&other);
        return Ok(Err(if other.id == *chat {
            BridgeProblem::AlreadyBridged(title)
        } else {
            BridgeProblem::RoomTaken(title)
        }));
    }
    let Some(known) = app.chat(chat).await? else {
        return Ok(Err(BridgeProblem::UnknownChat(chat.clone())));
    };
    match (known.state, &known.room) {
        (ChatState::Dead, _) => Ok(Err(BridgeProblem::Dead)),
        (ChatState::Bridging | ChatState::Bridged, Some(other)) => {
            Ok(Err(BridgeProblem::ChatTaken(other.clone())))
        }
        _ => Ok(Ok((room, known))),
    }
}

/// Takes the bridge of a room or a chat down; answers the chat's title, or nothing where nothing is bridged.
pub(crate) async fn unbridge(
    app: &App,
    actor: Actor<'_>,
    target: &str,
    stepped: &mut Stepped,
) -> Result<Option<String>, StepError> {
    let found = match (find_room(app, target).await?, ChatId::parse(target)) {
        (Some(room), _) => app.portal(&room).await?,
        (None, Ok(chat)) => app.chat(&chat).await?,
        (None, Err(_)) => None,
    };
    let found = found.and_then(|chat| Some((chat.clone(), chat.room?)));
    let Some((chat, room)) = found else { return Ok(None) };
    let title = title(&chat);
    for id in direct::ids_of(&chat.id, chat.peer.as_ref()) {
        if let Some(alias) = app.portal_alias(&id)
            && let Err(error) = app.matrix.drop_alias(&alias).await
        {
            tracing::warn!(alias = alias.as_str(), "the portal's alias stays: {error}");
        }
    }
    let said = Reply::RoomUnbridged { title: title.clone() }.bilingual();
    tell(stepped, room.clone(), &said, notice_key(actor, "unbridged"));
    // The room of a chat that is no more can be given away.
    let change = if chat.is_open() { PortalChange::Close { room } } else { PortalChange::Release { room } };
    stepped.commit.portals.push((chat.id, change));
    Ok(Some(title))
}

/// The room of an id or alias.
async fn find_room(app: &App, target: &str) -> Result<Option<OwnedRoomId>, StepError> {
    if let Ok(room) = <&RoomId>::try_from(target) {
        return Ok(Some(room.to_owned()));
    }
    match <&RoomAliasId>::try_from(target) {
        Ok(alias) => or_default(app.matrix.resolve_alias(alias).await),
        Err(_) => Ok(None),
    }
}

/// What a chat is called.
pub(crate) fn title(chat: &Chat) -> String {
    chat.title.clone().unwrap_or_else(|| chat.id.to_string())
}
