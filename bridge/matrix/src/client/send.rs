//! Events into rooms (Client-Server API, "Sending events to a room").

use bridge_core::clock::Timestamp;
use bytes::Bytes;
use ruma::{DeviceId, EventId, OwnedEventId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::path::Path;
use super::{Client, Nothing, encode};
use crate::error::MatrixError;

/// An event to send.
#[derive(Debug, Clone)]
pub struct SendEvent<'a> {
    /// The room.
    pub room: &'a RoomId,
    /// The type, for instance `m.room.message`.
    pub event_type: &'a str,
    /// The transaction id: unique over all users and rooms, and the same whenever this event is tried again.
    pub txn_id: &'a str,
    /// The content as JSON. A homeserver takes a whole event of 65,536 bytes.
    pub content: Bytes,
    /// Who says it.
    pub user: &'a UserId,
    /// On which device; makes repetitions safe for a day, also when the homeserver restarts.
    pub device: Option<&'a DeviceId>,
    /// When it was said, if not now. Must not be negative or in the future.
    pub ts: Option<Timestamp>,
}

/// An event to take back.
#[derive(Debug, Clone)]
pub struct Redact<'a> {
    /// The room.
    pub room: &'a RoomId,
    /// The event.
    pub event: &'a EventId,
    /// The transaction id, as in [`SendEvent::txn_id`].
    pub txn_id: &'a str,
    /// Why, for people.
    pub reason: Option<&'a str>,
    /// Who takes it back.
    pub user: &'a UserId,
}

#[derive(Deserialize)]
pub(super) struct SentEvent {
    pub(super) event_id: OwnedEventId,
}

impl Client {
    /// Sends an event. Repeating it with the same transaction id gives the first one's id.
    pub async fn send(&self, event: SendEvent<'_>) -> Result<OwnedEventId, MatrixError> {
        let mut path = Path::v3("rooms")
            .push(event.room.as_str())
            .fixed("send")
            .push(event.event_type)
            .push(event.txn_id)
            .acting(event.user)
            .on_device(event.device);
        if let Some(Timestamp(ms)) = event.ts {
            path = path.query("ts", &ms.max(0).to_string());
        }
        self.put::<SentEvent>(path, event.content).await.map(|sent| sent.event_id)
    }

    /// Takes an event back.
    pub async fn redact(&self, redact: Redact<'_>) -> Result<OwnedEventId, MatrixError> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
        }
        let path = Path::v3("rooms")
            .push(redact.room.as_str())
            .fixed("redact")
            .push(redact.event.as_str())
            .push(redact.txn_id)
            .acting(redact.user);
        let body = encode(&Body { reason: redact.reason })?;
        self.put::<SentEvent>(path, body).await.map(|sent| sent.event_id)
    }

    /// Sets a piece of state. Equal content makes no new event on the usual homeservers.
    pub async fn put_state(
        &self,
        room: &RoomId,
        event_type: &str,
        state_key: &str,
        content: &Value,
        user: &UserId,
    ) -> Result<OwnedEventId, MatrixError> {
        let path = state_path(room, event_type, state_key).acting(user);
        self.put::<SentEvent>(path, encode(content)?).await.map(|sent| sent.event_id)
    }

    /// Says that `user` has read the room up to `event`.
    pub async fn read_receipt(
        &self,
        room: &RoomId,
        event: &EventId,
        user: &UserId,
    ) -> Result<(), MatrixError> {
        let path =
            Path::v3("rooms").push(room.as_str()).fixed("receipt/m.read").push(event.as_str()).acting(user);
        self.post::<Nothing>(path, &Nothing {}).await.map(drop)
    }
}

/// `/rooms/{room}/state/{type}[/{key}]`.
pub(super) fn state_path(room: &RoomId, event_type: &str, state_key: &str) -> Path {
    let path = Path::v3("rooms").push(room.as_str()).fixed("state").push(event_type);
    if state_key.is_empty() { path } else { path.push(state_key) }
}
