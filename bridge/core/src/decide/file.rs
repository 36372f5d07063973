//! A file that somebody sent in a bridged room.

use crate::content::Document;
use crate::decide::from_matrix::{Decision, Facts, introduce, tell};
use crate::delivery::key::{KeySeed, Purpose};
use crate::event::{FileKind, RoomEvent, RoomFile};
use crate::op::{Hand, Op, Post};
use crate::portal::Chat;
use crate::reply::{Reply, file_word};

/// The file after a text that says who sent it and what they say about it. Voices stay: the room is told.
pub(super) fn hand(facts: &Facts, event: &RoomEvent, file: &RoomFile, chat: &Chat) -> Decision {
    if file.kind == FileKind::Voice {
        return Decision { ops: vec![tell(event, &Reply::VoiceOneWay.bilingual())], ..Decision::default() };
    }
    let said = file.caption.clone().unwrap_or_else(|| {
        Document::plain(if file.name.is_empty() { file_word(file.kind) } else { &file.name })
    });
    let (body, mentions) = introduce(facts, event, said, "");
    let key = KeySeed::new(Purpose::Relay, event.id.as_str());
    let (chat, cause) = (chat.id.clone(), event.id.clone());
    let file = RoomFile { caption: None, reply_to: None, ..file.clone() };
    Decision {
        ops: vec![
            Op::Post(Post {
                chat: chat.clone(),
                body,
                mentions,
                cause: Some(cause.clone()),
                key: key.clone(),
            }),
            Op::Hand(Hand { chat, file, cause, key }),
        ],
        ..Decision::default()
    }
}
