//! What comes from DingTalk, or from somebody who says so.

use bridge_core::clock::Timestamp;
use bridge_core::secret::Secret;
use bridge_dingtalk::wire::crypt::EventCrypt;
use bridge_dingtalk::wire::event::decode_event;
use bridge_dingtalk::wire::markdown;
use bridge_dingtalk::wire::message::decode_callback;
use bridge_dingtalk::wire::push::{PushQuery, callback_envelope, classify, event_envelope};
use bridge_dingtalk::wire::render::{Channel, Outgoing};
use bridge_dingtalk::wire::sign::{sign, verify_callback};
use proptest::prelude::*;

use crate::broken::{CALLBACKS, EVENTS, broken};

const NOW: Timestamp = Timestamp(1_767_225_600_000);

fn crypt() -> EventCrypt {
    let key = Secret::new("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG");
    EventCrypt::new(Secret::new("t0ken"), &key, "dingapp".to_owned()).unwrap()
}

proptest! {
    #[test]
    fn a_push_is_taken_or_refused(body in broken(&CALLBACKS), event in broken(&EVENTS)) {
        for body in [&body, &event] {
            let _ = classify(body);
            if let Ok(envelope) = callback_envelope(body, NOW) {
                prop_assert!(!envelope.key.is_empty());
                prop_assert!(envelope.body.len() <= body.len());
            }
            let _ = event_envelope(body, NOW);
        }
    }

    #[test]
    fn a_callback_is_decoded_or_kept_aside(body in broken(&CALLBACKS)) {
        if let Ok(message) = decode_callback(&body) {
            // What is decoded is named, or it could not be recognised when it comes again.
            prop_assert!(!message.id.as_str().is_empty() && !message.chat.as_str().is_empty());
        }
    }

    #[test]
    fn an_event_is_decoded_or_kept_aside(body in broken(&EVENTS)) {
        let _ = decode_event(&body);
    }

    #[test]
    fn what_is_not_signed_does_not_open(query in "[a-z0-9=&%+/]{0,80}", encrypt in "[A-Za-z0-9+/=]{0,200}") {
        if let Ok(query) = PushQuery::parse(&query) {
            prop_assert!(crypt().open(&query, &encrypt).is_err());
        }
        let whole = format!("signature={}&timestamp=1767225600000&nonce=abc", "0".repeat(40));
        prop_assert!(crypt().open(&PushQuery::parse(&whole).unwrap(), &encrypt).is_err());
    }

    #[test]
    fn no_other_signature_is_right(
        timestamp in "[0-9]{0,20}|\\PC{0,20}|1767225600000",
        sent in "[A-Za-z0-9+/=]{0,60}",
        place in any::<prop::sample::Index>(),
    ) {
        let secret = Secret::new("s3cret");
        let right = sign(&timestamp, &secret);
        prop_assert!(sent == right || verify_callback(Some(&timestamp), Some(&sent), &secret, NOW).is_err());
        let mut nearly = right.into_bytes();
        let at = place.index(nearly.len());
        nearly[at] = if nearly[at] == b'A' { b'B' } else { b'A' };
        let nearly = String::from_utf8(nearly).unwrap();
        prop_assert!(verify_callback(Some(&timestamp), Some(&nearly), &secret, NOW).is_err());
    }

    #[test]
    fn markdown_of_strangers_is_read_and_written(text in "[\\PC\n]{0,200}|([*_`~<>!#|-]|\\[|\\]\\(|https://a.b/|\n|> |1\\. |  ){0,80}") {
        let document = markdown::parse(&text);
        for channel in [Channel::Robot, Channel::Session] {
            let _ = Outgoing::render(&document, channel).measure();
        }
    }
}
