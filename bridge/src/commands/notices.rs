//! `notices`.

use bridge_core::command::NoticeRoom;
use bridge_core::reply::{NoticesReply, Reply};
use bridge_core::secret::Secret;
use ruma::{OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, RoomAliasId, RoomId};

use crate::actions::{notice_key, tell};
use crate::commands::Run;
use crate::relay::facts::or_default;
use crate::relay::notices;
use crate::relay::step::StepError;

impl Run<'_> {
    pub(super) async fn notices(&mut self, wanted: &NoticeRoom) -> Result<(), StepError> {
        let reply = match wanted {
            NoticeRoom::Show => match notices::room(self.app).await? {
                Some(room) => NoticesReply::On(room),
                None => NoticesReply::Off,
            },
            NoticeRoom::Off => {
                self.stepped.commit.settings.push((notices::SETTING.to_owned(), None));
                NoticesReply::Off
            }
            NoticeRoom::Room(target) => match self.check_notice_room(target).await? {
                Ok(room) => {
                    let value = Secret::new(room.to_string());
                    self.stepped.commit.settings.push((notices::SETTING.to_owned(), Some(value)));
                    let said = Reply::Notices(NoticesReply::Here).bilingual();
                    tell(self.stepped, room.clone(), &said, notice_key(self.actor(), "notices"));
                    NoticesReply::On(room)
                }
                Err(problem) => problem,
            },
        };
        self.answer(&Reply::Notices(reply));
        Ok(())
    }

    async fn check_notice_room(
        &self,
        target: &OwnedRoomOrAliasId,
    ) -> Result<Result<OwnedRoomId, NoticesReply>, StepError> {
        let app = self.app;
        let room = match (<&RoomId>::try_from(&**target), <&RoomAliasId>::try_from(&**target)) {
            (Ok(room), _) => Some(room.to_owned()),
            (_, Ok(alias)) => or_default(app.matrix.resolve_alias(alias).await)?,
            _ => None,
        };
        let Some(room) = room else { return Ok(Err(NoticesReply::NotInRoom)) };
        let members = or_default(app.matrix.joined_members(&room).await)?;
        let inside = |user: &OwnedUserId| members.iter().any(|member| member.user == *user);
        if !inside(&app.own.bot) {
            return Ok(Err(NoticesReply::NotInRoom));
        }
        if !inside(&self.event.sender) {
            return Ok(Err(NoticesReply::NotYours));
        }
        if app.portal(&room).await?.is_some_and(|chat| chat.is_open()) {
            return Ok(Err(NoticesReply::Bridged));
        }
        if crate::encryption::shuts_out(app, &room).await? {
            return Ok(Err(NoticesReply::Encrypted));
        }
        let levels = app.matrix.power_levels(&room).await.map_err(StepError::Homeserver)?;
        Ok(if levels.can_send(&app.own.bot, "m.room.message") {
            Ok(room)
        } else {
            Err(NoticesReply::NoPower)
        })
    }
}
