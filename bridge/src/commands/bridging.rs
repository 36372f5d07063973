//! `bridge`, `unbridge` and `groups`.

use bridge_core::envelope::Lane;
use bridge_core::id::ChatId;
use bridge_core::portal::{Chat, ChatState, PortalChange};
use bridge_core::reply::{BridgeProblem, GroupLine, Reply};
use ruma::{OwnedRoomId, OwnedRoomOrAliasId, RoomAliasId, RoomId};

use crate::commands::Run;
use crate::relay::direct;
use crate::relay::facts::or_default;
use crate::relay::readback;
use crate::relay::step::StepError;

/// The level that lets a bot invite ghosts in a room with usual settings.
const MODERATOR: i64 = 50;

impl Run<'_> {
    pub(super) async fn bridge(
        &mut self,
        target: &OwnedRoomOrAliasId,
        chat: &ChatId,
    ) -> Result<(), StepError> {
        if self.app.linked().is_none() {
            self.answer(&Reply::NotLinked);
            return Ok(());
        }
        let (room, chat) = match self.check(target, chat).await? {
            Ok(found) => found,
            Err(problem) => {
                self.answer(&Reply::BridgeFailed(problem));
                return Ok(());
            }
        };
        let lane = Lane::from_chat(chat.id.as_str());
        let held = self.app.store.held(&lane, bridge_store::InboxSeq(0), 10_000).await?.len() as u64;
        let synced_to = readback::newest(self.app, &room).await?;
        let title = title(&chat);
        self.claim_alias(&chat.id, &room).await;
        // What was held comes in the chat's own lane, so that nothing newer overtakes it.
        self.stepped.commit.accept.push(direct::backfill(&chat.id, self.event.id.as_str(), self.now));
        // A chat that is no more gives its room to the new one.
        if let Some(dead) = self.app.portal(&room).await?.filter(|other| other.id != chat.id) {
            self.stepped.commit.portals.push((dead.id, PortalChange::Release { room: room.clone() }));
        }
        let change = PortalChange::Choose { room: room.clone(), synced_to };
        self.stepped.commit.portals.push((chat.id, change));
        self.answer(&Reply::Bridged { title: title.clone(), room: room.clone(), held });
        let said = Reply::RoomBridged { title }.text(self.language);
        self.say(room, &said);
        Ok(())
    }

    /// Makes the chat's alias stand for the room, so that the portal is found again even without the database.
    async fn claim_alias(&self, chat: &ChatId, room: &RoomId) {
        let Some(alias) = self.app.portal_alias(chat) else { return };
        if let Err(error) = self.app.matrix.claim_alias(&alias, room).await {
            tracing::warn!(room = room.as_str(), alias = alias.as_str(), "the portal has no alias: {error}");
        }
    }

    async fn check(
        &self,
        target: &OwnedRoomOrAliasId,
        chat: &ChatId,
    ) -> Result<Result<(OwnedRoomId, Chat), BridgeProblem>, StepError> {
        let app = self.app;
        let bot = &app.own.bot;
        let room = match <&RoomId>::try_from(&**target) {
            Ok(room) => Some(room.to_owned()),
            Err(_) => match <&RoomAliasId>::try_from(&**target) {
                Ok(alias) => or_default(app.matrix.resolve_alias(alias).await)?,
                Err(_) => None,
            },
        };
        let Some(room) = room else { return Ok(Err(BridgeProblem::NotInRoom)) };
        let members = or_default(app.matrix.joined_members(&room).await)?;
        if !members.iter().any(|member| member.user == *bot) {
            return Ok(Err(BridgeProblem::NotInRoom));
        }
        if !members.iter().any(|member| member.user == self.event.sender) {
            return Ok(Err(BridgeProblem::NoPowerOfSender));
        }
        if room == self.event.room {
            return Ok(Err(BridgeProblem::ManagementRoom));
        }
        if or_default(app.matrix.is_encrypted(&room).await)? {
            return Ok(Err(BridgeProblem::Encrypted));
        }
        let levels = app.matrix.power_levels(&room).await.map_err(StepError::Homeserver)?;
        if !levels.can_invite(bot) || !levels.can_send(bot, "m.room.message") || levels.user(bot) < MODERATOR
        {
            return Ok(Err(BridgeProblem::Power { have: levels.user(bot), need: MODERATOR }));
        }
        if let Some(other) = app.portal(&room).await?
            && other.is_open()
        {
            return Ok(Err(BridgeProblem::RoomTaken(title(&other))));
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

    pub(super) async fn unbridge(&mut self, target: &str) -> Result<(), StepError> {
        let room = match <&RoomId>::try_from(target) {
            Ok(room) => Some(room.to_owned()),
            Err(_) => match <&RoomAliasId>::try_from(target) {
                Ok(alias) => or_default(self.app.matrix.resolve_alias(alias).await)?,
                Err(_) => None,
            },
        };
        let found = match (room, ChatId::parse(target)) {
            (Some(room), _) => self.app.portal(&room).await?,
            (None, Ok(chat)) => self.app.chat(&chat).await?,
            (None, Err(_)) => None,
        };
        let Some((chat, room)) = found.and_then(|chat| Some((chat.clone(), chat.room?))) else {
            self.answer(&Reply::UnbridgeUnknown);
            return Ok(());
        };
        let title = title(&chat);
        for id in direct::ids_of(&chat.id, chat.peer.as_ref()) {
            if let Some(alias) = self.app.portal_alias(&id)
                && let Err(error) = self.app.matrix.drop_alias(&alias).await
            {
                tracing::warn!(alias = alias.as_str(), "the portal's alias stays: {error}");
            }
        }
        let change =
            if chat.is_open() { PortalChange::Close { room } } else { PortalChange::Release { room } };
        self.stepped.commit.portals.push((chat.id, change));
        self.answer(&Reply::Unbridged { title });
        Ok(())
    }

    pub(super) async fn groups(&mut self) -> Result<(), StepError> {
        let line =
            |chat: Chat| GroupLine { title: title(&chat), id: chat.id, state: chat.state, room: chat.room };
        let lines = self.app.store.chats().await?.into_iter().map(line).collect();
        self.answer(&Reply::Groups(lines));
        Ok(())
    }
}

fn title(chat: &Chat) -> String {
    chat.title.clone().unwrap_or_else(|| chat.id.to_string())
}
