//! From rows of the database to values. A value that this version cannot read is an error that names its column.

use bridge_core::clock::Timestamp;
use bridge_core::envelope::{Envelope, Lane, Source};
use bridge_core::event::ChatKind;
use bridge_core::id::{ChatId, CorpId, MessageId, PersonId, QueryKey, RobotCode, SenderId};
use bridge_core::portal::{Chat, ChatState};
use ruma::{EventId, RoomId, UserId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::StoreError;
use crate::feed::FeedShare;
use crate::ghosts::Person;
use crate::inbox::{InboxItem, InboxSeq};
use crate::link::{Link, LinkSource};
use crate::messages::{Direction, MessageMapping, Remote};
use crate::outbox::{Network, OutboxItem, OutboxRow, OutboxSeq, OutboxState};
use crate::seal::{Place, Sealer};

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

pub(super) fn inbox(row: &SqliteRow, sealer: &Sealer) -> Result<InboxItem> {
    let key: String = row.try_get("key")?;
    let body: Vec<u8> = row.try_get("body")?;
    let body = sealer
        .open(Place { column: "inbox.body", row: &key }, &body)
        .map_err(|source| StoreError::Seal { column: "inbox.body", source })?;
    let envelope = Envelope {
        source: known(Source::from_u8(row.try_get("source")?), "inbox.source")?,
        key,
        lane: Lane::from_key(row.try_get("lane")?),
        received_at: Timestamp(row.try_get("received_at")?),
        body,
    };
    Ok(InboxItem { seq: InboxSeq(row.try_get("seq")?), envelope, share: FeedShare::default() })
}

pub(super) fn outbox(row: &SqliteRow, sealer: &Sealer) -> Result<OutboxRow> {
    let key: String = row.try_get("key")?;
    let op: Vec<u8> = row.try_get("op")?;
    let op = sealer
        .open(Place { column: "outbox.op", row: &key }, &op)
        .map_err(|source| StoreError::Seal { column: "outbox.op", source })?;
    let state = known(OutboxState::from_u8(row.try_get("state")?), "outbox.state")?;
    let at: Option<i64> = row.try_get("at")?;
    Ok(OutboxRow {
        item: OutboxItem {
            seq: OutboxSeq(row.try_get("seq")?),
            lane: Lane::from_key(row.try_get("lane")?),
            network: known(Network::from_u8(row.try_get("network")?), "outbox.network")?,
            key,
            cause: row.try_get("cause")?,
            op,
            created_at: Timestamp(row.try_get("created_at")?),
        },
        state,
        attempts: row.try_get("attempts")?,
        next_at: at.filter(|_| state == OutboxState::Retry).map(Timestamp),
        code: row.try_get("code")?,
    })
}

pub(super) fn chat(row: &SqliteRow) -> Result<Chat> {
    let kind: u8 = row.try_get("kind")?;
    let kind = match kind {
        0 => ChatKind::Group,
        1 => ChatKind::Direct,
        _ => return Err(StoreError::Unreadable { column: "chat.kind" }),
    };
    let state: String = row.try_get("state")?;
    let peer: Option<String> = row.try_get("peer")?;
    Ok(Chat {
        id: ChatId::parse(row.try_get::<String, _>("id")?).map_err(unreadable("chat.id"))?,
        kind,
        title: row.try_get("title")?,
        state: known(ChatState::parse(&state), "chat.state")?,
        room: optional(row.try_get("room")?, "chat.room", RoomId::parse)?,
        robot: optional(row.try_get("robot")?, "chat.robot", RobotCode::parse)?,
        peer: peer.map(|peer| known(PersonId::from_key(&peer), "chat.peer")).transpose()?,
        announced: row.try_get("announced")?,
        first_seen: Timestamp(row.try_get("first_seen")?),
        last_message: Timestamp(row.try_get("last_message")?),
        synced_to: row.try_get("synced_to")?,
    })
}

pub(super) fn person(row: &SqliteRow) -> Result<Person> {
    let id: String = row.try_get("id")?;
    Ok(Person {
        id: known(PersonId::from_key(&id), "person.id")?,
        mxid: UserId::parse(row.try_get::<String, _>("mxid")?).map_err(unreadable("person.mxid"))?,
        name: row.try_get("name")?,
        sender_id: optional(row.try_get("sender_id")?, "person.sender_id", SenderId::parse)?,
        registered: row.try_get("registered")?,
        device: row.try_get("device")?,
        shown_name: row.try_get("shown_name")?,
        updated_at: Timestamp(row.try_get("updated_at")?),
    })
}

pub(super) fn mapping(row: &SqliteRow) -> Result<MessageMapping> {
    let kind: u8 = row.try_get("remote_kind")?;
    let remote: Option<String> = row.try_get("remote")?;
    let remote = match (kind, remote) {
        (0, Some(id)) => Remote::Message(MessageId::parse(id).map_err(unreadable("message.remote"))?),
        (1, Some(key)) => Remote::Query(QueryKey::parse(key).map_err(unreadable("message.remote"))?),
        (2, None) => Remote::None,
        _ => return Err(StoreError::Unreadable { column: "message.remote" }),
    };
    Ok(MessageMapping {
        room: RoomId::parse(row.try_get::<String, _>("room")?).map_err(unreadable("message.room"))?,
        event: EventId::parse(row.try_get::<String, _>("event")?).map_err(unreadable("message.event"))?,
        chat: ChatId::parse(row.try_get::<String, _>("chat")?).map_err(unreadable("message.chat"))?,
        remote,
        part: row.try_get("part")?,
        direction: known(Direction::from_u8(row.try_get("direction")?), "message.direction")?,
        sender: row.try_get("sender")?,
        at: Timestamp(row.try_get("at")?),
    })
}

pub(super) fn link(row: &SqliteRow, sealer: &Sealer) -> Result<Link> {
    let app_key: String = row.try_get("app_key")?;
    let secret: Vec<u8> = row.try_get("app_secret")?;
    let app_secret = sealer
        .open_secret(Place { column: "link.app_secret", row: &app_key }, &secret)
        .map_err(|source| StoreError::Seal { column: "link.app_secret", source })?;
    let agent_id: String = row.try_get("agent_id")?;
    Ok(Link {
        app_key: RobotCode::parse(app_key).map_err(unreadable("link.app_key"))?,
        app_secret,
        agent_id: agent_id.parse().map_err(unreadable("link.agent_id"))?,
        corp: optional(row.try_get("corp")?, "link.corp", CorpId::parse)?,
        organisation: row.try_get("organisation")?,
        linked_by: UserId::parse(row.try_get::<String, _>("linked_by")?)
            .map_err(unreadable("link.linked_by"))?,
        linked_at: Timestamp(row.try_get("linked_at")?),
        room: optional(row.try_get("room")?, "link.room", RoomId::parse)?,
        source: known(LinkSource::from_u8(row.try_get("source")?), "link.source")?,
    })
}
