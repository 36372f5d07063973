//! One frame to what it asks for, and the answers (API.md sections 4.2 and 4.3).

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Envelope;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{BOT_TOPIC, EVENT_TOPIC};
use crate::wire::push::{MAX_BODY_BYTES, Pushed, callback_envelope, event_envelope};
use crate::wire::{Refusal, json};

/// Largest frame, in bytes. A body is JSON text within JSON, so it grows by its escapes.
pub const MAX_FRAME_BYTES: usize = 2 * MAX_BODY_BYTES;

/// Longest message id, in bytes; it is repeated in the answer.
const MAX_ID_BYTES: usize = 256;

/// Longest text that a ping has back, in bytes.
const MAX_PING_BYTES: usize = 4096;

/// Longest reason kept, in bytes.
const MAX_REASON_BYTES: usize = 128;

/// What a frame asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// Are you there? Answered with [`Answer::Pong`] and the same data.
    Ping {
        /// The frame's id.
        id: String,
        /// What to say back.
        data: String,
    },
    /// The connection will be closed; nothing more comes on it. Not answered.
    Disconnect {
        /// DingTalk's own words.
        reason: String,
    },
    /// Nothing is asked for.
    Notice,
    /// A message to the bot: [`Answer::Message`] once it is committed.
    Message {
        /// The frame's id.
        id: String,
        /// The same envelope as over HTTP.
        envelope: Envelope,
    },
    /// An event: [`Answer::Event`] once it is committed, else [`Answer::Later`]. A check of an address has none.
    Event {
        /// The frame's id.
        id: String,
        /// The same envelope as over HTTP.
        envelope: Option<Envelope>,
    },
    /// A topic that the bridge has not asked for: [`Answer::NoHandler`].
    Unhandled {
        /// The frame's id.
        id: String,
    },
    /// A message or event that is none: [`Answer::Unreadable`].
    Refused {
        /// The frame's id.
        id: String,
        /// Why.
        refusal: Refusal,
    },
}

/// What cannot even be answered: no JSON object, no type, or no id where an answer needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusable;

/// Reads a frame.
pub fn read(text: &str, now: Timestamp) -> Result<Incoming, Unusable> {
    if text.len() > MAX_FRAME_BYTES {
        return Err(Unusable);
    }
    let [kind, headers, data] = json::pick(text, &["type", "headers", "data"]).map_err(|_| Unusable)?;
    let kind = json::filled(kind).ok_or(Unusable)?;
    let headers = json::object(headers);
    let [id, topic] = json::pick_any(&headers, &["messageId", "topic"]);
    let topic = json::text(topic).unwrap_or_default();
    let id = || {
        let id = json::filled(id)?;
        (id.len() <= MAX_ID_BYTES && !id.chars().any(char::is_control)).then(|| id.into_owned())
    };
    match (&*kind, &*topic) {
        ("SYSTEM", "ping") => {
            let data = json::text(data).filter(|data| data.len() <= MAX_PING_BYTES).ok_or(Unusable)?;
            Ok(Incoming::Ping { id: id().ok_or(Unusable)?, data: data.into_owned() })
        }
        ("SYSTEM", "disconnect") => {
            let data = json::object(data);
            let reason = json::text(json::pick_any(&data, &["reason"])[0]).unwrap_or_default();
            Ok(Incoming::Disconnect { reason: json::clip(&reason, MAX_REASON_BYTES) })
        }
        ("SYSTEM", _) => Ok(Incoming::Notice),
        ("CALLBACK", BOT_TOPIC) => {
            let id = id().ok_or(Unusable)?;
            Ok(match callback_envelope(json::object(data).as_bytes(), now) {
                Ok(envelope) => Incoming::Message { id, envelope },
                Err(refusal) => Incoming::Refused { id, refusal },
            })
        }
        ("EVENT", EVENT_TOPIC) => {
            let id = id().ok_or(Unusable)?;
            Ok(match event_body(&headers, data).and_then(|body| event_envelope(&body, now)) {
                Ok(Pushed::Event(envelope)) => Incoming::Event { id, envelope: Some(envelope) },
                Ok(Pushed::Check) => Incoming::Event { id, envelope: None },
                Err(refusal) => Incoming::Refused { id, refusal },
            })
        }
        ("CALLBACK" | "EVENT", _) => Ok(Incoming::Unhandled { id: id().ok_or(Unusable)? }),
        _ => Err(Unusable),
    }
}

