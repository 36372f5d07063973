//! Everything without a module of its own: never silence.

use bridge_core::event::ChatBody;

use super::{MAX_NAME_BYTES, MAX_SUMMARY_BYTES, Parts, json};

/// What a content may call its words, the most telling first.
const WORDS: [&str; 10] = [
    "unknownMsgType",
    "title",
    "text",
    "content",
    "summary",
    "recognition",
    "fileName",
    "name",
    "description",
    "markdown",
];

/// A notice with all the text there is.
pub(super) fn read(parts: &Parts<'_>) -> ChatBody {
    let mut words: Vec<String> = Vec::new();
    let mut push = |text: Option<std::borrow::Cow<'_, str>>| {
        if let Some(text) = text {
            let text = json::clip(text.trim(), MAX_SUMMARY_BYTES);
            if !words.contains(&text) {
                words.push(text);
            }
        }
    };
    for value in json::pick_any(&parts.content, &WORDS) {
        push(json::filled(value));
    }
    if parts.content.is_empty() {
        push(json::filled(parts.raw_content));
    }
    let inner = json::object(parts.text);
    push(json::filled(json::pick_any(&inner, &["content"])[0]));
    if inner.is_empty() {
        push(json::filled(parts.text));
    }
    push(json::filled(parts.error));
    let summary = json::clip(&words.join("\n"), MAX_SUMMARY_BYTES);
    unsupported(&parts.kind, (!summary.is_empty()).then_some(summary))
}

pub(super) fn unsupported(kind: &str, summary: Option<String>) -> ChatBody {
    let kind = json::clip(kind.trim(), MAX_NAME_BYTES).replace(['\n', '\t'], " ");
    ChatBody::Unsupported { kind: if kind.is_empty() { "unknown".to_owned() } else { kind }, summary }
}
