//! Approvals, attendance and calendars as cards in the notice room.

use bridge_core::clock::Timestamp;
use bridge_core::delivery::key::{KeySeed, Purpose};
use bridge_core::event::Manner;
use bridge_core::op::{Author, Op, Say};
use bridge_core::organisation::Card;
use bridge_core::reply::card;
use ruma::{OwnedRoomId, RoomId};

use crate::app::App;
use crate::relay::members::name_of;
use crate::relay::op::{From, render};
use crate::relay::step::{StepError, Stepped};

/// The setting in which the notice room is kept.
pub(crate) const SETTING: &str = "notice-room";

/// The notice room, if one is chosen.
pub(crate) async fn room(app: &App) -> Result<Option<OwnedRoomId>, StepError> {
    let value = app.store.setting(SETTING).await?;
    Ok(value.and_then(|room| RoomId::parse(room.expose()).ok()))
}

/// Shows cards, if there is a room for them.
pub(crate) async fn show(
    app: &App,
    cards: &[Card],
    cause: &str,
    now: Timestamp,
    stepped: &mut Stepped,
) -> Result<(), StepError> {
    let Some(room) = room(app).await? else {
        app.metrics.ignored_event("card");
        return Ok(());
    };
    for (number, shown) in cards.iter().enumerate() {
        let name = match shown {
            Card::Approval { staff: Some(staff), .. }
            | Card::CheckIn { staff: Some(staff), .. }
            | Card::Attendance { staff: Some(staff), .. } => Some(name_of(app, staff, now).await?),
            _ => None,
        };
        let say = Say {
            room: room.clone(),
            author: Author::Bot,
            manner: Manner::Notice,
            body: card(shown, name.as_deref()),
            reply_to: None,
            at: None,
            key: KeySeed::new(Purpose::Notice, &format!("{cause}/{number}")),
        };
        stepped.ops.extend(render(vec![Op::Say(say)], None, None, &From::Nowhere));
    }
    Ok(())
}
