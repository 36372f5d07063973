//! DingTalk's Markdown to a document. HTML in it becomes literal text, and every newline is a break.

use bridge_core::content::{Block, Document, Inline, MAX_DEPTH};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};

/// A container under construction.
enum Frame {
    Blocks(Blocks, Vec<Block>),
    List(Option<u64>, Vec<Vec<Block>>),
    Code(String, String),
    Inlines(Inlines, Vec<Inline>),
    Table(Vec<Vec<Inline>>, Vec<Vec<Vec<Inline>>>),
    Row { head: bool, cells: Vec<Vec<Inline>> },
}

/// A container of blocks.
enum Blocks {
    Document,
    Quote,
    Item,
}

/// A container of inlines.
enum Inlines {
    Paragraph,
    Heading(u8),
    Strong,
    Emphasis,
    Strike,
    Link(String),
    Image(String),
    Cell,
}

/// Parses Markdown. Nesting deeper than [`MAX_DEPTH`] is flattened. Never fails: any text is Markdown.
pub fn parse(text: &str) -> Document {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut builder = Builder { frames: vec![Frame::Blocks(Blocks::Document, Vec::new())], skipped: 0 };
    for event in Parser::new_ext(text, options) {
        builder.event(event);
    }
    builder.finish()
}

struct Builder {
    frames: Vec<Frame>,
    /// Containers that were opened too deep and left out.
    skipped: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.open(tag),
            Event::End(_) if self.skipped > 0 => self.skipped -= 1,
            Event::End(_) => self.close(),
            Event::Text(text) => self.text(&text),
            Event::Code(code) => self.inline(Inline::Code(code.into_string())),
            Event::Html(html) | Event::InlineHtml(html) => self.text(&html),
            Event::SoftBreak | Event::HardBreak => self.inline(Inline::Break),
            Event::Rule => self.block(Block::Rule),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.text(&text);
            }
            Event::TaskListMarker(_) => {}
        }
    }

    fn open(&mut self, tag: Tag<'_>) {
        if self.skipped > 0 || self.frames.len() > MAX_DEPTH {
            self.skipped += 1;
            return;
        }
        self.frames.push(match tag {
            Tag::Heading { level, .. } => Frame::Inlines(Inlines::Heading(level as u8), Vec::new()),
            Tag::BlockQuote(_) => Frame::Blocks(Blocks::Quote, Vec::new()),
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) => {
                Frame::Code(language.into_string(), String::new())
            }
            Tag::CodeBlock(CodeBlockKind::Indented) => Frame::Code(String::new(), String::new()),
            Tag::List(start) => Frame::List(start, Vec::new()),
            Tag::Item => Frame::Blocks(Blocks::Item, Vec::new()),
            Tag::Table(_) => Frame::Table(Vec::new(), Vec::new()),
            Tag::TableHead => Frame::Row { head: true, cells: Vec::new() },
            Tag::TableRow => Frame::Row { head: false, cells: Vec::new() },
            Tag::TableCell => Frame::Inlines(Inlines::Cell, Vec::new()),
            Tag::Emphasis => Frame::Inlines(Inlines::Emphasis, Vec::new()),
            Tag::Strong => Frame::Inlines(Inlines::Strong, Vec::new()),
            Tag::Strikethrough => Frame::Inlines(Inlines::Strike, Vec::new()),
            Tag::Link { dest_url, .. } => Frame::Inlines(Inlines::Link(dest_url.into_string()), Vec::new()),
            Tag::Image { dest_url, .. } => Frame::Inlines(Inlines::Image(dest_url.into_string()), Vec::new()),
            // HTML blocks hold their lines as text. The rest belongs to extensions that are off.
            Tag::Paragraph
            | Tag::HtmlBlock
            | Tag::Superscript
            | Tag::Subscript
            | Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::MetadataBlock(_) => Frame::Inlines(Inlines::Paragraph, Vec::new()),
        });
    }

    fn close(&mut self) {
        if self.frames.len() < 2 {
            return;
        }
        let Some(frame) = self.frames.pop() else { return };
        match frame {
            Frame::Blocks(Blocks::Item, blocks) => match self.frames.last_mut() {
                Some(Frame::List(_, items)) => items.push(blocks),
                _ => blocks.into_iter().for_each(|block| self.block(block)),
            },
            Frame::Blocks(Blocks::Quote | Blocks::Document, blocks) => self.block(Block::Quote(blocks)),
            Frame::List(start, items) => self.block(Block::List(start, items)),
            Frame::Code(language, mut code) => {
                if code.ends_with('\n') {
                    code.pop();
                }
                self.block(Block::Code(language, code));
            }
            Frame::Table(head, rows) => self.block(Block::Table(head, rows)),
            Frame::Row { head, cells } => {
                if let Some(Frame::Table(heads, rows)) = self.frames.last_mut() {
                    if head {
                        *heads = cells;
                    } else {
                        rows.push(cells);
                    }
                }
            }
            Frame::Inlines(kind, mut inner) => match kind {
                Inlines::Paragraph => {
                    while inner.last() == Some(&Inline::Break) {
                        inner.pop();
                    }
                    self.block(Block::Paragraph(inner));
                }
                Inlines::Heading(level) => self.block(Block::Heading(level, inner)),
                Inlines::Strong => self.inline(Inline::Strong(inner)),
                Inlines::Emphasis => self.inline(Inline::Emphasis(inner)),
                Inlines::Strike => self.inline(Inline::Strike(inner)),
                Inlines::Link(address) => self.inline(Inline::Link(address, inner)),
                Inlines::Image(address) => {
                    let alt = Document { blocks: vec![Block::Paragraph(inner)] }.to_plain_text();
                    let address = Some(address).filter(|address| !address.is_empty());
                    self.inline(Inline::Image(alt, address));
                }
                Inlines::Cell => match self.frames.last_mut() {
                    Some(Frame::Row { cells, .. }) => cells.push(inner),
                    _ => inner.into_iter().for_each(|inline| self.inline(inline)),
                },
            },
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(Frame::Code(_, code)) = self.frames.last_mut() {
            code.push_str(text);
            return;
        }
        for (index, part) in text.split('\n').enumerate() {
            if index > 0 {
                self.inline(Inline::Break);
            }
            if !part.is_empty() {
                self.inline(Inline::Text(part.to_owned()));
            }
        }
    }

    /// Puts an inline into the innermost container; one of blocks gets a paragraph for it.
    fn inline(&mut self, inline: Inline) {
        match self.frames.last_mut() {
            Some(Frame::Inlines(_, inlines)) => push(inlines, inline),
            Some(Frame::Blocks(_, blocks)) => match blocks.last_mut() {
                Some(Block::Paragraph(inlines)) => push(inlines, inline),
                _ => blocks.push(Block::Paragraph(vec![inline])),
            },
            Some(Frame::Code(_, code)) => match inline {
                Inline::Text(text) | Inline::Code(text) => code.push_str(&text),
                Inline::Break => code.push('\n'),
                _ => {}
            },
            Some(Frame::List(_, items)) => items.push(vec![Block::Paragraph(vec![inline])]),
            Some(Frame::Row { cells, .. }) => match cells.last_mut() {
                Some(cell) => push(cell, inline),
                None => cells.push(vec![inline]),
            },
            Some(Frame::Table(..)) | None => {}
        }
    }

    /// Puts a block into the innermost container; one of inlines gets its text.
    fn block(&mut self, block: Block) {
        match self.frames.last_mut() {
            Some(Frame::Blocks(_, blocks)) => blocks.push(block),
            Some(Frame::List(_, items)) => items.push(vec![block]),
            Some(_) => {
                let text = Document { blocks: vec![block] }.to_plain_text();
                self.text(&text);
            }
            None => {}
        }
    }

    fn finish(mut self) -> Document {
        while self.frames.len() > 1 {
            self.close();
        }
        match self.frames.pop() {
            Some(Frame::Blocks(_, blocks)) => Document { blocks },
            _ => Document::default(),
        }
    }
}

