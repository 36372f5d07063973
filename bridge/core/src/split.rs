//! Splitting a long document by bytes, at sensible places.
//!
//! A document that is too large is halved until every part fits: between blocks, else inside a block between items,
//! rows or lines, else between words, else between characters as people see them. Every part is a document of its
//! own, so markup is never torn.

use unicode_segmentation::UnicodeSegmentation;

use crate::content::{Block, Document, Inline};

/// Most parts that one message becomes; what is left after them is kept whole in the last one.
pub const MAX_PARTS: usize = 256;

/// Splits so that `measure` of each part is at most `limit`. A part that cannot be split further (a single
/// character, an address) is left as it is.
pub fn split(document: Document, limit: usize, measure: &dyn Fn(&Document) -> usize) -> Vec<Document> {
    let mut ready = Vec::new();
    let mut waiting = vec![document];
    while let Some(document) = waiting.pop() {
        if ready.len() + waiting.len() + 1 >= MAX_PARTS || measure(&document) <= limit {
            ready.push(document);
            continue;
        }
        match halve_blocks(document.blocks) {
            Ok((first, second)) => {
                waiting.push(Document { blocks: second });
                waiting.push(Document { blocks: first });
            }
            Err(blocks) => ready.push(Document { blocks }),
        }
    }
    ready
}

type Halves<T> = Result<(Vec<T>, Vec<T>), Vec<T>>;

fn halve_blocks(mut blocks: Vec<Block>) -> Halves<Block> {
    if blocks.len() > 1 {
        let second = blocks.split_off(middle(blocks.iter().map(block_weight)));
        return Ok((blocks, second));
    }
    let Some(block) = blocks.pop() else { return Err(blocks) };
    match halve_block(block) {
        Ok((first, second)) => Ok((vec![first], vec![second])),
        Err(block) => Err(vec![*block]),
    }
}

fn halve_block(block: Block) -> Result<(Block, Block), Box<Block>> {
    match block {
        Block::Paragraph(inlines) => halve_inlines(inlines)
            .map(|(first, second)| (Block::Paragraph(first), Block::Paragraph(second)))
            .map_err(|inlines| Box::new(Block::Paragraph(inlines))),
        Block::Heading(level, inlines) => halve_inlines(inlines)
            .map(|(first, second)| (Block::Heading(level, first), Block::Heading(level, second)))
            .map_err(|inlines| Box::new(Block::Heading(level, inlines))),
        Block::Quote(blocks) => halve_blocks(blocks)
            .map(|(first, second)| (Block::Quote(first), Block::Quote(second)))
            .map_err(|blocks| Box::new(Block::Quote(blocks))),
        Block::Code(language, code) => match halve_text(&code, true) {
            Some((first, second)) => {
                Ok((Block::Code(language.clone(), first), Block::Code(language, second)))
            }
            None => Err(Box::new(Block::Code(language, code))),
        },
        Block::List(start, mut items) if items.len() > 1 => {
            let weights = items.iter().map(|item| item.iter().map(block_weight).sum());
            let cut = middle(weights);
            let second = items.split_off(cut);
            let next = start.map(|first| first.saturating_add(cut as u64));
            Ok((Block::List(start, items), Block::List(next, second)))
        }
        Block::List(start, mut items) => match halve_blocks(items.pop().unwrap_or_default()) {
            // The second half goes on without a marker: it is the same item.
            Ok((first, mut second)) => {
                let second =
                    if second.len() == 1 { second.remove(0) } else { Block::List(None, vec![second]) };
                Ok((Block::List(start, vec![first]), second))
            }
            Err(blocks) => Err(Box::new(Block::List(start, vec![blocks]))),
        },
        Block::Table(head, mut rows) if rows.len() > 1 => {
            let weights = rows.iter().map(|row| row.iter().map(|cell| inlines_weight(cell)).sum());
            let second = rows.split_off(middle(weights));
            Ok((Block::Table(head.clone(), rows), Block::Table(head, second)))
        }
        Block::Table(..) | Block::Rule => Err(Box::new(block)),
    }
}

fn halve_inlines(mut inlines: Vec<Inline>) -> Halves<Inline> {
    if inlines.len() > 1 {
        let cut =
            line_break_near_middle(&inlines).unwrap_or_else(|| middle(inlines.iter().map(inline_weight)));
        let mut second = inlines.split_off(cut);
        // The break between the halves becomes the break between the messages.
        if second.len() > 1 && second.first() == Some(&Inline::Break) {
            second.remove(0);
        }
        return Ok((inlines, second));
    }
    let Some(inline) = inlines.pop() else { return Err(inlines) };
    let halves = match inline {
        Inline::Text(text) => match halve_text(&text, false) {
            Some((first, second)) => Ok((Inline::Text(first), Inline::Text(second))),
            None => Err(Inline::Text(text)),
        },
        Inline::Code(text) => match halve_text(&text, false) {
            Some((first, second)) => Ok((Inline::Code(first), Inline::Code(second))),
            None => Err(Inline::Code(text)),
        },
        Inline::Strong(inner) => halve_wrapped(inner, Inline::Strong),
        Inline::Emphasis(inner) => halve_wrapped(inner, Inline::Emphasis),
        Inline::Strike(inner) => halve_wrapped(inner, Inline::Strike),
        Inline::Link(address, label) => halve_wrapped(label, |label| Inline::Link(address.clone(), label)),
        inline @ (Inline::Break | Inline::Image(..) | Inline::Mention(_)) => Err(inline),
    };
    halves.map(|(first, second)| (vec![first], vec![second])).map_err(|inline| vec![inline])
}

