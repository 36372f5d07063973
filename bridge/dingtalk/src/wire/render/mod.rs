//! Documents to the bodies that DingTalk's sending calls take (API.md sections 5.1 and 5.3 to 5.5): final bytes.
//!
//! Plain text goes out as text, byte for byte. What has structure goes out as Markdown in which nothing of the text
//! can act as markup.

mod escape;
mod file;
mod markdown;

use std::borrow::Cow;

use bridge_core::content::{Block, Document, Inline, Target};
use bridge_core::id::{ChatId, PersonId, RobotCode, StaffId};
use serde::Serialize;

pub use file::OutgoingFile;
pub use markdown::render_markdown;

/// Largest `msgParam`, in bytes (API.md section 5.3).
pub const MAX_MSG_PARAM_BYTES: usize = 15_000;

/// Longest Markdown that clients surely render, in characters (API.md section 5.5).
pub const MAX_MARKDOWN_CHARS: usize = 3_500;

/// Longest title of a Markdown message, in characters; lists and notifications show it.
const MAX_TITLE_CHARS: usize = 64;
/// A title is required (API.md section 9, `errcode` 400402).
const NO_TITLE: &str = "…";

/// What the app bot's calls can send (API.md section 5.5).
pub trait RobotMessage {
    /// The `msgKey`.
    fn msg_key(&self) -> &'static str;

    /// The `msgParam`: JSON text.
    fn msg_param(&self) -> String;
}

/// Which way a message goes; decides how it mentions people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The app bot's calls (API.md sections 5.3 and 5.4). They cannot mention, so names are shown.
    Robot,
    /// A reply address (API.md section 5.1). `@<staff id>` becomes the name and rings.
    Session,
}

/// A rendered message, before it is put into the body of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Outgoing {
    /// Plain text (`sampleText`, `text`).
    Text {
        /// The text as people read it.
        content: String,
    },
    /// Markdown (`sampleMarkdown`, `markdown`).
    Markdown {
        /// What lists and notifications show; never empty.
        title: String,
        /// The Markdown.
        text: String,
    },
}

impl Outgoing {
    /// Renders a document: as text when that loses nothing, else as Markdown.
    pub fn render(document: &Document, channel: Channel) -> Self {
        let document = match channel {
            Channel::Robot => Cow::Borrowed(document),
            Channel::Session => addressed(document),
        };
        match as_text(&document) {
            Some(content) => Self::Text { content },
            None => Self::Markdown { title: title(&document), text: render_markdown(&document) },
        }
    }

    /// Length of [`RobotMessage::msg_param`] in bytes, to be held against [`MAX_MSG_PARAM_BYTES`].
    pub fn measure(&self) -> usize {
        match self {
            Self::Text { content } => r#"{"content":}"#.len() + json_len(content),
            Self::Markdown { title, text } => {
                r#"{"title":,"text":}"#.len() + json_len(title) + json_len(text)
            }
        }
    }
}

impl RobotMessage for Outgoing {
    fn msg_key(&self) -> &'static str {
        match self {
            Self::Text { .. } => "sampleText",
            Self::Markdown { .. } => "sampleMarkdown",
        }
    }

    fn msg_param(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The text without markup.
pub fn render_plain(document: &Document) -> String {
    as_text(document).unwrap_or_else(|| document.to_plain_text())
}

/// Length in bytes of the `msgParam` a document makes, to be held against [`MAX_MSG_PARAM_BYTES`].
pub fn measure(document: &Document) -> usize {
    Outgoing::render(document, Channel::Robot).measure()
}

/// Length of a text as a JSON string, as `serde_json` writes it.
fn json_len(text: &str) -> usize {
    let more = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..=31 => 5,
        _ => 0,
    };
    2 + text.len() + text.bytes().map(more).sum::<usize>()
}

