//! The body of a bot callback to a message (API.md sections 2.2 to 2.6), one module per kind of content.
//!
//! Lenient in types and unknown fields; strict only in what the bridge cannot do without. A kind that is not known
//! becomes a visible notice with all the text there is, never silence.

mod card;
mod media;
mod quote;
mod record;
mod rich;
mod text;
mod unknown;

use std::borrow::Cow;
use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::event::{ChatBody, ChatKind, ChatMessage, Mentioned, Session};
use bridge_core::id::{ChatId, CorpId, MessageId, PersonId, RobotCode, SenderId, StaffId};
use bridge_core::secret::Secret;
use serde_json::value::RawValue;

use super::json;

pub use text::at_tokens;

/// Why a body is no message. Holds no text of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is not UTF-8.
    #[error("the body is not UTF-8")]
    NotText,
    /// The body is not a JSON object.
    #[error("the body is not a JSON object")]
    NotJson,
    /// The field named is missing or is no identifier.
    #[error("the field {0} is missing or unusable")]
    Field(&'static str),
}

/// Most people taken from `atUsers`; DingTalk's limit for mentions is 50.
const MAX_MENTIONED: usize = 200;
/// Longest name or title kept, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Longest description of something unsupported and longest quoted text, in bytes.
const MAX_SUMMARY_BYTES: usize = 16 * 1024;
/// Longest reply address, in bytes.
const MAX_WEBHOOK_BYTES: usize = 2048;
/// How long a reply address lives when the callback does not say (API.md section 2.2).
const SESSION_LIFE: Duration = Duration::from_mins(90);
/// The end of the year 9999; a time outside of 1970 to then is no time.
const MAX_TIME_MS: i64 = 253_402_300_799_999;
/// `errorCode` of a message withheld because of the month's quota (API.md section 2.6).
const OVER_QUOTA: i64 = 20_001;

const FIELDS: [&str; 23] = [
    "msgtype",
    "msgId",
    "createAt",
    "conversationType",
    "conversationId",
    "conversationTitle",
    "senderId",
    "senderNick",
    "senderStaffId",
    "chatbotUserId",
    "chatbotCorpId",
    "robotCode",
    "atUsers",
    "sessionWebhook",
    "sessionWebhookExpiredTime",
    "text",
    "content",
    "originalMsgId",
    "originalProcessQueryKey",
    "quoteMessage",
    "errorCode",
    "errorMessage",
    "openConversationId",
];

/// What the modules of the kinds get to see.
struct Parts<'a> {
    kind: Cow<'a, str>,
    group: bool,
    /// `text`: usually an object with `content`.
    text: Option<&'a RawValue>,
    /// The JSON of `content` when it is an object, else empty.
    content: Cow<'a, str>,
    /// `content` as it stands: a text on one page of the documentation.
    raw_content: Option<&'a RawValue>,
    bot: Option<Cow<'a, str>>,
    mentioned: &'a [Mentioned],
    error: Option<&'a RawValue>,
}

/// Decodes a bot callback.
///
/// `sent_at` is zero when DingTalk gave no usable time. Memory stays within a small multiple of the body.
///
/// # Errors
/// [`DecodeError`]: not text, not JSON, or without `msgId`, `conversationId` or any id of the sender.
pub fn decode_callback(body: &[u8]) -> Result<ChatMessage, DecodeError> {
    decode_text(std::str::from_utf8(body).map_err(|_| DecodeError::NotText)?)
}

