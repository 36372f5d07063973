//! `audio` and `file`: what can be said about them. Pictures and videos come without words.

use bridge_core::event::ChatBody;

use super::{MAX_SUMMARY_BYTES, Parts, json, unknown};

/// A voice message: the speech as DingTalk understood it.
pub(super) fn audio(parts: &Parts<'_>) -> ChatBody {
    described_by(parts, "recognition")
}

/// A file: its name.
pub(super) fn file(parts: &Parts<'_>) -> ChatBody {
    described_by(parts, "fileName")
}

fn described_by(parts: &Parts<'_>, field: &str) -> ChatBody {
    let [text] = json::pick_any(&parts.content, &[field]);
    match json::filled(text) {
        Some(text) => unknown::unsupported(&parts.kind, Some(json::clip(text.trim(), MAX_SUMMARY_BYTES))),
        None => unknown::read(parts),
    }
}
