//! `text`: never read as Markdown, because what people type is not.

use std::ops::Range;

use bridge_core::content::{Block, Document, Inline, Mention, Target};
use bridge_core::event::{ChatBody, Mentioned};
use bridge_core::id::PersonId;

use super::{Parts, json, unknown};

pub(super) fn read(parts: &Parts<'_>) -> ChatBody {
    let object = json::object(parts.text);
    let [content] = json::pick_any(&object, &["content"]);
    let Some(content) =
        json::text(content).or_else(|| json::text(parts.text)).or_else(|| json::text(parts.raw_content))
    else {
        return unknown::read(parts);
    };
    ChatBody::Document(document(without_gap(&content, parts.group), parts.mentioned))
}

/// In groups the bot's own name is cut out of the beginning, the space after it is not (API.md section 2.3).
pub(super) fn without_gap(text: &str, group: bool) -> &str {
    text.strip_prefix(' ').filter(|_| group).unwrap_or(text)
}

/// Plain text, with a mention where it can be told who is meant.
fn document(text: &str, mentioned: &[Mentioned]) -> Document {
    let mut document = Document::plain(text);
    let [person] = mentioned else { return document };
    let mut tokens = at_tokens(text);
    let (Some(token), None) = (tokens.next(), tokens.next()) else { return document };
    if let [Block::Paragraph(line)] = document.blocks.as_mut_slice() {
        put_mention(line, &text[token], person);
    }
    document
}

/// Replaces the one piece of text that holds `token` ("@name") by its parts.
fn put_mention(line: &mut Vec<Inline>, token: &str, person: &Mentioned) {
    let found = line.iter().enumerate().find_map(|(index, inline)| match inline {
        Inline::Text(text) => at_tokens(text).next().map(|range| (index, text.clone(), range)),
        _ => None,
    });
    let Some((index, text, range)) = found else { return };
    let target = match &person.staff {
        Some(staff) => PersonId::Staff(staff.clone()),
        None => PersonId::External(person.sender_id.clone()),
    };
    let name = token.trim_start_matches('@').to_owned();
    let mention = Inline::Mention(Mention { target: Target::Person(target), name });
    let piece = |text: &str| (!text.is_empty()).then(|| Inline::Text(text.to_owned()));
    let pieces = [piece(&text[..range.start]), Some(mention), piece(&text[range.end..])];
    line.splice(index..=index, pieces.into_iter().flatten());
}

/// Where a text addresses somebody: ranges of `@name`. DingTalk ends a name by a space; an `@` inside a word, as in
/// an e-mail address, addresses nobody. Which of the mentioned people a name belongs to, DingTalk does not say.
pub fn at_tokens(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    text.match_indices('@').filter_map(|(start, _)| {
        let inside = text[..start].chars().next_back().is_some_and(|c| c == '@' || c.is_ascii_alphanumeric());
        let rest = &text[start + 1..];
        let ends = |c: char| c.is_whitespace() || c.is_control() || "@,;:!?，。；：！？、".contains(c);
        let length = rest.find(ends).unwrap_or(rest.len());
        (!inside && length > 0).then(|| start..start + 1 + length)
    })
}

#[cfg(test)]
mod tests {
    use bridge_core::id::{SenderId, StaffId};

    use super::*;

    fn tokens(text: &str) -> Vec<&str> {
        at_tokens(text).map(|range| &text[range]).collect()
    }

    fn person(staff: Option<&str>) -> Mentioned {
        Mentioned {
            sender_id: SenderId::parse("$:LWCP_v1:$x").unwrap(),
            staff: staff.map(|staff| StaffId::parse(staff).unwrap()),
        }
    }

    #[test]
    fn names_are_told_from_addresses() {
        assert_eq!(tokens("请 @周桥桥 看 @Tom(汤姆)\u{2005}x"), ["@周桥桥", "@Tom(汤姆)"]);
        assert_eq!(tokens("me@example.org @ @@a @b，c"), ["@b"]);
        assert_eq!(tokens("看@周桥桥"), ["@周桥桥"]);
    }

    #[test]
    fn one_name_and_one_person_make_a_mention() {
        let made = document("请 @周桥桥 看\n好", &[person(Some("user0143"))]);
        assert_eq!(made.mentioned_staff().len(), 1);
        assert_eq!(made.to_plain_text(), "请 @周桥桥 看\n好");
        let external = document("@a", &[person(None)]);
        assert!(!external.is_plain());
    }

    #[test]
    fn what_is_ambiguous_stays_text() {
        assert!(document("@a @b", &[person(Some("user0143"))]).is_plain());
        assert!(document("@a", &[person(Some("1")), person(None)]).is_plain());
        assert!(document("a", &[person(Some("1"))]).is_plain());
        assert!(document("@a", &[]).is_plain());
    }
}
