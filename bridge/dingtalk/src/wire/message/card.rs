//! Cards and Markdown (API.md section 2.3; their bodies are known from other bots only).

use bridge_core::content::{Block, Document, Inline};
use bridge_core::event::ChatBody;

use super::super::markdown;
use super::{MAX_SUMMARY_BYTES, Parts, json, rich, unknown};

/// Marks a card of somebody else's.
const CARD: &str = "🗂 ";

/// Most buttons of a card that are shown as links.
const MAX_BUTTONS: usize = 20;

/// A card with a text in Markdown and buttons that open addresses.
pub(super) fn action_card(parts: &Parts<'_>) -> ChatBody {
    let [title, text, buttons, single, single_title] =
        json::pick_any(&parts.content, &["title", "text", "actionUrlItemList", "singleURL", "singleTitle"]);
    let Some(text) = json::filled(text).or_else(|| json::filled(title)) else { return unknown::read(parts) };
    let mut document = markdown::parse(&text);
    if let Some(title) = json::filled(title)
        && !text.contains(title.trim())
    {
        let heading = vec![Inline::Strong(vec![Inline::Text(json::clip(title.trim(), MAX_SUMMARY_BYTES))])];
        document.blocks.insert(0, Block::Paragraph(heading));
    }
    for button in json::elements(buttons).into_iter().take(MAX_BUTTONS) {
        let [address, label] = json::pick_any(button.get(), &["actionUrl", "title"]);
        document.blocks.extend(link(json::filled(address).as_deref(), json::filled(label).as_deref()));
    }
    document.blocks.extend(link(json::filled(single).as_deref(), json::filled(single_title).as_deref()));
    ChatBody::Document(document)
}

fn link(address: Option<&str>, label: Option<&str>) -> Option<Block> {
    let address = address?.trim();
    let label = Inline::Text(label.unwrap_or(address).to_owned());
    Some(Block::Paragraph(vec![Inline::Link(address.to_owned(), vec![label])]))
}

/// Markdown under any of the names its text could have.
pub(super) fn markdown(parts: &Parts<'_>) -> ChatBody {
    let [text, content, markdown, title] =
        json::pick_any(&parts.content, &["text", "content", "markdown", "title"]);
    let inner = json::object(parts.text);
    let [of_text] = json::pick_any(&inner, &["content"]);
    let found =
        [text, content, markdown, of_text, parts.raw_content, title].into_iter().find_map(json::filled);
    match found {
        Some(text) => ChatBody::Document(markdown::parse(&text)),
        None => unknown::read(parts),
    }
}

/// Somebody else's card: its title, and its address where browsers understand it.
pub(super) fn interactive(parts: &Parts<'_>) -> ChatBody {
    let [title, address] = json::pick_any(&parts.content, &["title", "biz_custom_action_url"]);
    let address = json::filled(address).filter(|address| address.trim().starts_with("https://"));
    let title = json::filled(title).map(|title| json::clip(title.trim(), MAX_SUMMARY_BYTES));
    if title.is_none() && address.is_none() {
        return unknown::read(parts);
    }
    let title = title.map(|title| {
        let mut line = Vec::new();
        rich::push_lines(&mut line, &title);
        Block::Paragraph(vec![Inline::Text(CARD.to_owned()), Inline::Strong(line)])
    });
    let mut blocks: Vec<Block> = title.into_iter().collect();
    blocks.extend(link(address.as_deref(), None));
    ChatBody::Document(Document { blocks })
}
