//! Operations as the outbox keeps them: rendered, so that a retry after an upgrade sends the same bytes.

use std::collections::HashMap;

use bridge_core::clock::Timestamp;
use bridge_core::content::Document;
use bridge_core::delivery::key::{KeySeed, OpKey};
use bridge_core::envelope::Lane;
use bridge_core::event::{ChatFile, ChatKind, FileKey, Manner, RoomFile};
use bridge_core::id::{ChatId, MessageId, PersonId, QueryKey, RobotCode, StaffId};
use bridge_core::op::{Author, Ghost, GhostStep, Hand, Op, Post, Recall, Rename, Say, Show};
use bridge_core::portal::Chat;
use bridge_core::split::split;
use bridge_dingtalk::client::MOST_RECALLED;
use bridge_dingtalk::wire::render::{
    Channel, MAX_MARKDOWN_CHARS, Outgoing, RobotMessage, direct_request, group_request, session_request,
};
use bridge_matrix::wire::render::{MessageMeta, measure, message_content};
use bridge_store::{Network, OutboxItem, OutboxSeq};
use ruma::{EventId, OwnedEventId, OwnedMxcUri, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

use crate::relay::step::StepError;

/// Most bytes of a message's content in Matrix. The whole event must fit into 65,536 bytes.
const MATRIX_BYTES: usize = 60_000;

/// Most bytes of `msgParam` (API.md section 5.3: 15,000) with room for the mark of a part.
const DINGTALK_BYTES: usize = 14_500;

/// An operation with its key and what it carries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Rendered {
    /// A message into a Matrix room.
    Matrix(MatrixSend),
    /// A file on its way into a Matrix room.
    Show(ShowFile),
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
    /// A file on its way into a DingTalk chat.
    Hand(HandFile),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MatrixSend {
    pub(crate) room: OwnedRoomId,
    /// The ghost's person; none is the bot.
    pub(crate) ghost: Option<PersonId>,
    pub(crate) content: String,
    /// What is sent in its place into an encrypted room: made once and kept, for it uses up a step of the room's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<String>,
    pub(crate) at: Option<Timestamp>,
    /// The message of DingTalk that it carries.
    pub(crate) origin: Option<ChatOrigin>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShowFile {
    pub(crate) room: OwnedRoomId,
    pub(crate) ghost: PersonId,
    pub(crate) file: ChatFile,
    /// The bot whose download code it is.
    pub(crate) robot: Option<RobotCode>,
    pub(crate) reply_to: Option<OwnedEventId>,
    pub(crate) at: Option<Timestamp>,
    pub(crate) origin: Option<ChatOrigin>,
    /// Its place on the homeserver, once it has one.
    pub(crate) uri: Option<OwnedMxcUri>,
    /// What encrypts it there, for an encrypted room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<FileKey>,
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
pub(crate) struct HandFile {
    pub(crate) to: Recipient,
    pub(crate) file: RoomFile,
    pub(crate) origin: Option<RoomOrigin>,
}

/// Whom messages of a chat go to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Recipient {
    pub(crate) chat: ChatId,
    /// The person at the other end of a 1:1 chat.
    pub(crate) peer: Option<StaffId>,
    /// A 1:1 chat; without [`Self::peer`] only a reply address reaches it.
    pub(crate) direct: bool,
    pub(crate) robot: Option<RobotCode>,
}

impl Recipient {
    fn new(id: ChatId, chat: Option<&Chat>, robot: Option<&RobotCode>) -> Self {
        let direct = chat.is_some_and(|chat| chat.kind == ChatKind::Direct);
        let peer = chat.and_then(|chat| chat.peer.as_ref()).and_then(PersonId::staff).filter(|_| direct);
        let robot = chat.and_then(|chat| chat.robot.as_ref()).or(robot).cloned();
        Self { chat: id, peer: peer.cloned(), direct, robot }
    }

    /// The body of the app bot's call; none where that does not reach the chat.
    pub(crate) fn api_body(&self, message: &impl RobotMessage) -> Option<String> {
        let body = match (self.robot.as_ref()?, self.direct, &self.peer) {
            (robot, false, _) => group_request(robot, &self.chat, message),
            (robot, true, Some(staff)) => direct_request(robot, staff, message),
            (_, true, None) => return None,
        };
        Some(text(body))
    }

    /// A message that this body is.
    pub(crate) fn post(
        &self,
        api_body: Option<String>,
        session_body: Option<String>,
        origin: Option<RoomOrigin>,
    ) -> DingTalkPost {
        DingTalkPost { chat: self.chat.clone(), peer: self.peer.clone(), api_body, session_body, origin }
    }
}

fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).unwrap_or_default()
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
            Self::Matrix(_)
            | Self::Show(_)
            | Self::Join { .. }
            | Self::Ghost { .. }
            | Self::Rename { .. } => Network::Matrix,
            Self::DingTalk(_) | Self::Hand(_) | Self::Recall(_) => Network::DingTalk,
        }
    }

    /// Whether sending it twice does what sending it once does, so that it needs no mark.
    pub(crate) fn is_repeatable(&self) -> bool {
        !matches!(self, Self::DingTalk(_) | Self::Hand(_))
    }

    /// The event of Matrix behind something for DingTalk.
    pub(crate) fn room_origin(&self) -> Option<&RoomOrigin> {
        match self {
            Self::DingTalk(post) => post.origin.as_ref(),
            Self::Hand(file) => file.origin.as_ref(),
            Self::Recall(recall) => Some(&recall.origin),
            Self::Matrix(_)
            | Self::Show(_)
            | Self::Join { .. }
            | Self::Ghost { .. }
            | Self::Rename { .. } => None,
        }
    }

    /// The lane it is sent in when what it comes from has none.
    pub(crate) fn lane(&self) -> Lane {
        match self {
            Self::Matrix(MatrixSend { room, .. }) | Self::Join { room } | Self::Rename { room, .. } => {
                Lane::from_room(room.as_str())
            }
            Self::Show(file) => Lane::from_room(file.room.as_str()),
            Self::DingTalk(post) => Lane::from_chat(post.chat.as_str()),
            Self::Hand(file) => Lane::from_chat(file.to.chat.as_str()),
            Self::Ghost { .. } => Lane::organisation(),
            Self::Recall(recall) => Lane::from_room(recall.origin.room.as_str()),
        }
    }

    /// The row of the outbox that keeps it.
    pub(crate) fn to_row(
        &self,
        seq: OutboxSeq,
        lane: Lane,
        key: &OpKey,
        created_at: Timestamp,
    ) -> Result<OutboxItem, StepError> {
        Ok(OutboxItem {
            seq,
            lane,
            network: self.network(),
            key: key.as_str().to_owned(),
            cause: self.cause(),
            op: serde_json::to_vec(self).map_err(|error| StepError::Unrenderable(error.to_string()))?,
            created_at,
        })
    }

    /// The event or message it carries, for those who look at failures.
    pub(crate) fn cause(&self) -> Option<String> {
        match self {
            Self::Matrix(send) => send.origin.as_ref().map(|origin| origin.message.to_string()),
            Self::Show(file) => file.origin.as_ref().map(|origin| origin.message.to_string()),
            Self::Join { room } | Self::Rename { room, .. } => Some(room.to_string()),
            Self::Ghost { person, .. } => Some(person.to_key()),
            Self::DingTalk(_) | Self::Hand(_) | Self::Recall(_) => {
                self.room_origin().map(|origin| origin.event.to_string())
            }
        }
    }

    /// When what it carries was received.
    pub(crate) fn received_at(&self) -> Option<Timestamp> {
        match self {
            Self::Matrix(send) => send.origin.as_ref().map(|origin| origin.received_at),
            Self::Show(file) => file.origin.as_ref().map(|origin| origin.received_at),
            Self::Join { .. } | Self::Ghost { .. } | Self::Rename { .. } => None,
            Self::DingTalk(_) | Self::Hand(_) | Self::Recall(_) => {
                self.room_origin().map(|origin| origin.received_at)
            }
        }
    }
}

