//! `chatRecord`: forwarded messages. The inner fields are not documented (API.md section 2.3).

use bridge_core::content::{Block, Document, Inline};
use bridge_core::event::ChatBody;
use serde_json::value::RawValue;

use super::{MAX_SUMMARY_BYTES, Parts, json, rich, unknown};

/// Marks forwarded messages.
const RECORD: &str = "💬 ";
/// What forwarded messages without a title are called.
const FORWARDED: &str = "聊天记录 Chat history";

/// Most messages of a record that are shown.
const MAX_MESSAGES: usize = 100;

pub(super) fn read(parts: &Parts<'_>) -> ChatBody {
    let [title, summary, record, records, messages] =
        json::pick_any(&parts.content, &["title", "summary", "chatRecord", "records", "messages"]);
    let told = record.or(records).or(messages).map(lines).filter(|told| !told.is_empty());
    let told = told.or_else(|| json::filled(summary).map(std::borrow::Cow::into_owned));
    let title = json::filled(title).map(|title| title.trim().to_owned());
    if told.is_none() && title.is_none() {
        return unknown::read(parts);
    }
    let paragraph = |text: &str| {
        let mut line = Vec::new();
        rich::push_lines(&mut line, &json::clip(text.trim(), MAX_SUMMARY_BYTES));
        line
    };
    let title = paragraph(title.as_deref().unwrap_or(FORWARDED));
    let mut blocks = vec![Block::Paragraph(vec![Inline::Text(RECORD.to_owned()), Inline::Strong(title)])];
    blocks.extend(told.map(|told| Block::Quote(vec![Block::Paragraph(paragraph(&told))])));
    ChatBody::Document(Document { blocks })
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
