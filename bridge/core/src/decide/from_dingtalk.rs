//! What a message from DingTalk leads to.

use std::time::Duration;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};

use crate::clock::Timestamp;
use crate::content::{Block, Document, Inline, Target};
use crate::decide::organisation::rename;
use crate::decide::parts;
use crate::delivery::key::{KeySeed, Purpose};
use crate::event::{ChatBody, ChatKind, ChatMessage, Manner};
use crate::id::{ChatId, PersonId};
use crate::op::{Author, Op, Post, Say};
use crate::portal::{Chat, ChatState, PortalChange};
use crate::reply::{Reply, announcement};

/// How much older than the present a stored time of the last message may be before it is written again: one write a
/// minute for a busy chat instead of one for each message.
const LAST_MESSAGE_GRAIN: Duration = Duration::from_mins(1);

/// Most characters of a quoted text that are repeated.
const QUOTE_CHARS: usize = 80;

/// All that the decision may look at.
#[derive(Debug, Default)]
pub struct Facts {
    /// The chat as stored.
    pub chat: Option<Chat>,
    /// The room that the chat's alias stands for, where the chat is not stored: the database was lost, the portal was
    /// not.
    pub found_room: Option<OwnedRoomId>,
    /// The row under which the bridge itself opened the 1:1 chat, with its room, before DingTalk named it.
    pub opened: Option<Chat>,
    /// The room made for the 1:1 chat, and the newest event in it.
    pub room: Option<(OwnedRoomId, Option<String>)>,
    /// The message was held and comes now.
    pub released: bool,
    /// The event that the quoted message is.
    pub quoted_event: Option<OwnedEventId>,
    /// Ghosts of people who are mentioned.
    pub ghosts: Vec<(PersonId, OwnedUserId)>,
}

/// What becomes of the message's inbox row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is handled.
    Done,
    /// It waits until its chat is bridged.
    Hold,
}

/// What to do about a message.
#[derive(Debug, PartialEq)]
pub struct Decision {
    /// What becomes of the row.
    pub fate: Fate,
    /// The chat's row, if it changed.
    pub chat: Option<Chat>,
    /// Changes of where chats stand, in order.
    pub portals: Vec<(ChatId, PortalChange)>,
    /// What was held for the chat has to come before anything newer.
    pub backfill: bool,
    /// Operations in order.
    pub ops: Vec<Op>,
}

/// Decides about `message`, which came under the envelope key `cause`.
pub fn decide(facts: &Facts, message: &ChatMessage, cause: &str, now: Timestamp) -> Decision {
    let mut chat = facts.chat.clone().unwrap_or_else(|| new_chat(message, now));
    if facts.chat.is_none()
        && let Some(room) = &facts.found_room
    {
        chat = Chat { state: ChatState::Bridged, room: Some(room.clone()), announced: true, ..chat };
    }
    let mut changed = facts.chat.is_none();
    let portals = move_in(facts, &mut chat);
    let backfill = facts.chat.is_some() && !portals.is_empty();
    if message.kind == ChatKind::Direct
        && message.sender.staff().is_some()
        && chat.peer.as_ref() != Some(&message.sender)
    {
        chat.peer = Some(message.sender.clone());
        changed = true;
    }
    let mut ops = Vec::new();
    if let Some(title) = &message.title
        && chat.title.as_ref() != Some(title)
    {
        ops.extend(rename(&chat, title, cause));
        chat.title = Some(title.clone());
        changed = true;
    }
    if message.robot.is_some() && message.robot != chat.robot {
        chat.robot.clone_from(&message.robot);
        changed = true;
    }
    if now.since(chat.last_message) >= LAST_MESSAGE_GRAIN {
        chat.last_message = now;
        changed = true;
    }
    let fate = match chat.state {
        // What was held comes first.
        ChatState::Bridging if !facts.released => Fate::Hold,
        ChatState::Bridging | ChatState::Bridged => {
            ops.extend(relay(facts, message, &chat, cause, now));
            Fate::Done
        }
        ChatState::Seen => {
            if !chat.announced {
                chat.announced = true;
                changed = true;
                ops.push(announce(&chat));
            }
            Fate::Hold
        }
        ChatState::Unbridged | ChatState::Dead => Fate::Done,
    };
    if !portals.is_empty() {
        // Where it stands is told by the changes.
        chat = Chat { state: ChatState::Seen, room: None, synced_to: None, ..chat };
    }
    Decision { fate, chat: changed.then_some(chat), portals, backfill, ops }
}

