//! Events of rooms in client format → [`RoomEvent`] (Client-Server API, "Room events", "Instant messaging").
//!
//! Only what is needed is looked at, so a strange member elsewhere in the event does no harm. A redacted event has no
//! content and is [`RoomEventKind::Ignored`], like everything the bridge does not know.

mod file;

use std::borrow::Cow;

use bridge_core::clock::Timestamp;
use bridge_core::content::{Block, Document, Inline};
use bridge_core::event::{Manner, Membership, RoomEvent, RoomEventKind, RoomFile, RoomMessage};
use ruma::{EventId, OwnedEventId, RoomId, UserId};
use serde_json::value::RawValue;

use super::html::{self, Addressees};
use super::json::{is_true, list, members, text};

/// Longest name of an unknown kind that is passed on, in bytes.
const MAX_KIND_BYTES: usize = 64;

/// Why bytes are not an event that happened in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a JSON object in UTF-8.
    #[error("the event is not a JSON object")]
    NotAnObject,
    /// A member is missing, or is not an identifier.
    #[error("the event has no usable {0}")]
    Missing(&'static str),
}

/// Decodes one event. Of an event without a usable time it is taken to have happened in 1970.
pub fn decode(raw: &[u8]) -> Result<RoomEvent, DecodeError> {
    const MEMBERS: [&str; 8] =
        ["event_id", "room_id", "sender", "type", "state_key", "origin_server_ts", "content", "redacts"];
    let raw = std::str::from_utf8(raw).map_err(|_| DecodeError::NotAnObject)?;
    let [event_id, room_id, sender, kind, state_key, sent_at, content, redacts] =
        members(raw, MEMBERS).map_err(|_| DecodeError::NotAnObject)?;
    let id = |name, raw| text(raw).ok_or(DecodeError::Missing(name));
    let kind = id("type", kind)?;
    let content = content.map_or("{}", RawValue::get);
    Ok(RoomEvent {
        id: EventId::parse(&*id("event_id", event_id)?).map_err(|_| DecodeError::Missing("event_id"))?,
        room: RoomId::parse(&*id("room_id", room_id)?).map_err(|_| DecodeError::Missing("room_id"))?,
        sender: UserId::parse(&*id("sender", sender)?).map_err(|_| DecodeError::Missing("sender"))?,
        sent_at: Timestamp(sent_at.and_then(|ts| ts.get().parse().ok()).filter(|ts| *ts >= 0).unwrap_or(0)),
        what: match state_key {
            Some(key) => state(&kind, text(Some(key)).as_deref(), content),
            None if &*kind == "m.room.redaction" => redaction(content, redacts),
            None => timeline(&kind, content),
        }
        .unwrap_or(RoomEventKind::Ignored),
    })
}

/// What a decrypted event says, `{"type", "content"}`. Everything else in it is the sender's word only and is not looked at.
pub fn decode_inside(raw: &[u8]) -> Option<RoomEventKind> {
    let [kind, content] = members(std::str::from_utf8(raw).ok()?, ["type", "content"]).ok()?;
    timeline(&text(kind)?, content.map_or("{}", RawValue::get))
}

/// Whether an event was taken back; also what is no event.
pub fn is_redacted(raw: &[u8]) -> bool {
    let content = std::str::from_utf8(raw).ok().and_then(|raw| members(raw, ["content"]).ok());
    content.is_none_or(|[content]| content.is_none_or(|content| is_empty(content.get())))
}

/// Whether a content is an object without members.
fn is_empty(content: &str) -> bool {
    content.trim_matches(['{', '}', ' ', '\t', '\r', '\n']).is_empty()
}

fn state(kind: &str, key: Option<&str>, content: &str) -> Option<RoomEventKind> {
    match kind {
        "m.room.member" => {
            let [membership, is_direct] = members(content, ["membership", "is_direct"]).ok()?;
            let membership = match &*text(membership)? {
                "invite" => Membership::Invite,
                "join" => Membership::Join,
                "leave" | "ban" => Membership::Leave,
                _ => Membership::Other,
            };
            let user = UserId::parse(key?).ok()?;
            Some(RoomEventKind::Membership { user, membership, is_direct: is_true(is_direct) })
        }
        "m.room.encryption" if key == Some("") => {
            let [algorithm] = members(content, ["algorithm"]).ok()?;
            text(algorithm).map(|_| RoomEventKind::EncryptionOn)
        }
        "m.room.tombstone" if key == Some("") => {
            let [replacement] = members(content, ["replacement_room"]).ok()?;
            let replacement = RoomId::parse(&*text(replacement)?).ok()?;
            Some(RoomEventKind::Tombstone { replacement })
        }
        _ => None,
    }
}

fn timeline(kind: &str, content: &str) -> Option<RoomEventKind> {
    match kind {
        "m.room.message" => message(content),
        "m.room.encrypted" => {
            let [algorithm] = members(content, ["algorithm"]).ok()?;
            algorithm.map(|_| RoomEventKind::Encrypted)
        }
        "m.sticker" => {
            let sticker = file::read(bridge_core::event::FileKind::Picture, content);
            let is_redacted = is_empty(content);
            match sticker {
                Some(sticker) => Some(RoomEventKind::File(Box::new(RoomFile {
                    reply_to: relations(content).reply_to,
                    ..sticker
                }))),
                None => (!is_redacted).then(|| RoomEventKind::Unsupported { kind: kind.to_owned() }),
            }
        }
        "m.poll.start" | "org.matrix.msc3381.poll.start" => {
            let is_redacted = is_empty(content);
            (!is_redacted).then(|| RoomEventKind::Unsupported { kind: kind.to_owned() })
        }
        _ => None,
    }
}