/// Where an operation comes from, for the mapping of its parts.
pub(crate) enum From<'a> {
    Chat { chat: &'a ChatId, message: &'a MessageId, received_at: Timestamp },
    Room { room: &'a OwnedRoomId, event: &'a OwnedEventId, sender: &'a OwnedUserId, received_at: Timestamp },
    Nowhere,
}

/// Renders operations into parts with their keys; those of one seed are numbered on. `chat` is the row of the chat that
/// posts go to, `robot` the app's own bot.
pub(crate) fn render(
    ops: Vec<Op>,
    chat: Option<&Chat>,
    robot: Option<&RobotCode>,
    from: &From<'_>,
) -> Vec<(OpKey, Rendered)> {
    let mut counts: HashMap<KeySeed, usize> = HashMap::new();
    let mut all = Vec::new();
    for op in ops {
        let key = match &op {
            Op::Say(say) => &say.key,
            Op::Show(show) => &show.key,
            Op::Post(post) => &post.key,
            Op::Hand(hand) => &hand.key,
            Op::Join { key, .. } => key,
            Op::Recall(recall) => &recall.key,
            Op::Ghost(ghost) => &ghost.key,
            Op::Rename(rename) => &rename.key,
        };
        let count = counts.entry(key.clone()).or_default();
        let parts = match op {
            Op::Say(say) => render_say(say, from, *count),
            Op::Show(show) => render_show(show, from, *count),
            Op::Post(post) => render_post(post, chat, robot, from, *count),
            Op::Hand(hand) => render_hand(hand, chat, robot, from, *count),
            Op::Join { room, key } => vec![(key.part(*count), Rendered::Join { room })],
            Op::Recall(recall) => render_recall(recall, chat, robot, from, *count),
            Op::Ghost(Ghost { person, step, key }) => {
                vec![(key.part(*count), Rendered::Ghost { person, step })]
            }
            Op::Rename(Rename { room, former, name, key }) => {
                vec![(key.part(*count), Rendered::Rename { room, former, name })]
            }
        };
        *count += parts.len();
        all.extend(parts);
    }
    all
}