/// Gives a 1:1 chat the room that waits for it.
fn move_in(facts: &Facts, chat: &mut Chat) -> Vec<(ChatId, PortalChange)> {
    let (room, synced_to) = match (&facts.opened, &facts.room) {
        (Some(Chat { room: Some(room), synced_to, .. }), _) => (room.clone(), synced_to.clone()),
        (_, Some((room, newest))) => (room.clone(), newest.clone()),
        _ => return Vec::new(),
    };
    let mut portals = Vec::new();
    if let Some(opened) = &facts.opened {
        portals.push((opened.id.clone(), PortalChange::Close { room: room.clone() }));
    }
    portals.push((chat.id.clone(), PortalChange::Choose { room: room.clone(), synced_to }));
    chat.room = Some(room);
    chat.announced = true;
    // A chat that was seen before may have messages that wait.
    chat.state = ChatState::Bridging;
    if facts.chat.is_none() {
        portals.push((chat.id.clone(), PortalChange::Open));
        chat.state = ChatState::Bridged;
    }
    portals
}

fn new_chat(message: &ChatMessage, now: Timestamp) -> Chat {
    Chat {
        id: message.chat.clone(),
        kind: message.kind,
        title: message.title.clone().or_else(|| Some(message.sender_name.clone())),
        state: ChatState::Seen,
        room: None,
        robot: message.robot.clone(),
        peer: matches!(message.kind, ChatKind::Direct).then(|| message.sender.clone()),
        announced: false,
        first_seen: now,
        last_message: now,
        synced_to: None,
    }
}

fn announce(chat: &Chat) -> Op {
    Op::Post(Post {
        chat: chat.id.clone(),
        body: Document::plain(&announcement(&chat.id)),
        mentions: Vec::new(),
        cause: None,
        key: KeySeed::new(Purpose::Announce, chat.id.as_str()),
    })
}

fn relay(facts: &Facts, message: &ChatMessage, chat: &Chat, cause: &str, now: Timestamp) -> Vec<Op> {
    let Some(room) = chat.room.clone() else { return Vec::new() };
    let at = Some(message.sent_at.min(now)).filter(|at| at.0 > 0);
    let (author, manner, mut body) = match &message.body {
        ChatBody::Document(document) => {
            (Author::Ghost(message.sender.clone()), Manner::Text, document.clone())
        }
        ChatBody::Parts(parts) => return parts::show(facts, message, chat, parts, &room, cause, at),
        ChatBody::Unsupported { kind, summary } => {
            let text = Reply::UnsupportedKind { kind: kind.clone(), summary: summary.clone() };
            (Author::Ghost(message.sender.clone()), Manner::Notice, Document::plain(&text.bilingual()))
        }
        ChatBody::OverQuota => (Author::Bot, Manner::Notice, Document::plain(&Reply::OverQuota.bilingual())),
    };
    address(facts, &mut body);
    if let Some(quote) = quoted(facts, message) {
        body.blocks.insert(0, quote);
    }
    vec![Op::Say(Say {
        room,
        author,
        manner,
        body,
        reply_to: facts.quoted_event.clone(),
        at,
        key: KeySeed::new(Purpose::Relay, cause),
    })]
}

/// Lets mentions of known people call their ghosts.
pub(super) fn address(facts: &Facts, body: &mut Document) {
    body.map_mentions(&mut |mention| {
        if let Target::Person(person) = &mention.target
            && let Some((_, ghost)) = facts.ghosts.iter().find(|(known, _)| known == person)
        {
            mention.target = Target::User(ghost.clone());
        }
    });
}

/// A line of what is answered, where the event that it is cannot be named.
pub(super) fn quoted(facts: &Facts, message: &ChatMessage) -> Option<Block> {
    let quote = message.quote.as_ref().filter(|_| facts.quoted_event.is_none())?;
    let line = excerpt(quote.text.as_deref()?);
    Some(Block::Quote(vec![Block::Paragraph(vec![Inline::Text(line)])]))
}

