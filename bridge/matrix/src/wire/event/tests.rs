use bridge_core::content::{Mention, Target};
use insta::assert_debug_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn what(kind: &str, content: &Value) -> RoomEventKind {
    let event = json!({"event_id": "$e", "room_id": "!r", "sender": "@a:b", "type": kind,
        "origin_server_ts": 1_700_000_000_123_u64, "content": content, "unsigned": {"age": 1.5}, "age": 7});
    decode(event.to_string().as_bytes()).unwrap().what
}

fn state(kind: &str, key: &str, content: &Value) -> RoomEventKind {
    let event = json!({"event_id": "$e", "room_id": "!r", "sender": "@a:b", "type": kind, "state_key": key, "content": content});
    decode(event.to_string().as_bytes()).unwrap().what
}

fn message(content: &Value) -> RoomMessage {
    match what("m.room.message", content) {
        RoomEventKind::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

fn body(content: &Value) -> String {
    message(content).body.to_plain_text()
}

#[test]
fn texts_are_decoded_with_their_manner() {
    let raw = br#"{"content":{"body":"a\nb","msgtype":"m.text"},"event_id":"$1:x","origin_server_ts":17,
        "room_id":"!v12","sender":"@a:b","type":"m.room.message","user_id":"@a:b","unsigned":{"age":1e999}}"#;
    assert_debug_snapshot!(decode(raw).unwrap());
    assert_eq!(message(&json!({"msgtype": "m.notice", "body": "x"})).manner, Manner::Notice);
    assert_eq!(message(&json!({"msgtype": "m.emote", "body": "x"})).manner, Manner::Emote);
}

#[test]
fn a_redaction_names_its_target_in_either_place() {
    let target = RoomEventKind::Redaction { target: "$m".try_into().unwrap() };
    assert_eq!(what("m.room.redaction", &json!({"redacts": "$m", "reason": "typo"})), target);
    let old = json!({"event_id": "$e", "room_id": "!r", "sender": "@a:b", "type": "m.room.redaction",
        "redacts": "$m", "content": {}});
    assert_eq!(decode(old.to_string().as_bytes()).unwrap().what, target);
    for content in [json!({}), json!({"redacts": 5}), json!({"redacts": "m"}), json!({"redacts": ""})] {
        assert_eq!(what("m.room.redaction", &content), RoomEventKind::Ignored, "{content}");
    }
}

#[test]
fn a_redacted_event_has_no_content() {
    assert!(is_redacted(br#"{"type":"m.room.message","content":{ },"unsigned":{"redacted_because":{}}}"#));
    assert!(!is_redacted(br#"{"content":{"body":"x"}}"#));
    assert!(is_redacted(b"nonsense") && is_redacted(b"{}"));
}

#[test]
fn html_counts_only_with_its_format() {
    let html = "org.matrix.custom.html";
    assert_eq!(
        body(&json!({"msgtype": "m.text", "body": "p", "format": html, "formatted_body": "<b>r</b>"})),
        "r"
    );
    assert_eq!(
        body(&json!({"msgtype": "m.text", "body": "p", "format": "x", "formatted_body": "<b>r</b>"})),
        "p"
    );
    assert_eq!(
        body(&json!({"msgtype": "m.text", "body": "p", "format": html, "formatted_body": "<b></b>"})),
        "p"
    );
    assert_eq!(body(&json!({"msgtype": "m.text", "body": 7, "format": html, "formatted_body": "r"})), "r");
}

#[test]
fn a_correction_says_its_new_content() {
    let edit = json!({"msgtype": "m.text", "body": "* new", "m.mentions": {"user_ids": []},
        "m.new_content": {"msgtype": "m.emote", "body": "new @room", "m.mentions": {"room": true}},
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$orig"}});
    let message = message(&edit);
    assert_eq!((message.manner, message.body.to_plain_text().as_str()), (Manner::Emote, "new @room"));
    assert_eq!((message.reply_to, message.replaces.unwrap().as_str()), (None, "$orig"));
    assert!(!message.body.is_plain());
}

#[test]
fn a_correction_without_content_is_a_message() {
    for new in [json!(null), json!("x"), json!([])] {
        let edit = json!({"msgtype": "m.text", "body": "* new", "m.new_content": new,
            "m.relates_to": {"rel_type": "m.replace", "event_id": "$orig"}});
        assert_eq!(message(&edit).replaces, None);
        assert_eq!(body(&edit), "* new");
    }
}

#[test]
fn answers_lose_the_quotation_of_old_clients() {
    let reply = |body: &str| json!({"msgtype": "m.text", "body": body, "m.relates_to": {"m.in_reply_to": {"event_id": "$q"}}});
    let table = [
        ("> <@a:b> old\n> more\n\nnew\n> own", "new\n> own"),
        ("> * <@a:b> waves\n\nnew", "new"),
        ("> <@a:b> old\nnew", "new"),
        ("> my own quotation\n\nnew", "> my own quotation\n\nnew"),
        ("new", "new"),
    ];
    for (text, expected) in table {
        assert_eq!(body(&reply(text)), expected, "{text}");
    }
    assert_eq!(message(&reply("x")).reply_to.unwrap(), "$q");
    assert_eq!(body(&json!({"msgtype": "m.text", "body": "> <@a:b> kept"})), "> <@a:b> kept");
    let mut rich = reply("> <@a:b> old\n\nnew");
    rich["format"] = json!("org.matrix.custom.html");
    rich["formatted_body"] = json!("<mx-reply><blockquote>old</blockquote></mx-reply>new <i>x</i>");
    assert_eq!(body(&rich), "new x");
}

#[test]
fn a_thread_is_an_answer_only_if_it_says_so() {
    let thread = |falling_back: bool| {
        json!({"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.thread", "event_id": "$root",
            "is_falling_back": falling_back, "m.in_reply_to": {"event_id": "$last"}}})
    };
    assert_eq!(message(&thread(true)).reply_to, None);
    assert_eq!(message(&thread(false)).reply_to.unwrap(), "$last");
}

#[test]
fn mentions_are_those_the_message_names() {
    let content = |mentions: Value| {
        json!({"msgtype": "m.text", "body": "Li", "format": "org.matrix.custom.html", "m.mentions": mentions,
            "formatted_body": "<a href=\"https://matrix.to/#/@dingtalk_=4ci:a.b\">Li</a> @room"})
    };
    let targets = |mentions: Value| {
        let mut targets = Vec::new();
        message(&content(mentions))
            .body
            .each_mention(&mut |Mention { target, .. }| targets.push(target.clone()));
        targets
    };
    let li = Target::User(UserId::parse("@dingtalk_=4ci:a.b").unwrap());
    assert_eq!(targets(json!({"user_ids": ["@dingtalk_=4ci:a.b", 5]})), std::slice::from_ref(&li));
    assert_eq!(targets(json!({"room": true})), [Target::Everybody]);
    assert_eq!(targets(json!({})), []);
    assert_eq!(targets(json!("?")), [li]);
}

#[test]
fn a_place_has_its_address() {
    let place = json!({"msgtype": "m.location", "body": "Office", "geo_uri": "geo:30.1,120.2;u=35"});
    assert_eq!(body(&place), "Office\ngeo:30.1,120.2;u=35");
    assert_eq!(body(&json!({"msgtype": "m.location", "geo_uri": "javascript:x"})), "");
}

fn file(kind: &str, content: &Value) -> RoomFile {
    match what(kind, content) {
        RoomEventKind::File(file) => *file,
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_are_decoded_with_all_that_is_known() {
    let photo = json!({"msgtype": "m.image", "body": "look at **this**", "filename": "../a\u{7}/b.png",
        "format": "org.matrix.custom.html", "formatted_body": "look at <b>this</b>", "url": "mxc://acme.example/abc",
        "info": {"mimetype": "image/png", "size": 1234.0, "w": 640, "h": 480, "thumbnail_url": "mxc://acme.example/t"},
        "m.relates_to": {"m.in_reply_to": {"event_id": "$1:x"}}, "m.mentions": {}});
    let sound =
        json!({"msgtype": "m.audio", "body": "song.mp3", "url": "mxc://a/b", "info": {"duration": 4000}});
    let mut voice = sound.clone();
    voice["org.matrix.msc3245.voice"] = json!({});
    let bare = json!({"body": "Cat waving", "url": "mxc://a/b", "info": 7});
    assert_debug_snapshot!([
        file("m.room.message", &photo),
        file("m.room.message", &sound),
        file("m.room.message", &voice),
        file(
            "m.room.message",
            &json!({"msgtype": "m.file", "url": "mxc://a/b", "info": {"size": -1, "w": 1e99}})
        ),
        file("m.sticker", &bare),
    ]);
}

#[test]
fn a_corrected_caption_is_a_corrected_text() {
    let edit = json!({"msgtype": "m.image", "body": "* new", "url": "mxc://a/b",
        "m.new_content": {"msgtype": "m.image", "body": "new", "filename": "a.png", "url": "mxc://a/b"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": "$1:x"}});
    let edit = message(&edit);
    assert_eq!(edit.body.to_plain_text(), "new");
    assert!(edit.replaces.is_some());
}

#[test]
fn an_address_that_is_none_is_no_file() {
    for url in
        ["https://evil.example/a", "mxc://", "mxc://a", "mxc://a/b/c", "mxc://a/../b", "", "mxc://a b/c"]
    {
        let content = json!({"msgtype": "m.file", "body": "x", "url": url});
        let found = what("m.room.message", &content);
        assert_eq!(found, RoomEventKind::Unsupported { kind: "m.file".into() }, "{url}");
    }
}

#[test]
fn an_encrypted_file_comes_with_what_opens_it() {
    use bridge_core::event::{FileKey, FileKind};

    let key = FileKey { key: [1; 32], iv: [2; 16], sha256: Some([3; 32]) };
    let content = crate::wire::file::file_content(&crate::wire::file::FileContent {
        kind: FileKind::Picture,
        name: "a.png",
        uri: "mxc://a/b".into(),
        key: Some(&key),
        content_type: "image/png",
        size: Some(17),
        dimensions: None,
        duration: None,
        reply_to: None,
    });
    let read = |content: &str| what("m.room.message", &serde_json::from_str(content).unwrap());
    let RoomEventKind::File(file) = read(&content) else { panic!("no file") };
    assert!(file.key == Some(key) && file.uri == "mxc://a/b");
    // Some clients pad, and a way that nobody knows opens nothing.
    let padded = content.replace("AwMDAwM\"}", "AwMDAwM=\"}");
    assert_ne!(padded, content);
    assert!(matches!(read(&padded), RoomEventKind::File(_)));
    for (from, to) in
        [("\"v2\"", "\"v3\""), ("A256CTR", "A128CTR"), ("AwMDAwM\"}", "AwMD\"}"), ("mxc://", "x://")]
    {
        let strange = content.replace(from, to);
        assert_eq!(read(&strange), RoomEventKind::Unsupported { kind: "m.image".into() }, "{to}");
    }
}

#[test]
fn what_cannot_cross_has_a_name() {
    let unsupported = |kind: &str| RoomEventKind::Unsupported { kind: kind.to_owned() };
    // Without an address, or without what opens it, there is no file to hand over.
    for kind in ["m.image", "m.file", "m.audio", "m.video", "com.example.new"] {
        assert_eq!(
            what("m.room.message", &json!({"msgtype": kind, "body": "x", "file": {"url": "mxc://a/b"}})),
            unsupported(kind)
        );
    }
    assert_eq!(what("m.room.message", &json!({"msgtype": "m.text"})), unsupported("m.text"));
    assert_eq!(what("m.room.message", &json!({"msgtype": "ü\n".repeat(60)})), unsupported(&"ü".repeat(32)));
    assert_eq!(what("m.sticker", &json!({"body": "x"})), unsupported("m.sticker"));
    assert_eq!(what("m.poll.start", &json!({"m.poll": {}})), unsupported("m.poll.start"));
}

#[test]
fn redacted_and_unknown_events_are_ignored() {
    for kind in
        ["m.room.message", "m.room.encrypted", "m.sticker", "m.reaction", "m.room.redaction", "m.typing", "x"]
    {
        assert_eq!(what(kind, &json!({})), RoomEventKind::Ignored, "{kind}");
    }
    assert_eq!(
        what("m.room.message", &json!({"msgtype": "m.key.verification.request"})),
        RoomEventKind::Ignored
    );
    assert_eq!(what("m.room.message", &json!(7)), RoomEventKind::Ignored);
    assert_eq!(what("m.room.member", &json!({"membership": "join"})), RoomEventKind::Ignored, "no state");
    assert_eq!(
        state("m.room.message", "", &json!({"msgtype": "m.text", "body": "x"})),
        RoomEventKind::Ignored
    );
    assert_eq!(state("m.room.member", "nobody", &json!({"membership": "join"})), RoomEventKind::Ignored);
    assert_eq!(state("m.room.encryption", "x", &json!({"algorithm": "a"})), RoomEventKind::Ignored);
    assert_eq!(state("m.room.tombstone", "", &json!({"replacement_room": "x"})), RoomEventKind::Ignored);
}

#[test]
fn state_is_decoded() {
    let member = |membership: &str, is_direct: Value| match state(
        "m.room.member",
        "@bot:b",
        &json!({"membership": membership, "is_direct": is_direct}),
    ) {
        RoomEventKind::Membership { user, membership, is_direct } if user == "@bot:b" => {
            (membership, is_direct)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(member("invite", json!(true)), (Membership::Invite, true));
    assert_eq!(member("join", json!(null)), (Membership::Join, false));
    assert_eq!(member("leave", json!("true")), (Membership::Leave, false));
    assert_eq!(member("ban", json!(false)), (Membership::Leave, false));
    assert_eq!(member("knock", json!(1)), (Membership::Other, false));
    assert_eq!(state("m.room.encryption", "", &json!({"algorithm": "x"})), RoomEventKind::EncryptionOn);
    assert_eq!(
        what("m.room.encrypted", &json!({"algorithm": "x", "ciphertext": "y"})),
        RoomEventKind::Encrypted
    );
    let replacement = RoomId::parse("!new").unwrap();
    assert_eq!(
        state("m.room.tombstone", "", &json!({"replacement_room": "!new"})),
        RoomEventKind::Tombstone { replacement }
    );
}

#[test]
fn what_is_no_event_is_an_error() {
    let table = [
        (&b"[]"[..], DecodeError::NotAnObject),
        (b"\xff", DecodeError::NotAnObject),
        (b"{}", DecodeError::Missing("type")),
        (br#"{"type":"x"}"#, DecodeError::Missing("event_id")),
        (br#"{"type":"x","event_id":"e"}"#, DecodeError::Missing("event_id")),
        (br#"{"type":"x","event_id":"$e","room_id":"r"}"#, DecodeError::Missing("room_id")),
        (br#"{"type":"x","event_id":"$e","room_id":"!r","sender":"a"}"#, DecodeError::Missing("sender")),
    ];
    for (raw, error) in table {
        assert_eq!(decode(raw).unwrap_err(), error);
    }
    for ts in ["-5", "1.5", "\"x\"", "1e999", "99999999999999999999"] {
        let raw = format!(
            r#"{{"type":"x","event_id":"$e","room_id":"!r","sender":"@a:b","origin_server_ts":{ts}}}"#
        );
        assert_eq!(decode(raw.as_bytes()).unwrap().sent_at, Timestamp(0), "{ts}");
    }
}

proptest! {
    #[test]
    fn no_content_panics(content in "\\PC{0,80}", body in "\\PC{0,80}") {
        let _ = decode(format!(r#"{{"type":"m.room.message","event_id":"$e","room_id":"!r","sender":"@a:b","content":{content}}}"#).as_bytes());
        let _ = what("m.room.message", &json!({"msgtype": "m.text", "body": body,
            "m.relates_to": {"m.in_reply_to": {"event_id": "$q"}}}));
    }
}
