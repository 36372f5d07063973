//! What an event of a Matrix room leads to.

use ruma::{OwnedRoomId, OwnedUserId};

use crate::command::{Language, Parsed, parse};
use crate::content::{Block, Document, Inline, Target};
use crate::decide::file;
use crate::decide::from_dingtalk::excerpt;
use crate::delivery::key::{KeySeed, Purpose};
use crate::event::{Manner, Membership, RoomEvent, RoomEventKind, RoomMessage};
use crate::id::{ChatId, PersonId, StaffId};
use crate::op::{Author, Op, Post, Say};
use crate::portal::{Chat, PortalChange};
use crate::reply::{EDITED, Happening, Reply, via_matrix};

/// Most characters of a display name in the prefix.
const NAME_CHARS: usize = 64;

/// All that the decision may look at.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts, each on its own")]
pub struct Facts {
    /// The bot.
    pub bot: OwnedUserId,
    /// The chat that is bridged to the room.
    pub portal: Option<Chat>,
    /// The room has two members: the sender and the bot.
    pub direct: bool,
    /// The bot was invited here to a direct chat.
    pub invited_direct: bool,
    /// The room is encrypted, and the bridge cannot take part in that.
    pub encrypted: bool,
    /// The bot has introduced itself in this room.
    pub greeted: bool,
    /// The bot has said in this room that it cannot read encrypted messages, or it can.
    pub told_encrypted: bool,
    /// The sender's display name.
    pub sender_name: String,
    /// Author and text of the message that is answered.
    pub replied: Option<(String, String)>,
    /// People behind ghosts that are mentioned.
    pub people: Vec<(OwnedUserId, PersonId)>,
    /// The room is that of a chat that is no more.
    pub dead: bool,
    /// The title of another chat whose room is the one this room is to live on as.
    pub taken: Option<String>,
}

/// Something the bridge remembers about a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// The bot was invited to a direct chat.
    InvitedDirect,
    /// The bot introduced itself.
    Greeted,
    /// The bot said that it cannot read encrypted messages.
    ToldEncrypted,
}

/// What to do about an event.
#[derive(Debug, Default, PartialEq)]
pub struct Decision {
    /// A change of where the chat stands.
    pub portal: Option<(ChatId, PortalChange)>,
    /// Operations in order.
    pub ops: Vec<Op>,
    /// What to remember about the room.
    pub remember: Option<Remember>,
    /// A command to carry out.
    pub command: Option<Parsed>,
}

/// Decides about an event.
pub fn decide(facts: &Facts, event: &RoomEvent) -> Decision {
    match (&event.what, &facts.portal) {
        (RoomEventKind::Membership { user, membership, is_direct }, portal) if *user == facts.bot => {
            own_membership(facts, event, *membership, *is_direct, portal.as_ref())
        }
        (RoomEventKind::Message(message), Some(chat)) => portal_message(facts, event, message, chat),
        (RoomEventKind::Message(message), None) if facts.dead => dead_room_message(facts, event, message),
        (RoomEventKind::Unsupported { .. } | RoomEventKind::File(_), None) if facts.dead => {
            refuse_dead(event)
        }
        (RoomEventKind::File(sent), Some(chat)) => file::hand(facts, event, sent, chat),
        (RoomEventKind::Message(message), None) => plain_room_message(facts, message),
        (RoomEventKind::Unsupported { kind }, Some(_)) => {
            let text = Reply::CannotCross { kind: kind.clone() }.bilingual();
            Decision { ops: vec![say(event, Purpose::Notice, &text)], ..Decision::default() }
        }
        (RoomEventKind::Encrypted, portal) if !facts.told_encrypted => {
            let reply = if portal.is_some() { Reply::EncryptedPortal } else { Reply::EncryptedRoom };
            tell_encrypted(event, &reply)
        }
        // Where the bot is one of many it is not its business.
        (RoomEventKind::Undecryptable, portal) if portal.is_some() || facts.direct => {
            let text = Reply::Undecryptable.bilingual();
            Decision { ops: vec![tell(event, &text)], ..Decision::default() }
        }
        (RoomEventKind::EncryptionOn, Some(_)) if !facts.told_encrypted => {
            tell_encrypted(event, &Reply::EncryptedPortal)
        }
        (RoomEventKind::Tombstone { .. }, Some(_)) if facts.taken.is_some() => {
            let title = facts.taken.clone().unwrap_or_default();
            let text = Reply::Happened(Happening::UpgradeRefused { title }).bilingual();
            Decision { ops: vec![say(event, Purpose::Notice, &text)], ..Decision::default() }
        }
        (RoomEventKind::Tombstone { replacement }, Some(chat)) => {
            let change = PortalChange::Move { from: event.room.clone(), to: replacement.clone() };
            Decision {
                portal: Some((chat.id.clone(), change)),
                ops: vec![join(replacement, event)],
                ..Decision::default()
            }
        }
        _ => Decision::default(),
    }
}