/// An event in the shape of API.md section 3.6, point 3. The frame's own id and time are left out: they change when
/// the event is pushed again.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_unified_app_id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_corp_id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_born_time: Option<i64>,
    data: &'a RawValue,
}

fn event_body(headers: &str, data: Option<&RawValue>) -> Result<Vec<u8>, Refusal> {
    const NAMES: [&str; 5] = ["eventUnifiedAppId", "eventCorpId", "eventType", "eventId", "eventBornTime"];
    let [app, corp, kind, id, born] = json::pick_any(headers, &NAMES);
    let own = json::object(data);
    // Events without fields of their own have nothing at all there.
    let blank = json::text(data).is_none_or(|text| text.trim().is_empty()) && own.is_empty();
    let own = if blank { "{}" } else { own.trim() };
    // Read before it is put in: half of an object would change what stands around it.
    let own: &RawValue = serde_json::from_str(own).map_err(|_| Refusal::NotJson)?;
    let body = EventBody {
        event_unified_app_id: app,
        event_corp_id: corp,
        event_type: kind,
        event_id: id,
        event_born_time: json::number(born),
        data: own,
    };
    serde_json::to_vec(&body).map_err(|_| Refusal::NotJson)
}

/// An answer to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// To a ping, with its data.
    Pong(&'a str),
    /// The message is committed.
    Message,
    /// The event is committed.
    Event,
    /// The event could not be committed: push it again.
    Later,
    /// Nobody listens to this topic.
    NoHandler,
    /// It is not what its topic promises.
    Unreadable,
}

#[derive(Serialize)]
struct Frame<'a> {
    code: u16,
    headers: AnswerHeaders<'a>,
    message: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnswerHeaders<'a> {
    content_type: &'static str,
    message_id: &'a str,
}

