//! [`Document`] → the content of `m.room.message` (Client-Server API, "m.room.message msgtypes", "User and room
//! mentions", "Rich replies").
//!
//! `body` and `formatted_body` come from one tree. Texts are escaped here and nowhere else; only addresses of harmless
//! kinds become links.

use std::fmt::Write;

use bridge_core::content::{Block, Document, Inline, Mention, Target};
use bridge_core::event::Manner;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{EventId, OwnedUserId};
use serde::Serialize;

use super::html::is_safe_address;

/// What stays as it is in a user id behind `matrix.to/#/` (appendices, "matrix.to navigation").
const IN_FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'@')
    .remove(b':')
    .remove(b'.')
    .remove(b'_')
    .remove(b'-')
    .remove(b'=')
    .remove(b'+');

/// Bytes of a message's content around its two texts, with room for a reply and a few mentions.
const FRAME_BYTES: usize = 512;

/// What a message has beyond its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageMeta<'a> {
    /// Who is to be notified; a pill in the text notifies nobody.
    pub mentions: Vec<OwnedUserId>,
    /// Whether everybody in the room is to be notified.
    pub room_mention: bool,
    /// The event it answers.
    pub reply_to: Option<&'a EventId>,
    /// Where the original can be seen.
    pub external_url: Option<&'a str>,
}

impl MessageMeta<'_> {
    /// Notifies whom the document mentions. People of DingTalk have to be replaced by their ghosts before.
    pub fn mentioning(document: &Document) -> Self {
        let mut meta = Self::default();
        document.each_mention(&mut |mention| match &mention.target {
            Target::User(user) if !meta.mentions.contains(user) => meta.mentions.push(user.clone()),
            Target::Everybody => meta.room_mention = true,
            Target::User(_) | Target::Person(_) => {}
        });
        meta
    }
}

#[derive(Serialize)]
struct Content<'a> {
    msgtype: &'static str,
    body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    formatted_body: Option<&'a str>,
    #[serde(rename = "m.mentions")]
    mentions: Mentions<'a>,
    #[serde(rename = "m.relates_to", skip_serializing_if = "Option::is_none")]
    relates_to: Option<RelatesTo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_url: Option<&'a str>,
}

#[derive(Serialize)]
struct Mentions<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    user_ids: &'a [OwnedUserId],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    room: bool,
}

/// What a message answers.
#[derive(Serialize)]
pub(super) struct RelatesTo<'a> {
    #[serde(rename = "m.in_reply_to")]
    in_reply_to: InReplyTo<'a>,
}

impl<'a> RelatesTo<'a> {
    pub(super) fn reply(event_id: &'a EventId) -> Self {
        Self { in_reply_to: InReplyTo { event_id } }
    }
}

#[derive(Serialize)]
struct InReplyTo<'a> {
    event_id: &'a EventId,
}

/// The content of a message, as JSON. `m.mentions` is always there, so that no client looks for names in the text.
pub fn message_content(document: &Document, manner: Manner, meta: &MessageMeta<'_>) -> String {
    let body = document.to_plain_text();
    let formatted = formatted_body(document);
    let content = Content {
        msgtype: match manner {
            Manner::Text => "m.text",
            Manner::Notice => "m.notice",
            Manner::Emote => "m.emote",
        },
        body: &body,
        format: formatted.is_some().then_some("org.matrix.custom.html"),
        formatted_body: formatted.as_deref(),
        mentions: Mentions { user_ids: &meta.mentions, room: meta.room_mention },
        relates_to: meta.reply_to.map(RelatesTo::reply),
        external_url: meta.external_url,
    };
    // Texts, booleans and lists of texts: there is nothing in it that JSON cannot say.
    serde_json::to_string(&content).unwrap_or_default()
}

/// The `formatted_body` of a document; `None` if it is plain text.
pub fn formatted_body(document: &Document) -> Option<String> {
    if document.is_plain() {
        return None;
    }
    let mut html = Html::default();
    match document.blocks.as_slice() {
        [Block::Paragraph(inlines)] => html.inlines(inlines),
        blocks => html.blocks(blocks),
    }
    Some(html.0)
}

/// About how many bytes the content of this document takes as JSON. A caller that splits at 60,000 stays below the
/// homeserver's bound.
pub fn measure(document: &Document) -> usize {
    let formatted = formatted_body(document).map_or(0, |html| json_bytes(&html));
    FRAME_BYTES + json_bytes(&document.to_plain_text()) + formatted
}

/// The bytes of a text in JSON, quotes left out.
fn json_bytes(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
            0..32 => 6,
            _ => 1,
        })
        .sum()
}

/// HTML under construction.
#[derive(Default)]
struct Html(String);

