//! From rows of the database to values. A value that this version cannot read is an error that names its column.

use bridge_core::clock::Timestamp;
use bridge_core::envelope::{Envelope, Lane, Source};
use bridge_core::event::ChatKind;
use bridge_core::id::{ChatId, CorpId, MessageId, PersonId, QueryKey, RobotCode, SenderId};
use bridge_core::portal::{Chat, ChatState};
use ruma::{EventId, OwnedEventId, RoomId, UserId};

use crate::error::StoreError;
use crate::feed::FeedShare;
use crate::ghosts::{Person, Profile};
use crate::inbox::{InboxItem, InboxSeq};
use crate::link::{Link, LinkSource};
use crate::messages::{Direction, MessageMapping, Remote};
use crate::outbox::{Network, OutboxItem, OutboxRow, OutboxSeq, OutboxState};
use crate::seal::{Place, Sealer};
use crate::sql::Columns;

type Result<T> = std::result::Result<T, StoreError>;

fn unreadable<E>(column: &'static str) -> impl Fn(E) -> StoreError {
    move |_| StoreError::Unreadable { column }
}

fn known<T>(value: Option<T>, column: &'static str) -> Result<T> {
    value.ok_or(StoreError::Unreadable { column })
}

fn optional<T, E>(
    text: Option<String>,
    column: &'static str,
    parse: impl Fn(String) -> std::result::Result<T, E>,
) -> Result<Option<T>> {
    text.map(parse).transpose().map_err(unreadable(column))
}

pub(crate) fn inbox(row: &impl Columns, sealer: &Sealer) -> Result<InboxItem> {
    let key = row.text("key")?;
    let body = row.bytes("body")?;
    let body = sealer
        .open(Place { column: "inbox.body", row: &key }, &body)
        .map_err(|source| StoreError::Seal { column: "inbox.body", source })?;
    let envelope = Envelope {
        source: known(Source::from_u8(row.small("source")?), "inbox.source")?,
        key,
        lane: Lane::from_key(row.text("lane")?),
        received_at: Timestamp(row.number("received_at")?),
        body,
    };
    Ok(InboxItem { seq: InboxSeq(row.number("seq")?), envelope, share: FeedShare::default() })
}

pub(crate) fn outbox(row: &impl Columns, sealer: &Sealer) -> Result<OutboxRow> {
    let key = row.text("key")?;
    let op = row.bytes("op")?;
    let op = sealer
        .open(Place { column: "outbox.op", row: &key }, &op)
        .map_err(|source| StoreError::Seal { column: "outbox.op", source })?;
    let state = known(OutboxState::from_u8(row.small("state")?), "outbox.state")?;
    let at = row.maybe_number("at")?;
    Ok(OutboxRow {
        item: OutboxItem {
            seq: OutboxSeq(row.number("seq")?),
            lane: Lane::from_key(row.text("lane")?),
            network: known(Network::from_u8(row.small("network")?), "outbox.network")?,
            key,
            cause: row.maybe_text("cause")?,
            op,
            created_at: Timestamp(row.number("created_at")?),
        },
        state,
        attempts: u32::try_from(row.number("attempts")?).map_err(unreadable("outbox.attempts"))?,
        next_at: at.filter(|_| state == OutboxState::Retry).map(Timestamp),
        code: row.maybe_text("code")?,
    })
}

pub(crate) fn chat(row: &impl Columns) -> Result<Chat> {
    let kind = match row.number("kind")? {
        0 => ChatKind::Group,
        1 => ChatKind::Direct,
        _ => return Err(StoreError::Unreadable { column: "chat.kind" }),
    };
    let state = row.text("state")?;
    let peer = row.maybe_text("peer")?;
    Ok(Chat {
        id: ChatId::parse(row.text("id")?).map_err(unreadable("chat.id"))?,
        kind,
        title: row.maybe_text("title")?,
        state: known(ChatState::parse(&state), "chat.state")?,
        room: optional(row.maybe_text("room")?, "chat.room", RoomId::parse)?,
        robot: optional(row.maybe_text("robot")?, "chat.robot", RobotCode::parse)?,
        peer: peer.map(|peer| known(PersonId::from_key(&peer), "chat.peer")).transpose()?,
        announced: row.flag("announced")?,
        first_seen: Timestamp(row.number("first_seen")?),
        last_message: Timestamp(row.number("last_message")?),
        synced_to: row.maybe_text("synced_to")?,
    })
}

