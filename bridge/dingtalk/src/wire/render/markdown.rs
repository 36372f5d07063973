//! A document as the Markdown that DingTalk documents (API.md section 5.5).
//!
//! Tables are not documented: their rows become lines. Code blocks and strike-through are not either, but their
//! markup is readable where it is not understood.

use bridge_core::content::{Block, Document, Inline};

use super::escape::{self, Place};

/// A line break, with the blanks that DingTalk recommends (API.md section 5.5).
const BREAK: &str = "  \n  ";
/// Between the cells of a row; no Markdown knows it.
const CELL: &str = " │ ";

/// The document as Markdown. No text in it acts as markup; addresses stay byte for byte.
pub fn render_markdown(document: &Document) -> String {
    let mut writer = Writer::default();
    writer.blocks(&document.blocks);
    writer.out
}

#[derive(Default)]
struct Writer {
    out: String,
    /// What begins each further line of the block at hand: `> ` and indentation.
    prefix: String,
    /// The next text begins a line.
    line_start: bool,
    /// Newlines cannot be written: a heading, a cell.
    one_line: bool,
    label: bool,
    /// The markers that are open; none is opened twice.
    open: Vec<&'static str>,
    /// Length of `out` after a closing marker; another marker right there would melt with it.
    closed: usize,
}

impl Writer {
    fn newline(&mut self) {
        let prefix = self.prefix.trim_end().len();
        self.out.push('\n');
        self.out.push_str(&self.prefix[..prefix]);
    }

