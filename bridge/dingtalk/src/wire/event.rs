//! Decrypted event pushes to events (API.md sections 3.6 and 3.7).

use bridge_core::event::OrgEvent;

use super::message::{DecodeError, decode_text};
use super::push::{CHAT_MESSAGE, EventHead};
use super::{Refusal, json};

/// Longest name of an event that is kept, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Decodes a decrypted event push. Each family of events that the bridge acts upon gets an arm here and a module of
/// its own; everything else is [`OrgEvent::Other`], with the name `unknown` when it has none.
///
/// # Errors
/// As [`super::message::decode_callback`], for `chat_message` without what a message needs.
pub fn decode_event(plain: &[u8]) -> Result<OrgEvent, DecodeError> {
    let text = std::str::from_utf8(plain).map_err(|_| DecodeError::NotText)?;
    let head = EventHead::read(text).map_err(|_: Refusal| DecodeError::NotJson)?;
    match &*head.name() {
        CHAT_MESSAGE => {
            let data = json::object(head.data);
            let body = if data.is_empty() { text } else { &data };
            Ok(OrgEvent::Message(Box::new(decode_text(body)?)))
        }
        "" => Ok(OrgEvent::Other { name: "unknown".to_owned() }),
        name => Ok(OrgEvent::Other { name: json::clip(name, MAX_NAME_BYTES) }),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::samples;

    #[test]
    fn every_event_sample_is_named() {
        let mut seen = String::new();
        for (name, body) in samples("event-") {
            if let OrgEvent::Other { name: event } = decode_event(body.as_bytes()).unwrap() {
                writeln!(seen, "{name}: {event}").unwrap();
            }
        }
        insta::assert_snapshot!("event_names", seen);
    }

    #[test]
    fn a_chat_message_is_a_message_in_either_shape() {
        let sample = include_str!("../../samples/robot-text-group.json");
        let flat = sample.replacen('{', r#"{"EventType":"chat_message","eventType":"chat_message","#, 1);
        let nested = format!(r#"{{"eventType":"chat_message","eventId":"e","data":{sample}}}"#);
        let expected = super::super::message::decode_callback(sample.as_bytes()).unwrap();
        for body in [flat, nested] {
            let OrgEvent::Message(message) = decode_event(body.as_bytes()).unwrap() else { panic!("{body}") };
            assert_eq!(*message, expected);
        }
        let broken = br#"{"EventType":"chat_message","eventId":"e"}"#;
        assert_eq!(decode_event(broken), Err(DecodeError::Field("msgId")));
    }

    #[test]
    fn nameless_and_broken_events_do_not_pass_for_messages() {
        assert_eq!(decode_event(b"{}"), Ok(OrgEvent::Other { name: "unknown".into() }));
        assert_eq!(decode_event(b""), Err(DecodeError::NotJson));
        assert_eq!(decode_event(b"\xff"), Err(DecodeError::NotText));
    }
}