/// The first line of a text, shortened between characters.
pub(crate) fn excerpt(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(QUOTE_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::content::Mention;
    use crate::event::Quote;
    use crate::id::{MessageId, SenderId, StaffId};

    pub(in crate::decide) const NOW: Timestamp = Timestamp(1_758_800_001_000);

    pub(in crate::decide) fn message(text: &str) -> ChatMessage {
        ChatMessage {
            id: MessageId::parse("msgA1==").unwrap(),
            chat: ChatId::parse("cidG==").unwrap(),
            kind: ChatKind::Group,
            title: Some("Plan".into()),
            sender: PersonId::Staff(StaffId::parse("user0142").unwrap()),
            sender_id: SenderId::parse("$:LWCP_v1:$a").unwrap(),
            sender_name: "林小桥".into(),
            sent_at: Timestamp(1_758_800_000_000),
            body: ChatBody::Document(Document::plain(text)),
            quote: None,
            mentioned: vec![],
            session: None,
            robot: None,
            corp: None,
        }
    }

    pub(in crate::decide) fn bridged() -> Chat {
        let mut chat = new_chat(&message(""), NOW);
        chat.state = ChatState::Bridged;
        chat.room = Some("!r:acme.example".try_into().unwrap());
        chat
    }

    #[test]
    fn first_contact_is_held_and_announced_once() {
        let first = decide(&Facts::default(), &message("hi"), "msg:1", NOW);
        assert_eq!(first.fate, Fate::Hold);
        assert!(matches!(first.ops.as_slice(), [Op::Post(post)] if post.cause.is_none()));
        let facts = Facts { chat: first.chat, ..Facts::default() };
        let second = decide(&facts, &message("again"), "msg:2", NOW);
        assert_eq!((second.fate, second.ops, second.chat), (Fate::Hold, vec![], None));
    }

    fn private(text: &str) -> ChatMessage {
        ChatMessage { kind: ChatKind::Direct, title: None, ..message(text) }
    }

    #[test]
    fn a_private_message_goes_into_the_room_made_for_it() {
        let room: OwnedRoomId = "!d:acme.example".try_into().unwrap();
        let facts = Facts { room: Some((room.clone(), Some("$n".into()))), ..Facts::default() };
        let first = decide(&facts, &private("hi"), "msg:1", NOW);
        assert_eq!((first.fate, first.backfill), (Fate::Done, false));
        assert!(
            matches!(first.ops.as_slice(), [Op::Say(say)] if say.room == room),
            "no confirmation is posted"
        );
        let chosen = PortalChange::Choose { room: room.clone(), synced_to: Some("$n".into()) };
        let id = first.chat.unwrap().id;
        assert_eq!(first.portals, [(id.clone(), chosen.clone()), (id.clone(), PortalChange::Open)]);

        // What waits for it comes first.
        let seen = new_chat(&private("earlier"), NOW);
        let waiting = decide(&Facts { chat: Some(seen.clone()), ..facts }, &private("hi"), "msg:2", NOW);
        assert_eq!((waiting.fate, waiting.backfill, waiting.ops), (Fate::Hold, true, vec![]));
        assert_eq!(waiting.portals, [(id, chosen)]);
        let bridging = Chat { state: ChatState::Bridging, room: Some(room), ..seen };
        let facts = Facts { chat: Some(bridging), ..Facts::default() };
        let newer = decide(&facts, &private("newer"), "msg:3", NOW);
        assert_eq!((newer.fate, newer.backfill), (Fate::Hold, false));
        let released = decide(&Facts { released: true, ..facts }, &private("hi"), "msg:2", NOW);
        assert_eq!((released.fate, released.ops.len()), (Fate::Done, 1));
    }

    #[test]
    fn a_chat_the_bridge_opened_gives_its_room_to_the_one_dingtalk_names() {
        let sender = message("").sender;
        let opened = Chat {
            id: crate::portal::direct_id(&sender).unwrap(),
            kind: ChatKind::Direct,
            peer: Some(sender.clone()),
            synced_to: Some("$n".into()),
            ..bridged()
        };
        let facts = Facts { opened: Some(opened.clone()), ..Facts::default() };
        let decision = decide(&facts, &private("hi"), "msg:1", NOW);
        let (chat, room) = (decision.chat.unwrap(), opened.room.clone().unwrap());
        assert_eq!((chat.id.as_str(), &chat.room, &chat.peer), ("cidG==", &None, &Some(sender)));
        let expected = [
            (opened.id, PortalChange::Close { room: room.clone() }),
            (chat.id.clone(), PortalChange::Choose { room, synced_to: Some("$n".into()) }),
            (chat.id, PortalChange::Open),
        ];
        assert_eq!(decision.portals, expected);
        assert!(matches!(decision.ops.as_slice(), [Op::Say(say)] if Some(&say.room) == opened.room.as_ref()));
    }

    #[test]
    fn a_person_who_was_from_outside_can_be_written_to_once_they_are_known() {
        let outside = PersonId::External(SenderId::parse("$:LWCP_v1:$a").unwrap());
        let chat = Chat { kind: ChatKind::Direct, peer: Some(outside), ..bridged() };
        let decision = decide(&Facts { chat: Some(chat), ..Facts::default() }, &private("hi"), "msg:1", NOW);
        assert_eq!(decision.chat.unwrap().peer, Some(message("").sender));
    }

    #[test]
    fn a_portal_is_found_again_by_its_alias() {
        let room: OwnedRoomId = "!r:acme.example".try_into().unwrap();
        let facts = Facts { found_room: Some(room.clone()), ..Facts::default() };
        let decision = decide(&facts, &message("hi"), "msg:1", NOW);
        assert!(matches!(decision.ops.as_slice(), [Op::Say(say)] if say.room == room));
        assert!(matches!(decision.chat, Some(Chat { state: ChatState::Bridged, .. })));
    }

    #[test]
    fn a_bridged_chat_speaks_through_the_ghost_at_the_original_time() {
        let facts = Facts { chat: Some(bridged()), ..Facts::default() };
        let decision = decide(&facts, &message("hi"), "msg:1", NOW);
        let [Op::Say(say)] = decision.ops.as_slice() else { panic!("{decision:?}") };
        assert_eq!(say.at, Some(Timestamp(1_758_800_000_000)));
        assert!(matches!(&say.author, Author::Ghost(PersonId::Staff(_))));
        assert_eq!(decision.chat, None, "nothing changed, nothing is written");
    }

    #[test]
    fn a_new_title_is_kept_and_offered_to_the_room_before_the_message() {
        let facts = Facts { chat: Some(bridged()), ..Facts::default() };
        let renamed = ChatMessage { title: Some("Plan B".into()), ..message("hi") };
        let decision = decide(&facts, &renamed, "msg:1", NOW);
        assert!(
            matches!(decision.ops.as_slice(), [Op::Rename(rename), Op::Say(_)] if rename.former.as_deref() == Some("Plan"))
        );
        assert_eq!(decision.chat.unwrap().title.as_deref(), Some("Plan B"));
    }

    #[test]
    fn a_time_in_the_future_becomes_now() {
        let facts = Facts { chat: Some(bridged()), ..Facts::default() };
        let mut early = message("hi");
        early.sent_at = Timestamp(NOW.0 + 1);
        let decision = decide(&facts, &early, "msg:1", NOW);
        assert!(matches!(decision.ops.as_slice(), [Op::Say(say)] if say.at == Some(NOW)));
    }

    #[test]
    fn unbridged_and_dead_chats_stay_silent() {
        for state in [ChatState::Unbridged, ChatState::Dead] {
            let facts = Facts { chat: Some(Chat { state, ..bridged() }), ..Facts::default() };
            let decision = decide(&facts, &message("hi"), "msg:1", NOW);
            assert_eq!((decision.fate, decision.ops), (Fate::Done, vec![]));
        }
    }

    #[test]
    fn an_unknown_kind_is_never_silent() {
        let facts = Facts { chat: Some(bridged()), ..Facts::default() };
        let mut picture = message("");
        picture.body = ChatBody::Unsupported { kind: "hologram".into(), summary: None };
        let decision = decide(&facts, &picture, "msg:1", NOW);
        assert!(
            matches!(decision.ops.as_slice(), [Op::Say(say)] if say.manner == Manner::Notice && say.body.to_plain_text().contains("hologram"))
        );
    }

    #[test]
    fn a_known_quote_is_a_reply_and_an_unknown_one_a_line() {
        let mut reply = message("yes");
        reply.quote = Some(Quote { text: Some("first line\nsecond".into()), ..Quote::default() });
        let mut facts = Facts { chat: Some(bridged()), ..Facts::default() };
        let decision = decide(&facts, &reply, "msg:1", NOW);
        assert!(
            matches!(decision.ops.as_slice(), [Op::Say(say)] if say.body.to_plain_text() == "> first line\nyes")
        );
        facts.quoted_event = Some("$e".try_into().unwrap());
        let decision = decide(&facts, &reply, "msg:1", NOW);
        assert!(
            matches!(decision.ops.as_slice(), [Op::Say(say)] if say.body.to_plain_text() == "yes" && say.reply_to.is_some())
        );
    }

    #[test]
    fn a_mentioned_person_becomes_their_ghost() {
        let person = PersonId::Staff(StaffId::parse("user0143").unwrap());
        let ghost: OwnedUserId = "@dingtalk_user0143:acme.example".try_into().unwrap();
        let mut call = message("");
        let mention = Inline::Mention(Mention { target: Target::Person(person.clone()), name: "周".into() });
        call.body = ChatBody::Document(Document { blocks: vec![Block::Paragraph(vec![mention])] });
        let facts =
            Facts { chat: Some(bridged()), ghosts: vec![(person, ghost.clone())], ..Facts::default() };
        let decision = decide(&facts, &call, "msg:1", NOW);
        let [Op::Say(say)] = decision.ops.as_slice() else { panic!("{decision:?}") };
        let mut found = vec![];
        say.body.each_mention(&mut |mention| found.push(mention.target.clone()));
        assert_eq!(found, [Target::User(ghost)]);
    }
}
