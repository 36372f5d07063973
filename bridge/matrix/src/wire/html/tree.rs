//! HTML text → a small tree of the elements that mean something to us.
//!
//! The tokenizer is html5ever's, so that entities, comments and broken tags read as in a browser. The tree is our own:
//! it never has more nodes than the text has tokens and never more than [`MAX_OPEN`] levels, while the standard's tree
//! construction repeats open formatting elements in every paragraph and nests without a bound.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag as TagToken, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use bridge_core::content::MAX_DEPTH;

/// Deepest nesting of elements. Below it there is room for the paragraph and the text in it.
const MAX_OPEN: usize = MAX_DEPTH - 2;

/// A piece of the tree.
#[derive(Debug)]
pub(super) enum Node {
    /// Text, entities decoded, white space as it came.
    Text(String),
    /// `br`.
    Break,
    /// The edge of a paragraph, `div` or the like.
    Edge,
    /// `hr`.
    Rule,
    /// `img`: its alternative text.
    Image(String),
    /// An element with contents.
    Element(Tag, Vec<Node>),
}

/// The elements that are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tag {
    Heading(u8),
    Quote,
    Pre,
    List(Option<u64>),
    Item,
    Table,
    Caption,
    Row,
    /// `td`, or `th` if set.
    Cell(bool),
    Strong,
    Emphasis,
    Strike,
    /// With the language from `class="language-…"`.
    Code(String),
    /// With the address as it came.
    Link(String),
    /// `summary`: a line of its own, strong.
    Summary,
}

/// What a tag name means.
enum Meaning {
    Element(Tag),
    Edge,
    Break,
    Rule,
    Image,
    /// Read, but not shown, up to its end tag.
    Hidden,
    /// The same, and what is inside is no markup.
    HiddenText(RawKind),
    /// Its contents are shown as if it were not there.
    Transparent,
}

/// Parses a text of any kind; time and memory grow with its length only.
pub(super) fn parse(html: &str) -> Vec<Node> {
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from_slice(html));
    let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts::default());
    // Asks to go on after a script; ours never pause.
    let _ = tokenizer.feed(&queue);
    tokenizer.end();
    tokenizer.sink.0.into_inner().finish()
}