impl Html {
    fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    /// Text, so that it stays text. Control characters would read as something else and are left out.
    fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.raw("&amp;"),
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '"' => self.raw("&quot;"),
                '\'' => self.raw("&#39;"),
                '\n' | '\t' => self.0.push(c),
                c if c.is_control() => {}
                c => self.0.push(c),
            }
        }
    }

    fn within(&mut self, tag: &str, inner: impl FnOnce(&mut Self)) {
        // Writing to a String does not fail.
        let _ = write!(self.0, "<{tag}>");
        inner(self);
        let _ = write!(self.0, "</{tag}>");
    }

    fn blocks(&mut self, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Paragraph(inlines) => self.within("p", |html| html.inlines(inlines)),
                Block::Heading(level, inlines) => {
                    let tag = format!("h{}", level.clamp(&1, &6));
                    self.within(&tag, |html| html.inlines(inlines));
                }
                Block::Quote(inner) => self.within("blockquote", |html| html.blocks(inner)),
                Block::Code(language, code) => self.code(language, code),
                Block::List(start, items) => self.list(*start, items),
                Block::Table(head, rows) => self.table(head, rows),
                Block::Rule => self.raw("<hr>"),
            }
        }
    }

    fn code(&mut self, language: &str, code: &str) {
        let is_name = !language.is_empty()
            && language.len() <= 32
            && language.chars().all(|c| c.is_ascii_alphanumeric() || "+#._-".contains(c));
        self.raw("<pre><code");
        if is_name {
            let _ = write!(self.0, " class=\"language-{language}\"");
        }
        self.raw(">");
        self.text(code);
        self.raw("\n</code></pre>");
    }

    fn list(&mut self, start: Option<u64>, items: &[Vec<Block>]) {
        match start {
            None => self.raw("<ul>"),
            Some(1) => self.raw("<ol>"),
            Some(start) => {
                let _ = write!(self.0, "<ol start=\"{start}\">");
            }
        }
        for item in items {
            self.within("li", |html| match item.as_slice() {
                [Block::Paragraph(inlines), rest @ ..]
                    if rest.iter().all(|block| matches!(block, Block::List(..))) =>
                {
                    html.inlines(inlines);
                    html.blocks(rest);
                }
                blocks => html.blocks(blocks),
            });
        }
        self.raw(if start.is_none() { "</ul>" } else { "</ol>" });
    }

    fn table(&mut self, head: &[Vec<Inline>], rows: &[Vec<Vec<Inline>>]) {
        let row = |html: &mut Self, cells: &[Vec<Inline>], tag: &str| {
            html.within("tr", |html| {
                for cell in cells {
                    html.within(tag, |html| html.inlines(cell));
                }
            });
        };
        self.within("table", |html| {
            if !head.is_empty() {
                html.within("thead", |html| row(html, head, "th"));
            }
            if !rows.is_empty() {
                html.within("tbody", |html| rows.iter().for_each(|cells| row(html, cells, "td")));
            }
        });
    }

    fn inlines(&mut self, inlines: &[Inline]) {
        for inline in inlines {
            match inline {
                Inline::Text(text) => self.text(text),
                Inline::Break => self.raw("<br>"),
                Inline::Strong(inner) => self.within("strong", |html| html.inlines(inner)),
                Inline::Emphasis(inner) => self.within("em", |html| html.inlines(inner)),
                Inline::Strike(inner) => self.within("del", |html| html.inlines(inner)),
                Inline::Code(code) => self.within("code", |html| html.text(code)),
                Inline::Link(address, label) => self.link(address, label),
                // A picture of elsewhere cannot be shown: pictures in messages are `mxc:` ones.
                Inline::Image(alt, address) => match address {
                    Some(address) if is_safe_address(address) => {
                        self.link(address, &[Inline::Text(format!("[{alt}]"))]);
                    }
                    _ => {
                        self.raw("[");
                        self.text(alt);
                        self.raw("]");
                    }
                },
                Inline::Mention(mention) => self.mention(mention),
            }
        }
    }

    fn link(&mut self, address: &str, label: &[Inline]) {
        let safe = is_safe_address(address);
        if safe {
            self.raw("<a href=\"");
            self.text(address);
            self.raw("\">");
        }
        if label.is_empty() {
            self.text(address);
        } else {
            self.inlines(label);
        }
        if safe {
            self.raw("</a>");
        } else if !label.is_empty() && *label != [Inline::Text(address.to_owned())] {
            self.raw(" (");
            self.text(address);
            self.raw(")");
        }
    }

    fn mention(&mut self, mention: &Mention) {
        match &mention.target {
            Target::User(user) => {
                let id = utf8_percent_encode(user.as_str(), IN_FRAGMENT);
                let _ = write!(self.0, "<a href=\"https://matrix.to/#/{id}\">@");
                self.text(&mention.name);
                self.raw("</a>");
            }
            Target::Person(_) | Target::Everybody => {
                self.raw("@");
                self.text(&mention.name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
