use bridge_core::event::{ChatPart, Quote};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::samples;

fn callbacks() -> Vec<(String, String)> {
    let mut found = samples("robot-");
    found.retain(|(name, _)| !name.contains("reply") && !name.contains("http-request"));
    found
}

fn decode(body: &Value) -> ChatMessage {
    decode_callback(body.to_string().as_bytes()).unwrap()
}

/// A message with the given fields on top of what every callback has.
fn message(fields: Value) -> Value {
    let mut body = json!({"msgId": "msg1", "conversationId": "cid1", "conversationType": "1", "senderId": "$:x",
        "senderNick": "A", "createAt": 1_758_799_999_911_i64});
    if let Value::Object(fields) = fields {
        body.as_object_mut().unwrap().extend(fields);
    }
    body
}

fn text_of(body: &ChatBody) -> String {
    match body {
        ChatBody::Document(document) => document.to_plain_text(),
        ChatBody::Unsupported { kind, summary } => format!("{kind}: {}", summary.as_deref().unwrap_or("-")),
        ChatBody::Parts(parts) => parts
            .iter()
            .map(|part| match part {
                ChatPart::Text(text) => text.to_plain_text(),
                ChatPart::File(file) => format!("<{:?} {}>", file.kind, file.code),
            })
            .collect::<Vec<_>>()
            .join("|"),
        ChatBody::OverQuota => "over quota".to_owned(),
    }
}

#[test]
fn every_sample_decodes() {
    for (name, body) in callbacks() {
        let message = decode_callback(body.as_bytes()).unwrap();
        insta::assert_debug_snapshot!(name, message);
    }
}

#[test]
fn numbers_and_texts_are_the_same() {
    let fields = json!({"msgtype": "text", "text": {"content": 12}, "conversationType": 2,
        "createAt": "1758799999911", "sessionWebhook": "https://a", "sessionWebhookExpiredTime": "1758805400139",
        "senderStaffId": 17});
    let decoded = decode(&message(fields));
    assert_eq!(text_of(&decoded.body), "12");
    assert_eq!(decoded.kind, ChatKind::Group);
    assert_eq!(decoded.sent_at, Timestamp(1_758_799_999_911));
    assert_eq!(decoded.session.unwrap().expires_at, Timestamp(1_758_805_400_139));
    assert_eq!(decoded.sender.to_key(), "s:17");
}

#[test]
fn senders_are_known_by_what_there_is() {
    let with = |fields: Value| decode(&message(fields)).sender.to_key();
    assert_eq!(with(json!({"senderStaffId": ""})), "x:$:x");
    assert_eq!(with(json!({"senderStaffId": null})), "x:$:x");
    assert_eq!(with(json!({"senderStaffId": " a"})), "x:$:x");
    assert_eq!(with(json!({"senderStaffId": "a", "senderId": null})), "s:a");
    let nobody = message(json!({"senderId": {}})).to_string();
    assert_eq!(decode_callback(nobody.as_bytes()), Err(DecodeError::Field("senderId")));
    assert_eq!(decode(&message(json!({"senderNick": " \n", "senderStaffId": "a"}))).sender_name, "a");
    assert_eq!(decode(&message(json!({"senderNick": "a\nb\u{7}"}))).sender_name, "a b");
}

#[test]
fn absurd_times_are_no_times() {
    for at in [json!(0), json!(-5), json!(1e300), json!("soon"), json!([1]), json!(u64::MAX)] {
        assert_eq!(decode(&message(json!({"createAt": at}))).sent_at, Timestamp(0));
    }
}

#[test]
fn one_blank_goes_from_the_beginning_of_group_texts_only() {
    let with = |kind: &str| {
        text_of(
            &decode(&message(
                json!({"msgtype": "text", "text": {"content": "  x "}, "conversationType": kind}),
            ))
            .body,
        )
    };
    assert_eq!((with("1").as_str(), with("2").as_str()), ("  x ", " x "));
}

#[test]
fn texts_are_not_read_as_markdown() {
    let text = "# *a* <b>&amp;</b>\n- [x](https://y)\n> z";
    let decoded = decode(&message(json!({"msgtype": "text", "text": {"content": text}})));
    let ChatBody::Document(document) = decoded.body else { panic!() };
    assert!(document.is_plain());
    assert_eq!(document.to_plain_text(), text);
}

