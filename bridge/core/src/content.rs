//! The neutral body of a message: one tree between Matrix HTML and DingTalk Markdown.
//!
//! Both sides parse into it and render from it, so that what one network cannot show degrades in one place.
//! Texts in it are plain: no escapes of either network.

use ruma::OwnedUserId;

use crate::id::{PersonId, StaffId};

/// A formatted text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// Top-level blocks in order.
    pub blocks: Vec<Block>,
}

/// A block of a document. Nesting is bounded by the parsers ([`MAX_DEPTH`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Running text.
    Paragraph(Vec<Inline>),
    /// A heading of level 1 to 6.
    Heading(u8, Vec<Inline>),
    /// A quotation.
    Quote(Vec<Block>),
    /// Preformatted text: language (may be empty) and the text without its last newline.
    Code(String, String),
    /// A list; `Some(n)` numbers the items from n.
    List(Option<u64>, Vec<Vec<Block>>),
    /// A table: header cells and rows of cells.
    Table(Vec<Vec<Inline>>, Vec<Vec<Vec<Inline>>>),
    /// A horizontal rule.
    Rule,
}

/// A piece of running text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inline {
    /// Plain text without newlines.
    Text(String),
    /// A line break.
    Break,
    /// Bold.
    Strong(Vec<Inline>),
    /// Italic.
    Emphasis(Vec<Inline>),
    /// Struck through.
    Strike(Vec<Inline>),
    /// A piece of code.
    Code(String),
    /// A link: address (byte for byte as it came) and label.
    Link(String, Vec<Inline>),
    /// A picture that is part of the text: alternative text and, where there is one, its address.
    Image(String, Option<String>),
    /// Somebody who is addressed.
    Mention(Mention),
}

/// Whom a mention addresses, with the name to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The addressee.
    pub target: Target,
    /// The name as the author wrote it, without `@`.
    pub name: String,
}

/// The addressee of a mention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A Matrix user (a person or a ghost).
    User(OwnedUserId),
    /// A person in DingTalk.
    Person(PersonId),
    /// Everybody in the room or chat.
    Everybody,
}

/// Deepest nesting of blocks and inlines that parsers build; what is deeper is flattened to text.
pub const MAX_DEPTH: usize = 32;

impl Document {
    /// A document of plain text: each line is a line, nothing is interpreted.
    pub fn plain(text: &str) -> Self {
        let mut line = Vec::new();
        for (index, part) in text.split('\n').enumerate() {
            if index > 0 {
                line.push(Inline::Break);
            }
            let part = part.strip_suffix('\r').unwrap_or(part);
            if !part.is_empty() {
                line.push(Inline::Text(part.to_owned()));
            }
        }
        Self { blocks: vec![Block::Paragraph(line)] }
    }

    /// Whether the document is lines of text and nothing else, so that a renderer needs no markup.
    pub fn is_plain(&self) -> bool {
        match self.blocks.as_slice() {
            [] => true,
            [Block::Paragraph(inlines)] => {
                inlines.iter().all(|inline| matches!(inline, Inline::Text(_) | Inline::Break))
            }
            _ => false,
        }
    }

    /// The text without markup: blocks on lines of their own, list markers, `> ` before quotations, labels of
    /// links followed by the address where the two differ.
    pub fn to_plain_text(&self) -> String {
        let mut lines = Lines::default();
        blocks_to_text(&self.blocks, "", &mut lines);
        lines.text
    }

    /// Staff ids of the people mentioned, each once, in order.
    pub fn mentioned_staff(&self) -> Vec<StaffId> {
        let mut found: Vec<StaffId> = Vec::new();
        self.each_mention(&mut |mention| {
            if let Target::Person(PersonId::Staff(id)) = &mention.target
                && !found.contains(id)
            {
                found.push(id.clone());
            }
        });
        found
    }

    /// Visits every mention in order.
    pub fn each_mention(&self, visit: &mut dyn FnMut(&Mention)) {
        self.each_inline(&mut |inline| {
            if let Inline::Mention(mention) = inline {
                visit(mention);
            }
        });
    }

    /// Visits every inline, outer before inner.
    pub fn each_inline(&self, visit: &mut dyn FnMut(&Inline)) {
        for block in &self.blocks {
            visit_block(block, visit);
        }
    }

    /// Replaces mentions in place, for instance a Matrix user that is a ghost by the person behind it.
    pub fn map_mentions(&mut self, map: &mut dyn FnMut(&mut Mention)) {
        for block in &mut self.blocks {
            map_block(block, map);
        }
    }
}

/// Text under construction.
#[derive(Default)]
struct Lines {
    text: String,
    /// A line was begun, maybe an empty one.
    begun: bool,
}

impl Lines {
    fn line(&mut self, prefix: &str) {
        if std::mem::replace(&mut self.begun, true) {
            self.text.push('\n');
        }
        self.text.push_str(prefix);
    }
}

