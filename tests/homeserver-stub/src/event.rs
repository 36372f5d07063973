//! Events, and what a homeserver refuses in their content.

use crate::error::{ApiError, ApiResult};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Limit of a whole event in canonical JSON.
pub(crate) const MAX_EVENT: usize = 65_536;
/// What hashes, signatures, `auth_events` and `prev_events` add to what the client sent.
const FEDERATION_OVERHEAD: usize = 420;
/// Largest integer canonical JSON allows.
const MAX_INT: i64 = (1 << 53) - 1;

/// One event as the stub keeps it; content stays raw, so that nothing is parsed twice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Position in the stream of all rooms.
    pub seq: u64,
    /// `$…`
    pub event_id: String,
    /// `!…`
    pub room_id: String,
    /// Event type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who sent it.
    pub sender: String,
    /// Present on state events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_key: Option<String>,
    /// Raw content.
    pub content: Box<RawValue>,
    /// Target of a redaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacts: Option<String>,
    /// Milliseconds; `ts` of the request where it was given.
    pub origin_server_ts: u64,
    /// When the stub took it, microseconds since 1970.
    pub received_us: u64,
    /// Content of the state event this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_content: Option<Box<RawValue>>,
    /// The redaction that emptied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redacted_by: Option<String>,
    /// Whether it goes to the bridge.
    #[serde(default)]
    pub push: bool,
}

impl Event {
    /// The content as a tree; `null` never happens, because content was checked on entry.
    pub fn content_value(&self) -> Value {
        serde_json::from_str(self.content.get()).unwrap_or_default()
    }

    /// The form clients and the bridge see.
    pub(crate) fn client(&self, now_us: u64) -> Client<'_> {
        Client {
            event_id: &self.event_id,
            room_id: &self.room_id,
            kind: &self.kind,
            sender: &self.sender,
            state_key: self.state_key.as_deref(),
            content: &self.content,
            redacts: self.redacts.as_deref(),
            origin_server_ts: self.origin_server_ts,
            user_id: None,
            age: None,
            unsigned: Unsigned {
                age: now_us.saturating_sub(self.received_us) / 1000,
                prev_content: self.prev_content.as_deref(),
                redacted_because: self
                    .redacted_by
                    .as_ref()
                    .map(|id| json!({"type": "m.room.redaction", "event_id": id, "redacts": self.event_id, "content": {}})),
            },
        }
    }

    /// As in a transaction of Synapse, with the legacy copies at top level.
    pub(crate) fn pushed(&self, now_us: u64) -> Client<'_> {
        let mut client = self.client(now_us);
        client.user_id = Some(&self.sender);
        client.age = Some(client.unsigned.age);
        client
    }
}

/// Serialises an [`Event`] in client format.
#[derive(Serialize)]
pub(crate) struct Client<'a> {
    event_id: &'a str,
    room_id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    sender: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    content: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<&'a str>,
    origin_server_ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    unsigned: Unsigned<'a>,
}

#[derive(Serialize)]
struct Unsigned<'a> {
    age: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_content: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted_because: Option<Value>,
}

/// Content that has passed the checks.
pub(crate) struct Content {
    pub(crate) raw: Box<RawValue>,
    pub(crate) value: Value,
}

impl Content {
    /// Parses and checks the content of a request.
    pub(crate) fn parse(bytes: &[u8]) -> ApiResult<Self> {
        let value: Value = serde_json::from_slice(bytes).map_err(|_| {
            ApiError::new(axum::http::StatusCode::BAD_REQUEST, "M_NOT_JSON", "Content not JSON.")
        })?;
        Self::from_value(value)
    }

    pub(crate) fn from_value(value: Value) -> ApiResult<Self> {
        if !value.is_object() {
            return Err(ApiError::bad_json("Content must be a JSON object."));
        }
        check_numbers(&value)?;
        let raw =
            serde_json::value::to_raw_value(&value).map_err(|error| ApiError::bad_json(error.to_string()))?;
        Ok(Self { raw, value })
    }

    /// What depends on the event type: texts of messages, size of the whole event.
    pub(crate) fn check(
        &self,
        kind: &str,
        sender: &str,
        room_id: &str,
        state_key: Option<&str>,
    ) -> ApiResult<()> {
        if kind == "m.room.message" && state_key.is_none() {
            for key in ["body", "msgtype"] {
                match self.value.get(key) {
                    Some(Value::String(_)) => {}
                    Some(_) => return Err(ApiError::bad_json(format!("'{key}' not a string type"))),
                    None => return Err(ApiError::bad_json(format!("'{key}' not in content"))),
                }
            }
        }
        for (name, value) in [("type", kind), ("state_key", state_key.unwrap_or(""))] {
            if value.len() > 255 {
                return Err(ApiError::too_large(format!("'{name}' too large")));
            }
        }
        let size = self.raw.get().len() + kind.len() + sender.len() + room_id.len() + FEDERATION_OVERHEAD;
        if size > MAX_EVENT {
            return Err(ApiError::too_large("event too large"));
        }
        Ok(())
    }
}

fn check_numbers(value: &Value) -> ApiResult<()> {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(n) if (-MAX_INT..=MAX_INT).contains(&n) => Ok(()),
            _ => Err(ApiError::bad_json("Bad JSON value: float or integer out of range")),
        },
        Value::Array(items) => items.iter().try_for_each(check_numbers),
        Value::Object(map) => map.values().try_for_each(check_numbers),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_and_large_integers_are_refused() {
        assert!(Content::parse(br#"{"a":{"b":[1.0]}}"#).is_err());
        assert!(Content::parse(br#"{"a":9007199254740992}"#).is_err());
        assert!(Content::parse(br#"{"a":9007199254740991}"#).is_ok());
        assert!(Content::parse(b"[]").is_err());
    }

    #[test]
    fn the_size_limit_is_that_of_a_real_server() {
        let fits = |text: String| {
            let content = Content::from_value(json!({"msgtype": "m.text", "body": text}))?;
            content.check(
                "m.room.message",
                "@_dingtalk_someone:localhost.test",
                "!aaaaaaaaaaaaaaaaaa:localhost.test",
                None,
            )
        };
        assert!(fits("x".repeat(64_900)).is_ok());
        assert!(fits("字".repeat(22_000)).is_err());
        assert!(fits("x".repeat(65_400)).is_err());
    }
}
