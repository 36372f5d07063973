//! HTML of a message, whoever wrote it → [`Document`] (Client-Server API, "m.room.message msgtypes").
//!
//! What is not in the specification's list of elements is either transparent or dropped with its contents; no
//! attribute survives but the address of a link, the alternative text of a picture, the number a list starts with and
//! the language of code. Blocks and inlines nest no deeper than [`bridge_core::content::MAX_DEPTH`].
mod flow;
mod tree;

use bridge_core::content::{Block, Document, Inline, Mention, Target};
use ruma::matrix_uri::MatrixId;
use ruma::{MatrixToUri, MatrixUri, OwnedUserId};

use self::flow::{Flow, Wrapper};
use self::tree::{Node, Tag};

/// Whom a message addresses (`m.mentions`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addressees {
    /// The users named; `None` when the message says nothing about it, as older clients do: then every pill counts.
    pub users: Option<Vec<String>>,
    /// Everybody in the room.
    pub room: bool,
}

impl Addressees {
    fn addresses(&self, user: &OwnedUserId) -> bool {
        self.users.as_ref().is_none_or(|users| users.iter().any(|other| user == other))
    }
}

/// Reads HTML. Never fails; what is broken reads as a browser would read it, or as text.
pub fn document(html: &str, addressees: &Addressees) -> Document {
    let mut reader = Reader { addressees, blocks: Vec::new(), flow: Flow::default(), wrappers: Vec::new() };
    reader.nodes(&tree::parse(html));
    reader.end_paragraph();
    Document { blocks: reader.blocks }
}

/// Plain text, each line a line; only `@room` is looked for.
pub(super) fn plain(text: &str, addressees: &Addressees) -> Document {
    let mut document = Document::plain(text);
    if addressees.room {
        for block in &mut document.blocks {
            if let Block::Paragraph(inlines) = block {
                *inlines = std::mem::take(inlines).into_iter().flat_map(split_everybody).collect();
            }
        }
    }
    document
}

struct Reader<'a> {
    addressees: &'a Addressees,
    blocks: Vec<Block>,
    flow: Flow,
    /// Inline elements around the block we are in.
    wrappers: Vec<Wrapper>,
}