#[derive(Default)]
struct Sink(RefCell<Builder>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut builder = self.0.borrow_mut();
        match token {
            Token::CharacterTokens(text) => builder.text(&text),
            Token::NullCharacterToken => builder.text("\u{fffd}"),
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => return builder.start(&tag),
            Token::TagToken(tag) => builder.end(&tag),
            Token::DoctypeToken(_) | Token::CommentToken(_) | Token::EOFToken | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}

/// The tree under construction.
#[derive(Default)]
struct Builder {
    root: Vec<Node>,
    open: Vec<(Tag, Vec<Node>)>,
    /// Elements that were too deep to be opened; their end tags must not close others.
    too_deep: usize,
    /// The hidden element we are in, and how often it is open.
    hidden: Option<(String, usize)>,
}

impl Builder {
    fn here(&mut self) -> &mut Vec<Node> {
        self.open.last_mut().map_or(&mut self.root, |(_, nodes)| nodes)
    }

    fn text(&mut self, text: &str) {
        if self.hidden.is_some() {
            return;
        }
        match self.here().last_mut() {
            Some(Node::Text(before)) => before.push_str(text),
            _ => self.here().push(Node::Text(text.to_owned())),
        }
    }

    fn start(&mut self, token: &TagToken) -> TokenSinkResult<()> {
        if let Some((name, depth)) = &mut self.hidden {
            if **name == *token.name && !token.self_closing {
                *depth += 1;
            }
            return TokenSinkResult::Continue;
        }
        match meaning(token) {
            Meaning::Element(tag) => self.open(tag),
            Meaning::Edge => self.here().push(Node::Edge),
            Meaning::Break => self.here().push(Node::Break),
            Meaning::Rule => self.here().push(Node::Rule),
            Meaning::Image => {
                let text = attribute(token, "alt").or_else(|| attribute(token, "title")).unwrap_or("");
                self.here().push(Node::Image(text.to_owned()));
            }
            Meaning::Hidden if token.self_closing => {}
            Meaning::Hidden => self.hidden = Some((token.name.to_string(), 1)),
            Meaning::HiddenText(kind) => {
                self.hidden = Some((token.name.to_string(), 1));
                return TokenSinkResult::RawData(kind);
            }
            Meaning::Transparent => {}
        }
        TokenSinkResult::Continue
    }

    fn end(&mut self, token: &TagToken) {
        if let Some((name, depth)) = &mut self.hidden {
            if **name == *token.name {
                *depth -= 1;
                if *depth == 0 {
                    self.hidden = None;
                }
            }
            return;
        }
        match meaning(token) {
            Meaning::Edge => self.here().push(Node::Edge),
            Meaning::Break => self.here().push(Node::Break),
            Meaning::Element(_) if self.too_deep > 0 => self.too_deep -= 1,
            Meaning::Element(tag) => {
                let at = self.open.iter().rposition(|(open, _)| closes(&tag, open));
                // An inline element's end does not reach out of a cell.
                let cell =
                    self.open.iter().rposition(|(open, _)| matches!(open, Tag::Cell(_) | Tag::Caption));
                let reach = if is_table_part(&tag) { None } else { cell };
                if let Some(at) = at.filter(|at| reach.is_none_or(|cell| *at > cell)) {
                    self.close_to(at);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, tag: Tag) {
        self.close_implied(&tag);
        if self.open.len() >= MAX_OPEN {
            self.too_deep += 1;
            if !matches!(tag, Tag::Strong | Tag::Emphasis | Tag::Strike | Tag::Code(_) | Tag::Link(_)) {
                self.here().push(Node::Edge);
            }
            return;
        }
        self.open.push((tag, Vec::new()));
    }

    /// Ends the elements that the start of another one ends: items, rows, cells, links, headings.
    fn close_implied(&mut self, tag: &Tag) {
        let last = |is: &dyn Fn(&Tag) -> bool| self.open.iter().rposition(|(open, _)| is(open));
        let (at, fence) = match tag {
            Tag::Item => (last(&|open| *open == Tag::Item), last(&|open| matches!(open, Tag::List(_)))),
            Tag::Row => (last(&|open| *open == Tag::Row), last(&|open| *open == Tag::Table)),
            Tag::Cell(_) => (last(&|open| matches!(open, Tag::Cell(_))), last(&|open| *open == Tag::Table)),
            Tag::Link(_) => (last(&|open| matches!(open, Tag::Link(_))), None),
            Tag::Heading(_) => (last(&|open| matches!(open, Tag::Heading(_))), None),
            _ => return,
        };
        if let Some(at) = at.filter(|at| fence.is_none_or(|fence| *at > fence)) {
            self.close_to(at);
        }
    }

    fn close_to(&mut self, length: usize) {
        while self.open.len() > length {
            if let Some((tag, nodes)) = self.open.pop() {
                self.here().push(Node::Element(tag, nodes));
            }
        }
    }

    fn finish(mut self) -> Vec<Node> {
        self.close_to(0);
        self.root
    }
}

/// Whether the end tag of one kind ends an open element of another: details apart, they must be of one kind.
fn closes(end: &Tag, open: &Tag) -> bool {
    std::mem::discriminant(end) == std::mem::discriminant(open)
}

fn is_table_part(tag: &Tag) -> bool {
    matches!(tag, Tag::Table | Tag::Row | Tag::Cell(_) | Tag::Caption)
}

fn attribute<'a>(token: &'a TagToken, name: &str) -> Option<&'a str> {
    token.attrs.iter().find(|attribute| *attribute.name.local == *name).map(|attribute| &*attribute.value)
}

fn meaning(token: &TagToken) -> Meaning {
    let tag = match &*token.name {
        "h1" => Tag::Heading(1),
        "h2" => Tag::Heading(2),
        "h3" => Tag::Heading(3),
        "h4" => Tag::Heading(4),
        "h5" => Tag::Heading(5),
        "h6" => Tag::Heading(6),
        "blockquote" => Tag::Quote,
        "pre" | "listing" => Tag::Pre,
        "ul" | "menu" | "dir" => Tag::List(None),
        "ol" => Tag::List(Some(
            attribute(token, "start").and_then(|start| start.trim().parse().ok()).unwrap_or(1),
        )),
        "li" => Tag::Item,
        "table" => Tag::Table,
        "caption" => Tag::Caption,
        "tr" => Tag::Row,
        "td" => Tag::Cell(false),
        "th" => Tag::Cell(true),
        "b" | "strong" => Tag::Strong,
        "i" | "em" | "cite" | "dfn" | "var" => Tag::Emphasis,
        "del" | "s" | "strike" => Tag::Strike,
        "code" | "kbd" | "samp" | "tt" => Tag::Code(language(attribute(token, "class").unwrap_or(""))),
        "a" => Tag::Link(attribute(token, "href").unwrap_or("").to_owned()),
        "summary" => Tag::Summary,
        "br" => return Meaning::Break,
        "hr" => return Meaning::Rule,
        "img" => return Meaning::Image,
        "p" | "div" | "details" | "section" | "article" | "aside" | "header" | "footer" | "main" | "nav"
        | "figure" | "figcaption" | "address" | "center" | "dl" | "dt" | "dd" | "fieldset" | "legend"
        | "form" => {
            return Meaning::Edge;
        }
        "script" => return Meaning::HiddenText(RawKind::ScriptData),
        "title" | "textarea" => return Meaning::HiddenText(RawKind::Rcdata),
        "style" | "xmp" | "iframe" | "noembed" | "noframes" => return Meaning::HiddenText(RawKind::Rawtext),
        "mx-reply" | "template" | "noscript" | "object" | "svg" | "math" | "select" | "audio" | "video"
        | "canvas" => {
            return Meaning::Hidden;
        }
        _ => return Meaning::Transparent,
    };
    Meaning::Element(tag)
}

/// The language named by a class of the form `language-…`.
fn language(class: &str) -> String {
    class.split_ascii_whitespace().find_map(|class| class.strip_prefix("language-")).unwrap_or("").to_owned()
}
