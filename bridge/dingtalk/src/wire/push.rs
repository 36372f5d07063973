//! The two kinds of push that arrive at one address: bot callbacks (API.md section 2) and event pushes (section 3).
//!
//! Of a body only what its envelope needs is read here: the key against repetition and the lane. What fails to
//! decode later can then be looked at again.

mod happening;

use std::borrow::Cow;

use bridge_core::clock::Timestamp;
use bridge_core::envelope::{Envelope, Lane, Source};
use bridge_core::id::{ChatId, MessageId};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::Refusal;
use super::crypt::hex;
use super::json;

/// Largest body of a push, in bytes. DingTalk's own stay below 100 KiB.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Longest value in the query of an event push, in bytes.
const MAX_QUERY_VALUE: usize = 256;

/// What an event push carries in its query (API.md section 3.1). The timestamp is opaque text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushQuery {
    /// `msg_signature`, else `signature`.
    pub signature: String,
    /// `timestamp`, else `timeStamp`.
    pub timestamp: String,
    /// `nonce`.
    pub nonce: String,
}

impl PushQuery {
    /// Reads a query string without its question mark.
    ///
    /// # Errors
    /// [`Refusal::Query`] when one of the three is missing, empty or longer than 256 bytes.
    pub fn parse(query: &str) -> Result<Self, Refusal> {
        let (mut signature, mut old_signature, mut timestamp, mut old_timestamp, mut nonce) =
            (None, None, None, None, None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "msg_signature" => &mut signature,
                "signature" => &mut old_signature,
                "timestamp" => &mut timestamp,
                "timeStamp" => &mut old_timestamp,
                "nonce" => &mut nonce,
                _ => continue,
            };
            if !value.is_empty() && place.is_none() {
                *place = Some(value);
            }
        }
        let take = |value: Option<Cow<'_, str>>| {
            value.filter(|value| value.len() <= MAX_QUERY_VALUE).map(Cow::into_owned).ok_or(Refusal::Query)
        };
        Ok(Self {
            signature: take(signature.or(old_signature))?,
            timestamp: take(timestamp.or(old_timestamp))?,
            nonce: take(nonce)?,
        })
    }
}

/// Which kind of push a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push<'a> {
    /// An event push; the encrypted text as it came, for [`super::crypt::EventCrypt::open`].
    Event(Cow<'a, str>),
    /// A bot callback, to be proved by [`super::sign::verify_callback`].
    Callback,
}

