//! `richText`: texts, pictures and mentions in order.

use bridge_core::content::{Block, Document, Inline, Mention, Target};
use bridge_core::event::{ChatBody, ChatPart, FileKind};
use bridge_core::id::{PersonId, SenderId, StaffId};

use super::{MAX_NAME_BYTES, Parts, json, media, text, unknown};

/// What stands for a picture, in the manner of DingTalk's own bracketed words.
const PICTURE: &str = "图片";
/// Most elements taken; more are cut off.
const MAX_ELEMENTS: usize = 1000;
/// Most texts and pictures that become messages of their own; further pictures are shown as a word.
const MAX_PIECES: usize = 60;

pub(super) fn read(parts: &Parts<'_>) -> ChatBody {
    let [list] = json::pick_any(&parts.content, &["richText"]);
    let elements = json::elements(list);
    if elements.is_empty() {
        return unknown::read(parts);
    }
    let mut pieces: Vec<ChatPart> = Vec::new();
    let mut line = Vec::with_capacity(elements.len());
    for element in elements.into_iter().take(MAX_ELEMENTS) {
        let [kind, text, name, user] = json::pick_any(element.get(), &["type", "text", "atName", "atUserId"]);
        match json::text(kind).as_deref() {
            Some("picture") => {
                let [full, small] = json::pick_any(element.get(), &["downloadCode", "pictureDownloadCode"]);
                match media::file(FileKind::Picture, full.or(small)).filter(|_| pieces.len() < MAX_PIECES) {
                    Some(picture) => {
                        close(&mut line, &mut pieces);
                        pieces.push(ChatPart::File(picture));
                    }
                    None => line.push(Inline::Image(PICTURE.to_owned(), None)),
                }
            }
            Some("at") => {
                let name = json::filled(name).or_else(|| json::filled(text));
                let user = json::filled(user);
                let name = name.as_deref().or(user.as_deref()).unwrap_or_default().trim_start_matches('@');
                if user.is_none() || user.as_deref() != parts.bot.as_deref() {
                    line.push(mention(json::clip(name, MAX_NAME_BYTES), user.as_deref()));
                }
            }
            kind => match json::text(text) {
                Some(text) => {
                    let text = text::without_gap(&text, parts.group && line.is_empty() && pieces.is_empty());
                    push_lines(&mut line, text);
                }
                None => {
                    if let Some(kind) = kind {
                        line.push(Inline::Text(format!("[{}]", json::clip(kind, MAX_NAME_BYTES))));
                    }
                }
            },
        }
    }
    if pieces.is_empty() {
        return ChatBody::Document(Document { blocks: vec![Block::Paragraph(line)] });
    }
    close(&mut line, &mut pieces);
    ChatBody::Parts(pieces)
}

/// Makes a piece of the texts so far. Blanks and line ends between pictures are no message.
fn close(line: &mut Vec<Inline>, pieces: &mut Vec<ChatPart>) {
    let mut line = std::mem::take(line);
    while line.last().is_some_and(is_blank) {
        line.pop();
    }
    let begin = line.iter().position(|inline| !is_blank(inline)).unwrap_or(line.len());
    line.drain(..begin);
    if !line.is_empty() {
        pieces.push(ChatPart::Text(Document { blocks: vec![Block::Paragraph(line)] }));
    }
}

fn is_blank(inline: &Inline) -> bool {
    match inline {
        Inline::Break => true,
        Inline::Text(text) => text.trim().is_empty(),
        _ => false,
    }
}

/// The texts of a quoted rich text, pictures as a word.
pub(super) fn plain(list: &serde_json::value::RawValue) -> String {
    let mut all = String::new();
    for element in json::elements(Some(list)).into_iter().take(MAX_ELEMENTS) {
        let [kind, text, name] = json::pick_any(element.get(), &["type", "text", "atName"]);
        match (json::text(text), json::text(name), json::text(kind).as_deref()) {
            (Some(text), _, _) => all.push_str(&text),
            (None, Some(name), _) => {
                all.push('@');
                all.push_str(&name);
            }
            (None, None, Some("picture")) => all.extend(["[", PICTURE, "]"]),
            (None, None, _) => {}
        }
    }
    all
}

fn mention(name: String, user: Option<&str>) -> Inline {
    let person = user.and_then(|user| {
        if user.starts_with("$:") {
            SenderId::parse(user).ok().map(PersonId::External)
        } else {
            StaffId::parse(user).ok().map(PersonId::Staff)
        }
    });
    match person {
        Some(person) => Inline::Mention(Mention { target: Target::Person(person), name }),
        None => Inline::Text(format!("@{name}")),
    }
}

/// Appends a text, newlines as breaks.
pub(super) fn push_lines(line: &mut Vec<Inline>, text: &str) {
    for (index, part) in text.split('\n').enumerate() {
        if index > 0 {
            line.push(Inline::Break);
        }
        let part = part.strip_suffix('\r').unwrap_or(part);
        if !part.is_empty() {
            line.push(Inline::Text(part.to_owned()));
        }
    }
}