/// A redaction names its target in its content from room version 11 on, beside it before.
fn redaction(content: &str, beside: Option<&RawValue>) -> Option<RoomEventKind> {
    let [within] = members(content, ["redacts"]).ok()?;
    let target = text(within).or_else(|| text(beside))?;
    EventId::parse(&*target).ok().map(|target| RoomEventKind::Redaction { target })
}

/// The relations of a message.
#[derive(Default)]
struct Relations {
    reply_to: Option<OwnedEventId>,
    replaces: Option<OwnedEventId>,
}

fn relations(content: &str) -> Relations {
    let event = |raw| EventId::parse(&*text(raw)?).ok();
    let relations = || {
        let [relates] = members(content, ["m.relates_to"]).ok()?;
        let [kind, target, reply, falling_back] =
            members(relates?.get(), ["rel_type", "event_id", "m.in_reply_to", "is_falling_back"]).ok()?;
        let kind = text(kind);
        if kind.as_deref() == Some("m.replace") {
            return Some(Relations { reply_to: None, replaces: event(target) });
        }
        // A thread names its last message for clients that know no threads; that is no answer to it.
        if kind.as_deref() == Some("m.thread") && is_true(falling_back) {
            return None;
        }
        let [answered] = members(reply?.get(), ["event_id"]).ok()?;
        Some(Relations { reply_to: event(answered), replaces: None })
    };
    relations().unwrap_or_default()
}

fn message(content: &str) -> Option<RoomEventKind> {
    let mut relations = relations(content);
    let [new_content] = members(content, ["m.new_content"]).ok()?;
    let (said, mut is_reply) = match new_content {
        Some(new) if relations.replaces.is_some() && new.get().starts_with('{') => (new.get(), false),
        // A correction without its text is a message like any other.
        _ => {
            relations.replaces = None;
            (content, relations.reply_to.is_some())
        }
    };
    // An edited answer of an older client has the fallback in its new content, too.
    is_reply |= relations.replaces.is_some();
    let [msgtype, body, format, formatted, mentions, geo] =
        members(said, ["msgtype", "body", "format", "formatted_body", "m.mentions", "geo_uri"]).ok()?;
    let msgtype = text(msgtype)?;
    let manner = match &*msgtype {
        "m.text" | "m.location" => Manner::Text,
        "m.notice" => Manner::Notice,
        "m.emote" => Manner::Emote,
        // Meant for clients.
        "m.key.verification.request" => return None,
        other => {
            let found = file::kind(other).and_then(|kind| file::read(kind, said));
            return Some(found.map_or_else(|| unsupported(other), |found| sent_file(found, relations)));
        }
    };
    let addressees = addressees(mentions);
    let body = text(body);
    let body = body.as_deref().map(|body| if is_reply { without_fallback(body) } else { body });
    let document = if msgtype == "m.location" {
        location(body.unwrap_or(""), text(geo))
    } else {
        let rich =
            text(formatted).filter(|_| text(format).is_some_and(|format| format == "org.matrix.custom.html"));
        let rich = rich.map(|rich| html::document(&rich, &addressees)).filter(|rich| !rich.blocks.is_empty());
        match (rich, body) {
            (Some(rich), _) => rich,
            (None, Some(body)) => html::plain(body, &addressees),
            (None, None) => return Some(unsupported(&msgtype)),
        }
    };
    let Relations { reply_to, replaces } = relations;
    Some(RoomEventKind::Message(RoomMessage { manner, body: document, reply_to, replaces }))
}

/// A file; where it corrects an earlier one, what is said about it now.
fn sent_file(file: RoomFile, relations: Relations) -> RoomEventKind {
    let Relations { reply_to, replaces } = relations;
    match replaces {
        None => RoomEventKind::File(Box::new(RoomFile { reply_to, ..file })),
        replaces => RoomEventKind::Message(RoomMessage {
            manner: Manner::Text,
            body: file.caption.unwrap_or_else(|| Document::plain(&file.name)),
            reply_to,
            replaces,
        }),
    }
}

fn unsupported(kind: &str) -> RoomEventKind {
    let kind: String = kind.chars().filter(|c| !c.is_control()).collect();
    RoomEventKind::Unsupported { kind: kind[..kind.floor_char_boundary(MAX_KIND_BYTES)].to_owned() }
}

fn addressees(mentions: Option<&RawValue>) -> Addressees {
    let Some(Ok([users, room])) = mentions.map(|mentions| members(mentions.get(), ["user_ids", "room"]))
    else {
        return Addressees::default();
    };
    let users = list(users).unwrap_or_default();
    let users = users.into_iter().filter_map(|user| text(Some(user))).map(Cow::into_owned);
    Addressees { users: Some(users.collect()), room: is_true(room) }
}

/// An answer's text without the quotation that clients put before it until version 1.13 of the specification
/// ("Fallbacks for rich replies"): lines with `> `, the first of them with the author, up to another line. A quotation
/// that people wrote themselves has no author and stays.
fn without_fallback(body: &str) -> &str {
    if !(body.starts_with("> <") || body.starts_with("> * <")) {
        return body;
    }
    let mut rest = body;
    while rest.starts_with('>') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest)
}

/// A place: what is said about it, and its `geo:` address (RFC 5870).
fn location(body: &str, geo: Option<Cow<'_, str>>) -> Document {
    let mut document = Document::plain(body);
    let geo =
        geo.filter(|geo| geo.starts_with("geo:") && geo.len() <= 256 && !geo.contains(char::is_whitespace));
    if let (Some(geo), Some(Block::Paragraph(line))) = (geo, document.blocks.first_mut()) {
        if !line.is_empty() {
            line.push(Inline::Break);
        }
        line.push(Inline::Link(geo.clone().into_owned(), vec![Inline::Text(geo.into_owned())]));
    }
    document
}

#[cfg(test)]
mod tests;