/// Tells by the body which kind of push it is: events have nothing but `encrypt` (API.md section 3.1).
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::NotText`], [`Refusal::NotJson`].
pub fn classify(body: &[u8]) -> Result<Push<'_>, Refusal> {
    let text = as_text(body)?;
    let [encrypt] = json::pick(text, &["encrypt"]).map_err(|_| Refusal::NotJson)?;
    Ok(json::text(encrypt).map_or(Push::Callback, Push::Event))
}

/// The envelope of a bot callback: key `msg:<msgId>`, the lane of its conversation.
///
/// # Errors
/// As [`classify`], and [`Refusal::NoMessageId`] or [`Refusal::NoChat`] when the id is missing or no id.
pub fn callback_envelope(body: &[u8], now: Timestamp) -> Result<Envelope, Refusal> {
    let [id, chat] =
        json::pick(as_text(body)?, &["msgId", "conversationId"]).map_err(|_| Refusal::NotJson)?;
    Ok(Envelope {
        source: Source::Callback,
        key: message_key(id).ok_or(Refusal::NoMessageId)?,
        lane: chat_lane(chat).ok_or(Refusal::NoChat)?,
        received_at: now,
        body: body.to_vec(),
    })
}

/// A decrypted event push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// A check of the address (API.md section 3.4): acknowledge, nothing else.
    Check,
    /// An event.
    Event(Envelope),
}

/// The envelope of a decrypted event push in any of its shapes (API.md section 3.6).
///
/// Key: `evt:<eventId>`, else `evt:sha256:` and the digest of the body, which repeats when DingTalk repeats. The
/// event `chat_message` has the key of the callback it doubles; that of an event which becomes a card says what
/// happened, for the list of failed pushes tells that and no event id. Lane: the conversation's, else the
/// organisation's.
///
/// # Errors
/// [`Refusal::TooLarge`], [`Refusal::NotText`], [`Refusal::NotJson`].
pub fn event_envelope(plain: &[u8], now: Timestamp) -> Result<Pushed, Refusal> {
    let text = as_text(plain)?;
    let event = EventHead::read(text)?;
    let name = event.name();
    if matches!(&*name, "check_url" | "check_create_suite_url" | "check_update_suite_url") {
        return Ok(Pushed::Check);
    }
    let key = match &*name {
        CHAT_MESSAGE => event.message_key(),
        _ => happening::key(&name, text, event.data),
    };
    let key = key.or_else(|| json::text(event.id).and_then(|id| usable(&id).then(|| format!("evt:{id}"))));
    Ok(Pushed::Event(Envelope {
        source: Source::Event,
        key: key.unwrap_or_else(|| format!("evt:sha256:{}", hex(&Sha256::digest(plain)))),
        lane: event.lane(),
        received_at: now,
        body: plain.to_vec(),
    }))
}

/// The event that carries a message, should DingTalk ever send it (API.md section 3.7 says it does not).
pub(crate) const CHAT_MESSAGE: &str = "chat_message";

/// What the shapes of an event have in common.
pub(crate) struct EventHead<'a> {
    name: [Option<&'a RawValue>; 2],
    id: Option<&'a RawValue>,
    /// The event's own fields, in the Stream shape.
    pub(crate) data: Option<&'a RawValue>,
    chat: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
}

impl<'a> EventHead<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, Refusal> {
        const NAMES: [&str; 8] = [
            "EventType",
            "eventType",
            "eventId",
            "data",
            "openConversationId",
            "OpenConversationId",
            "conversationId",
            "msgId",
        ];
        let [upper, lower, id, data, chat, upper_chat, own_chat, message] =
            json::pick(text, &NAMES).map_err(|_| Refusal::NotJson)?;
        Ok(Self { name: [upper, lower], id, data, chat: chat.or(upper_chat).or(own_chat), message })
    }

    /// DingTalk's name of the event; empty when it has none.
    pub(crate) fn name(&self) -> Cow<'a, str> {
        let [upper, lower] = self.name;
        json::filled(upper).or_else(|| json::filled(lower)).unwrap_or_default()
    }

    fn lane(&self) -> Lane {
        chat_lane(self.chat)
            .or_else(|| {
                let data = json::object(self.data);
                let [chat, upper, own] =
                    json::pick_any(&data, &["openConversationId", "OpenConversationId", "conversationId"]);
                chat_lane(chat.or(upper).or(own))
            })
            .unwrap_or_else(Lane::organisation)
    }

    fn message_key(&self) -> Option<String> {
        message_key(self.message)
            .or_else(|| message_key(json::pick_any(&json::object(self.data), &["msgId"])[0]))
    }
}

fn as_text(body: &[u8]) -> Result<&str, Refusal> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Refusal::TooLarge);
    }
    std::str::from_utf8(body).map_err(|_| Refusal::NotText)
}

fn message_key(id: Option<&RawValue>) -> Option<String> {
    let id = json::text(id)?;
    usable(&id).then(|| format!("msg:{id}"))
}

/// Whether a text can be an identifier, without making one.
fn usable(id: &str) -> bool {
    MessageId::parse(id).is_ok()
}

fn chat_lane(chat: Option<&RawValue>) -> Option<Lane> {
    let chat = ChatId::parse(json::text(chat)?).ok()?;
    Some(Lane::from_chat(chat.as_str()))
}

#[cfg(test)]
mod tests;
