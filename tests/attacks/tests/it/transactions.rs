//! Requests to the homeserver's door, by strangers and by a homeserver that has gone mad.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{Answer, Stage, WEBHOOK, now_ms, on_stage};

impl Stage {
    fn bearer(&self) -> Vec<(&'static str, String)> {
        vec![("authorization", format!("Bearer {}", self.hs_token))]
    }

    async fn transaction(&self, query: &str, headers: &[(&'static str, String)], body: Vec<u8>) -> Answer {
        let path = format!("/_matrix/app/v1/transactions/{}{query}", now_ms());
        self.ask(Method::PUT, &path, headers, body).await
    }

    /// A message of the first user, as the homeserver would push it.
    fn message(&self, text: &str) -> Value {
        json!({
            "type": "m.room.message",
            "event_id": format!("${}:demo.localhost", self.unique("forged").replace([' ', '(', ')'], "")),
            "room_id": self.chat().room_id,
            "sender": self.user().user_id(),
            "origin_server_ts": now_ms(),
            "content": {"msgtype": "m.text", "body": text},
        })
    }
}

#[test]
fn a_stranger_is_no_homeserver() {
    on_stage(async |stage| {
        let body = || json!({"events": [stage.message("this must not arrive")]}).to_string().into_bytes();
        let right = &stage.hs_token;
        let header = |value: String| vec![("authorization", value)];
        let before = stage.before().await;
        for (name, query, headers, status, code, errcode) in [
            ("no token", String::new(), vec![], 401, "missing_token", "M_MISSING_TOKEN"),
            ("an empty token", "?access_token=".to_owned(), vec![], 401, "missing_token", "M_MISSING_TOKEN"),
            (
                "a wrong token",
                String::new(),
                header("Bearer wrong".into()),
                403,
                "wrong_token",
                "M_FORBIDDEN",
            ),
            (
                "a wrong token in the query",
                "?access_token=wrong".into(),
                vec![],
                403,
                "wrong_token",
                "M_FORBIDDEN",
            ),
            (
                "two that differ",
                "?access_token=wrong".into(),
                stage.bearer(),
                403,
                "wrong_token",
                "M_FORBIDDEN",
            ),
            (
                "two in the query",
                format!("?access_token={right}&access_token=x"),
                vec![],
                403,
                "wrong_token",
                "M_FORBIDDEN",
            ),
            (
                "another scheme",
                String::new(),
                header(format!("Basic {right}")),
                403,
                "wrong_token",
                "M_FORBIDDEN",
            ),
            (
                "half of it",
                String::new(),
                header(format!("Bearer {}", &right[1..])),
                403,
                "wrong_token",
                "M_FORBIDDEN",
            ),
        ] {
            let labels = [("door", "transactions"), ("code", code)];
            let refused = stage.figure("refused_total", &labels).await;
            let answer = stage.transaction(&query, &headers, body()).await;
            assert_eq!(answer.status, status, "{name}: {}", answer.text);
            assert!(answer.text.contains(errcode), "{name}: {}", answer.text);
            stage.wait_figure("refused_total", &labels, refused + 1.0).await;
        }
        let left = stage.left(&before).await;
        assert!(left.in_rooms.is_empty() && left.in_chats.is_empty(), "{left:?}");
    });
}

#[test]
fn a_body_that_is_no_transaction_is_refused() {
    on_stage(async |stage| {
        let labels = [("door", "transactions"), ("code", "no_transaction")];
        for body in
            ["", "events", "[]", r#"{"events":{}}"#, r#"{"events":[}"#, &"[".repeat(100_000), "\u{feff}{}"]
        {
            let refused = stage.figure("refused_total", &labels).await;
            let answer = stage.transaction("", &stage.bearer(), body.as_bytes().to_vec()).await;
            let shown = &body[..body.len().min(20)];
            assert_eq!(answer.status, 400, "{shown}: {}", answer.text);
            assert!(answer.text.contains("M_NOT_JSON"), "{shown}: {}", answer.text);
            stage.wait_figure("refused_total", &labels, refused + 1.0).await;
        }
    });
}

#[test]
fn a_poisoned_event_spoils_no_other() {
    on_stage(async |stage| {
        let message = |text: &str| stage.message(text).to_string();
        let with = |key: &str, value: &str| {
            let mut event = stage.message("poison");
            event[key] = json!("POISON");
            event.to_string().replace("\"POISON\"", value)
        };
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        // Whether one has an id decides whether it is refused at the door or looked at later; neither may spoil others.
        let refused = ["null", "17", "\"x\"", "[]", "{}", "[[{}]]"].map(str::to_owned).into_iter().chain([
            with("event_id", "5"),
            with("event_id", "null"),
            with("event_id", "\"no sigil\""),
            with("event_id", &format!("\"${}\"", "x".repeat(300))),
            with("room_id", "{\"a\":1}"),
            with("room_id", "\"\""),
            with("padding", &format!("\"{}\"", "x".repeat(200_000))),
        ]);
        let silent = [
            with("type", "7"),
            with("type", "\"m.room.member\""),
            with("type", "\"m.room.encryption\""),
            with("type", "\"org.example.unknown\""),
            with("sender", "null"),
            with("sender", "\"nobody\""),
            with("sender", "{}"),
            with("content", "null"),
            with("content", "\"text\""),
            with("content", &deep),
            with("content", r#"{"msgtype":5,"body":1.5}"#),
            with("content", r#"{"msgtype":"m.text","body":{"a":[]}}"#),
        ];
        let odd = [
            (
                r#"{"msgtype":"m.text","body":"BODY","n":1.5,"m":123456789012345678901234567890,"e":1e999}"#,
                "numbers",
            ),
            (r#"{"msgtype":"m.text","body":"BODY","format":7,"formatted_body":["x"]}"#, "format"),
            (r#"{"msgtype":"m.text","body":"BODY","m.relates_to":"x","m.mentions":[1]}"#, "relation"),
            (r#"{"body":"BODY","msgtype":"m.text","x":"\ud800"}"#, "half a character"),
        ];
        let before = stage.before().await;
        let labels = [("door", "transactions"), ("code", "malformed_event")];
        let counted = stage.figure("refused_total", &labels).await;
        let mut expected = Vec::new();
        let mut good = |what: &str| {
            let text = stage.unique(what);
            expected.push(text.clone());
            text
        };
        let refused: Vec<String> = refused.collect();
        let poisons = refused.len();
        for poison in refused.into_iter().chain(silent) {
            let body =
                format!("{{\"events\":[{},{poison},{}]}}", message(&good("first")), message(&good("last")));
            let answer = stage.transaction("", &stage.bearer(), body.into_bytes()).await;
            let shown: String = poison.chars().take(200).collect();
            assert_eq!(answer.status, 200, "{shown}: {}", answer.text);
        }
        for (content, what) in odd {
            let event = with("content", &content.replace("BODY", &good(what)));
            let event = event.replace(&now_ms().to_string()[..10], "1.5");
            let body = format!("{{\"events\":[{event}],\"ephemeral\":5,\"unknown\":[1e999]}}");
            let answer = stage.transaction("", &stage.bearer(), body.into_bytes()).await;
            assert_eq!(answer.status, 200, "{what}: {}", answer.text);
        }
        let mut bytes = format!("{{\"events\":[{},", message(&good("first"))).into_bytes();
        let at = bytes.len();
        bytes.extend(with("content", "{\"body\":\"\x01\"}").bytes());
        let broken = bytes[at..].iter().position(|byte| *byte == 1).unwrap() + at;
        bytes[broken] = 0xff;
        bytes.extend(format!(",{}]}}", message(&good("last"))).bytes());
        let answer = stage.transaction("", &stage.bearer(), bytes).await;
        assert_eq!(answer.status, 200, "not UTF-8: {}", answer.text);

        let left = stage.left(&before).await;
        let poisons = f64::from(u32::try_from(poisons).unwrap());
        stage.wait_figure("refused_total", &labels, counted + poisons).await;
        for text in &expected {
            let came = left.in_chats.iter().filter(|sent| sent.says(text)).count();
            assert_eq!(came, 1, "{text}: {left:?}");
        }
        assert_eq!(left.in_chats.len(), expected.len(), "{left:?}");
    });
}

#[test]
fn other_paths_and_methods_are_named_as_such() {
    on_stage(async |stage| {
        let transaction = "/_matrix/app/v1/transactions/1";
        for (method, path, status, errcode) in [
            (Method::GET, "/", 404, "M_UNRECOGNIZED"),
            (Method::GET, "/_matrix/client/v3/sync", 404, "M_UNRECOGNIZED"),
            (Method::GET, "/_matrix/app/v1/transactions/../../../etc/passwd", 404, "M_UNRECOGNIZED"),
            (Method::GET, "/_matrix/app/v1/%2e%2e/%ff", 404, "M_UNRECOGNIZED"),
            (Method::GET, "/metrics", 404, "M_UNRECOGNIZED"),
            (Method::GET, "/livez", 404, "M_UNRECOGNIZED"),
            (Method::POST, transaction, 405, "M_UNRECOGNIZED"),
            (Method::GET, transaction, 405, "M_UNRECOGNIZED"),
            (Method::GET, "/_matrix/app/v1/ping", 405, "M_UNRECOGNIZED"),
            (Method::POST, "/_matrix/app/v1/ping", 200, "{}"),
            (Method::GET, "/_matrix/app/v1/users/%40nobody%3Aelsewhere", 404, "M_NOT_FOUND"),
            (Method::GET, WEBHOOK, 200, ""),
            (Method::PUT, WEBHOOK, 405, ""),
        ] {
            let answer = stage.ask(method.clone(), path, &stage.bearer(), vec![]).await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
            assert!(answer.text.contains(errcode), "{method} {path}: {}", answer.text);
        }
    });
}

#[test]
fn too_many_headers_are_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    on_stage(async |stage| {
        let before = stage.before().await;
        for (count, path) in [(70, WEBHOOK), (10_000, WEBHOOK), (70, "/_matrix/app/v1/ping")] {
            let address = stage.origin().strip_prefix("http://").unwrap();
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let mut head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n");
            for number in 0..count {
                write!(head, "x-{number}: 1\r\n").unwrap();
            }
            head.push_str("\r\n");
            // It may close before all of it is written.
            let _ = stream.write_all(head.as_bytes()).await;
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{count} headers: {answer}");
        }
        let left = stage.left(&before).await;
        assert!(left.in_rooms.is_empty() && left.in_chats.is_empty(), "{left:?}");
    });
}
