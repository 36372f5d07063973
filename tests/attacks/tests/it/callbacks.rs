//! Bot callbacks that are forged, stale, too large or no callbacks.

use dingtalk_sandbox::sign;
use serde_json::{Value, json};

use crate::stage::{Case, LIMIT, Stage, body, now_ms, on_stage};

/// One hour, the window of a callback, is this far away from the tested times.
const MINUTE_MS: i64 = 60_000;

fn case(name: &'static str, code: &'static str, status: u16, headers: Vec<(&'static str, String)>) -> Case {
    Case { name, code, status, query: String::new(), headers, body: Vec::new() }
}

#[test]
fn a_callback_that_proves_nothing_is_refused() {
    on_stage(async |stage| {
        let now = now_ms().to_string();
        let [timestamp, signature] = stage.signed_at(0).try_into().unwrap();
        let with = |signature: String| vec![("timestamp", now.clone()), ("sign", signature)];
        let mut cases = vec![
            case("wrong signature", "signature", 401, with("AAAA".repeat(11))),
            case("empty signature", "signature", 401, with(String::new())),
            case("another secret", "signature", 401, with(sign("another secret", &now))),
            case("the empty secret", "signature", 401, with(sign("", &now))),
            case("another time's signature", "signature", 401, with(sign(stage.secret(), "1"))),
            case("no timestamp", "no_timestamp", 401, vec![signature]),
            case("no signature", "no_sign", 401, vec![timestamp]),
            case("neither", "no_timestamp", 401, vec![]),
            case("61 minutes old", "stale", 401, stage.signed_at(-61 * MINUTE_MS)),
            case("61 minutes early", "stale", 401, stage.signed_at(61 * MINUTE_MS)),
        ];
        for odd in ["", "soon", "1e12", "9223372036854775808", "-9223372036854775808", "0"] {
            let signed = vec![("timestamp", odd.to_owned()), ("sign", sign(stage.secret(), odd))];
            cases.push(case("a time that is none", "stale", 401, signed));
        }
        for case in &mut cases {
            case.body = stage.callback("this must not arrive").to_string().into_bytes();
        }
        stage.expect_refusals(cases).await;
    });
}

#[test]
fn a_signed_body_that_is_no_message_is_refused() {
    on_stage(async |stage| {
        let without = |name: &str| {
            let mut callback = stage.callback("this must not arrive");
            callback.as_object_mut().unwrap().remove(name);
            callback.to_string().into_bytes()
        };
        let with = |name: &str, value: Value| {
            let mut callback = stage.callback("this must not arrive");
            callback[name] = value;
            callback.to_string().into_bytes()
        };
        let mut not_text = with("x", json!("?"));
        let at = not_text.iter().position(|byte| *byte == b'?').unwrap();
        not_text[at] = 0xff;
        let mut too_large = with("x", json!("x".repeat(1 << 20)));
        too_large.truncate((1 << 20) + 1);
        let cases = [
            ("one byte too large", "body_too_large", 413, too_large),
            ("not UTF-8", "not_text", 400, not_text),
            ("empty", "not_json", 400, vec![]),
            ("not JSON", "not_json", 400, b"msgId=1".to_vec()),
            ("broken off", "not_json", 400, br#"{"msgId":"a","conversationId":"b""#.to_vec()),
            ("a list", "not_json", 400, b"[]".to_vec()),
            ("nested", "not_json", 400, "[".repeat(100_000).into_bytes()),
            ("nested in an object", "not_json", 400, r#"{"a":"#.repeat(100_000).into_bytes()),
            ("no message id", "no_message_id", 400, without("msgId")),
            ("an empty message id", "no_message_id", 400, with("msgId", json!(""))),
            (
                "a message id of 10,000 characters",
                "no_message_id",
                400,
                with("msgId", json!("m".repeat(10_000))),
            ),
            ("a message id with a line break", "no_message_id", 400, with("msgId", json!("a\nb"))),
            ("a message id that is a list", "no_message_id", 400, with("msgId", json!(["a"]))),
            ("no conversation", "no_chat", 400, without("conversationId")),
            (
                "a conversation of 10,000 characters",
                "no_chat",
                400,
                with("conversationId", json!("c".repeat(10_000))),
            ),
        ];
        let cases = cases
            .into_iter()
            .map(|(name, code, status, body)| Case { body, ..case(name, code, status, stage.signed_at(0)) });
        stage.expect_refusals(cases.collect()).await;
    });
}

#[test]
fn what_is_unusual_but_right_crosses_once() {
    on_stage(async |stage| {
        let before = stage.before().await;
        let mut expected = Vec::new();
        for from_now in [-59, 59] {
            let text = stage.unique("within the hour");
            let body = stage.callback(&text).to_string().into_bytes();
            let answer = stage.push("", &stage.signed_at(from_now * MINUTE_MS), body).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            expected.push(text);
        }
        let largest = {
            let mut callback = stage.callback("x");
            let text = stage.unique("the largest body");
            callback["text"]["content"] = json!(text);
            callback["padding"] = json!("");
            let missing = (1 << 20) - callback.to_string().len();
            callback["padding"] = json!("p".repeat(missing));
            assert_eq!(callback.to_string().len(), 1 << 20);
            (text, callback.to_string())
        };
        let unknown = {
            let text = stage.unique("unknown fields");
            let mut callback = stage.callback(&text);
            callback["fromTheFuture"] =
                json!({"a": [1.5, null, {"b": 1e300}], "": "", "msgId": "not this one"});
            callback["text"]["more"] = json!([[]]);
            (text, callback.to_string())
        };
        let nested = {
            let text = stage.unique("nested where nobody looks");
            let mut callback = stage.callback(&text);
            callback["deep"] = json!("DEEP");
            let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
            (text, callback.to_string().replace("\"DEEP\"", &deep))
        };
        for (text, body) in [largest, unknown, nested] {
            let answer = stage.push("", &stage.signed_at(0), body.into_bytes()).await;
            assert_eq!(answer.status, 200, "{text}: {}", answer.text);
            expected.push(text);
        }
        let left = stage.left(&before).await;
        assert_eq!(left.texts(), expected);
        assert!(left.in_chats.is_empty(), "{left:?}");
    });
}

#[test]
fn a_message_that_comes_twice_crosses_once() {
    on_stage(async |stage| {
        let before = stage.before().await;
        let duplicates = stage.figure("duplicates_total", &[]).await;
        let text = stage.unique("twice");
        let mut callback = stage.callback(&text);
        stage.push_callback(&callback).await;
        stage.push_callback(&callback).await;
        // The id counts, not the words.
        callback["text"]["content"] = json!("other words, same id");
        stage.push_callback(&callback).await;
        stage.wait_figure("duplicates_total", &[], duplicates + 2.0).await;
        assert_eq!(stage.left(&before).await.texts(), [text]);
    });
}

#[test]
fn a_kind_that_nobody_knows_is_shown_as_a_notice() {
    on_stage(async |stage| {
        let before = stage.before().await;
        let mut expected = Vec::new();
        for content in [json!({"words": "inside"}), json!(null), json!(17), json!([[[]]])] {
            let kind = format!("hologram{}", expected.len());
            let mut callback = stage.callback("");
            callback.as_object_mut().unwrap().remove("text");
            callback["msgtype"] = json!(kind);
            callback["content"] = content;
            stage.push_callback(&callback).await;
            expected.push(kind);
        }
        let left = stage.left(&before).await;
        assert_eq!(left.in_rooms.len(), expected.len(), "{left:?}");
        for (event, kind) in left.in_rooms.iter().zip(&expected) {
            assert!(event["content"]["msgtype"] == "m.notice" && body(event).contains(kind), "{event}");
        }
    });
}

#[test]
fn a_message_of_the_wrong_types_does_not_stop_the_next() {
    on_stage(async |stage| {
        let before = stage.before().await;
        let wrong =
            [json!(null), json!(5), json!("x"), json!([1]), json!({"a": {}}), json!(true), json!(-1e300)];
        let fields = ["msgtype", "text", "content", "createAt", "conversationType", "atUsers", "senderNick"];
        for (field, value) in fields.iter().flat_map(|field| wrong.iter().map(move |value| (field, value))) {
            let mut callback = stage.callback("whatever this is, it is not lost");
            callback[*field] = value.clone();
            stage.push_callback(&callback).await;
        }
        // Every one is shown in some form: none is silent, none blocks its chat.
        let left = stage.left(&before).await;
        assert_eq!(left.in_rooms.len(), fields.len() * wrong.len(), "{left:?}");
        assert!(left.in_chats.is_empty(), "{left:?}");
    });
}

#[test]
fn an_address_for_answers_that_is_not_dingtalks_is_never_called() {
    on_stage(async |stage| {
        let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        trap.set_nonblocking(true).unwrap();
        let port = trap.local_addr().unwrap().port();
        let addresses = [
            format!("http://127.0.0.1:{port}/robot/sendBySession?session=1"),
            format!("http://localhost:{port}/robot/sendBySession?session=1"),
            format!("http://[::ffff:127.0.0.1]:{port}/robot/sendBySession?session=1"),
            format!("http://2130706433:{port}/robot/sendBySession?session=1"),
            format!("https://oapi.dingtalk.com@127.0.0.1:{port}/robot/sendBySession?session=1"),
            format!("https://oapi.dingtalk.com:443@127.0.0.1:{port}/"),
            format!("{}@127.0.0.1:{port}/", stage.world.sandbox().url()),
            format!("https://127.0.0.1:{port}\\@oapi.dingtalk.com/"),
            format!("https://127.0.0.1:{port}#.dingtalk.com/"),
            "http://169.254.169.254/latest/meta-data/".to_owned(),
            "https://169.254.169.254/latest/meta-data/".to_owned(),
            "http://oapi.dingtalk.com.evil.example/robot/sendBySession?session=1".to_owned(),
            "https://oapi.dingtalk.com.evil.example/robot/sendBySession?session=1".to_owned(),
            "https://evildingtalk.com/robot/sendBySession?session=1".to_owned(),
            "http://oapi.dingtalk.com/robot/sendBySession?session=1".to_owned(),
            "https://oapi.dingtalk.com:8443/robot/sendBySession?session=1".to_owned(),
            "file:///etc/passwd".to_owned(),
            "not an address".to_owned(),
        ];
        let before = stage.before().await;
        let labels = [("door", "callback"), ("code", "session_host")];
        let refused = stage.figure("refused_total", &labels).await;
        for (number, address) in addresses.iter().enumerate() {
            let text = stage.unique("answer me there");
            let mut callback = stage.callback(&text);
            callback["sessionWebhook"] = json!(address);
            // It would live longer than the one that is known, and replace it.
            callback["sessionWebhookExpiredTime"] = json!(now_ms() + 600 * MINUTE_MS);
            stage.push_callback(&callback).await;
            let ghost = stage.wait_in_room(&text).await["sender"].as_str().unwrap().to_owned();
            let count = f64::from(u32::try_from(number + 1).unwrap());
            stage.wait_figure("refused_total", &labels, refused + count).await;

            let call = stage.unique("you are called");
            mention(stage, &ghost, &call).await;
            let sent = stage.wait_in_chat(&call).await;
            assert_eq!(sent.channel, "session", "{address}: the mention has to ring: {sent:?}");
        }
        let left = stage.left(&before).await;
        assert_eq!(
            (left.in_rooms.len(), left.in_chats.len()),
            (addresses.len(), addresses.len()),
            "{left:?}"
        );
        // Whoever had connected would stand in the queue now.
        let called = trap.accept().map_err(|error| error.kind());
        assert_eq!(called.err(), Some(std::io::ErrorKind::WouldBlock), "the trap was called");

        // An address like these is taken and used when it is DingTalk's, here one whose session has ended.
        let text = stage.unique("answer me here");
        let mut callback = stage.callback(&text);
        let ended = format!("{}/robot/sendBySession?session=ended", stage.world.sandbox().url());
        callback["sessionWebhook"] = json!(ended);
        callback["sessionWebhookExpiredTime"] = json!(now_ms() + 600 * MINUTE_MS);
        stage.push_callback(&callback).await;
        let ghost = stage.wait_in_room(&text).await["sender"].as_str().unwrap().to_owned();
        let call = stage.unique("you are called");
        mention(stage, &ghost, &call).await;
        assert_eq!(stage.wait_in_chat(&call).await.channel, "group", "the ended session was not asked");
    });
}

async fn mention(stage: &Stage, ghost: &str, text: &str) {
    let name = stage.user().display_name(ghost).await.unwrap().unwrap_or_default();
    let content = json!({
        "msgtype": "m.text",
        "body": format!("{name} {text}"),
        "format": "org.matrix.custom.html",
        "formatted_body": format!("<a href=\"https://matrix.to/#/{ghost}\">{name}</a> {text}"),
        "m.mentions": {"user_ids": [ghost]},
    });
    let joined = async || {
        let members = stage.user().joined_members(&stage.chat().room_id).await.ok()?;
        members.contains_key(ghost).then_some(())
    };
    test_support::wait_until(LIMIT, "the ghost to be in the room", joined).await.unwrap();
    stage.user().send_content(&stage.chat().room_id, "m.room.message", &content).await.unwrap();
}
