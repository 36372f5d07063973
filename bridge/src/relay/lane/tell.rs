//! What rooms are told about messages.

use bridge_core::delivery::attempt::{self, Outcome};
use bridge_core::delivery::key::{KeySeed, Purpose};
use bridge_core::reply::{FileNote, FileProblem, Happening, RecallProblem, Reply};

use super::{InFlight, Worker};
use crate::relay::op::{Rendered, RoomOrigin, bot_says};
use crate::relay::outcome;

impl Worker {
    /// What the room is told about a message that did not arrive.
    pub(super) fn failure_notice(
        &self,
        flight: &InFlight,
        next: &attempt::Next,
        outcome: &Outcome,
    ) -> Option<InFlight> {
        let code = outcome::code(outcome).to_owned();
        let told = |origin: &RoomOrigin, code| {
            let reply = match next {
                attempt::Next::MaybeSent => Reply::MaybeSent,
                _ => Reply::NotDelivered { code },
            };
            bot_says(origin.room.clone(), &reply.bilingual(), Some(&origin.event))
        };
        let op = match &flight.op {
            Rendered::DingTalk(post) => told(post.origin.as_ref()?, code),
            Rendered::Hand(file) => told(file.origin.as_ref()?, code),
            Rendered::Recall(recall) => {
                let reply = Reply::Happened(Happening::NotRecalled(RecallProblem::Refused(code)));
                bot_says(recall.origin.room.clone(), &reply.bilingual(), Some(&recall.origin.event))
            }
            // What a ghost could not say. The bot's own sentences have no origin: a room that refuses the bot is not
            // told about it again and again.
            Rendered::Matrix(send) => {
                send.origin.as_ref()?;
                bot_says(send.room.clone(), &Reply::NotShown { code }.bilingual(), None)
            }
            Rendered::Show(file) => {
                let (kind, name) = (file.file.kind, file.file.name.clone());
                let note = FileNote { kind, name, size: None, why: FileProblem::Other(code) };
                bot_says(file.room.clone(), &Reply::FileNotShown(note).bilingual(), file.reply_to.as_ref())
            }
            Rendered::Join { .. } | Rendered::Ghost { .. } | Rendered::Rename { .. } => return None,
        };
        Some(self.notice(flight, 0, op))
    }

    /// What the room is told about something that was sent and did not do all that it should.
    pub(super) fn told_after(&self, flight: &InFlight, reply: &Reply) -> Option<InFlight> {
        let origin = flight.op.room_origin()?;
        let op = bot_says(origin.room.clone(), &reply.bilingual(), Some(&origin.event));
        Some(self.notice(flight, 0, op))
    }

    /// A notice about a message: part 0 when it failed, part 1 when it goes on in another form.
    pub(super) fn notice(&self, flight: &InFlight, part: usize, op: Rendered) -> InFlight {
        let cause = format!("{}/{}", flight.key, flight.seq);
        self.flight(KeySeed::new(Purpose::Notice, &cause).part(part), op, self.app.now())
    }
}