impl From<'_> {
    /// The message of DingTalk that a part carries.
    fn chat(&self, part: usize) -> Option<ChatOrigin> {
        match self {
            Self::Chat { chat, message, received_at } => Some(ChatOrigin {
                chat: (*chat).clone(),
                message: (*message).clone(),
                part: u16::try_from(part).unwrap_or(u16::MAX),
                received_at: *received_at,
            }),
            Self::Room { .. } | Self::Nowhere => None,
        }
    }

    /// The event of Matrix that a part carries.
    fn room(&self, part: usize) -> Option<RoomOrigin> {
        match self {
            Self::Room { room, event, sender, received_at } => Some(RoomOrigin {
                room: (*room).clone(),
                event: (*event).clone(),
                sender: (*sender).clone(),
                part: u16::try_from(part).unwrap_or(u16::MAX),
                received_at: *received_at,
            }),
            Self::Chat { .. } | Self::Nowhere => None,
        }
    }
}

fn render_recall(
    recall: Recall,
    chat: Option<&Chat>,
    robot: Option<&RobotCode>,
    from: &From<'_>,
    first: usize,
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
        (key.part(first + number), Rendered::Recall(recall))
    };
    posts.chunks(MOST_RECALLED).enumerate().map(part).collect()
}

fn render_show(show: Show, from: &From<'_>, first: usize) -> Vec<(OpKey, Rendered)> {
    let Show { room, author, file, robot, reply_to, at, key } = show;
    let origin = from.chat(first);
    let file = ShowFile { room, ghost: author, file, robot, reply_to, at, origin, uri: None, key: None };
    vec![(key.part(first), Rendered::Show(file))]
}

fn render_say(say: Say, from: &From<'_>, first: usize) -> Vec<(OpKey, Rendered)> {
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
        let origin = from.chat(first + number);
        let send = MatrixSend { room: room.clone(), ghost: ghost.clone(), content, sealed: None, at, origin };
        (key.part(first + number), Rendered::Matrix(send))
    };
    split(body, MATRIX_BYTES, &measure).into_iter().enumerate().map(part).collect()
}

