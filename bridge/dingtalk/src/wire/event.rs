//! Decrypted event pushes to events (API.md sections 3.6 and 3.7), one module per family.
//!
//! An event has its own fields at the top level, in `camelCase` or in `PascalCase`, or inside of `data`: a family looks
//! for both spellings in whichever object holds them.

mod card;
mod chat;
mod people;

use bridge_core::event::OrgEvent;
use bridge_core::id::{ChatId, StaffId};
use serde_json::value::RawValue;

use super::message::{DecodeError, decode_text};
use super::push::{CHAT_MESSAGE, EventHead};
use super::{Refusal, json};

/// Longest name of an event that is kept, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Longest title or name of a person kept, in bytes.
const MAX_TITLE_BYTES: usize = 256;
/// Most people taken from one event.
const MAX_PEOPLE: usize = 500;
/// `errCode` of an event withheld because of the month's quota (API.md section 2.6).
const OVER_QUOTA: i64 = 20_001;

/// Decodes a decrypted event push. What the bridge does not act upon is [`OrgEvent::Other`], with the name `unknown`
/// when it has none.
///
/// # Errors
/// As [`super::message::decode_callback`]; also for an event that lacks the chat, person or message it is about.
pub fn decode_event(plain: &[u8]) -> Result<OrgEvent, DecodeError> {
    let text = std::str::from_utf8(plain).map_err(|_| DecodeError::NotText)?;
    let head = EventHead::read(text).map_err(|_: Refusal| DecodeError::NotJson)?;
    let data = json::object(head.data);
    let own = if data.is_empty() { text } else { &data };
    let name = head.name();
    if json::number(json::pick_any(own, &["errCode"])[0]) == Some(OVER_QUOTA) {
        return Ok(OrgEvent::Withheld { name: json::clip(&name, MAX_NAME_BYTES) });
    }
    match &*name {
        CHAT_MESSAGE => Ok(OrgEvent::Message(Box::new(decode_text(own)?))),
        "chat_add_member" | "chat_remove_member" | "chat_quit" | "chat_update_title"
        | "chat_update_owner" | "chat_disband" => chat::decode(&name, own).map(OrgEvent::Chat),
        "robot_msg_recall" => chat::recall(own).map(OrgEvent::Recalled),
        "user_add_org" | "user_leave_org" | "user_modify_org" => Ok(match people::decode(&name, own)? {
            Some(event) => OrgEvent::People(event),
            None => OrgEvent::Other { name: name.into_owned() },
        }),
        "bpms_instance_change"
        | "bpms_task_change"
        | "attendance_check_record"
        | "attend_bossCheck_change"
        | "attendance_approve_status_change"
        | "calendar_event_change" => Ok(OrgEvent::Cards(card::decode(&name, own))),
        "" => Ok(OrgEvent::Other { name: "unknown".to_owned() }),
        name => Ok(OrgEvent::Other { name: json::clip(name, MAX_NAME_BYTES) }),
    }
}

/// A chat's id in either spelling.
fn chat_id(own: &str) -> Result<ChatId, DecodeError> {
    let [camel, pascal] = json::pick_any(own, &["openConversationId", "OpenConversationId"]);
    let id = json::text(camel.or(pascal)).and_then(|id| ChatId::parse(id).ok());
    id.ok_or(DecodeError::Field("openConversationId"))
}

fn staff(value: Option<&RawValue>) -> Option<StaffId> {
    StaffId::parse(json::text(value)?).ok()
}

/// People, written as a list or as one.
fn staff_list(value: Option<&RawValue>) -> Vec<StaffId> {
    if let Some(one) = staff(value) {
        return vec![one];
    }
    json::elements(value).into_iter().take(MAX_PEOPLE).filter_map(|id| staff(Some(id))).collect()
}

