//! What an admin can have done, without the words around it: the commands and the HTTP API both call this, so that
//! neither can do what the other would refuse.
//!
//! An action reads what it needs, decides, and leaves its changes in a [`Stepped`]: whoever called it commits them as
//! one, and takes them into use only then.

pub(crate) mod bridging;
pub(crate) mod failures;
pub(crate) mod link;
pub(crate) mod overview;

use std::collections::HashSet;
use std::sync::Arc;

use bridge_core::content::Document;
use bridge_core::delivery::key::{KeySeed, Purpose};
use bridge_core::envelope::Lane;
use bridge_core::event::Manner;
use bridge_core::op::{Author, Op, Say};
use ruma::{OwnedRoomId, RoomId, UserId};

use crate::app::App;
use crate::relay::lanes::Lanes;
use crate::relay::op::{From, render};
use crate::relay::step::{StepError, Stepped};

/// Who wants something.
#[derive(Clone, Copy)]
pub(crate) struct Actor<'a> {
    /// What makes this request different from every other, the same when it is repeated after a crash: the id of the
    /// command's event.
    pub(crate) cause: &'a str,
    /// In whose name.
    pub(crate) user: &'a UserId,
    /// The room a person asked in; none is the platform, which need not be in a room to have it bridged.
    pub(crate) room: Option<&'a RoomId>,
}

/// Commits what an action leaves, takes it into use, and has it sent: for whoever has no lane that does so.
pub(crate) async fn perform(app: &App, lanes: &Arc<Lanes>, stepped: Stepped) -> Result<(), StepError> {
    let Stepped { mut commit, ops, wake, after, guard } = stepped;
    let mut wake: HashSet<Lane> = wake.into_iter().collect();
    let now = app.now();
    for (key, op) in ops {
        let lane = op.lane();
        commit.enqueue.push(op.to_row(app.store.next_outbox_seq(), lane.clone(), &key, now)?);
        wake.insert(lane);
    }
    let (chats, portals) = (commit.chats.clone(), commit.portals.clone());
    app.store.commit(commit).await?;
    app.took(&chats, &portals, after);
    drop(guard);
    if !wake.is_empty() {
        lanes.recover(wake);
    }
    Ok(())
}

/// The bot tells a room about something an action did to it.
pub(crate) fn tell(stepped: &mut Stepped, room: OwnedRoomId, text: &str, key: KeySeed) {
    let say = Say {
        room,
        author: Author::Bot,
        manner: Manner::Notice,
        body: Document::plain(text),
        reply_to: None,
        at: None,
        key,
    };
    stepped.ops.extend(render(vec![Op::Say(say)], None, None, &From::Nowhere));
}

/// The key of what an action tells a room.
pub(crate) fn notice_key(actor: Actor<'_>, what: &str) -> KeySeed {
    KeySeed::new(Purpose::Notice, &format!("{}/{what}", actor.cause))
}