impl Reader<'_> {
    /// Reads the contents of a block on their own.
    fn inner(&mut self, nodes: &[Node]) -> Vec<Block> {
        let blocks = std::mem::take(&mut self.blocks);
        self.nodes(nodes);
        self.end_paragraph();
        std::mem::replace(&mut self.blocks, blocks)
    }

    fn end_paragraph(&mut self) {
        let inlines = self.flow.take(&self.wrappers);
        if !inlines.is_empty() {
            self.blocks.push(Block::Paragraph(self.finish(inlines)));
        }
    }

    /// One line of text, for headings and cells.
    fn line(&self, nodes: &[Node]) -> Vec<Inline> {
        let mut flow = Flow::default();
        inlines(nodes, &mut flow, self.addressees);
        self.finish(flow.take(&[]))
    }

    fn finish(&self, inlines: Vec<Inline>) -> Vec<Inline> {
        if self.addressees.room { everybody(inlines) } else { inlines }
    }

    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Text(_) | Node::Break | Node::Image(_) => {
                    inlines(std::slice::from_ref(node), &mut self.flow, self.addressees);
                }
                Node::Edge => self.end_paragraph(),
                Node::Rule => {
                    self.end_paragraph();
                    self.blocks.push(Block::Rule);
                }
                Node::Element(tag, nodes) => self.element(tag, nodes, node),
            }
        }
    }

    fn element(&mut self, tag: &Tag, nodes: &[Node], node: &Node) {
        match tag {
            Tag::Strong | Tag::Emphasis | Tag::Strike | Tag::Link(_) | Tag::Code(_) => {
                if !has_blocks(nodes) {
                    inlines(std::slice::from_ref(node), &mut self.flow, self.addressees);
                    return;
                }
                self.flow.wrap_up(&self.wrappers);
                let wrapper = match tag {
                    Tag::Strong => Wrapper::Strong,
                    Tag::Emphasis => Wrapper::Emphasis,
                    Tag::Strike => Wrapper::Strike,
                    // A link or code around blocks: the blocks are worth more.
                    _ => return self.nodes(nodes),
                };
                self.wrappers.push(wrapper);
                self.nodes(nodes);
                self.flow.wrap_up(&self.wrappers);
                self.wrappers.pop();
            }
            Tag::Heading(level) => {
                self.end_paragraph();
                let line = self.line(nodes);
                if !line.is_empty() {
                    self.blocks.push(Block::Heading(*level, line));
                }
            }
            Tag::Summary => {
                self.end_paragraph();
                let line = self.line(nodes);
                if !line.is_empty() {
                    self.blocks.push(Block::Paragraph(vec![Inline::Strong(line)]));
                }
            }
            Tag::Quote => {
                self.end_paragraph();
                let inner = self.inner(nodes);
                if !inner.is_empty() {
                    self.blocks.push(Block::Quote(inner));
                }
            }
            Tag::Pre => {
                self.end_paragraph();
                let (language, code) = preformatted(nodes);
                if !code.is_empty() {
                    self.blocks.push(Block::Code(language, code));
                }
            }
            Tag::List(start) => self.list(*start, nodes),
            Tag::Table => self.table(nodes),
            // Parts without their whole.
            Tag::Item | Tag::Caption | Tag::Row | Tag::Cell(_) => {
                self.end_paragraph();
                self.nodes(nodes);
                self.end_paragraph();
            }
        }
    }

    fn list(&mut self, start: Option<u64>, nodes: &[Node]) {
        self.end_paragraph();
        let mut items = Vec::new();
        for node in nodes {
            let item = match node {
                Node::Element(Tag::Item, nodes) => self.inner(nodes),
                other => {
                    let stray = self.inner(std::slice::from_ref(other));
                    if stray.is_empty() {
                        continue;
                    }
                    stray
                }
            };
            items.push(item);
        }
        if !items.is_empty() {
            self.blocks.push(Block::List(start, items));
        }
    }

    fn table(&mut self, nodes: &[Node]) {
        self.end_paragraph();
        let mut head = Vec::new();
        let mut rows = Vec::new();
        for node in nodes {
            let Node::Element(Tag::Row, cells) = node else {
                // Captions, and what has no place in a table, stand before it.
                self.nodes(std::slice::from_ref(node));
                self.end_paragraph();
                continue;
            };
            let is_head = cells.iter().all(|cell| !matches!(cell, Node::Element(Tag::Cell(false), _)));
            let cells = cells.iter().filter_map(|cell| match cell {
                Node::Element(Tag::Cell(_), nodes) => Some(self.line(nodes)),
                _ => None,
            });
            let cells: Vec<_> = cells.collect();
            match (cells.is_empty(), is_head && head.is_empty() && rows.is_empty()) {
                (true, _) => {}
                (false, true) => head = cells,
                (false, false) => rows.push(cells),
            }
        }
        if !(head.is_empty() && rows.is_empty()) {
            self.blocks.push(Block::Table(head, rows));
        }
    }
}

/// Whether there is anything in here that cannot stand in a line.
fn has_blocks(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| match node {
        Node::Element(Tag::Strong | Tag::Emphasis | Tag::Strike | Tag::Link(_) | Tag::Code(_), inner) => {
            has_blocks(inner)
        }
        Node::Edge | Node::Rule | Node::Element(..) => true,
        Node::Text(_) | Node::Break | Node::Image(_) => false,
    })
}

/// Reads nodes into one line of text; blocks among them become line breaks.
fn inlines(nodes: &[Node], flow: &mut Flow, addressees: &Addressees) {
    for node in nodes {
        match node {
            Node::Text(text) => flow.text(text),
            Node::Break => flow.hard_break(),
            Node::Edge | Node::Rule => flow.soft_break(),
            Node::Image(alt) => flow.image(alt),
            Node::Element(tag, inner) => match tag {
                Tag::Strong => flow.wrap(&Wrapper::Strong, |flow| inlines(inner, flow, addressees)),
                Tag::Emphasis => flow.wrap(&Wrapper::Emphasis, |flow| inlines(inner, flow, addressees)),
                Tag::Strike => flow.wrap(&Wrapper::Strike, |flow| inlines(inner, flow, addressees)),
                Tag::Code(_) => flow.code(&text_of(inner)),
                Tag::Link(address) => link(address, inner, flow, addressees),
                Tag::Pre => {
                    flow.soft_break();
                    for (number, line) in preformatted(inner).1.split('\n').enumerate() {
                        if number > 0 {
                            flow.soft_break();
                        }
                        flow.code(line);
                    }
                    flow.soft_break();
                }
                Tag::Heading(_)
                | Tag::Quote
                | Tag::List(_)
                | Tag::Item
                | Tag::Table
                | Tag::Caption
                | Tag::Row
                | Tag::Summary => {
                    flow.soft_break();
                    inlines(inner, flow, addressees);
                    flow.soft_break();
                }
                Tag::Cell(_) => {
                    flow.text(" ");
                    inlines(inner, flow, addressees);
                    flow.text(" ");
                }
            },
        }
    }
}