pub(crate) fn decode_text(body: &str) -> Result<ChatMessage, DecodeError> {
    let [
        kind,
        id,
        created,
        chat_kind,
        chat,
        title,
        sender_id,
        sender_name,
        staff,
        bot,
        corp,
        robot,
        at_users,
        webhook,
        expires,
        text,
        raw_content,
        original_id,
        original_key,
        quote_message,
        error_code,
        error,
        open_chat,
    ] = json::pick(body, &FIELDS).map_err(|_| DecodeError::NotJson)?;

    let id = id_of(id, MessageId::parse).ok_or(DecodeError::Field("msgId"))?;
    let chat = id_of(chat.or(open_chat), ChatId::parse).ok_or(DecodeError::Field("conversationId"))?;
    let title = name(title);
    let kind_of_chat = match json::text(chat_kind).as_deref().map(str::trim) {
        Some("1") => ChatKind::Direct,
        Some("2") => ChatKind::Group,
        _ if title.is_some() || at_users.is_some() => ChatKind::Group,
        _ => ChatKind::Direct,
    };
    let group = kind_of_chat == ChatKind::Group;

    let staff = id_of(staff, StaffId::parse);
    let sender_id = id_of(sender_id, SenderId::parse)
        .or_else(|| SenderId::parse(staff.as_ref()?.as_str()).ok())
        .ok_or(DecodeError::Field("senderId"))?;
    let sender_name = name(sender_name).unwrap_or_else(|| match &staff {
        Some(staff) => staff.as_str().to_owned(),
        None => sender_id.as_str().to_owned(),
    });

    let bot = json::filled(bot);
    let mentioned = mentioned(at_users, bot.as_deref());
    let content = json::object(raw_content);
    let sent_at = time(created).unwrap_or_default();

    let body = if text.is_none() && raw_content.is_none() && json::number(error_code) == Some(OVER_QUOTA) {
        ChatBody::OverQuota
    } else {
        let kind = json::filled(kind).unwrap_or_default();
        let content = Cow::Borrowed(&*content);
        body_of(&Parts { kind, group, text, content, raw_content, bot, mentioned: &mentioned, error })
    };
    Ok(ChatMessage {
        quote: quote::read(original_id, original_key, text, &content, quote_message),
        session: session(webhook, expires, sent_at),
        robot: id_of(robot, RobotCode::parse),
        corp: id_of(corp, CorpId::parse),
        sender: staff.map_or_else(|| PersonId::External(sender_id.clone()), PersonId::Staff),
        title: if group { title } else { None },
        kind: kind_of_chat,
        id,
        chat,
        sender_id,
        sender_name,
        sent_at,
        body,
        mentioned,
    })
}

fn body_of(parts: &Parts<'_>) -> ChatBody {
    match &*parts.kind {
        "richText" => rich::read(parts),
        "picture" => media::picture(parts),
        "audio" => media::audio(parts),
        "video" => media::video(parts),
        "file" => media::document(parts),
        "actionCard" => card::action_card(parts),
        "markdown" => card::markdown(parts),
        "interactiveCard" => card::interactive(parts),
        "chatRecord" => record::read(parts),
        // Also kinds unknown so far whose words stand where those of a text do (API.md section 2.3, "reply").
        "text" | "reply" | "" => text::read(parts),
        _ => unknown::read(parts),
    }
}

/// An identifier, `None` when it is missing, blank or no identifier.
fn id_of<T, E>(value: Option<&RawValue>, parse: impl Fn(String) -> Result<T, E>) -> Option<T> {
    parse(json::text(value)?.into_owned()).ok()
}

/// A name for people: one line without control characters, bounded.
fn name(value: Option<&RawValue>) -> Option<String> {
    let text = json::filled(value)?;
    let clipped = json::clip(text.trim(), MAX_NAME_BYTES);
    let line = if clipped.contains(['\n', '\t']) { clipped.replace(['\n', '\t'], " ") } else { clipped };
    (!line.trim().is_empty()).then_some(line)
}

fn time(value: Option<&RawValue>) -> Option<Timestamp> {
    json::number(value).filter(|at| (1..=MAX_TIME_MS).contains(at)).map(Timestamp)
}

/// Everyone in `atUsers` but the bot, each once.
fn mentioned(users: Option<&RawValue>, bot: Option<&str>) -> Vec<Mentioned> {
    let mut found: Vec<Mentioned> = Vec::new();
    for user in json::elements(users).into_iter().take(MAX_MENTIONED) {
        let [sender_id, staff] = json::pick_any(user.get(), &["dingtalkId", "staffId"]);
        let staff = id_of(staff, StaffId::parse);
        let sender_id = id_of(sender_id, SenderId::parse)
            .or_else(|| staff.as_ref().and_then(|staff| SenderId::parse(staff.as_str()).ok()));
        if let Some(sender_id) = sender_id
            && Some(sender_id.as_str()) != bot
            && found.iter().all(|other| other.sender_id != sender_id)
        {
            found.push(Mentioned { sender_id, staff });
        }
    }
    found
}

fn session(webhook: Option<&RawValue>, expires: Option<&RawValue>, sent_at: Timestamp) -> Option<Session> {
    let webhook = json::filled(webhook).filter(|webhook| webhook.len() <= MAX_WEBHOOK_BYTES)?;
    let expires_at = time(expires).unwrap_or_else(|| sent_at.plus(SESSION_LIFE));
    Some(Session { webhook: Secret::new(webhook), expires_at })
}

#[cfg(test)]
mod tests;
