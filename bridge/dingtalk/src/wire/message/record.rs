//! `chatRecord`: forwarded messages. The inner fields are not documented (API.md section 2.3).

use bridge_core::event::ChatBody;
use serde_json::value::RawValue;

use super::{MAX_SUMMARY_BYTES, Parts, json, unknown};

/// Most messages of a record that are shown.
const MAX_MESSAGES: usize = 100;

pub(super) fn read(parts: &Parts<'_>) -> ChatBody {
    let [title, summary, record, records, messages] =
        json::pick_any(&parts.content, &["title", "summary", "chatRecord", "records", "messages"]);
    let mut text = json::filled(title).map(|title| title.trim().to_owned()).unwrap_or_default();
    let told = record.or(records).or(messages).map(lines).filter(|told| !told.is_empty());
    if let Some(rest) = told.or_else(|| json::filled(summary).map(std::borrow::Cow::into_owned)) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(rest.trim());
    }
    if text.is_empty() {
        return unknown::read(parts);
    }
    unknown::unsupported(&parts.kind, Some(json::clip(&text, MAX_SUMMARY_BYTES)))
}

/// One line per message: who, and what as far as it is text. Empty when the record cannot be read.
fn lines(record: &RawValue) -> String {
    let unwrapped = if record.get().starts_with('[') { None } else { json::text(Some(record)) };
    let list = unwrapped.as_deref().unwrap_or(record.get());
    let messages: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
    let mut all = String::new();
    for message in messages.into_iter().take(MAX_MESSAGES) {
        let [nick, name, content, text, kind] =
            json::pick_any(message.get(), &["senderNick", "senderName", "content", "text", "msgtype"]);
        let inner = json::object(content.or(text));
        let [inner_content, inner_text] = json::pick_any(&inner, &["content", "text"]);
        let words = [inner_content, inner_text, content, text].into_iter().find_map(json::filled);
        let kind = json::filled(kind);
        let Some(words) =
            words.filter(|words| !words.starts_with('{')).or_else(|| Some(format!("[{}]", kind?).into()))
        else {
            continue;
        };
        if !all.is_empty() {
            all.push('\n');
        }
        if let Some(who) = json::filled(nick).or_else(|| json::filled(name)) {
            all.extend([&*who, ": "]);
        }
        all.push_str(&words);
    }
    all
}
