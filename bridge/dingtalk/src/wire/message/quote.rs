//! What a message answers (API.md section 2.4; undocumented, so each field is optional).

use bridge_core::event::Quote;
use bridge_core::id::{MessageId, QueryKey};
use serde_json::value::RawValue;

use super::{MAX_SUMMARY_BYTES, id_of, json, rich};

/// Reads the quote out of the top-level fields, `text` and `content`. One level: a quote inside a quote is left out.
pub(super) fn read(
    original_id: Option<&RawValue>,
    original_key: Option<&RawValue>,
    text: Option<&RawValue>,
    content: &str,
    old_form: Option<&RawValue>,
) -> Option<Quote> {
    let of_text = json::object(text);
    let [in_text] = json::pick_any(&of_text, &["repliedMsg"]);
    let [in_content] = json::pick_any(content, &["repliedMsg"]);
    let (new_id, new_text) = replied(in_text.or(in_content));
    let (old_id, old_text) = replied(old_form);
    let quote = Quote {
        id: id_of(original_id, MessageId::parse).or(new_id).or(old_id),
        query_key: id_of(original_key, QueryKey::parse),
        text: new_text.or(old_text),
    };
    (quote != Quote::default()).then_some(quote)
}

/// Id and text of the quoted message.
fn replied(value: Option<&RawValue>) -> (Option<MessageId>, Option<String>) {
    if value.is_none() {
        return (None, None);
    }
    let object = json::object(value);
    let [id, content, text] = json::pick_any(&object, &["msgId", "content", "text"]);
    let content = content.or(text);
    (id_of(id, MessageId::parse), words(content).map(|words| json::clip(words.trim(), MAX_SUMMARY_BYTES)))
}

/// The words of a quoted content: an object, the same as JSON text, or a bare text.
fn words(content: Option<&RawValue>) -> Option<String> {
    let object = json::object(content);
    if object.is_empty() {
        return json::filled(content).map(std::borrow::Cow::into_owned);
    }
    let [rich, text, inner, recognition, file, summary, title, unknown] = json::pick_any(
        &object,
        &["richText", "text", "content", "recognition", "fileName", "summary", "title", "unknownMsgType"],
    );
    let found = [text, inner, recognition, file, summary, title, unknown].into_iter().find_map(json::filled);
    found
        .map(std::borrow::Cow::into_owned)
        .or_else(|| rich.map(rich::plain).filter(|text| !text.trim().is_empty()))
}
