//! What it leads to in DingTalk that a message is taken back in Matrix.

use std::time::Duration;

use ruma::OwnedEventId;

use crate::clock::Timestamp;
use crate::content::Document;
use crate::delivery::key::{KeySeed, Purpose};
use crate::event::{Manner, RoomEvent};
use crate::id::QueryKey;
use crate::op::{Author, Op, Recall, Say};
use crate::portal::Chat;
use crate::reply::{Happening, RecallProblem, Reply};

/// How long DingTalk lets a bot take a message back (API.md section 5.7).
pub const WINDOW: Duration = Duration::from_hours(24);

/// What became of one part of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The bot posted it and can name it.
    Posted {
        /// Its handle.
        handle: QueryKey,
        /// When it crossed.
        at: Timestamp,
    },
    /// The bot posted it to a reply address, which names nothing.
    Unnamed,
    /// It came from DingTalk.
    WrittenThere,
    /// It may have been sent.
    MaybeSent,
}

/// Decides about the redaction `event` of `target` in the room of `chat`. Without parts nothing ever crossed.
pub fn decide(
    chat: &Chat,
    event: &RoomEvent,
    target: &OwnedEventId,
    parts: &[Part],
    now: Timestamp,
) -> Vec<Op> {
    let mut posts = Vec::new();
    let mut problem = None;
    for part in parts {
        let why = match part {
            Part::Posted { handle, at } if now.since(*at) < WINDOW => {
                posts.push(handle.clone());
                continue;
            }
            Part::Posted { .. } => RecallProblem::TooOld,
            Part::Unnamed => RecallProblem::NoHandle,
            Part::WrittenThere => RecallProblem::WrittenThere,
            Part::MaybeSent => RecallProblem::MaybeSent,
        };
        problem.get_or_insert(why);
    }
    let mut ops = Vec::new();
    if !posts.is_empty() {
        ops.push(Op::Recall(Recall {
            chat: chat.id.clone(),
            posts,
            event: target.clone(),
            key: KeySeed::new(Purpose::Recall, event.id.as_str()),
        }));
    }
    ops.extend(problem.map(|why| {
        Op::Say(Say {
            room: event.room.clone(),
            author: Author::Bot,
            manner: Manner::Notice,
            body: Document::plain(&Reply::Happened(Happening::NotRecalled(why)).bilingual()),
            reply_to: Some(target.clone()),
            at: None,
            key: KeySeed::new(Purpose::Notice, event.id.as_str()),
        })
    }));
    ops
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ChatKind, RoomEventKind};
    use crate::id::ChatId;
    use crate::portal::ChatState;

    const NOW: Timestamp = Timestamp(1_758_800_000_000);

    fn decided(parts: &[Part]) -> Vec<Op> {
        let target: OwnedEventId = "$m".try_into().unwrap();
        let event = RoomEvent {
            id: "$r".try_into().unwrap(),
            room: "!r:acme.example".try_into().unwrap(),
            sender: "@alice:acme.example".try_into().unwrap(),
            sent_at: NOW,
            what: RoomEventKind::Redaction { target: target.clone() },
        };
        let chat = Chat {
            id: ChatId::parse("cidG==").unwrap(),
            kind: ChatKind::Group,
            title: None,
            state: ChatState::Bridged,
            room: Some(event.room.clone()),
            robot: None,
            peer: None,
            announced: true,
            first_seen: NOW,
            last_message: NOW,
            synced_to: None,
        };
        decide(&chat, &event, &target, parts, NOW)
    }

    fn posted(handle: &str, age: Duration) -> Part {
        Part::Posted { handle: QueryKey::parse(handle).unwrap(), at: NOW.minus(age) }
    }

    fn told(op: &Op, words: &str) -> bool {
        matches!(op, Op::Say(say) if say.body.to_plain_text().contains(words) && say.reply_to.is_some())
    }

    #[test]
    fn all_parts_are_taken_back_in_one_go() {
        let ops = decided(&[posted("a", Duration::ZERO), posted("b", Duration::from_hours(23))]);
        let [Op::Recall(recall)] = ops.as_slice() else { panic!("{ops:?}") };
        assert_eq!(recall.posts, ["a", "b"].map(|handle| QueryKey::parse(handle).unwrap()));
    }

    #[test]
    fn what_stays_readable_is_said() {
        let old = posted("old", WINDOW);
        for (part, words) in [
            (old, "24 hours"),
            (Part::Unnamed, "mentions"),
            (Part::WrittenThere, "only its author"),
            (Part::MaybeSent, "nobody knows"),
        ] {
            let ops = decided(std::slice::from_ref(&part));
            assert!(matches!(ops.as_slice(), [op] if told(op, words)), "{part:?}: {ops:?}");
            let both = decided(&[posted("new", Duration::ZERO), part]);
            assert!(matches!(both.as_slice(), [Op::Recall(_), op] if told(op, words)), "{both:?}");
        }
    }

    #[test]
    fn what_never_crossed_leads_to_nothing() {
        assert_eq!(decided(&[]), []);
    }
}