fn own_membership(
    facts: &Facts,
    event: &RoomEvent,
    membership: Membership,
    is_direct: bool,
    portal: Option<&Chat>,
) -> Decision {
    match (membership, portal) {
        (Membership::Invite, _) => Decision {
            ops: vec![join(&event.room, event)],
            remember: is_direct.then_some(Remember::InvitedDirect),
            ..Decision::default()
        },
        (Membership::Join, None) if facts.encrypted && !facts.told_encrypted => {
            tell_encrypted(event, &Reply::EncryptedRoom)
        }
        (Membership::Join, None) if facts.invited_direct && !facts.encrypted && !facts.greeted => Decision {
            ops: vec![say(event, Purpose::Reply, &Reply::Welcome.text(Language::English))],
            remember: Some(Remember::Greeted),
            ..Decision::default()
        },
        // The room is out of reach: nothing can cross until an admin bridges the chat again.
        (Membership::Leave, Some(chat)) => {
            let change = PortalChange::Close { room: event.room.clone() };
            Decision { portal: Some((chat.id.clone(), change)), ..Decision::default() }
        }
        _ => Decision::default(),
    }
}

fn plain_room_message(facts: &Facts, message: &RoomMessage) -> Decision {
    let text = message.body.to_plain_text();
    let addressed = facts.direct || text.trim_start().to_ascii_lowercase().starts_with("!dingtalk");
    if message.manner == Manner::Notice || message.replaces.is_some() || !addressed {
        return Decision::default();
    }
    Decision { command: Some(parse(&text)), ..Decision::default() }
}

/// What people write to a chat that is no more is answered; commands still work.
fn dead_room_message(facts: &Facts, event: &RoomEvent, message: &RoomMessage) -> Decision {
    let decision = plain_room_message(facts, message);
    if decision.command.is_some() || message.manner == Manner::Notice { decision } else { refuse_dead(event) }
}

fn refuse_dead(event: &RoomEvent) -> Decision {
    let mut refusal = say(event, Purpose::Notice, &Reply::Happened(Happening::ChatIsDead).bilingual());
    if let Op::Say(say) = &mut refusal {
        say.reply_to = Some(event.id.clone());
    }
    Decision { ops: vec![refusal], ..Decision::default() }
}

fn portal_message(facts: &Facts, event: &RoomEvent, message: &RoomMessage, chat: &Chat) -> Decision {
    let mut body = message.body.clone();
    if message.manner == Manner::Emote {
        prepend(&mut body, "* ");
    }
    let mark = if message.replaces.is_some() { EDITED } else { "" };
    let (body, mentions) = introduce(facts, event, body, mark);
    Decision {
        ops: vec![Op::Post(Post {
            chat: chat.id.clone(),
            body,
            mentions,
            cause: Some(event.id.clone()),
            key: KeySeed::new(Purpose::Relay, event.id.as_str()),
        })],
        ..Decision::default()
    }
}

/// What somebody says, with their name before it and a line of what it answers, and whom it mentions.
pub(super) fn introduce(
    facts: &Facts,
    event: &RoomEvent,
    mut body: Document,
    mark: &str,
) -> (Document, Vec<StaffId>) {
    body.map_mentions(&mut |mention| {
        if let Target::User(user) = &mention.target
            && let Some((_, person)) = facts.people.iter().find(|(ghost, _)| ghost == user)
        {
            mention.target = Target::Person(person.clone());
        }
    });
    let mentions = body.mentioned_staff();
    prepend(&mut body, &format!("{}{mark}", via_matrix(&prefix_name(facts, event))));
    if let Some((author, text)) = &facts.replied {
        let line = format!("{}: {}", one_line(author), excerpt(text));
        body.blocks.insert(0, Block::Quote(vec![Block::Paragraph(vec![Inline::Text(line)])]));
    }
    (body, mentions)
}