    fn blocks(&mut self, blocks: &[Block]) {
        for (index, block) in blocks.iter().enumerate() {
            if index > 0 {
                self.newline();
                self.out.push('\n');
                self.out.push_str(&self.prefix);
            }
            self.line_start = true;
            self.block(block);
        }
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Paragraph(inlines) => self.inlines(inlines, None),
            Block::Heading(level, inlines) => {
                for _ in 0..(*level).clamp(1, 6) {
                    self.out.push('#');
                }
                self.out.push(' ');
                self.line_start = false;
                self.in_one_line(inlines);
            }
            Block::Quote(inner) => self.nested("> ", "> ", inner),
            Block::Code(language, code) => self.code_block(language, code),
            Block::List(start, items) => {
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.out.push('\n');
                        self.out.push_str(&self.prefix);
                    }
                    let marker = match start {
                        // Nine digits are the most that a marker may have.
                        Some(first) => format!("{}. ", first.saturating_add(index as u64).min(999_999_999)),
                        None => "- ".to_owned(),
                    };
                    self.nested(&marker, &" ".repeat(marker.len()), item);
                }
            }
            Block::Table(head, rows) => {
                let mut lines = 0;
                if !head.is_empty() {
                    lines = 1;
                    self.row(head, true);
                }
                for row in rows {
                    if lines > 0 {
                        self.line_break();
                    }
                    lines += 1;
                    self.row(row, false);
                }
            }
            Block::Rule => self.out.push_str("---"),
        }
    }

    /// Blocks behind a marker, further lines behind `indent`.
    fn nested(&mut self, marker: &str, indent: &str, blocks: &[Block]) {
        let length = self.prefix.len();
        self.out.push_str(marker);
        self.prefix.push_str(indent);
        self.blocks(blocks);
        self.prefix.truncate(length);
    }

    fn code_block(&mut self, language: &str, code: &str) {
        let fence = "`".repeat(longest_run(code).max(2) + 1);
        self.out.push_str(&fence);
        let plain = |c: &char| c.is_ascii_alphanumeric() || "+-_#.".contains(*c);
        self.out.extend(language.chars().take_while(plain).take(32));
        for line in code.split('\n') {
            self.out.push('\n');
            self.out.push_str(&self.prefix);
            self.out.push_str(line);
        }
        self.out.push('\n');
        self.out.push_str(&self.prefix);
        self.out.push_str(&fence);
    }

    fn row(&mut self, cells: &[Vec<Inline>], head: bool) {
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                self.out.push_str(CELL);
                self.line_start = false;
            }
            if head && !cell.is_empty() {
                self.in_one_line(&[Inline::Strong(cell.clone())]);
            } else {
                self.in_one_line(cell);
            }
        }
    }

    fn in_one_line(&mut self, inlines: &[Inline]) {
        let outer = std::mem::replace(&mut self.one_line, true);
        self.inlines(inlines, None);
        self.one_line = outer;
    }

    fn line_break(&mut self) {
        if self.one_line {
            self.out.push(' ');
            return;
        }
        self.out.push_str("  \n");
        self.out.push_str(&self.prefix);
        self.out.push_str(&BREAK[3..]);
        self.line_start = true;
    }

    /// `after` is the character that follows the last of the inlines.
    fn inlines(&mut self, inlines: &[Inline], after: Option<char>) {
        for (index, inline) in inlines.iter().enumerate() {
            let after = inlines.get(index + 1).map_or(after, first_char);
            match inline {
                Inline::Text(text) => self.text(text, after),
                Inline::Break => self.line_break(),
                Inline::Strong(inner) => self.marked("**", inner, after),
                Inline::Emphasis(inner) => self.marked("*", inner, after),
                Inline::Strike(inner) => self.marked("~~", inner, after),
                Inline::Code(code) => self.code(code),
                Inline::Link(address, label) => self.link(address, label, after),
                Inline::Image(alt, Some(address)) if escape::is_linkable(address) => {
                    self.out.push('!');
                    self.link(address, &[Inline::Text(alt.clone())], after);
                }
                Inline::Image(alt, _) => self.text(&format!("[{alt}]"), after),
                Inline::Mention(mention) => self.text(&format!("@{}", mention.name), after),
            }
        }
    }

    /// A text, its web addresses unharmed.
    fn text(&mut self, text: &str, after: Option<char>) {
        let mut rest = text;
        if !self.label {
            while let Some(range) = escape::find_address(rest) {
                let (address, before) = (&rest[range.clone()], &rest[..range.start]);
                self.escaped(before, Some('['));
                self.address(address, rest[range.end..].chars().next().or(after));
                rest = &rest[range.end..];
            }
        }
        self.escaped(rest, after);
    }

    /// A web address in running text: bare where nothing in it could be markup, else as a link to itself.
    fn address(&mut self, address: &str, after: Option<char>) {
        let mut label = String::new();
        let place = Place { line_start: false, label: true, before: None, after };
        escape::push(&mut label, address, place);
        if label == address {
            self.out.push_str(address);
            self.line_start = false;
        } else {
            self.raw_link(&label, address);
        }
    }

    fn escaped(&mut self, text: &str, after: Option<char>) {
        if text.is_empty() {
            return;
        }
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.line_break();
            }
            let before = self.out.chars().next_back().filter(|_| !self.line_start);
            escape::push(
                &mut self.out,
                line,
                Place { line_start: self.line_start, label: self.label, before, after },
            );
            self.line_start &= line.is_empty();
        }
    }

    /// Inlines between markers. Blanks at the ends go outside, and where Markdown would not see a marker, because
    /// a letter and a punctuation mark are on its sides, a blank is put between.
    fn marked(&mut self, marker: &'static str, inner: &[Inline], after: Option<char>) {
        if self.open.contains(&marker) {
            self.inlines(inner, after);
            return;
        }
        let start = self.out.len();
        let at_line_start = std::mem::take(&mut self.line_start);
        self.open.push(marker);
        self.inlines(inner, marker.chars().next());
        self.open.pop();
        let written = self.out.split_off(start);
        let words = written.trim_matches([' ', '\t', '\n']);
        if words.is_empty() {
            self.out.push_str(&written);
            self.line_start = at_line_start && written.is_empty();
            return;
        }
        let lead = written.len() - written.trim_start_matches([' ', '\t', '\n']).len();
        self.out.push_str(&written[..lead]);
        let alphanumeric = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let symbol = |c: Option<char>| c.is_some_and(|c| !c.is_alphanumeric() && !c.is_whitespace());
        // Markers of inner emphasis are one run with these: what counts stands behind them.
        let inner_end =
            if self.closed == start + written.len() { words.trim_end_matches(['*', '~']) } else { words };
        let (first, last) =
            (words.trim_start_matches(['*', '~']).chars().next(), inner_end.chars().next_back());
        let melts = self.closed == self.out.len() && self.closed > 0;
        if melts || (symbol(first) && alphanumeric(self.out.chars().next_back())) {
            self.out.push(' ');
        }
        self.out.extend([marker, words, marker]);
        self.closed = self.out.len();
        let tail = &written[lead + words.len()..];
        if tail.is_empty() && symbol(last) && alphanumeric(after) {
            self.out.push(' ');
        }
        self.out.push_str(tail);
    }

    fn code(&mut self, code: &str) {
        let code = code.replace(['\n', '\r'], " ");
        if code.is_empty() {
            return;
        }
        let fence = "`".repeat(longest_run(&code) + 1);
        // One blank on each side is taken off again by the reader.
        let blank = code.starts_with(['`', ' ']) || code.ends_with(['`', ' ']);
        let pad = if blank && !code.trim().is_empty() { " " } else { "" };
        if self.out.ends_with('`') {
            self.out.push(' ');
        }
        self.out.extend([&fence, pad, &code, pad, &fence]);
        self.line_start = false;
    }

    fn link(&mut self, address: &str, label: &[Inline], after: Option<char>) {
        // A link inside a link is no link.
        if self.label || !escape::is_linkable(address) {
            let start = self.out.len();
            self.inlines(label, after);
            let shown = Document { blocks: vec![Block::Paragraph(label.to_vec())] }.to_plain_text();
            if !self.label && shown != address {
                let blank = self.out.len() == start;
                self.escaped(&if blank { address.to_owned() } else { format!(" ({address})") }, after);
            }
            return;
        }
        let start = self.out.len();
        let at_line_start = std::mem::take(&mut self.line_start);
        let outer = (std::mem::replace(&mut self.label, true), std::mem::replace(&mut self.one_line, true));
        self.inlines(label, Some(']'));
        (self.label, self.one_line) = outer;
        let mut written = self.out.split_off(start);
        if written.trim().is_empty() {
            written.clear();
            let place = Place { line_start: false, label: true, before: None, after: Some(']') };
            escape::push(&mut written, address, place);
        }
        self.line_start = at_line_start;
        self.raw_link(&written, address);
    }

    fn raw_link(&mut self, label: &str, address: &str) {
        self.out.extend(["[", label, "]("]);
        escape::push_address(&mut self.out, address);
        self.out.push(')');
        self.line_start = false;
    }
}

/// The first character an inline writes, where that is known.
fn first_char(inline: &Inline) -> Option<char> {
    match inline {
        Inline::Text(text) => text.chars().next(),
        Inline::Break => None,
        Inline::Strong(_) | Inline::Emphasis(_) => Some('*'),
        Inline::Strike(_) => Some('~'),
        Inline::Code(_) => Some('`'),
        Inline::Link(..) | Inline::Image(_, None) => Some('['),
        Inline::Image(_, Some(_)) => Some('!'),
        Inline::Mention(_) => Some('@'),
    }
}

/// Length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}