#[test]
fn every_kind_is_visible() {
    let table = [
        (json!({"msgtype": "picture", "content": {"downloadCode": "c"}}), "<Picture c>"),
        (json!({"msgtype": "picture", "content": {"pictureDownloadCode": "s"}}), "<Picture s>"),
        (
            json!({"msgtype": "picture", "content": {"downloadCode": 7, "pictureDownloadCode": "s"}}),
            "<Picture 7>",
        ),
        (json!({"msgtype": "picture", "content": {"downloadCode": "x".repeat(5000)}}), "picture: -"),
        (
            json!({"msgtype": "audio", "content": {"recognition": "说", "downloadCode": "c"}}),
            "<Voice c>|🎤 说",
        ),
        (json!({"msgtype": "audio", "content": {"downloadCode": "c"}}), "<Voice c>"),
        (json!({"msgtype": "video", "content": {"downloadCode": "c", "videoType": "mp4"}}), "<Video c>"),
        (json!({"msgtype": "file", "content": {"downloadCode": "c", "fileName": "a.pdf"}}), "<File c>"),
        (
            json!({"msgtype": "richText", "content": {"richText": [{"text": "a"}, {"type": "picture",
                "downloadCode": "p"}, {"text": "\n"}, {"type": "picture", "downloadCode": "q"}, {"text": " b\n"}]}}),
            "a|<Picture p>|<Picture q>| b",
        ),
        (json!({"msgtype": "audio", "content": {"recognition": "说", "duration": "x"}}), "audio: 说"),
        (json!({"msgtype": "file", "content": {"fileName": "a.pdf"}}), "file: a.pdf"),
        (json!({"msgtype": "file", "content": {}}), "file: -"),
        (json!({"msgtype": "brandNew", "content": {"title": "t", "text": "x"}}), "brandNew: t\nx"),
        (json!({"msgtype": "brandNew", "content": "words"}), "brandNew: words"),
        (json!({"msgtype": "reply", "text": {"content": "r"}}), "r"),
        (json!({"text": {"content": "r"}}), "r"),
        (json!({"msgtype": "text"}), "text: -"),
        (json!({}), "unknown: -"),
        (json!({"msgtype": "text", "text": "bare"}), "bare"),
        (json!({"msgtype": "richText", "content": {"richText": []}}), "richText: -"),
        (
            json!({"msgtype": "richText", "content": {"richText": [{"text": "a\nb"}, {"type": "emoji"}]}}),
            "a\nb[emoji]",
        ),
        (json!({"msgtype": "richText", "content": "{\"richText\":[{\"text\":\"a\"}]}"}), "a"),
        (json!({"msgtype": "markdown", "content": {"text": "**a**\nb"}}), "a\nb"),
        (json!({"msgtype": "markdown", "text": {"content": "# a"}}), "a"),
        (
            json!({"msgtype": "actionCard", "content": {"title": "T", "text": "x",
            "actionUrlItemList": [{"actionUrl": "https://a/_b_"}]}}),
            "T\nx\nhttps://a/_b_",
        ),
        (json!({"msgtype": "chatRecord", "content": {"title": "T", "summary": "s"}}), "💬 T\n> s"),
        (
            json!({"msgtype": "chatRecord", "content": {"records": [{"senderName": "A", "content": {"text": "x"}},
            {"msgtype": "picture", "content": {"downloadCode": "c"}}]}}),
            "💬 聊天记录 Chat history\n> A: x\n> [picture]",
        ),
        (json!({"msgtype": "text", "errorCode": "20001"}), "over quota"),
        (json!({"msgtype": "text", "errorCode": 7, "errorMessage": "m"}), "text: m"),
    ];
    for (fields, expected) in table {
        assert_eq!(text_of(&decode(&message(fields.clone())).body), expected, "{fields}");
    }
}

#[test]
fn the_bot_is_not_among_the_mentioned() {
    let fields = json!({"chatbotUserId": "$:bot", "atUsers": [{"dingtalkId": "$:bot", "staffId": "b"},
        {"dingtalkId": "$:a"}, {"dingtalkId": "$:a"}, {"staffId": 7}, {}, 5], "msgtype": "richText",
        "content": {"richText": [{"type": "at", "atName": "bot", "atUserId": "$:bot"},
            {"type": "at", "atName": "@A", "atUserId": "$:a"}, {"type": "at", "atName": "B"}]}});
    let decoded = decode(&message(fields));
    let ids: Vec<_> = decoded.mentioned.iter().map(|who| who.sender_id.as_str()).collect();
    assert_eq!(ids, ["$:a", "7"]);
    assert_eq!(text_of(&decoded.body), "@A@B");
}