/// Appends; neighbouring texts become one.
fn push(inlines: &mut Vec<Inline>, inline: Inline) {
    match (inlines.last_mut(), inline) {
        (Some(Inline::Text(text)), Inline::Text(more)) => text.push_str(&more),
        (_, inline) => inlines.push(inline),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_dingtalk_documents_is_understood() {
        let text = "# 标题\n> 引用\n> 二\n\n**粗** *斜* [链接](https://example.org/a_b?x=1&y=2) ![](@lADPmedia)\n换行\n\n- 一\n- 二\n  - 三\n\n3. 甲\n4. 乙\n\n```rust\nlet a = 1;\n```\n\n| a | b |\n|---|---|\n| 1 | ~~2~~ |\n\n---";
        insta::assert_debug_snapshot!("markdown", parse(text));
    }

    #[test]
    fn html_is_literal() {
        let document = parse("a <b>b</b>\n\n<script>x</script>\n<div>y</div>");
        assert_eq!(document.to_plain_text(), "a <b>b</b>\n<script>x</script>\n<div>y</div>");
    }

    #[test]
    fn one_newline_is_a_break() {
        assert_eq!(parse("a\nb  \nc").blocks.len(), 1);
        assert_eq!(parse("a\nb  \nc").to_plain_text(), "a\nb\nc");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{}x", "> ".repeat(5000));
        let document = parse(&deep);
        let mut depth = 0;
        let mut blocks = &document.blocks;
        while let Some(Block::Quote(inner)) = blocks.first() {
            depth += 1;
            blocks = inner;
        }
        assert!((MAX_DEPTH - 2..=MAX_DEPTH).contains(&depth), "{depth}");
        assert!(document.to_plain_text().ends_with('x'));
        parse(&format!("{}x", "*a **b ".repeat(2000)));
        parse(&format!("{}x", "- ".repeat(2000)));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[\\PC\n]{0,80}|[-*_`~<>\\[\\]()!|#: \n1.a&;\\\\]{0,80}") {
            let _ = parse(&text).to_plain_text();
        }
    }
}
