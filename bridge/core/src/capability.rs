//! What crosses and as what, as a table: the page `docs/capabilities.md` is printed from it.

use std::fmt::Write;

/// How well something crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crossing {
    /// As what it is.
    Whole,
    /// In another form, with all that matters.
    Adapted,
    /// Not, and the people are told.
    Told,
    /// Not, by design, said once in `help`.
    No,
}

impl Crossing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Adapted => "adapted",
            Self::Told => "told",
            Self::No => "no",
        }
    }
}

/// One row: a kind of message.
#[derive(Debug, Clone, Copy)]
pub struct Capability {
    /// What people send.
    pub what: &'static str,
    /// How well it crosses.
    pub crossing: Crossing,
    /// What it becomes.
    pub becomes: &'static str,
    /// The test that proves it, as `file::name` below `tests/e2e/tests/it` or the path of a module.
    pub proof: &'static str,
}

const fn row(
    what: &'static str,
    crossing: Crossing,
    becomes: &'static str,
    proof: &'static str,
) -> Capability {
    Capability { what, crossing, becomes, proof }
}

/// DingTalk to Matrix.
pub const TO_MATRIX: [Capability; 14] = [
    row(
        "text",
        Crossing::Whole,
        "`m.text` of the person's ghost",
        "crossing::a_persons_messages_come_from_their_ghost_which_joins_once",
    ),
    row(
        "rich text",
        Crossing::Whole,
        "texts and pictures, one event each, in order",
        "media::texts_and_pictures_come_in_order_from_the_ghost",
    ),
    row(
        "Markdown",
        Crossing::Whole,
        "`m.text` with HTML",
        "crossing::formatted_text_becomes_markdown_and_markdown_becomes_html",
    ),
    row(
        "picture",
        Crossing::Whole,
        "`m.image` with its size in pixels",
        "media::voices_videos_and_files_come_as_what_they_are",
    ),
    row(
        "voice",
        Crossing::Whole,
        "`m.audio` marked as a voice message, and the recognised words as text",
        "media::voices_videos_and_files_come_as_what_they_are",
    ),
    row("video", Crossing::Whole, "`m.video`", "media::voices_videos_and_files_come_as_what_they_are"),
    row(
        "file",
        Crossing::Whole,
        "`m.file` with its name",
        "media::voices_videos_and_files_come_as_what_they_are",
    ),
    row(
        "cards",
        Crossing::Adapted,
        "title, text and buttons as links",
        "media::cards_and_forwarded_messages_are_readable",
    ),
    row(
        "forwarded messages",
        Crossing::Adapted,
        "title and a quotation, one line each",
        "media::cards_and_forwarded_messages_are_readable",
    ),
    row(
        "quote",
        Crossing::Whole,
        "a reply where the quoted message is known, else one quoted line",
        "crossing::a_quote_answers_the_quoted_message_when_it_is_known_and_repeats_its_words_else",
    ),
    row(
        "mention",
        Crossing::Whole,
        "a pill and `m.mentions` where DingTalk says who is meant",
        "crossing::a_mention_in_dingtalk_becomes_a_pill",
    ),
    row(
        "a file that is too large, or gone",
        Crossing::Told,
        "a notice of the ghost with name, size and reason",
        "media::a_file_that_cannot_be_shown_is_said_with_name_and_size",
    ),
    row(
        "any other kind",
        Crossing::Told,
        "a notice of the ghost with all the text there is",
        "crossing::a_kind_that_does_not_cross_is_visible",
    ),
    row("edits, deletions, reactions", Crossing::No, "DingTalk does not tell bots of them", ""),
];

