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
pub const TO_MATRIX: [Capability; 15] = [
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
    row(
        "the recall of a message that came from Matrix",
        Crossing::Told,
        "a notice that answers the message; the event stays its writer's",
        "membership::what_is_recalled_in_dingtalk_is_told_unless_it_was_taken_back_here",
    ),
    row(
        "edits, reactions, and recalls of what people wrote in DingTalk",
        Crossing::No,
        "DingTalk does not tell bots of them",
        "",
    ),
];

/// Matrix to DingTalk.
pub const TO_DINGTALK: [Capability; 16] = [
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
        "recall::what_was_changed_is_taken_back_with_all_its_versions",
    ),
    row(
        "redaction",
        Crossing::Whole,
        "the message is taken back, all its parts and versions",
        "recall::a_redacted_message_is_taken_back_with_all_its_parts",
    ),
    row(
        "redaction after 24 hours, of a message with a mention, or of one that was written in DingTalk",
        Crossing::Told,
        "a notice in the room that it can still be read in DingTalk",
        "recall::what_stays_in_dingtalk_is_said_in_the_room",
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

/// What a room is: who is in it, what it is called, how it begins and ends.
pub const ROOMS: [Capability; 11] = [
    row(
        "somebody is added to a group, is removed or leaves",
        Crossing::Whole,
        "their ghost joins or leaves",
        "membership::people_who_come_and_go_come_and_go_in_the_room",
    ),
    row(
        "somebody leaves the organisation",
        Crossing::Whole,
        "their ghost leaves all rooms",
        "membership::who_leaves_the_organisation_leaves_its_rooms_and_a_new_name_is_shown_once",
    ),
    row(
        "a person's name and picture",
        Crossing::Whole,
        "name and picture of the ghost",
        "avatars::a_picture_is_shown_once_and_not_asked_for_again_after_a_restart",
    ),
    row(
        "a group's title",
        Crossing::Whole,
        "the room's name, unless somebody named the room by hand",
        "membership::a_room_follows_its_chats_title_until_somebody_names_it",
    ),
    row(
        "a group's new owner",
        Crossing::Adapted,
        "a notice in the room",
        "membership::a_room_follows_its_chats_title_until_somebody_names_it",
    ),
    row(
        "a group that is disbanded",
        Crossing::Adapted,
        "a notice; later messages are refused with one, and the room may be given to another chat",
        "membership::a_disbanded_chat_says_so_refuses_messages_and_gives_its_room_away",
    ),
    row(
        "a person's 1:1 chat with the bot",
        Crossing::Whole,
        "a direct room with their ghost, made by itself",
        "direct_chats::who_writes_in_private_gets_a_room_with_whoever_logged_in",
    ),
    row(
        "a 1:1 chat begun in Matrix, with `pm` or by inviting a ghost",
        Crossing::Whole,
        "the same one room",
        "direct_chats::a_chat_begun_with_pm_is_the_one_the_person_answers_in",
    ),
    row(
        "approvals, attendance, calendar changes",
        Crossing::Adapted,
        "cards in the room that `notices` chose; nothing without one",
        "notices::every_kind_is_a_card_in_the_room_that_an_admin_chose",
    ),
    row(
        "a room's upgrade",
        Crossing::Whole,
        "the chat goes along, once the bot is invited to the new room",
        "upgrade::a_room_takes_its_chat_along_to_the_newest_version",
    ),
    row(
        "a room's upgrade to a room that is another chat's",
        Crossing::Told,
        "a notice; both chats stay where they are",
        "upgrade::a_room_is_not_upgraded_into_another_chats_room",
    ),
];

/// How what DingTalk sends comes to the bridge, and what of a downtime is made up for.
pub const RECEIVING: [Capability; 7] = [
    row(
        "events and messages over Stream, without any public address",
        Crossing::Whole,
        "the same as over the webhook",
        "stream::text_crosses_both_ways_without_any_address",
    ),
    row(
        "one message or event by both ways",
        Crossing::Whole,
        "one; the way is changed at run time",
        "stream::the_way_is_changed_at_run_time_and_what_comes_by_both_counts_once",
    ),
    row(
        "a Stream connection that DingTalk ends",
        Crossing::Whole,
        "the next one stands before it is gone",
        "stream::connections_that_are_asked_to_leave_lose_and_double_nothing",
    ),
    row(
        "a Stream connection that is dead without a sign",
        Crossing::Whole,
        "noticed by its silence and replaced",
        "stream::a_connection_that_only_looks_alive_is_noticed",
    ),
    row(
        "event pushes that DingTalk gave up",
        Crossing::Whole,
        "fetched from DingTalk's list",
        "away::pushes_that_dingtalk_gave_up_are_fetched_after_a_downtime",
    ),
    row(
        "messages to the bot in an outage longer than DingTalk repeats them",
        Crossing::Told,
        "a notice in the room, once per outage",
        "away::a_long_outage_is_told_once_in_the_rooms_that_may_have_missed_something",
    ),
    row(
        "a subscription that has gone silent",
        Crossing::Told,
        "`status`, a metric, the report, and one message to the admin",
        "away::a_subscription_that_went_silent_is_shown_and_told_once",
    ),
];

/// The page `docs/capabilities.md`; `tried_on` knows on which homeserver a test of `tests/e2e/tests/it` runs.
pub fn markdown(mut tried_on: impl FnMut(&str) -> String) -> String {
    let mut page = String::from(
        "<!-- Generated by `cargo xtask generate` from bridge/core; do not edit. -->\n\n# What crosses\n\n\
         *Whole*: as what it is. *Adapted*: in another form, with all that matters. *Told*: not, and the people are \
         told in the room. *No*: not, by design.\n\nTests are in `tests/e2e/tests/it` where no path is given, and run against the DingTalk sandbox and the \
         homeserver named beside them.\n",
    );
    for (title, rows) in [
        ("DingTalk → Matrix", &TO_MATRIX[..]),
        ("Matrix → DingTalk", &TO_DINGTALK[..]),
        ("Rooms and people", &ROOMS[..]),
        ("Receiving from DingTalk", &RECEIVING[..]),
    ] {
        // Writing to a String does not fail.
        let _ =
            write!(page, "\n## {title}\n\n| what | crosses | becomes | test | on |\n|---|---|---|---|---|\n");
        for row in rows {
            let (proof, on) = match row.proof {
                "" => ("–".to_owned(), "–".to_owned()),
                proof if proof.contains("::") => (format!("`{proof}`"), tried_on(proof)),
                path => (format!("`{path}`"), "–".to_owned()),
            };
            let (what, crossing, becomes) = (row.what, row.crossing.as_str(), row.becomes);
            let _ = writeln!(page, "| {what} | {crossing} | {becomes} | {proof} | {on} |");
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
        for row in TO_MATRIX.iter().chain(&TO_DINGTALK).chain(&ROOMS).chain(&RECEIVING) {
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