fn blocks_to_text(blocks: &[Block], prefix: &str, out: &mut Lines) {
    for block in blocks {
        match block {
            Block::Paragraph(inlines) | Block::Heading(_, inlines) => {
                out.line(prefix);
                inlines_to_text(inlines, prefix, out);
            }
            Block::Quote(inner) => blocks_to_text(inner, &format!("{prefix}> "), out),
            Block::Code(_, code) => {
                for line in code.split('\n') {
                    out.line(prefix);
                    out.text.push_str(line);
                }
            }
            Block::List(start, items) => {
                for (index, item) in items.iter().enumerate() {
                    let marker = match start {
                        Some(first) => format!("{}. ", first.saturating_add(index as u64)),
                        None => "- ".to_owned(),
                    };
                    let mut inner = Lines::default();
                    blocks_to_text(item, "", &mut inner);
                    for (number, line) in inner.text.split('\n').enumerate() {
                        out.line(prefix);
                        out.text.push_str(if number == 0 { &marker } else { "  " });
                        out.text.push_str(line);
                    }
                }
            }
            Block::Table(head, rows) => {
                let head = Some(head).filter(|head| !head.is_empty());
                for row in head.into_iter().chain(rows) {
                    out.line(prefix);
                    for (index, cell) in row.iter().enumerate() {
                        if index > 0 {
                            out.text.push_str(" | ");
                        }
                        inlines_to_text(cell, prefix, out);
                    }
                }
            }
            Block::Rule => {
                out.line(prefix);
                out.text.push_str("———");
            }
        }
    }
}

fn inlines_to_text(inlines: &[Inline], prefix: &str, out: &mut Lines) {
    for inline in inlines {
        match inline {
            Inline::Text(text) | Inline::Code(text) => out.text.push_str(text),
            Inline::Break => out.line(prefix),
            Inline::Strong(inner) | Inline::Emphasis(inner) | Inline::Strike(inner) => {
                inlines_to_text(inner, prefix, out);
            }
            Inline::Link(address, label) => {
                let start = out.text.len();
                inlines_to_text(label, prefix, out);
                if out.text[start..] != **address {
                    let blank = out.text.len() == start;
                    out.text.push_str(if blank { "" } else { " (" });
                    out.text.push_str(address);
                    out.text.push_str(if blank { "" } else { ")" });
                }
            }
            Inline::Image(alt, _) => {
                out.text.push('[');
                out.text.push_str(alt);
                out.text.push(']');
            }
            Inline::Mention(mention) => {
                out.text.push('@');
                out.text.push_str(&mention.name);
            }
        }
    }
}

fn visit_block(block: &Block, visit: &mut dyn FnMut(&Inline)) {
    match block {
        Block::Paragraph(inlines) | Block::Heading(_, inlines) => visit_inlines(inlines, visit),
        Block::Quote(blocks) => blocks.iter().for_each(|block| visit_block(block, visit)),
        Block::List(_, items) => items.iter().flatten().for_each(|block| visit_block(block, visit)),
        Block::Table(head, rows) => {
            for cell in head.iter().chain(rows.iter().flatten()) {
                visit_inlines(cell, visit);
            }
        }
        Block::Code(..) | Block::Rule => {}
    }
}

fn visit_inlines(inlines: &[Inline], visit: &mut dyn FnMut(&Inline)) {
    for inline in inlines {
        visit(inline);
        if let Inline::Strong(inner)
        | Inline::Emphasis(inner)
        | Inline::Strike(inner)
        | Inline::Link(_, inner) = inline
        {
            visit_inlines(inner, visit);
        }
    }
}

fn map_block(block: &mut Block, map: &mut dyn FnMut(&mut Mention)) {
    match block {
        Block::Paragraph(inlines) | Block::Heading(_, inlines) => map_inlines(inlines, map),
        Block::Quote(blocks) => blocks.iter_mut().for_each(|block| map_block(block, map)),
        Block::List(_, items) => items.iter_mut().flatten().for_each(|block| map_block(block, map)),
        Block::Table(head, rows) => {
            for cell in head.iter_mut().chain(rows.iter_mut().flatten()) {
                map_inlines(cell, map);
            }
        }
        Block::Code(..) | Block::Rule => {}
    }
}

fn map_inlines(inlines: &mut [Inline], map: &mut dyn FnMut(&mut Mention)) {
    for inline in inlines {
        match inline {
            Inline::Mention(mention) => map(mention),
            Inline::Strong(inner)
            | Inline::Emphasis(inner)
            | Inline::Strike(inner)
            | Inline::Link(_, inner) => {
                map_inlines(inner, map);
            }
            Inline::Text(_) | Inline::Break | Inline::Code(_) | Inline::Image(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_survives_byte_for_byte() {
        for text in ["", "\n", "\n\na", "a", "a\nb", "a\n\nb\n", "  *x* <b> & 你好 😀"] {
            assert_eq!(Document::plain(text).to_plain_text(), text);
            assert!(Document::plain(text).is_plain());
        }
    }

    #[test]
    fn plain_text_keeps_structure_readable() {
        let document = Document {
            blocks: vec![
                Block::Heading(1, vec![Inline::Text("Plan".into())]),
                Block::List(
                    Some(3),
                    vec![
                        vec![Block::Paragraph(vec![Inline::Text("one".into())])],
                        vec![Block::Paragraph(vec![Inline::Link("https://a.b/?x=1&y=_2_".into(), vec![])])],
                    ],
                ),
                Block::Quote(vec![Block::Paragraph(vec![
                    Inline::Text("q".into()),
                    Inline::Break,
                    Inline::Text("r".into()),
                ])]),
            ],
        };
        assert_eq!(document.to_plain_text(), "Plan\n3. one\n4. https://a.b/?x=1&y=_2_\n> q\n> r");
    }
}