/// Matrix to DingTalk.
pub const TO_DINGTALK: [Capability; 14] = [
    row(
        "text, notice, emote",
        Crossing::Whole,
        "text of the bot behind `[@Alice via Matrix]`",
        "crossing::a_matrix_text_comes_from_the_bot_with_its_writers_name",
    ),
    row(
        "formatted text",
        Crossing::Adapted,
        "the Markdown that DingTalk renders",
        "crossing::formatted_text_becomes_markdown_and_markdown_becomes_html",
    ),
    row("long text", Crossing::Whole, "parts, split at sensible places", "bridge/core/src/split.rs"),
    row(
        "mention of a ghost",
        Crossing::Whole,
        "a real mention where there is a reply address, else the name",
        "crossing::a_mentioned_ghost_is_mentioned_in_dingtalk",
    ),
    row(
        "reply",
        Crossing::Adapted,
        "one quoted line before the text",
        "crossing::a_reply_from_matrix_quotes_one_line",
    ),
    row(
        "edit",
        Crossing::Adapted,
        "a marked message that follows: DingTalk cannot edit",
        "bridge/core/src/decide/from_matrix.rs",
    ),
    row(
        "picture (jpg, png, gif, bmp up to 20 MiB), sticker",
        Crossing::Whole,
        "a picture, after the sender's name and the caption",
        "media::files_of_matrix_go_in_the_best_kind_after_their_senders_name",
    ),
    row(
        "video (mp4 up to 20 MiB)",
        Crossing::Whole,
        "a video, after the sender's name and the caption",
        "media::files_of_matrix_go_in_the_best_kind_after_their_senders_name",
    ),
    row(
        "file (doc, docx, xls, xlsx, ppt, pptx, zip, pdf, rar up to 20 MiB)",
        Crossing::Whole,
        "a file, after the sender's name and the caption",
        "media::files_of_matrix_go_in_the_best_kind_after_their_senders_name",
    ),
    row(
        "any other or larger file",
        Crossing::Adapted,
        "a signed link that expires; without a public address a text with name and size, and a notice",
        "media::what_dingtalk_does_not_take_goes_as_a_link_that_expires",
    ),
    row("place", Crossing::Adapted, "its description and `geo:` address", "bridge/matrix/src/wire/event.rs"),
    row(
        "voice",
        Crossing::Told,
        "a notice in the room: voices go one way",
        "media::files_of_matrix_go_in_the_best_kind_after_their_senders_name",
    ),
    row(
        "poll, and any other kind",
        Crossing::Told,
        "a notice in the room",
        "crossing::a_kind_that_does_not_cross_is_visible",
    ),
    row("reactions, typing, calls", Crossing::No, "said in `help`", ""),
];

/// The page `docs/capabilities.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "<!-- Generated by `cargo xtask generate` from bridge/core; do not edit. -->\n\n# What crosses\n\n\
         *Whole*: as what it is. *Adapted*: in another form, with all that matters. *Told*: not, and the people are \
         told in the room. *No*: not, by design.\n\nTests are in `tests/e2e/tests/it` where no path is given.\n",
    );
    for (title, rows) in [("DingTalk → Matrix", &TO_MATRIX[..]), ("Matrix → DingTalk", &TO_DINGTALK[..])]
    {
        // Writing to a String does not fail.
        let _ = write!(page, "\n## {title}\n\n| what | crosses | becomes | test |\n|---|---|---|---|\n");
        for row in rows {
            let proof = if row.proof.is_empty() { "–".to_owned() } else { format!("`{}`", row.proof) };
            let _ =
                writeln!(page, "| {} | {} | {} | {proof} |", row.what, row.crossing.as_str(), row.becomes);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_is_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for row in TO_MATRIX.iter().chain(&TO_DINGTALK) {
            match row.proof.split_once("::") {
                Some((file, name)) => {
                    let path = root.join("tests/e2e/tests/it").join(file).with_extension("rs");
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert!(text.contains(&format!("fn {name}()")), "{}", row.proof);
                }
                None => assert!(row.proof.is_empty() == (row.crossing == Crossing::No), "{}", row.what),
            }
        }
    }
}
