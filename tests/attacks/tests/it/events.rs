//! Event pushes that are forged, damaged or unknown.

use dingtalk_sandbox::Envelope;
use serde_json::{Value, json};

use crate::stage::{Case, Stage, encrypted, on_stage};

/// A key that is not the subscription's.
const OTHER_KEY: &str = "k3Xv8QpZr1TmB7wLc9NfYh2JdUe5GsAo6RiCqWtVbz0";

/// A message in the form of an event.
fn chat_message(callback: &Value) -> Value {
    let mut event = callback.clone();
    event["EventType"] = json!("chat_message");
    event
}

#[test]
fn an_event_that_does_not_open_is_refused() {
    on_stage(async |stage| {
        let description = stage.world.description();
        let keys = &description.webhook;
        let plain = chat_message(&stage.callback("this must not arrive")).to_string();
        let (query, body) = Stage::sealed(&stage.keys, &plain);
        let sealed_with =
            |token: &str, key: &str, id: &str| Stage::sealed(&Envelope::new(token, key, id).unwrap(), &plain);
        let signed = |encrypt: &str| (Stage::query(&stage.keys, encrypt), encrypted(encrypt));
        let encrypt = stage.keys.seal(*b"0123456789abcdef", &plain);
        // One character more than whole groups is no Base64; one group less is, but ends within a block.
        let no_base64 = &encrypt[..=encrypt.len() / 8 * 4];
        let half_block = &encrypt[..encrypt.len() - 4];
        let forged = query.replace("signature=", "signature=0");
        let endless = format!("{query}{}", "0".repeat(300));
        let list = [
            ("wrong signature", "signature", 401, (forged, body.clone())),
            ("another token", "signature", 401, sealed_with("another", &keys.aes_key, &keys.receive_id)),
            ("another text's signature", "signature", 401, (query.clone(), encrypted("AAAA"))),
            ("another key", "cipher", 400, sealed_with(&keys.token, OTHER_KEY, &keys.receive_id)),
            ("another app", "receive_id", 400, sealed_with(&keys.token, &keys.aes_key, "dingother")),
            ("broken off", "encoding", 400, signed(no_base64)),
            ("no Base64", "encoding", 400, signed("???")),
            ("half a block", "cipher", 400, signed(half_block)),
            ("nothing", "cipher", 400, signed("")),
            ("no query", "query", 400, (String::new(), body.clone())),
            ("no nonce", "query", 400, (query.replace("nonce=", "n="), body.clone())),
            ("an endless nonce", "query", 400, (endless, body)),
            ("a list inside", "not_json", 400, Stage::sealed(&stage.keys, "[]")),
            ("nested inside", "not_json", 400, Stage::sealed(&stage.keys, &"[".repeat(100_000))),
            ("words inside", "not_json", 400, Stage::sealed(&stage.keys, "hello")),
        ];
        let cases = list.into_iter().map(|(name, code, status, (query, body))| Case {
            name,
            code,
            status,
            query,
            headers: vec![],
            body,
        });
        stage.expect_refusals(cases.collect()).await;
    });
}

#[test]
fn an_unknown_event_is_acknowledged_and_ignored() {
    on_stage(async |stage| {
        let before = stage.before().await;
        let ignored = stage.figure("ignored_events_total", &[]).await;
        let events = [
            json!({"EventType": "moon_landing", "eventId": stage.unique("e"), "data": {"where": "Tranquility"}}),
            json!({"EventType": ["not", "a", "name"], "eventId": {}, "openConversationId": stage.chat().chat_id}),
            json!({"eventId": 5, "data": "?".repeat(500_000)}),
            json!({}),
        ];
        for event in &events {
            stage.push_event(event).await;
        }
        stage.wait_figure("ignored_events_total", &[], ignored + 4.0).await;
        let left = stage.left(&before).await;
        assert!(left.in_rooms.is_empty() && left.in_chats.is_empty(), "{left:?}");
    });
}

#[test]
fn a_message_that_comes_as_event_follows_the_rules_of_callbacks() {
    on_stage(async |stage| {
        let before = stage.before().await;
        let duplicates = stage.figure("duplicates_total", &[]).await;
        let labels = [("door", "callback"), ("code", "session_host")];
        let refused = stage.figure("refused_total", &labels).await;

        let text = stage.unique("<b>an event</b> and a callback");
        let mut callback = stage.callback(&text);
        callback["sessionWebhook"] = json!("http://169.254.169.254/");
        stage.push_event(&chat_message(&callback)).await;
        stage.push_callback(&callback).await;
        stage.wait_figure("duplicates_total", &[], duplicates + 1.0).await;
        stage.wait_figure("refused_total", &labels, refused + 1.0).await;

        let left = stage.left(&before).await;
        assert_eq!(left.texts(), [text]);
        assert_eq!(left.in_rooms[0]["content"].get("formatted_body"), None, "{left:?}");
    });
}