#[test]
fn quotes_are_found_in_every_form() {
    let quote = |fields: Value| decode(&message(fields)).quote.unwrap_or_default();
    let id = |id: &str| Some(MessageId::parse(id).unwrap());
    let replied = json!({"msgType": "text", "msgId": "inner", "content": {"text": "q"}});
    let text = |replied: &Value| json!({"msgtype": "text", "text": {"content": "a", "repliedMsg": replied}});
    let expected = Quote { id: id("inner"), query_key: None, text: Some("q".into()) };
    assert_eq!(quote(text(&replied)), expected);
    assert_eq!(quote(text(&json!(replied.to_string()))), expected);
    assert_eq!(quote(text(&json!({"msgId": "inner", "content": "{\"text\":\"q\"}"}))), expected);
    assert_eq!(quote(text(&json!({"msgId": "inner", "content": "q"}))), expected);
    assert_eq!(quote(json!({"msgtype": "richText", "content": {"repliedMsg": replied}})), expected);
    assert_eq!(quote(json!({"quoteMessage": {"msgId": "inner", "text": {"content": "q"}}})), expected);
    let mut both = text(&replied);
    both["originalMsgId"] = json!("outer");
    assert_eq!(quote(both).id, id("outer"));
    let rich = json!({"msgId": "inner", "content": {"richText": [{"text": "a"}, {"type": "picture"}]}});
    assert_eq!(quote(text(&rich)).text.as_deref(), Some("a[图片]"));
    assert_eq!(decode(&message(json!({"msgtype": "text", "text": {"content": "a"}}))).quote, None);
}

#[test]
fn hostile_bodies_are_errors() {
    for body in [&b""[..], b"\xff\xfe", b"[]", b"null", b"\"x\"", b"{", b"{}", br#"{"msgId":"m"}"#] {
        assert!(decode_callback(body).is_err());
    }
    let deep = format!(
        r#"{{"msgId":"m","conversationId":"c","senderId":"s","content":{}1{},"text":{}{}}}"#,
        r#"{"content":"#.repeat(50_000),
        "}".repeat(50_000),
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    assert_eq!(text_of(&decode_callback(deep.as_bytes()).unwrap().body), "unknown: -");
}

/// What a hostile peer puts in the place of a value.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[{"a": [1]}]])),
        Just(json!({"content": {"content": {"text": [1]}}})),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|real| json!(real)),
        any::<bool>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        Just(json!("{\"richText\":[{\"text\":1}]}")),
    ]
}

fn replace(value: &mut Value, mut index: usize, with: &Value) -> usize {
    if index == 0 {
        *value = with.clone();
        return usize::MAX;
    }
    index -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Object(map) => map.values_mut().collect(),
        Value::Array(list) => list.iter_mut().collect(),
        _ => Vec::new(),
    };
    for child in children {
        index = replace(child, index, with);
        if index == usize::MAX {
            break;
        }
    }
    index
}

proptest! {
    #[test]
    fn no_wrong_type_panics(sample in any::<prop::sample::Index>(), place in 1_usize..40, with in odd()) {
        let samples = callbacks();
        let mut body: Value = serde_json::from_str(&samples[sample.index(samples.len())].1).unwrap();
        replace(&mut body, place, &with);
        let _ = decode_callback(body.to_string().as_bytes());
    }

    #[test]
    fn no_wrong_byte_panics(sample in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(),
        byte in any::<u8>(), cut in any::<bool>()) {
        let samples = callbacks();
        let mut body = samples[sample.index(samples.len())].1.clone().into_bytes();
        let place = place.index(body.len());
        body[place] = byte;
        if cut {
            body.truncate(place);
        }
        let _ = decode_callback(&body);
        let _ = super::super::event::decode_event(&body);
        let _ = super::super::push::classify(&body);
        let _ = super::super::push::callback_envelope(&body, Timestamp(0));
        let _ = super::super::push::event_envelope(&body, Timestamp(0));
    }
}

#[test]
fn playing_times_are_milliseconds_as_numbers_and_seconds_as_text() {
    let with = |kind: &str, duration: Value| {
        let content = json!({"downloadCode": "c", "duration": duration, "videoType": "m/p4"});
        let ChatBody::Parts(parts) = decode(&message(json!({"msgtype": kind, "content": content}))).body
        else {
            panic!("no file")
        };
        let [ChatPart::File(file)] = parts.as_slice() else { panic!("{parts:?}") };
        assert_eq!(file.name, None, "no ending, no name");
        file.duration.map(|span| span.as_millis())
    };
    assert_eq!(with("audio", json!(4000)), Some(4000));
    assert_eq!(with("video", json!("5")), Some(5000));
    for absurd in [json!(0), json!(-4), json!("x"), json!(u64::MAX), json!(1e300), json!([1])] {
        assert_eq!(with("audio", absurd.clone()), None, "{absurd}");
    }
}
