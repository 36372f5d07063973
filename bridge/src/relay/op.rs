//! Operations as the outbox keeps them: rendered, so that a retry after an upgrade sends the same bytes.

use bridge_core::clock::Timestamp;
use bridge_core::content::Document;
use bridge_core::delivery::key::OpKey;
use bridge_core::event::{ChatKind, Manner};
use bridge_core::id::{ChatId, MessageId, PersonId, QueryKey, RobotCode, StaffId};
use bridge_core::op::{Author, Ghost, GhostStep, Op, Post, Recall, Rename, Say};
use bridge_core::portal::Chat;
use bridge_core::split::split;
use bridge_dingtalk::client::MOST_RECALLED;
use bridge_dingtalk::wire::render::{
    Channel, MAX_MARKDOWN_CHARS, Outgoing, direct_request, group_request, session_request,
};
use bridge_matrix::wire::render::{MessageMeta, measure, message_content};
use bridge_store::Network;
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

/// Most bytes of a message's content in Matrix. The whole event must fit into 65,536 bytes.
const MATRIX_BYTES: usize = 60_000;

/// Most bytes of `msgParam` (API.md section 5.3: 15,000) with room for the mark of a part.
const DINGTALK_BYTES: usize = 14_500;

/// An operation with its key and what it carries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Rendered {
    /// A message into a Matrix room.
    Matrix(MatrixSend),
    /// The bot enters a room.
    Join { room: OwnedRoomId },
    /// A ghost comes, goes or is renamed.
    Ghost { person: PersonId, step: GhostStep },
    /// A room gets its chat's title.
    Rename { room: OwnedRoomId, former: Option<String>, name: String },
    /// A message into a DingTalk chat.
    DingTalk(DingTalkPost),
    /// Messages of a DingTalk chat are taken back.
    Recall(DingTalkRecall),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MatrixSend {
    pub(crate) room: OwnedRoomId,
    /// The ghost's person; none is the bot.
    pub(crate) ghost: Option<PersonId>,
    pub(crate) content: String,
    pub(crate) at: Option<Timestamp>,
    /// The message of DingTalk that it carries.
    pub(crate) origin: Option<ChatOrigin>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChatOrigin {
    pub(crate) chat: ChatId,
    pub(crate) message: MessageId,
    pub(crate) part: u16,
    /// When the bridge received it.
    pub(crate) received_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DingTalkPost {
    pub(crate) chat: ChatId,
    /// The person at the other end of a 1:1 chat; none is a group.
    pub(crate) peer: Option<StaffId>,
    /// The body for the app bot's call; none where only a reply address can be used.
    pub(crate) api_body: Option<String>,
    /// The body for a reply address, where that is the better channel.
    pub(crate) session_body: Option<String>,
    /// The event of Matrix that it carries.
    pub(crate) origin: Option<RoomOrigin>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DingTalkRecall {
    /// The group; none is a 1:1 chat.
    pub(crate) group: Option<ChatId>,
    /// The bot that posted them; none while no app is linked.
    pub(crate) robot: Option<RobotCode>,
    /// The messages, at most [`MOST_RECALLED`].
    pub(crate) posts: Vec<QueryKey>,
    /// The event of Matrix that they carried.
    pub(crate) origin: RoomOrigin,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RoomOrigin {
    pub(crate) room: OwnedRoomId,
    pub(crate) event: OwnedEventId,
    pub(crate) sender: OwnedUserId,
    pub(crate) part: u16,
    /// When the bridge received it.
    pub(crate) received_at: Timestamp,
}

impl Rendered {
    pub(crate) fn network(&self) -> Network {
        match self {
            Self::Matrix(_) | Self::Join { .. } | Self::Ghost { .. } | Self::Rename { .. } => Network::Matrix,
            Self::DingTalk(_) | Self::Recall(_) => Network::DingTalk,
        }
    }

    /// Whether sending it twice does what sending it once does, so that it needs no mark.
    pub(crate) fn is_repeatable(&self) -> bool {
        !matches!(self, Self::DingTalk(_))
    }

    /// The event of Matrix behind something for DingTalk.
    pub(crate) fn room_origin(&self) -> Option<&RoomOrigin> {
        match self {
            Self::DingTalk(post) => post.origin.as_ref(),
            Self::Recall(recall) => Some(&recall.origin),
            Self::Matrix(_) | Self::Join { .. } | Self::Ghost { .. } | Self::Rename { .. } => None,
        }
    }

    /// The event or message it carries, for those who look at failures.
    pub(crate) fn cause(&self) -> Option<String> {
        match self {
            Self::Matrix(send) => send.origin.as_ref().map(|origin| origin.message.to_string()),
            Self::Join { room } | Self::Rename { room, .. } => Some(room.to_string()),
            Self::Ghost { person, .. } => Some(person.to_key()),
            Self::DingTalk(_) | Self::Recall(_) => self.room_origin().map(|origin| origin.event.to_string()),
        }
    }

    /// When what it carries was received.
    pub(crate) fn received_at(&self) -> Option<Timestamp> {
        match self {
            Self::Matrix(send) => send.origin.as_ref().map(|origin| origin.received_at),
            Self::Join { .. } | Self::Ghost { .. } | Self::Rename { .. } => None,
            Self::DingTalk(_) | Self::Recall(_) => self.room_origin().map(|origin| origin.received_at),
        }
    }
}

/// Where an operation comes from, for the mapping of its parts.
pub(crate) enum From<'a> {
    Chat { chat: &'a ChatId, message: &'a MessageId, received_at: Timestamp },
    Room { room: &'a OwnedRoomId, event: &'a OwnedEventId, sender: &'a OwnedUserId, received_at: Timestamp },
    Nowhere,
}

/// Renders an operation into one or more parts with their keys. `chat` is the row of the chat a post goes to,
/// `robot` the app's own bot.
pub(crate) fn render(
    op: Op,
    chat: Option<&Chat>,
    robot: Option<&RobotCode>,
    from: &From<'_>,
) -> Vec<(OpKey, Rendered)> {
    match op {
        Op::Say(say) => render_say(say, from),
        Op::Post(post) => render_post(post, chat, robot, from),
        Op::Join { room, key } => vec![(key.part(0), Rendered::Join { room })],
        Op::Ghost(Ghost { person, step, key }) => vec![(key.part(0), Rendered::Ghost { person, step })],
        Op::Rename(Rename { room, former, name, key }) => {
            vec![(key.part(0), Rendered::Rename { room, former, name })]
        }
        Op::Recall(recall) => render_recall(recall, chat, robot, from),
    }
}

fn render_recall(
    recall: Recall,
    chat: Option<&Chat>,
    robot: Option<&RobotCode>,
    from: &From<'_>,
) -> Vec<(OpKey, Rendered)> {
    let Recall { chat: chat_id, posts, event, key } = recall;
    let From::Room { room, sender, received_at, .. } = from else { return Vec::new() };
    let direct = chat.is_some_and(|chat| chat.kind == ChatKind::Direct);
    let robot = chat.and_then(|chat| chat.robot.as_ref()).or(robot);
    let part = |(number, posts): (usize, &[QueryKey])| {
        let origin = RoomOrigin {
            room: (*room).clone(),
            event: event.clone(),
            sender: (*sender).clone(),
            part: u16::try_from(number).unwrap_or(u16::MAX),
            received_at: *received_at,
        };
        let group = (!direct).then(|| chat_id.clone());
        let recall = DingTalkRecall { group, robot: robot.cloned(), posts: posts.to_vec(), origin };
        (key.part(number), Rendered::Recall(recall))
    };
    posts.chunks(MOST_RECALLED).enumerate().map(part).collect()
}

fn render_say(say: Say, from: &From<'_>) -> Vec<(OpKey, Rendered)> {
    let Say { room, author, manner, body, reply_to, at, key } = say;
    let ghost = match author {
        Author::Bot => None,
        Author::Ghost(person) => Some(person),
    };
    let part = |(number, document): (usize, Document)| {
        let mut meta = MessageMeta::mentioning(&document);
        // Only the first part answers: the others follow it.
        meta.reply_to = reply_to.as_deref().filter(|_| number == 0);
        let content = message_content(&document, manner, &meta);
        let origin = match from {
            From::Chat { chat, message, received_at } => Some(ChatOrigin {
                chat: (*chat).clone(),
                message: (*message).clone(),
                part: u16::try_from(number).unwrap_or(u16::MAX),
                received_at: *received_at,
            }),
            From::Room { .. } | From::Nowhere => None,
        };
        let send = MatrixSend { room: room.clone(), ghost: ghost.clone(), content, at, origin };
        (key.part(number), Rendered::Matrix(send))
    };
    split(body, MATRIX_BYTES, &measure).into_iter().enumerate().map(part).collect()
}

fn render_post(
    post: Post,
    chat: Option<&Chat>,
    robot: Option<&RobotCode>,
    from: &From<'_>,
) -> Vec<(OpKey, Rendered)> {
    let Post { chat: chat_id, body, mentions, cause, key } = post;
    let robot = chat.and_then(|chat| chat.robot.as_ref()).or(robot);
    let direct = chat.is_some_and(|chat| chat.kind == ChatKind::Direct);
    let peer = chat.and_then(|chat| chat.peer.as_ref()).and_then(PersonId::staff).filter(|_| direct);
    let fits = |document: &Document| {
        let outgoing = Outgoing::render(document, Channel::Robot);
        // Long Markdown is not rendered by DingTalk's clients, long text is.
        let too_long =
            matches!(&outgoing, Outgoing::Markdown { text, .. } if text.chars().count() > MAX_MARKDOWN_CHARS);
        if too_long { DINGTALK_BYTES + 1 } else { outgoing.measure() }
    };
    let part = |(number, document): (usize, Document)| {
        let outgoing = Outgoing::render(&document, Channel::Robot);
        let api_body = robot.and_then(|robot| match (direct, peer) {
            (false, _) => Some(group_request(robot, &chat_id, &outgoing)),
            (true, Some(staff)) => Some(direct_request(robot, staff, &outgoing)),
            (true, None) => None,
        });
        let staff = document.mentioned_staff();
        let called: Vec<StaffId> = mentions.iter().filter(|id| staff.contains(id)).cloned().collect();
        let session_body = (!called.is_empty() || api_body.is_none())
            .then(|| session_request(&Outgoing::render(&document, Channel::Session), &called, false));
        let origin = match (from, &cause) {
            (From::Room { room, event, sender, received_at }, Some(_)) => Some(RoomOrigin {
                room: (*room).clone(),
                event: (*event).clone(),
                sender: (*sender).clone(),
                part: u16::try_from(number).unwrap_or(u16::MAX),
                received_at: *received_at,
            }),
            _ => None,
        };
        let text = |body: Vec<u8>| String::from_utf8(body).unwrap_or_default();
        let post = DingTalkPost {
            chat: chat_id.clone(),
            peer: peer.cloned(),
            api_body: api_body.map(text),
            session_body: session_body.map(text),
            origin,
        };
        (key.part(number), Rendered::DingTalk(post))
    };
    split(body, DINGTALK_BYTES, &fits).into_iter().enumerate().map(part).collect()
}

/// A sentence of the bot for a room, rendered.
pub(crate) fn bot_says(room: OwnedRoomId, text: &str, reply_to: Option<&OwnedEventId>) -> Rendered {
    let document = Document::plain(text);
    let meta = MessageMeta { reply_to: reply_to.map(|event| &**event), ..MessageMeta::default() };
    let content = message_content(&document, Manner::Notice, &meta);
    Rendered::Matrix(MatrixSend { room, ghost: None, content, at: None, origin: None })
}

#[cfg(test)]
mod tests {
    use bridge_core::content::{Block, Inline, Mention, Target};
    use bridge_core::delivery::key::{KeySeed, Purpose};
    use bridge_core::portal::ChatState;

    use super::*;

    fn chat(kind: ChatKind, peer: Option<PersonId>) -> Chat {
        Chat {
            id: ChatId::parse("cidG==").unwrap(),
            kind,
            title: None,
            state: ChatState::Bridged,
            room: Some("!r:acme.example".try_into().unwrap()),
            robot: None,
            peer,
            announced: true,
            first_seen: Timestamp(0),
            last_message: Timestamp(0),
            synced_to: None,
        }
    }

    fn post(body: Document, mentions: Vec<StaffId>) -> Op {
        let cause = Some("$e".try_into().unwrap());
        Op::Post(Post {
            chat: ChatId::parse("cidG==").unwrap(),
            body,
            mentions,
            cause,
            key: KeySeed::new(Purpose::Relay, "$e"),
        })
    }

    fn rendered(op: Op, chat: &Chat) -> Vec<(String, Rendered)> {
        let robot = RobotCode::parse("dingrobot").unwrap();
        let (room, event, sender) = (
            "!r:acme.example".try_into().unwrap(),
            "$e".try_into().unwrap(),
            "@alice:acme.example".try_into().unwrap(),
        );
        let from = From::Room { room: &room, event: &event, sender: &sender, received_at: Timestamp(7) };
        render(op, Some(chat), Some(&robot), &from)
            .into_iter()
            .map(|(key, op)| (key.to_string(), op))
            .collect()
    }

    #[test]
    fn what_the_outbox_keeps_never_changes_unnoticed() {
        let staff = StaffId::parse("user0143").unwrap();
        let person = PersonId::Staff(staff.clone());
        let call =
            Inline::Mention(Mention { target: Target::Person(person.clone()), name: "周桥桥".into() });
        let call = Document { blocks: vec![Block::Paragraph(vec![Inline::Text("hi ".into()), call])] };
        let all = [
            rendered(post(Document::plain("hello"), vec![]), &chat(ChatKind::Group, None)),
            rendered(post(call, vec![staff]), &chat(ChatKind::Group, None)),
            rendered(post(Document::plain("hello"), vec![]), &chat(ChatKind::Direct, Some(person))),
            rendered(post(Document::plain("hello"), vec![]), &chat(ChatKind::Direct, None)),
        ];
        insta::assert_json_snapshot!(all);
    }

    #[test]
    fn many_messages_are_taken_back_in_several_calls() {
        let recall = |chat: &Chat| {
            let posts = (0..45).map(|number| QueryKey::parse(format!("key{number}==")).unwrap()).collect();
            let key = KeySeed::new(Purpose::Recall, "$r");
            rendered(
                Op::Recall(Recall { chat: chat.id.clone(), posts, event: "$e".try_into().unwrap(), key }),
                chat,
            )
        };
        let group = recall(&chat(ChatKind::Group, None));
        insta::assert_json_snapshot!(group[2]);
        assert_eq!(group.len(), 3);
        let direct = recall(&chat(ChatKind::Direct, None));
        assert!(matches!(&direct[0].1, Rendered::Recall(recall) if recall.group.is_none()));
    }

    #[test]
    fn a_long_text_becomes_parts_that_dingtalk_takes() {
        let text = "很长的一段话。".repeat(3_000);
        let parts = rendered(post(Document::plain(&text), vec![]), &chat(ChatKind::Group, None));
        assert!(parts.len() > 3);
        for (number, (key, part)) in parts.iter().enumerate() {
            assert!(key.ends_with(&format!(".{number}")));
            let Rendered::DingTalk(post) = part else { panic!("{part:?}") };
            assert!(post.api_body.as_ref().unwrap().len() < 16_000);
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        for (_, op) in rendered(post(Document::plain("hello"), vec![]), &chat(ChatKind::Group, None)) {
            let bytes = serde_json::to_vec(&op).unwrap();
            let again: Rendered = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(format!("{op:?}"), format!("{again:?}"));
        }
    }
}