fn render_post(
    post: Post,
    chat: Option<&Chat>,
    robot: Option<&RobotCode>,
    from: &From<'_>,
    first: usize,
) -> Vec<(OpKey, Rendered)> {
    let Post { chat: chat_id, body, mentions, cause, key } = post;
    let to = Recipient::new(chat_id, chat, robot);
    let fits = |document: &Document| {
        let outgoing = Outgoing::render(document, Channel::Robot);
        // Long Markdown is not rendered by DingTalk's clients, long text is.
        let too_long =
            matches!(&outgoing, Outgoing::Markdown { text, .. } if text.chars().count() > MAX_MARKDOWN_CHARS);
        if too_long { DINGTALK_BYTES + 1 } else { outgoing.measure() }
    };
    let part = |(number, document): (usize, Document)| {
        let outgoing = Outgoing::render(&document, Channel::Robot);
        let api_body = to.api_body(&outgoing);
        let staff = document.mentioned_staff();
        let called: Vec<StaffId> = mentions.iter().filter(|id| staff.contains(id)).cloned().collect();
        let session_body = (!called.is_empty() || api_body.is_none())
            .then(|| text(session_request(&Outgoing::render(&document, Channel::Session), &called, false)));
        let origin = cause.as_ref().and_then(|_| from.room(first + number));
        (key.part(first + number), Rendered::DingTalk(to.post(api_body, session_body, origin)))
    };
    split(body, DINGTALK_BYTES, &fits).into_iter().enumerate().map(part).collect()
}

fn render_hand(
    hand: Hand,
    chat: Option<&Chat>,
    robot: Option<&RobotCode>,
    from: &From<'_>,
    first: usize,
) -> Vec<(OpKey, Rendered)> {
    let Hand { chat: id, file, cause: _, key } = hand;
    let to = Recipient::new(id, chat, robot);
    vec![(key.part(first), Rendered::Hand(HandFile { to, file, origin: from.room(first) }))]
}

/// A sentence of the bot for a room, rendered.
pub(crate) fn bot_says(room: OwnedRoomId, text: &str, reply_to: Option<&OwnedEventId>) -> Rendered {
    let content = notice_content(text, reply_to.map(|event| &**event));
    Rendered::Matrix(MatrixSend { room, ghost: None, content, sealed: None, at: None, origin: None })
}

/// The content of a notice.
pub(crate) fn notice_content(text: &str, reply_to: Option<&EventId>) -> String {
    let meta = MessageMeta { reply_to, ..MessageMeta::default() };
    message_content(&Document::plain(text), Manner::Notice, &meta)
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
        render(vec![op], Some(chat), Some(&robot), &from)
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
    proptest::proptest! {
        #[test]
        fn addresses_and_code_keep_every_byte_on_the_way_through_both_networks(
            path in "[A-Za-z0-9._~:/?#@!$&'()*+,;=%\\[\\]-]{0,40}",
            code in "[!-~]([ -~你😀]{0,30}[!-~])?",
            block in "[ -~\n你😀]{1,60}",
        ) {
            use bridge_dingtalk::wire::{markdown, render::render_markdown};
            use bridge_matrix::wire::html::{Addressees, document};
            use bridge_matrix::wire::render::formatted_body;
            let address = format!("https://example.org/{path}");
            let block = block.trim_matches('\n').to_owned();
            let sent = Document { blocks: vec![
                Block::Paragraph(vec![
                    Inline::Link(address.clone(), vec![Inline::Text("label".into())]),
                    Inline::Text(" and ".into()),
                    Inline::Code(code.clone()),
                ]),
                Block::Code(String::new(), format!("x{block}x")),
            ] };
            let in_dingtalk = markdown::parse(&render_markdown(&sent));
            let html = formatted_body(&in_dingtalk).unwrap_or_default();
            for seen in [&in_dingtalk, &document(&html, &Addressees::default())] {
                let (mut addresses, mut codes) = (vec![], vec![]);
                seen.each_inline(&mut |inline| match inline {
                    Inline::Link(address, _) => addresses.push(address.clone()),
                    Inline::Code(code) => codes.push(code.clone()),
                    _ => {}
                });
                proptest::prop_assert_eq!(&addresses, std::slice::from_ref(&address));
                proptest::prop_assert_eq!(&codes, std::slice::from_ref(&code));
                let blocks: Vec<&String> = seen.blocks.iter().filter_map(|block| match block {
                    Block::Code(_, text) => Some(text),
                    _ => None,
                }).collect();
                proptest::prop_assert_eq!(blocks, [&format!("x{block}x")]);
            }
        }
    }
}