/// The sender's name on one line: it must not pass for a line of its own in the chat.
fn prefix_name(facts: &Facts, event: &RoomEvent) -> String {
    let name = one_line(&facts.sender_name);
    if name.is_empty() { event.sender.localpart().to_owned() } else { name }
}

/// A name that stays inside its brackets and on its line: no line ends of any kind, nothing that turns the direction of
/// what follows, no brackets of its own.
fn one_line(name: &str) -> String {
    let clean = name.chars().filter_map(|c| match c {
        '\n' | '\r' | '\t' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some(' '),
        '[' => Some('('),
        ']' => Some(')'),
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        _ => (!c.is_control()).then_some(c),
    });
    clean.take(NAME_CHARS).collect::<String>().trim().to_owned()
}

/// Puts a text before everything else, on the same line where the first block has one.
fn prepend(body: &mut Document, text: &str) {
    let text = Inline::Text(text.to_owned());
    match body.blocks.first_mut() {
        Some(Block::Paragraph(inlines)) => inlines.insert(0, text),
        _ => body.blocks.insert(0, Block::Paragraph(vec![text])),
    }
}

fn tell_encrypted(event: &RoomEvent, reply: &Reply) -> Decision {
    Decision {
        ops: vec![say(event, Purpose::Notice, &reply.bilingual())],
        remember: Some(Remember::ToldEncrypted),
        ..Decision::default()
    }
}

fn join(room: &OwnedRoomId, event: &RoomEvent) -> Op {
    Op::Join { room: room.clone(), key: KeySeed::new(Purpose::Join, event.id.as_str()) }
}

/// Tells the room something about an event, as an answer to it.
pub(super) fn tell(event: &RoomEvent, text: &str) -> Op {
    match say(event, Purpose::Notice, text) {
        Op::Say(say) => Op::Say(Say { reply_to: Some(event.id.clone()), ..say }),
        other => other,
    }
}

