//! `picture`, `audio`, `video` and `file` (API.md sections 2.3 and 6): a code to fetch it by, and what can be said
//! about it.

use std::time::Duration;

use bridge_core::content::{Document, Inline};
use bridge_core::event::{ChatBody, ChatFile, ChatPart, FileKind};
use serde_json::value::RawValue;

use super::{MAX_NAME_BYTES, MAX_SUMMARY_BYTES, Parts, json, unknown};

/// Longest download code taken, in bytes.
const MAX_CODE_BYTES: usize = 4096;

/// Longest playing time believed.
const MAX_DURATION: Duration = Duration::from_hours(24);

/// Marks recognised speech; the words are whose voice it is, the recognition is DingTalk's.
const HEARD: &str = "🎤 ";

/// A picture: the full one, where there are two.
pub(super) fn picture(parts: &Parts<'_>) -> ChatBody {
    let [full, small] = json::pick_any(&parts.content, &["downloadCode", "pictureDownloadCode"]);
    one(parts, file(FileKind::Picture, full.or(small)))
}

/// A voice message, and the speech as DingTalk understood it.
pub(super) fn audio(parts: &Parts<'_>) -> ChatBody {
    let [code, duration, heard] =
        json::pick_any(&parts.content, &["downloadCode", "duration", "recognition"]);
    let words = json::filled(heard).map(|heard| json::clip(heard.trim(), MAX_SUMMARY_BYTES));
    let voice = file(FileKind::Voice, code).map(|voice| ChatFile { duration: span(duration), ..voice });
    match (voice, words) {
        (Some(voice), Some(words)) => {
            ChatBody::Parts(vec![ChatPart::File(voice), ChatPart::Text(heard_words(&words))])
        }
        (None, Some(words)) => unknown::unsupported(&parts.kind, Some(words)),
        (voice, None) => one(parts, voice),
    }
}

fn heard_words(words: &str) -> Document {
    let mut document = Document::plain(words);
    if let Some(bridge_core::content::Block::Paragraph(line)) = document.blocks.first_mut() {
        line.insert(0, Inline::Text(HEARD.to_owned()));
    }
    document
}

/// A video.
pub(super) fn video(parts: &Parts<'_>) -> ChatBody {
    let [code, duration, kind] = json::pick_any(&parts.content, &["downloadCode", "duration", "videoType"]);
    let video = file(FileKind::Video, code).map(|video| ChatFile {
        duration: span(duration),
        name: json::filled(kind).filter(|kind| is_ending(kind)).map(|kind| format!("video.{kind}")),
        ..video
    });
    one(parts, video)
}

/// A file.
pub(super) fn document(parts: &Parts<'_>) -> ChatBody {
    let [code, name] = json::pick_any(&parts.content, &["downloadCode", "fileName"]);
    let name = json::filled(name).map(|name| file_name(&name));
    match (file(FileKind::File, code), name) {
        (Some(found), name) => one(parts, Some(ChatFile { name, ..found })),
        (None, name @ Some(_)) => unknown::unsupported(&parts.kind, name),
        (None, None) => unknown::read(parts),
    }
}

/// A file by its code; none without a code.
pub(super) fn file(kind: FileKind, code: Option<&RawValue>) -> Option<ChatFile> {
    let code = json::filled(code).filter(|code| code.len() <= MAX_CODE_BYTES)?;
    Some(ChatFile { kind, code: code.into_owned(), name: None, duration: None })
}

fn one(parts: &Parts<'_>, file: Option<ChatFile>) -> ChatBody {
    file.map_or_else(|| unknown::read(parts), |file| ChatBody::Parts(vec![ChatPart::File(file)]))
}

/// A name of one line, without folders.
fn file_name(name: &str) -> String {
    let name = json::clip(name.trim(), MAX_NAME_BYTES).replace(['\n', '\t'], " ");
    name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

fn is_ending(text: &str) -> bool {
    (1..=8).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// A playing time: documented as a number of milliseconds, seen in life as text of seconds (API.md section 2.3).
fn span(value: Option<&RawValue>) -> Option<Duration> {
    let number = u64::try_from(json::number(value)?).ok().filter(|number| *number > 0)?;
    let is_text = value.is_some_and(|value| value.get().starts_with('"'));
    let span = if is_text { Duration::from_secs(number) } else { Duration::from_millis(number) };
    (span <= MAX_DURATION).then_some(span)
}