pub(crate) fn person(row: &impl Columns) -> Result<Person> {
    let id = row.text("id")?;
    Ok(Person {
        id: known(PersonId::from_key(&id), "person.id")?,
        mxid: UserId::parse(row.text("mxid")?).map_err(unreadable("person.mxid"))?,
        name: row.text("name")?,
        sender_id: optional(row.maybe_text("sender_id")?, "person.sender_id", SenderId::parse)?,
        registered: row.flag("registered")?,
        device: row.flag("device")?,
        shown_name: row.maybe_text("shown_name")?,
        updated_at: Timestamp(row.number("updated_at")?),
    })
}

pub(crate) fn profile(row: &impl Columns) -> Result<Profile> {
    Ok(Profile {
        asked_at: Timestamp(row.number("asked_at")?),
        source: row.maybe_text("source")?,
        avatar: row.maybe_text("avatar")?,
    })
}

pub(crate) fn mapping(row: &impl Columns) -> Result<MessageMapping> {
    let kind = row.number("remote_kind")?;
    let remote = row.maybe_text("remote")?;
    let remote = match (kind, remote) {
        (0, Some(id)) => Remote::Message(MessageId::parse(id).map_err(unreadable("message.remote"))?),
        (1, Some(key)) => Remote::Query(QueryKey::parse(key).map_err(unreadable("message.remote"))?),
        (2, None) => Remote::None,
        _ => return Err(StoreError::Unreadable { column: "message.remote" }),
    };
    Ok(MessageMapping {
        room: RoomId::parse(row.text("room")?).map_err(unreadable("message.room"))?,
        event: EventId::parse(row.text("event")?).map_err(unreadable("message.event"))?,
        chat: ChatId::parse(row.text("chat")?).map_err(unreadable("message.chat"))?,
        remote,
        part: u16::try_from(row.number("part")?).map_err(unreadable("message.part"))?,
        direction: known(Direction::from_u8(row.small("direction")?), "message.direction")?,
        sender: row.text("sender")?,
        at: Timestamp(row.number("at")?),
    })
}

pub(crate) fn event(row: &impl Columns) -> Result<OwnedEventId> {
    EventId::parse(row.text("event")?).map_err(unreadable("edit.event"))
}

pub(crate) fn link(row: &impl Columns, sealer: &Sealer) -> Result<Link> {
    let app_key = row.text("app_key")?;
    let secret = row.bytes("app_secret")?;
    let app_secret = sealer
        .open_secret(Place { column: "link.app_secret", row: &app_key }, &secret)
        .map_err(|source| StoreError::Seal { column: "link.app_secret", source })?;
    let agent_id = row.text("agent_id")?;
    Ok(Link {
        app_key: RobotCode::parse(app_key).map_err(unreadable("link.app_key"))?,
        app_secret,
        agent_id: agent_id.parse().map_err(unreadable("link.agent_id"))?,
        corp: optional(row.maybe_text("corp")?, "link.corp", CorpId::parse)?,
        organisation: row.text("organisation")?,
        linked_by: UserId::parse(row.text("linked_by")?).map_err(unreadable("link.linked_by"))?,
        linked_at: Timestamp(row.number("linked_at")?),
        room: optional(row.maybe_text("room")?, "link.room", RoomId::parse)?,
        source: known(LinkSource::from_u8(row.small("source")?), "link.source")?,
    })
}