fn halve_wrapped(
    inner: Vec<Inline>,
    wrap: impl Fn(Vec<Inline>) -> Inline,
) -> Result<(Inline, Inline), Inline> {
    halve_inlines(inner).map(|(first, second)| (wrap(first), wrap(second))).map_err(&wrap)
}

/// The index in 1..len at which the weights are split most evenly.
fn middle(weights: impl ExactSizeIterator<Item = usize> + Clone) -> usize {
    let count = weights.len();
    let total: usize = weights.clone().sum();
    let mut before = 0_usize;
    for (index, weight) in weights.enumerate() {
        if index > 0 && before + weight / 2 >= total / 2 {
            return index;
        }
        before += weight;
    }
    count.saturating_sub(1).max(1)
}

/// The break closest to the middle, if it leaves at least a quarter on each side.
fn line_break_near_middle(inlines: &[Inline]) -> Option<usize> {
    let total: usize = inlines.iter().map(inline_weight).sum();
    let mut before = 0_usize;
    let mut best: Option<(usize, usize)> = None;
    for (index, inline) in inlines.iter().enumerate() {
        if index > 0 && matches!(inline, Inline::Break) {
            let distance = before.abs_diff(total / 2);
            if distance <= total / 4 && best.is_none_or(|(_, known)| distance < known) {
                best = Some((index, distance));
            }
        }
        before += inline_weight(inline);
    }
    best.map(|(index, _)| index)
}

/// Cuts a text near its middle: after a newline if `lines`, else after a space or a full stop, else between two
/// grapheme clusters. `None` when there is only one cluster.
fn halve_text(text: &str, lines: bool) -> Option<(String, String)> {
    let half = text.len() / 2;
    let near = |found: &usize| found.abs_diff(half) <= text.len() / 4;
    let closest = |cuts: &mut dyn Iterator<Item = usize>| {
        cuts.filter(|cut| *cut > 0 && *cut < text.len()).min_by_key(|cut| cut.abs_diff(half))
    };
    let after = |stop: fn(char) -> bool| {
        closest(&mut text.char_indices().filter(|(_, c)| stop(*c)).map(|(at, c)| at + c.len_utf8()))
    };
    let cut = if lines { after(|c| c == '\n') } else { None }
        .or_else(|| after(|c| c.is_whitespace() || "。！？；，、".contains(c)).filter(near))
        .or_else(|| closest(&mut text.grapheme_indices(true).map(|(at, _)| at)))?;
    let (first, second) = text.split_at(cut);
    let first = if lines { first.strip_suffix('\n').unwrap_or(first) } else { first };
    Some((first.to_owned(), second.to_owned()))
}

fn block_weight(block: &Block) -> usize {
    2 + match block {
        Block::Paragraph(inlines) | Block::Heading(_, inlines) => inlines_weight(inlines),
        Block::Quote(blocks) => blocks.iter().map(block_weight).sum(),
        Block::Code(_, code) => code.len(),
        Block::List(_, items) => items.iter().flatten().map(block_weight).sum(),
        Block::Table(head, rows) => {
            head.iter().chain(rows.iter().flatten()).map(|cell| inlines_weight(cell)).sum()
        }
        Block::Rule => 3,
    }
}

fn inlines_weight(inlines: &[Inline]) -> usize {
    inlines.iter().map(inline_weight).sum()
}

fn inline_weight(inline: &Inline) -> usize {
    match inline {
        Inline::Text(text) | Inline::Code(text) => text.len(),
        Inline::Break => 1,
        Inline::Strong(inner) | Inline::Emphasis(inner) | Inline::Strike(inner) => inlines_weight(inner),
        Inline::Link(address, label) => address.len() + inlines_weight(label),
        Inline::Image(alt, _) => alt.len(),
        Inline::Mention(mention) => mention.name.len() + 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(document: &Document) -> usize {
        document.to_plain_text().len()
    }

    fn text_of(parts: &[Document]) -> String {
        parts.iter().map(Document::to_plain_text).collect()
    }

    #[test]
    fn a_short_document_stays_whole() {
        let document = Document::plain("hello\nworld");
        assert_eq!(split(document.clone(), 100, &size), vec![document]);
    }

    #[test]
    fn emoji_families_are_not_torn() {
        let family = "👨‍👩‍👧‍👦";
        let parts = split(Document::plain(&family.repeat(20)), 60, &size);
        assert!(parts.len() > 1);
        for part in &parts {
            assert_eq!(part.to_plain_text().replace(family, ""), "");
        }
    }

    #[test]
    fn numbered_lists_go_on_counting() {
        let item = |text: &str| vec![Block::Paragraph(vec![Inline::Text(text.into())])];
        let list = Document {
            blocks: vec![Block::List(Some(1), vec![item("one"), item("two"), item("three"), item("four")])],
        };
        let parts = split(list, 16, &size);
        assert_eq!(
            parts.iter().map(Document::to_plain_text).collect::<Vec<_>>(),
            ["1. one\n2. two", "3. three\n4. four"].map(String::from).to_vec()
        );
    }

    proptest! {
        #[test]
        fn parts_fit_and_nothing_is_lost(text in "[a-z 你好😀\\n]{0,400}", limit in 24_usize..80) {
            let parts = split(Document::plain(&text), limit, &size);
            for part in &parts {
                prop_assert!(size(part) <= limit, "{} > {limit}", size(part));
            }
            prop_assert_eq!(text_of(&parts).replace('\n', ""), text.replace('\n', ""));
        }
    }
}