/// A title or name on one line, if there is one.
fn line(value: Option<&RawValue>, bytes: usize) -> Option<String> {
    let text = json::clip(&json::filled(value)?, bytes).replace(['\n', '\t'], " ");
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::samples;

    #[test]
    fn every_event_sample_is_read() {
        let mut seen = String::new();
        for (name, body) in samples("event-") {
            let event = decode_event(body.as_bytes()).unwrap();
            writeln!(seen, "{name}: {event:#?}\n").unwrap();
        }
        insta::assert_snapshot!("event_samples", seen);
    }

    /// The sample in the other two shapes (API.md section 3.6).
    fn shapes(body: &str) -> [String; 2] {
        let serde_json::Value::Object(all) = serde_json::from_str(body).unwrap() else { panic!() };
        let common = ["EventType", "EventTime", "CorpId", "BizId", "eventId", "eventType", "corpId"];
        let name = all["EventType"].clone();
        let own = || all.iter().filter(|(key, _)| !common.contains(&key.as_str()));
        let stream: serde_json::Map<_, _> = own().map(|(key, value)| (key.clone(), value.clone())).collect();
        let capital = |key: &str| key[..1].to_uppercase() + &key[1..];
        let mut legacy: serde_json::Map<_, _> =
            own().map(|(key, value)| (capital(key), value.clone())).collect();
        legacy.insert("EventType".to_owned(), name.clone());
        [
            serde_json::json!({"eventType": name, "eventId": "e", "data": stream}).to_string(),
            serde_json::Value::Object(legacy).to_string(),
        ]
    }

    #[test]
    fn an_event_says_the_same_in_every_shape() {
        for (name, body) in samples("event-") {
            if !name.contains(".http") {
                continue;
            }
            let expected = decode_event(body.as_bytes()).unwrap();
            let [stream, legacy] = shapes(&body);
            assert_eq!(decode_event(stream.as_bytes()).unwrap(), expected, "{name} as in Stream mode");
            // Approvals, people and schedules are camelCase everywhere (API.md section 3.6).
            if name.contains("-chat-") || name.contains("check-record") || name.contains("msg-recall") {
                assert_eq!(decode_event(legacy.as_bytes()).unwrap(), expected, "{name} as in old pages");
            }
        }
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
    fn nameless_and_broken_events_do_not_pass_for_others() {
        assert_eq!(decode_event(b"{}"), Ok(OrgEvent::Other { name: "unknown".into() }));
        assert_eq!(decode_event(b""), Err(DecodeError::NotJson));
        assert_eq!(decode_event(b"\xff"), Err(DecodeError::NotText));
        for (body, field) in [
            (r#"{"EventType":"chat_disband"}"#, "openConversationId"),
            (r#"{"EventType":"chat_add_member","openConversationId":"cid","userId":{"a":1}}"#, "userId"),
            (r#"{"EventType":"chat_update_title","openConversationId":"cid","title":" \n"}"#, "title"),
            (r#"{"EventType":"chat_update_owner","openConversationId":"cid"}"#, "owner"),
            (r#"{"EventType":"robot_msg_recall","OpenConversationId":"cid"}"#, "processQueryKey"),
            (r#"{"EventType":"user_leave_org","userId":[]}"#, "userId"),
        ] {
            assert_eq!(decode_event(body.as_bytes()), Err(DecodeError::Field(field)), "{body}");
        }
    }

    #[test]
    fn a_withheld_event_is_known_in_every_shape() {
        let withheld = OrgEvent::Withheld { name: "chat_add_member".into() };
        for body in [
            r#"{"EventType":"chat_add_member","errCode":20001,"errMsg":"x"}"#,
            r#"{"eventType":"chat_add_member","data":{"errCode":"20001"}}"#,
        ] {
            assert_eq!(decode_event(body.as_bytes()).as_ref(), Ok(&withheld), "{body}");
        }
    }

    #[test]
    fn a_crowd_is_bounded() {
        let ids: Vec<String> = (0..2_000).map(|number| format!("\"u{number}\"")).collect();
        let body = format!(r#"{{"EventType":"user_leave_org","userId":[{}]}}"#, ids.join(","));
        let Ok(OrgEvent::People(bridge_core::organisation::PeopleEvent::Left(people))) =
            decode_event(body.as_bytes())
        else {
            panic!()
        };
        assert_eq!(people.len(), MAX_PEOPLE);
    }
}