fn link(address: &str, label: &[Node], flow: &mut Flow, addressees: &Addressees) {
    match user_of(address) {
        Some(user) if addressees.addresses(&user) => {
            let label = text_of(label);
            let name = collapse(label.trim().trim_start_matches('@'));
            let name = if name.is_empty() { user.localpart().to_owned() } else { name };
            flow.push(Inline::Mention(Mention { target: Target::User(user), name }));
        }
        None if is_safe_address(address) => {
            flow.wrap(&Wrapper::Link(address.to_owned()), |flow| inlines(label, flow, addressees));
        }
        // Somebody who is named but not addressed, or an address that must not be followed.
        _ => inlines(label, flow, addressees),
    }
}

/// The user behind a `matrix.to` or `matrix:` address.
fn user_of(address: &str) -> Option<OwnedUserId> {
    let id = if let Ok(uri) = MatrixToUri::parse(address) {
        uri.id().clone()
    } else {
        MatrixUri::parse(address).ok()?.id().clone()
    };
    match id {
        MatrixId::User(user) => Some(user),
        _ => None,
    }
}

/// Whether an address is absolute and of a kind that clients may open (Client-Server API: `href` of `a`).
pub(super) fn is_safe_address(address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once(':') else { return false };
    let known =
        ["http", "https", "ftp", "mailto", "magnet"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let has_host = !scheme.to_ascii_lowercase().starts_with("http") || rest.starts_with("//");
    known && has_host && !rest.is_empty() && !address.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// All text in here, as it came.
fn text_of(nodes: &[Node]) -> String {
    fn gather(nodes: &[Node], text: &mut String) {
        for node in nodes {
            match node {
                Node::Text(part) | Node::Image(part) => text.push_str(part),
                Node::Break | Node::Edge | Node::Rule => text.push('\n'),
                Node::Element(_, inner) => gather(inner, text),
            }
        }
    }
    let mut text = String::new();
    gather(nodes, &mut text);
    text
}

/// The language and text of a `pre`.
fn preformatted(nodes: &[Node]) -> (String, String) {
    let language = nodes.iter().find_map(|node| match node {
        Node::Element(Tag::Code(language), _) => Some(language.clone()),
        _ => None,
    });
    let text = text_of(nodes).replace("\r\n", "\n");
    // The newline behind the start tag is no part of the text.
    let opened_by_text = matches!(nodes.first(), Some(Node::Text(_)));
    let text = if opened_by_text { text.strip_prefix('\n').unwrap_or(&text) } else { &text };
    let text = text.strip_suffix('\n').unwrap_or(text);
    (language.unwrap_or_default(), text.to_owned())
}

/// White space as HTML shows it: one space for any run.
fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(flow::is_space).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Turns `@room` in texts into mentions.
fn everybody(inlines: Vec<Inline>) -> Vec<Inline> {
    let each = |inline| match inline {
        Inline::Text(_) => split_everybody(inline),
        Inline::Strong(inner) => vec![Inline::Strong(everybody(inner))],
        Inline::Emphasis(inner) => vec![Inline::Emphasis(everybody(inner))],
        Inline::Strike(inner) => vec![Inline::Strike(everybody(inner))],
        other => vec![other],
    };
    inlines.into_iter().flat_map(each).collect()
}

fn split_everybody(inline: Inline) -> Vec<Inline> {
    const WORD: &str = "@room";
    let Inline::Text(text) = inline else { return vec![inline] };
    let mut out = Vec::new();
    let mut done = 0;
    for (at, _) in text.match_indices(WORD) {
        let end = at + WORD.len();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        if joins(text[..at].chars().next_back()) || joins(text[end..].chars().next()) {
            continue;
        }
        if at > done {
            out.push(Inline::Text(text[done..at].to_owned()));
        }
        out.push(Inline::Mention(Mention { target: Target::Everybody, name: WORD[1..].to_owned() }));
        done = end;
    }
    if done < text.len() {
        out.push(Inline::Text(text[done..].to_owned()));
    }
    out
}

#[cfg(test)]
mod tests;
