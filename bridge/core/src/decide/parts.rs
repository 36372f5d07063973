//! A message of DingTalk that is texts and files in order.

use ruma::OwnedRoomId;

use crate::clock::Timestamp;
use crate::content::Document;
use crate::decide::from_dingtalk::{Facts, address, quoted};
use crate::delivery::key::{KeySeed, Purpose};
use crate::event::{ChatMessage, ChatPart, Manner};
use crate::op::{Author, Op, Say, Show};
use crate::portal::Chat;

/// One operation per part, in order, all under one seed. The first one answers what the message answers; a quote that
/// can only be repeated goes into the first text, or before everything where there is none at the beginning.
pub(super) fn show(
    facts: &Facts,
    message: &ChatMessage,
    chat: &Chat,
    parts: &[ChatPart],
    room: &OwnedRoomId,
    cause: &str,
    at: Option<Timestamp>,
) -> Vec<Op> {
    let key = KeySeed::new(Purpose::Relay, cause);
    let mut quote = quoted(facts, message);
    let mut ops: Vec<Op> = Vec::with_capacity(parts.len() + 1);
    let say = |body: Document, first: bool| {
        Op::Say(Say {
            room: room.clone(),
            author: Author::Ghost(message.sender.clone()),
            manner: Manner::Text,
            body,
            reply_to: facts.quoted_event.clone().filter(|_| first),
            at,
            key: key.clone(),
        })
    };
    for part in parts {
        let first = ops.is_empty();
        match part {
            ChatPart::Text(text) => {
                let mut body = text.clone();
                address(facts, &mut body);
                if let Some(quote) = quote.take() {
                    body.blocks.insert(0, quote);
                }
                ops.push(say(body, first));
            }
            ChatPart::File(file) => {
                if let Some(quote) = quote.take() {
                    ops.push(say(Document { blocks: vec![quote] }, first));
                }
                ops.push(Op::Show(Show {
                    room: room.clone(),
                    author: message.sender.clone(),
                    file: file.clone(),
                    robot: message.robot.clone().or_else(|| chat.robot.clone()),
                    reply_to: facts.quoted_event.clone().filter(|_| first),
                    at,
                    key: key.clone(),
                }));
            }
        }
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::from_dingtalk::decide;
    use crate::decide::from_dingtalk::tests::{NOW, bridged, message};
    use crate::event::{ChatBody, ChatFile, FileKind, Quote};
    use crate::id::RobotCode;

    fn picture(code: &str) -> ChatPart {
        let code = code.to_owned();
        ChatPart::File(ChatFile { kind: FileKind::Picture, code, name: None, duration: None })
    }

    fn text(text: &str) -> ChatPart {
        ChatPart::Text(Document::plain(text))
    }

    fn decided(parts: Vec<ChatPart>, quote: Option<Quote>, known: bool) -> Vec<Op> {
        let robot = Some(RobotCode::parse("dingrobot").unwrap());
        let message = ChatMessage { body: ChatBody::Parts(parts), quote, robot, ..message("") };
        let chat = Chat { robot: message.robot.clone(), ..bridged() };
        let quoted_event = known.then(|| "$e".try_into().unwrap());
        let facts = Facts { chat: Some(chat), quoted_event, ..Facts::default() };
        decide(&facts, &message, "msg:1", NOW).ops
    }

    /// Text or download code, and whether it answers an event.
    fn seen(ops: &[Op]) -> Vec<(String, bool)> {
        ops.iter()
            .map(|op| match op {
                Op::Say(say) => (say.body.to_plain_text(), say.reply_to.is_some()),
                Op::Show(show) => (show.file.code.clone(), show.reply_to.is_some()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn parts_keep_their_order_under_one_seed() {
        let ops = decided(vec![text("a"), picture("p1"), text("b"), picture("p2")], None, false);
        assert_eq!(seen(&ops).into_iter().map(|(what, _)| what).collect::<Vec<_>>(), ["a", "p1", "b", "p2"]);
        let seed = KeySeed::new(Purpose::Relay, "msg:1");
        assert!(ops.iter().all(|op| match op {
            Op::Say(say) => say.key == seed,
            Op::Show(show) => show.key == seed && show.robot.is_some() && show.at.is_some(),
            _ => false,
        }));
    }

    #[test]
    fn only_the_first_part_answers() {
        let quote = Some(Quote { text: Some("what?".into()), ..Quote::default() });
        let known = decided(vec![picture("p"), text("a")], quote.clone(), true);
        assert_eq!(seen(&known), [("p".to_owned(), true), ("a".to_owned(), false)]);
        let unknown = decided(vec![picture("p"), text("a")], quote.clone(), false);
        assert_eq!(
            seen(&unknown),
            [("> what?", false), ("p", false), ("a", false)].map(|(t, r)| (t.to_owned(), r))
        );
        let in_text = decided(vec![text("a"), picture("p")], quote, false);
        assert_eq!(seen(&in_text)[0].0, "> what?\na");
    }
}