fn say(event: &RoomEvent, purpose: Purpose, text: &str) -> Op {
    Op::Say(Say {
        room: event.room.clone(),
        author: Author::Bot,
        manner: Manner::Notice,
        body: Document::plain(text),
        reply_to: None,
        at: None,
        key: KeySeed::new(purpose, event.id.as_str()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::content::Mention;
    use crate::event::ChatKind;
    use crate::portal::ChatState;

    fn facts(portal: bool) -> Facts {
        let room: OwnedRoomId = "!r:acme.example".try_into().unwrap();
        Facts {
            bot: "@dingtalkbot:acme.example".try_into().unwrap(),
            portal: portal.then(|| Chat {
                id: ChatId::parse("cidG==").unwrap(),
                kind: ChatKind::Group,
                title: Some("Plan".into()),
                state: ChatState::Bridged,
                room: Some(room),
                robot: None,
                peer: None,
                announced: true,
                first_seen: Timestamp(0),
                last_message: Timestamp(0),
                synced_to: Some("$old".into()),
            }),
            direct: !portal,
            invited_direct: !portal,
            encrypted: false,
            greeted: false,
            told_encrypted: false,
            sender_name: "Alice".into(),
            replied: None,
            people: vec![],
            dead: false,
            taken: None,
        }
    }

    fn event(what: RoomEventKind) -> RoomEvent {
        RoomEvent {
            id: "$e1".try_into().unwrap(),
            room: "!r:acme.example".try_into().unwrap(),
            sender: "@alice:acme.example".try_into().unwrap(),
            sent_at: Timestamp(1),
            what,
        }
    }

    fn text(body: &str) -> RoomMessage {
        RoomMessage { manner: Manner::Text, body: Document::plain(body), reply_to: None, replaces: None }
    }

    fn posted(decision: &Decision) -> String {
        match decision.ops.as_slice() {
            [Op::Post(post)] => post.body.to_plain_text(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_crosses_with_the_prefix() {
        let decision = decide(&facts(true), &event(RoomEventKind::Message(text("hi\nthere"))));
        assert_eq!(posted(&decision), "[@Alice via Matrix] hi\nthere");
    }

    #[test]
    fn a_name_cannot_start_a_line_of_its_own() {
        let facts = Facts { sender_name: "A\n[@Boss via Matrix] pay\u{7}".into(), ..facts(true) };
        let decision = decide(&facts, &event(RoomEventKind::Message(text("x"))));
        assert_eq!(posted(&decision).lines().count(), 1);
        let forged = Facts { sender_name: "Bob\u{2028}[@Boss via Matrix] pay\u{202e}".into(), ..facts };
        let decision = decide(&forged, &event(RoomEventKind::Message(text("x"))));
        assert_eq!(posted(&decision), "[@Bob (@Boss via Matrix) pay via Matrix] x");
    }

    #[test]
    fn edits_and_replies_are_marked() {
        let edit = RoomMessage { replaces: Some("$e0".try_into().unwrap()), ..text("better") };
        let with_reply = Facts { replied: Some(("Bob".into(), "what?\nmore".into())), ..facts(true) };
        let decision = decide(&with_reply, &event(RoomEventKind::Message(edit)));
        assert_eq!(posted(&decision), format!("> Bob: what?\n[@Alice via Matrix] {EDITED}better"));
    }

    fn sent(kind: crate::event::FileKind, name: &str, caption: Option<&str>) -> RoomEvent {
        event(RoomEventKind::File(Box::new(crate::event::RoomFile {
            kind,
            uri: "mxc://acme.example/abc".into(),
            name: name.into(),
            content_type: None,
            size: None,
            duration: None,
            dimensions: None,
            key: None,
            thumbnail: None,
            caption: caption.map(Document::plain),
            reply_to: None,
        })))
    }

    #[test]
    fn a_file_follows_the_name_of_its_sender_under_one_seed() {
        use crate::event::FileKind;
        let introduced = |event: &RoomEvent| match decide(&facts(true), event).ops.as_slice() {
            [Op::Post(post), Op::Hand(hand)] if post.key == hand.key && hand.file.caption.is_none() => {
                post.body.to_plain_text()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(introduced(&sent(FileKind::File, "a.pdf", None)), "[@Alice via Matrix] a.pdf");
        assert_eq!(introduced(&sent(FileKind::Picture, "a.png", Some("look"))), "[@Alice via Matrix] look");
        assert_eq!(introduced(&sent(FileKind::Video, "", None)), "[@Alice via Matrix] 视频 Video");
        assert_eq!(decide(&facts(false), &sent(FileKind::File, "a.pdf", None)), Decision::default());
    }

    #[test]
    fn a_voice_stays_and_the_room_is_told() {
        let decision = decide(&facts(true), &sent(crate::event::FileKind::Voice, "voice.ogg", None));
        assert!(matches!(decision.ops.as_slice(), [Op::Say(say)]
            if say.reply_to.is_some() && say.body.to_plain_text().contains("语音") && say.manner == Manner::Notice));
    }

    #[test]
    fn a_mentioned_ghost_becomes_the_person() {
        let ghost: OwnedUserId = "@dingtalk_u1:acme.example".try_into().unwrap();
        let person = PersonId::Staff(StaffId::parse("u1").unwrap());
        let mention = Inline::Mention(Mention { target: Target::User(ghost.clone()), name: "周".into() });
        let message =
            RoomMessage { body: Document { blocks: vec![Block::Paragraph(vec![mention])] }, ..text("") };
        let facts = Facts { people: vec![(ghost, person)], ..facts(true) };
        let decision = decide(&facts, &event(RoomEventKind::Message(message)));
        assert!(
            matches!(decision.ops.as_slice(), [Op::Post(post)] if post.mentions == [StaffId::parse("u1").unwrap()])
        );
    }

    #[test]
    fn an_invited_bot_joins_and_greets_once() {
        let bot = facts(false).bot;
        let change =
            |membership| event(RoomEventKind::Membership { user: bot.clone(), membership, is_direct: true });
        assert!(matches!(
            decide(&facts(false), &change(Membership::Invite)).ops.as_slice(),
            [Op::Join { .. }]
        ));
        let greeting = decide(&facts(false), &change(Membership::Join));
        assert_eq!(greeting.remember, Some(Remember::Greeted));
        let again = Facts { greeted: true, ..facts(false) };
        assert_eq!(decide(&again, &change(Membership::Join)), Decision::default());
    }

    #[test]
    fn a_message_that_stays_unreadable_is_answered_where_it_was_meant_for_us() {
        let told = |facts: &Facts| match decide(facts, &event(RoomEventKind::Undecryptable)).ops.as_slice() {
            [Op::Say(say)] => {
                say.reply_to.as_deref().is_some_and(|event| event == "$e1")
                    && say.body.to_plain_text().contains("解密")
            }
            ops => !ops.is_empty(),
        };
        assert!(told(&facts(true)));
        assert!(told(&facts(false)));
        assert!(!told(&Facts { direct: false, ..facts(false) }), "a room of others");
    }

    #[test]
    fn an_encrypted_room_is_told_once_in_both_languages() {
        let decision = decide(&facts(false), &event(RoomEventKind::Encrypted));
        assert!(
            matches!(decision.ops.as_slice(), [Op::Say(say)] if say.body.to_plain_text().contains("已加密") && say.body.to_plain_text().contains("encrypted"))
        );
        let told = Facts { told_encrypted: true, ..facts(false) };
        assert_eq!(decide(&told, &event(RoomEventKind::Encrypted)), Decision::default());
    }

    #[test]
    fn commands_are_for_direct_chats_or_by_name() {
        let message = event(RoomEventKind::Message(text("ping")));
        assert!(decide(&facts(false), &message).command.is_some());
        let crowd = Facts { direct: false, ..facts(false) };
        assert!(decide(&crowd, &message).command.is_none());
        assert!(decide(&crowd, &event(RoomEventKind::Message(text("!dingtalk ping")))).command.is_some());
        let bot = RoomMessage { manner: Manner::Notice, ..text("ping") };
        assert!(
            decide(&facts(false), &event(RoomEventKind::Message(bot))).command.is_none(),
            "two bots must not talk for ever"
        );
    }

    #[test]
    fn an_upgrade_moves_the_portal_unless_the_other_room_is_one() {
        let upgrade = event(RoomEventKind::Tombstone { replacement: "!n:acme.example".try_into().unwrap() });
        let moved = decide(&facts(true), &upgrade);
        assert!(matches!(moved.portal, Some((_, PortalChange::Move { to, .. })) if to == "!n:acme.example"));
        let taken = Facts { taken: Some("Sales".into()), ..facts(true) };
        let refused = decide(&taken, &upgrade);
        assert_eq!(refused.portal, None);
        assert!(
            matches!(refused.ops.as_slice(), [Op::Say(say)] if say.body.to_plain_text().contains("Sales"))
        );
    }

    #[test]
    fn a_dead_chats_room_refuses_messages_and_takes_commands() {
        let dead = Facts { dead: true, direct: false, ..facts(false) };
        let refused = decide(&dead, &event(RoomEventKind::Message(text("hello?"))));
        assert!(
            matches!(refused.ops.as_slice(), [Op::Say(say)] if say.body.to_plain_text().contains("disbanded") && say.reply_to.is_some())
        );
        let picture = RoomEventKind::Unsupported { kind: "m.image".into() };
        assert_eq!(decide(&dead, &event(picture)).ops.len(), 1);
        let notice = RoomMessage { manner: Manner::Notice, ..text("beep") };
        assert_eq!(decide(&dead, &event(RoomEventKind::Message(notice))), Decision::default());
        let command = decide(&dead, &event(RoomEventKind::Message(text("!dingtalk status"))));
        assert!(command.command.is_some() && command.ops.is_empty());
    }

    #[test]
    fn a_room_that_throws_the_bot_out_is_unbridged() {
        let bot = facts(true).bot;
        let kicked =
            event(RoomEventKind::Membership { user: bot, membership: Membership::Leave, is_direct: false });
        let decision = decide(&facts(true), &kicked);
        assert!(matches!(decision.portal, Some((_, PortalChange::Close { .. }))));
    }
}