/// The document as text, byte for byte, when it is lines of text, mentions and bare addresses, so that text shows all
/// of it.
fn as_text(document: &Document) -> Option<String> {
    let line = match document.blocks.as_slice() {
        [] => return Some(String::new()),
        [Block::Paragraph(line)] => line,
        _ => return None,
    };
    let mut text = String::new();
    for inline in line {
        match inline {
            Inline::Text(piece) => text.push_str(piece),
            Inline::Break => text.push('\n'),
            Inline::Mention(mention) => text.extend(["@", &mention.name]),
            Inline::Image(alt, None) => text.extend(["[", alt, "]"]),
            Inline::Link(address, label) => match label.as_slice() {
                [] => text.push_str(address),
                [Inline::Text(label)] if label == address => text.push_str(address),
                _ => return None,
            },
            Inline::Strong(_)
            | Inline::Emphasis(_)
            | Inline::Strike(_)
            | Inline::Code(_)
            | Inline::Image(_, Some(_)) => return None,
        }
    }
    Some(text)
}

/// The document with staff ids in place of names, which a reply address turns into mentions (API.md section 5.1).
fn addressed(document: &Document) -> Cow<'_, Document> {
    if document.mentioned_staff().is_empty() {
        return Cow::Borrowed(document);
    }
    let mut document = document.clone();
    document.map_mentions(&mut |mention| {
        if let Target::Person(PersonId::Staff(staff)) = &mention.target {
            staff.as_str().clone_into(&mut mention.name);
        }
    });
    Cow::Owned(document)
}

/// The first line of text, shortened.
fn title(document: &Document) -> String {
    let first = document.blocks.iter().find_map(|block| {
        let text = Document { blocks: vec![block.clone()] }.to_plain_text();
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        let mut title: String = line.chars().filter(|c| !c.is_control()).take(MAX_TITLE_CHARS).collect();
        if line.chars().nth(MAX_TITLE_CHARS).is_some() {
            title.push('…');
        }
        Some(title)
    });
    first.filter(|title| !title.is_empty()).unwrap_or_else(|| NO_TITLE.to_owned())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RobotRequest<'a> {
    robot_code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_conversation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_ids: Option<[&'a str; 1]>,
    msg_key: &'a str,
    /// JSON inside of a JSON string.
    msg_param: String,
}

/// The body of a send to a group (API.md section 5.3).
pub fn group_request(robot: &RobotCode, chat: &ChatId, outgoing: &impl RobotMessage) -> Vec<u8> {
    to_bytes(&RobotRequest {
        robot_code: robot.as_str(),
        open_conversation_id: Some(chat.as_str()),
        user_ids: None,
        msg_key: outgoing.msg_key(),
        msg_param: outgoing.msg_param(),
    })
}

/// The body of a send to one person (API.md section 5.4).
pub fn direct_request(robot: &RobotCode, staff: &StaffId, outgoing: &impl RobotMessage) -> Vec<u8> {
    to_bytes(&RobotRequest {
        robot_code: robot.as_str(),
        open_conversation_id: None,
        user_ids: Some([staff.as_str()]),
        msg_key: outgoing.msg_key(),
        msg_param: outgoing.msg_param(),
    })
}

#[derive(Serialize)]
struct SessionRequest<'a> {
    msgtype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a Outgoing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    markdown: Option<&'a Outgoing>,
    at: At<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct At<'a> {
    at_user_ids: Vec<&'a str>,
    is_at_all: bool,
}

/// The body of a post to a reply address (API.md section 5.1). `at` rings those whose `@<staff id>` the text holds
/// ([`Channel::Session`]); `at_all` rings everybody.
pub fn session_request(outgoing: &Outgoing, at: &[StaffId], at_all: bool) -> Vec<u8> {
    let at = At { at_user_ids: at.iter().map(StaffId::as_str).collect(), is_at_all: at_all };
    to_bytes(&match outgoing {
        Outgoing::Text { .. } => SessionRequest { msgtype: "text", text: Some(outgoing), markdown: None, at },
        Outgoing::Markdown { .. } => {
            SessionRequest { msgtype: "markdown", text: None, markdown: Some(outgoing), at }
        }
    })
}

fn to_bytes(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

#[cfg(test)]
mod tests;