impl Answer<'_> {
    /// The frame of the answer to the frame `id`.
    pub fn frame(self, id: &str) -> String {
        let (code, message, data) = match self {
            Self::Pong(data) => (200, "OK", data),
            Self::Message => (200, "OK", r#"{"response":null}"#),
            Self::Event => (200, "OK", r#"{"status":"SUCCESS","message":"ok"}"#),
            Self::Later => (200, "OK", r#"{"status":"LATER","message":"busy"}"#),
            Self::NoHandler => (404, "no handler", "{}"),
            Self::Unreadable => (400, "unreadable", "{}"),
        };
        let headers = AnswerHeaders { content_type: "application/json", message_id: id };
        serde_json::to_string(&Frame { code, headers, message, data }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use bridge_core::envelope::{Lane, Source};
    use bridge_core::event::OrgEvent;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::samples;
    use crate::wire::event::decode_event;
    use crate::wire::message::decode_callback;

    const NOW: Timestamp = Timestamp(1_758_800_000_500);

    #[test]
    fn every_sample_frame_is_read() {
        for (name, text) in samples("stream-frame-") {
            let kind = match read(&text, NOW).unwrap() {
                Incoming::Ping { data, .. } => format!("ping {data}"),
                Incoming::Disconnect { reason } => format!("disconnect {reason}"),
                Incoming::Message { envelope, .. } => {
                    assert_eq!(envelope.source, Source::Callback);
                    assert!(decode_callback(&envelope.body).is_ok());
                    format!("message {} {}", envelope.key, envelope.lane.as_str())
                }
                Incoming::Event { envelope, .. } => {
                    let envelope = envelope.unwrap();
                    assert_eq!(envelope.source, Source::Event);
                    assert!(decode_event(&envelope.body).is_ok());
                    format!("event {} {}", envelope.key, envelope.lane.as_str())
                }
                other => format!("{other:?}"),
            };
            insta::assert_snapshot!(name, kind);
        }
    }

    #[test]
    fn answers_are_what_dingtalk_documents() {
        let same = |answer: Answer<'_>, id: &str, sample: &str| {
            let answer: Value = serde_json::from_str(&answer.frame(id)).unwrap();
            assert_eq!(answer, serde_json::from_str::<Value>(sample).unwrap());
        };
        let ping = include_str!("../../../samples/stream-ack-ping.json");
        same(Answer::Pong(r#"{"opaque":"0d3c5f7a-made-up"}"#), "0a0a_1b1b_made_up_01", ping);
        let robot = include_str!("../../../samples/stream-ack-robot.json");
        same(Answer::Message, "212b9d7c_165f_made_up_02", robot);
        let done = include_str!("../../../samples/stream-ack-event-success.json");
        same(Answer::Event, "212b9d7c_165f_made_up_03", done);
        let later = include_str!("../../../samples/stream-ack-event-later.json");
        same(Answer::Later, "212b9d7c_165f_made_up_03", later);
        let hostile = Answer::NoHandler.frame("\"},{\"");
        assert_eq!(serde_json::from_str::<Value>(&hostile).unwrap()["headers"]["messageId"], "\"},{\"");
    }

    #[test]
    fn a_push_has_the_same_key_and_lane_by_both_ways() {
        let sample = include_str!("../../../samples/stream-frame-robot.json");
        let frame: Value = serde_json::from_str(sample).unwrap();
        let body = frame["data"].as_str().unwrap();
        let Incoming::Message { envelope, .. } = read(sample, NOW).unwrap() else { panic!("{sample}") };
        assert_eq!(envelope, callback_envelope(body.as_bytes(), NOW).unwrap());

        let http: Value =
            serde_json::from_str(include_str!("../../../samples/event-chat-update-title.http.json")).unwrap();
        let Pushed::Event(by_http) = event_envelope(http.to_string().as_bytes(), NOW).unwrap() else {
            panic!("{http}")
        };
        let headers = json!({
            "messageId": "m1", "topic": "*", "eventType": "chat_update_title", "eventId": http["eventId"],
        });
        let data = json!({"openConversationId": http["openConversationId"], "title": http["title"]});
        let frame = json!({"type": "EVENT", "headers": headers, "data": data.to_string()}).to_string();
        let Incoming::Event { envelope: Some(by_stream), .. } = read(&frame, NOW).unwrap() else {
            panic!("{frame}")
        };
        assert_eq!((by_stream.key, by_stream.lane), (by_http.key, by_http.lane));
    }

    #[test]
    fn an_event_pushed_again_has_its_key_also_without_an_id() {
        let frame = |id: &str, time: &str| {
            let headers = json!({"messageId": id, "time": time, "topic": "*", "eventType": "org_change", "eventBornTime": "7"});
            json!({"type": "EVENT", "headers": headers, "data": ""}).to_string()
        };
        let key = |frame: &str| match read(frame, NOW) {
            Ok(Incoming::Event { envelope: Some(envelope), .. }) => (envelope.key, envelope.lane),
            other => panic!("{other:?}"),
        };
        let first = key(&frame("a", "1"));
        assert_eq!(first, key(&frame("b", "2")));
        assert!(first.0.starts_with("evt:sha256:"));
        assert_eq!(first.1, Lane::organisation());
    }

    #[test]
    fn data_cannot_break_out_of_its_place() {
        for data in [r#"{"a":1},"eventId":"forged""#, r#"{"a":1}} {"#, "{", "[1]", "7", r#"{"a":1} x"#] {
            let headers = json!({"messageId": "m", "topic": "*", "eventType": "e", "eventId": "own"});
            let frame = json!({"type": "EVENT", "headers": headers, "data": data}).to_string();
            let read = read(&frame, NOW);
            assert_eq!(read, Ok(Incoming::Refused { id: "m".into(), refusal: Refusal::NotJson }), "{data}");
        }
    }

    #[test]
    fn what_is_not_asked_for_has_no_handler_and_what_is_no_frame_is_unusable() {
        for (kind, topic) in [
            ("CALLBACK", "/v1.0/graph/api/invoke"),
            ("CALLBACK", "*"),
            ("EVENT", "chat_quit"),
            ("CALLBACK", ""),
        ] {
            let frame = json!({"type": kind, "headers": {"messageId": "m", "topic": topic}, "data": "{}"});
            assert_eq!(read(&frame.to_string(), NOW), Ok(Incoming::Unhandled { id: "m".into() }), "{topic}");
        }
        for topic in ["CONNECTED", "REGISTERED", "KEEPALIVE", "", "new"] {
            let frame = json!({"type": "SYSTEM", "headers": {"topic": topic}});
            assert_eq!(read(&frame.to_string(), NOW), Ok(Incoming::Notice));
        }
        let long = format!(r#"{{"type":"SYSTEM","x":"{}"}}"#, "x".repeat(MAX_FRAME_BYTES));
        let id = format!(
            r#"{{"type":"EVENT","headers":{{"topic":"*","messageId":"{}"}}}}"#,
            "x".repeat(MAX_ID_BYTES + 1)
        );
        let no_id = r#"{"type":"CALLBACK","headers":{"topic":"/v1.0/im/bot/messages/get"},"data":"{}"}"#;
        let control =
            "{\"type\":\"EVENT\",\"headers\":{\"topic\":\"*\",\"messageId\":\"a\\nb\"},\"data\":\"{}\"}";
        for text in ["", "[]", "{}", r#"{"type":"OTHER"}"#, no_id, control, &long, &id] {
            assert_eq!(read(text, NOW), Err(Unusable), "{}", &text[..text.len().min(80)]);
        }
    }

    #[test]
    fn a_chat_message_event_has_the_key_of_its_callback() {
        let sample: Value =
            serde_json::from_str(include_str!("../../../samples/stream-frame-robot.json")).unwrap();
        let headers = json!({"messageId": "m", "topic": "*", "eventType": "chat_message", "eventId": "e"});
        let frame = json!({"type": "EVENT", "headers": headers, "data": sample["data"]}).to_string();
        let Incoming::Event { envelope: Some(envelope), .. } = read(&frame, NOW).unwrap() else { panic!() };
        assert_eq!(envelope.key, "msg:msgA1b2C3d4MadeUpTextGroup01==");
        assert!(matches!(decode_event(&envelope.body), Ok(OrgEvent::Message(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = read(&text, NOW);
        }

        #[test]
        fn hostile_frames_are_read_or_refused_within_bounds(
            kind in "SYSTEM|EVENT|CALLBACK|[A-Z]{0,4}",
            topic in "ping|disconnect|\\*|/v1\\.0/im/bot/messages/get|\\PC{0,12}",
            id in "\\PC{0,300}",
            data in "\\{?[\\PC]{0,60}\\}?",
            extra in "\\PC{0,40}",
        ) {
            let frame = json!({
                "type": kind,
                "headers": {"messageId": id, "topic": topic, "eventType": extra, "eventId": extra},
                "data": data,
            })
            .to_string();
            match read(&frame, NOW) {
                Ok(Incoming::Ping { id, data }) => {
                    let answer: Value = serde_json::from_str(&Answer::Pong(&data).frame(&id)).unwrap();
                    prop_assert_eq!(&answer["data"], &Value::from(data));
                }
                Ok(Incoming::Event { envelope: Some(envelope), .. }) => {
                    prop_assert!(envelope.body.len() <= 2 * frame.len() + 200);
                    let body: Value = serde_json::from_slice(&envelope.body).unwrap();
                    prop_assert_eq!(&body["eventId"], &Value::from(extra));
                }
                Ok(Incoming::Disconnect { reason }) => prop_assert!(reason.len() <= MAX_REASON_BYTES),
                Ok(_) | Err(Unusable) => {}
            }
        }
    }
}
