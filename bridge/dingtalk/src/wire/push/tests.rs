use std::fmt::Write as _;

use serde_json::Value;

use super::*;
use crate::samples;

const NOW: Timestamp = Timestamp(1_758_800_000_999);

fn event(json: &str) -> Envelope {
    match event_envelope(json.as_bytes(), NOW).unwrap() {
        Pushed::Event(envelope) => envelope,
        Pushed::Check => panic!("a check: {json}"),
    }
}

#[test]
fn queries_are_read_under_either_name() {
    let both = PushQuery::parse("signature=old&msg_signature=new&timestamp=1&nonce=n").unwrap();
    assert_eq!((both.signature.as_str(), both.timestamp.as_str(), both.nonce.as_str()), ("new", "1", "n"));
    let old = PushQuery::parse("signature=a%2Bb&timeStamp=2&nonce=n&extra=%00").unwrap();
    assert_eq!((old.signature.as_str(), old.timestamp.as_str()), ("a+b", "2"));
    for bad in ["", "signature=a&nonce=n", "signature=&timestamp=1&nonce=n", "signature=a&timestamp=1"] {
        assert_eq!(PushQuery::parse(bad), Err(Refusal::Query), "{bad}");
    }
    let long = format!("signature={}&timestamp=1&nonce=n", "a".repeat(257));
    assert_eq!(PushQuery::parse(&long), Err(Refusal::Query));
}

#[test]
fn the_two_kinds_are_told_apart_by_the_body() {
    assert_eq!(classify(br#"{"encrypt":"ab+/="}"#), Ok(Push::Event("ab+/=".into())));
    assert_eq!(classify(br#"{"encrypt":"a\/b"}"#), Ok(Push::Event("a/b".into())));
    assert_eq!(classify(br#"{"msgId":"m","text":{"content":"{\"encrypt\":1}"}}"#), Ok(Push::Callback));
    assert_eq!(classify(b"[]"), Err(Refusal::NotJson));
    assert_eq!(classify(b"{\"a\":\"\xff\"}"), Err(Refusal::NotText));
    assert_eq!(classify(&vec![b' '; MAX_BODY_BYTES + 1]), Err(Refusal::TooLarge));
}

#[test]
fn every_callback_sample_gets_its_key_and_lane() {
    for (name, body) in samples("robot-") {
        if name.contains("reply") || name.contains("http-request") {
            continue;
        }
        let value: Value = serde_json::from_str(&body).unwrap();
        let envelope = callback_envelope(body.as_bytes(), NOW).unwrap();
        assert_eq!(envelope.key, format!("msg:{}", value["msgId"].as_str().unwrap()));
        assert_eq!(envelope.lane, Lane::from_chat(value["conversationId"].as_str().unwrap()));
        assert_eq!((envelope.source, envelope.received_at), (Source::Callback, NOW));
        assert_eq!(envelope.body, body.as_bytes());
    }
}

#[test]
fn the_whole_callback_request_passes_the_door() {
    let request: Value =
        serde_json::from_str(include_str!("../../../samples/robot-http-request.json")).unwrap();
    let secret = bridge_core::secret::Secret::new(request["app_secret"].as_str().unwrap());
    let header = |name: &str| request["headers"][name].as_str();
    super::super::sign::verify_callback(header("timestamp"), header("sign"), &secret, NOW).unwrap();
    let body = request["body_text"].as_str().unwrap().as_bytes();
    assert_eq!(classify(body), Ok(Push::Callback));
    assert_eq!(callback_envelope(body, NOW).unwrap().key, "msg:msgA1b2C3d4MadeUpTextGroup01==");
}

#[test]
fn callbacks_without_usable_ids_are_refused() {
    let refusal = |body: &str| callback_envelope(body.as_bytes(), NOW).unwrap_err();
    assert_eq!(refusal(r#"{"conversationId":"c"}"#), Refusal::NoMessageId);
    assert_eq!(refusal(r#"{"msgId":{"a":1},"conversationId":"c"}"#), Refusal::NoMessageId);
    assert_eq!(
        refusal(&format!(r#"{{"msgId":"{}","conversationId":"c"}}"#, "m".repeat(513))),
        Refusal::NoMessageId
    );
    assert_eq!(refusal(r#"{"msgId":"m","conversationId":"a\u0000"}"#), Refusal::NoChat);
    assert_eq!(refusal("nonsense"), Refusal::NotJson);
}

#[test]
fn every_event_sample_is_wrapped() {
    let mut seen = String::new();
    for (name, body) in samples("event-") {
        if name.contains("push-re") || name.contains("failed-list") {
            continue;
        }
        let line = match event_envelope(body.as_bytes(), NOW).unwrap() {
            Pushed::Check => "check".to_owned(),
            Pushed::Event(envelope) => format!("{} in {}", envelope.key, envelope.lane.as_str()),
        };
        writeln!(seen, "{name}: {line}").unwrap();
    }
    insta::assert_snapshot!("event_envelopes", seen);
}

#[test]
fn shapes_of_one_event_share_the_key() {
    let http = event(include_str!("../../../samples/event-chat-add-member.http.json"));
    let stream = event(include_str!("../../../samples/event-chat-add-member.stream.json"));
    assert_eq!(http.key, stream.key);
    assert_eq!(http.lane, stream.lane);
}

#[test]
fn a_chat_message_has_the_key_and_lane_of_its_callback() {
    let callback = callback_envelope(br#"{"msgId":"msg1==","conversationId":"cid1=="}"#, NOW).unwrap();
    for json in [
        r#"{"EventType":"chat_message","eventId":"e","msgId":"msg1==","conversationId":"cid1=="}"#,
        r#"{"eventType":"chat_message","eventId":"e","data":{"msgId":"msg1==","openConversationId":"cid1=="}}"#,
    ] {
        let envelope = event(json);
        assert_eq!((&envelope.key, &envelope.lane), (&callback.key, &callback.lane), "{json}");
    }
    assert_eq!(event(r#"{"EventType":"chat_message","eventId":"e"}"#).key, "evt:e");
    assert_eq!(event(r#"{"EventType":"chat_quit","eventId":"e","msgId":"m"}"#).key, "evt:e");
}

#[test]
fn events_without_id_are_known_by_their_digest() {
    let one = event(r#"{"EventType":"org_change"}"#);
    assert!(one.key.starts_with("evt:sha256:") && one.key.len() == 75);
    assert_eq!(one.key, event(r#"{"EventType":"org_change"}"#).key);
    assert_ne!(one.key, event(r#"{"EventType":"org_change","TimeStamp":1}"#).key);
    assert_eq!(one.lane, Lane::organisation());
    assert!(event(r#"{"EventType":"a","eventId":""}"#).key.starts_with("evt:sha256:"));
    assert_eq!(event_envelope(b"", NOW), Err(Refusal::NotJson));
}
