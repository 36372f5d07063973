//! What comes from the homeserver, which passes on what anybody on the federation writes.

use std::sync::LazyLock;

use bridge_core::clock::Timestamp;
use bridge_core::event::Manner;
use bridge_dingtalk::wire::markdown;
use bridge_dingtalk::wire::render::{Channel, Outgoing};
use bridge_matrix::wire::event;
use bridge_matrix::wire::html::{Addressees, document};
use bridge_matrix::wire::render::{MessageMeta, message_content};
use bridge_matrix::wire::transaction::{OwnUsers, envelopes};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::broken::broken;

fn own() -> OwnUsers {
    OwnUsers {
        bot: "@dingtalkbot:acme.example".try_into().unwrap(),
        sender: "@dingtalk:acme.example".try_into().unwrap(),
        ghost_prefix: "dingtalk_".to_owned(),
        server: "acme.example".try_into().unwrap(),
    }
}

fn room_event(kind: &str, content: &Value) -> Value {
    json!({
        "type": kind,
        "event_id": "$event:acme.example",
        "room_id": "!room:acme.example",
        "sender": "@alice:acme.example",
        "origin_server_ts": 1_767_225_600_000_i64,
        "content": content,
    })
}

/// Events of all kinds that mean something to the bridge.
static EVENTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let html = "<p>Hi <a href=\"https://matrix.to/#/@dingtalk_a:acme.example\">A</a></p><ul><li>1<ol><li>2</li></ol></li></ul>";
    let mut events = vec![
        room_event("m.room.message", &json!({"msgtype": "m.text", "body": "hello"})),
        room_event(
            "m.room.message",
            &json!({
                "msgtype": "m.text", "body": "Hi A", "format": "org.matrix.custom.html", "formatted_body": html,
                "m.mentions": {"user_ids": ["@dingtalk_a:acme.example"], "room": true},
                "m.relates_to": {"m.in_reply_to": {"event_id": "$other"}},
            }),
        ),
        room_event(
            "m.room.message",
            &json!({
                "msgtype": "m.text", "body": "* new", "m.new_content": {"msgtype": "m.text", "body": "new"},
                "m.relates_to": {"rel_type": "m.replace", "event_id": "$other"},
            }),
        ),
        room_event("m.room.message", &json!({"msgtype": "m.emote", "body": "waves"})),
        room_event(
            "m.room.message",
            &json!({
                "msgtype": "m.image", "body": "a.png", "url": "mxc://acme.example/abc",
                "info": {"size": 5, "mimetype": "image/png", "w": 1, "h": 1},
            }),
        ),
        room_event("m.room.encrypted", &json!({"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"})),
        room_event("m.room.tombstone", &json!({"body": "moved", "replacement_room": "!new:acme.example"})),
        room_event(
            "m.reaction",
            &json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": "$o", "key": "👍"}}),
        ),
        room_event("m.room.redaction", &json!({"redacts": "$other"})),
    ];
    let mut member = room_event("m.room.member", &json!({"membership": "invite", "is_direct": true}));
    member["state_key"] = json!("@dingtalkbot:acme.example");
    events.push(member);
    events.iter().map(|event| event.to_string().into_bytes()).collect()
});

static TRANSACTIONS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let events: Vec<Value> = EVENTS.iter().map(|event| serde_json::from_slice(event).unwrap()).collect();
    vec![json!({"events": events}).to_string().into_bytes(), json!({"events": []}).to_string().into_bytes()]
});

/// What the bridge writes as HTML; everything else is text.
const TAGS: &[&str] = &[
    "a",
    "blockquote",
    "br",
    "code",
    "del",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "strong",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "u",
    "ul",
    "span",
    "img",
    "font",
    "s",
];

/// Whether each `<` of a text begins a tag that the bridge writes, without handlers and other places of code.
fn is_harmless(html: &str) -> bool {
    html.split('<').skip(1).all(|rest| {
        let Some((inside, _)) = rest.split_once('>') else { return false };
        let name = inside.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        let low = inside.to_ascii_lowercase();
        TAGS.contains(&name)
            && !low.contains(" on")
            && !low.contains("javascript:")
            && !low.contains("style=")
    })
}

proptest! {
    #[test]
    fn a_transaction_is_taken_or_refused(body in broken(&TRANSACTIONS)) {
        if let Ok(transaction) = envelopes(&body, &own(), Timestamp(0)) {
            for envelope in transaction.envelopes {
                prop_assert!(envelope.body.len() <= body.len());
                let _ = event::decode(&envelope.body);
            }
        }
    }

    #[test]
    fn an_event_is_decoded_or_kept_aside(body in broken(&EVENTS)) {
        let _ = event::decode(&body);
    }

    #[test]
    fn html_of_strangers_is_read_and_written_to_dingtalk(
        html in "(<[/!]?[a-z]{1,6}( [a-z]{2,6}=[\"']?[a-z:/#@.]{0,12}[\"']?)?>?|&[a-z#0-9]{0,6};?|\\PC{0,6}|\n){0,60}",
        users in prop::option::of(prop::collection::vec("@[a-z]{1,5}:[a-z]{1,5}", 0..3)),
        room: bool,
    ) {
        let document = document(&html, &Addressees { users, room });
        for channel in [Channel::Robot, Channel::Session] {
            let _ = Outgoing::render(&document, channel).measure();
        }
    }

    #[test]
    fn nothing_from_dingtalk_becomes_html_of_its_own(
        text in "(<[/!]?[a-zA-Z]{1,6}( on[a-z]{2,6}=[\"'].{0,6}[\"'])?>?|[*_`~!#|-]|\\[.{0,5}\\]\\((javascript:|https://|data:)?.{0,6}\\)|\\PC{0,6}|\n){0,60}",
    ) {
        let document = markdown::parse(&text);
        let content = message_content(&document, Manner::Text, &MessageMeta::mentioning(&document));
        let content: Value = serde_json::from_str(&content).unwrap();
        let html = content["formatted_body"].as_str().unwrap_or_default();
        prop_assert!(is_harmless(html), "{html}");
    }
}

#[test]
fn the_look_for_harm_finds_it() {
    for harmful in
        ["<script>x</script>", "<p onclick=\"x\">", "<a href=\"javascript:x\">", "<p", "<p style=\"x\">"]
    {
        assert!(!is_harmless(harmful), "{harmful}");
    }
    assert!(is_harmless("<p>a &lt;script&gt; <br><a href=\"https://a.example/\">b</a></p>"));
}
