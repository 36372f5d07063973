//! The HTTP API: nothing for strangers, bounds for everybody, no secret in any answer, metric or log.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use test_support::free_port;

use crate::stage::Stage;

const TOKEN: &str = "api-token-0123456789-abcdefghijklmnopqrstuv";

struct Door {
    client: Client,
    base: String,
}

impl Door {
    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }
}

async fn stage(name: &str) -> (Stage, Door) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-files"));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("api-token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
    let settings = format!(
        "[api]\nlisten = \"{address}\"\ntoken_file = {}\n[log]\nfilter = \"trace\"\n",
        Value::from(file.display().to_string())
    );
    let stage = Stage::build(name, &settings).await;
    let client = Client::builder().no_proxy().build().unwrap();
    (stage, Door { client, base: format!("http://{address}") })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_closed_to_strangers_and_bounded_for_all() {
    let (stage, door) = stage("api").await;
    let good = format!("Bearer {TOKEN}");
    let wrong = format!("Bearer {}x", &TOKEN[..TOKEN.len() - 1]);
    let paths =
        ["/api/v1/status", "/api/v1/link", "/api/v1/chats", "/api/v1/failures/retry", "/nothing", "/"];
    for path in paths {
        for headers in [
            vec![],
            vec![("authorization", wrong.as_str())],
            vec![("authorization", "Bearer ")],
            vec![("authorization", TOKEN)],
            vec![("authorization", good.as_str()), ("authorization", good.as_str())],
        ] {
            for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
                let answer = door.ask(method, path, &headers, Vec::new()).await;
                assert_eq!(answer.status(), 401, "{path} {headers:?}");
                assert_eq!(answer.headers()["www-authenticate"], "Bearer");
                let text = answer.text().await.unwrap();
                let code: Value = serde_json::from_str(&text).unwrap();
                let expected = if headers.len() == 1
                    && headers[0].1.starts_with("Bearer")
                    && headers[0].1 != "Bearer "
                {
                    "wrong_token"
                } else {
                    "missing_token"
                };
                if headers.first().map(|header| header.1) != Some("Bearer ") {
                    assert_eq!(code["error"]["code"], expected, "{path} {headers:?}");
                }
                assert!(!text.contains(TOKEN));
            }
        }
    }
    // A token in the query is no token: it would stand in logs.
    let answer =
        door.ask(Method::GET, &format!("/api/v1/status?access_token={TOKEN}"), &[], Vec::new()).await;
    assert_eq!(answer.status(), 401);
    assert!(stage.figure("refused_total", &[("door", "api"), ("code", "wrong_token")]).await > 0.0);

    let shown = [("authorization", good.as_str())];
    for (method, path, body, status, code) in [
        (Method::GET, "/api/v1/nothing", vec![], 404, "unknown_path"),
        (Method::GET, "/api/v2/status", vec![], 404, "unknown_path"),
        (Method::DELETE, "/api/v1/status", vec![], 405, "wrong_method"),
        (Method::PUT, "/api/v1/link", b"{".to_vec(), 400, "wrong_json"),
        (Method::PUT, "/api/v1/link", b"[1]".to_vec(), 400, "wrong_json"),
        (Method::PUT, "/api/v1/link", vec![0xff; 64], 400, "wrong_json"),
        (Method::PUT, "/api/v1/link", b"[".repeat(8_000), 400, "wrong_json"),
        (Method::PUT, "/api/v1/link", vec![b' '; 17 << 10], 413, "body_too_large"),
        (
            Method::PUT,
            "/api/v1/link",
            json!({"appKey": "k", "appSecret": "s", "agentId": 1, "more": 2}).to_string().into_bytes(),
            400,
            "wrong_json",
        ),
        (
            Method::PUT,
            "/api/v1/link",
            json!({"appKey": "k\u{0}", "appSecret": "s", "agentId": 1}).to_string().into_bytes(),
            400,
            "wrong_value",
        ),
        (Method::DELETE, "/api/v1/chats/%00/bridge", vec![], 400, "wrong_value"),
        (Method::PUT, "/api/v1/chats/cid%2F..%2F../bridge", b"{}".to_vec(), 400, "wrong_json"),
    ] {
        let answer = door.ask(method, path, &shown, body).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let text = answer.text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"));
        assert_eq!(answer["error"]["code"], code, "{path}: {answer}");
    }

    // What is wrong with a secret is said without the secret.
    for body in [
        json!({"appKey": "k", "appSecret": {"hunter2hunter2": 1}, "agentId": 1}),
        json!({"appKey": "k", "appSecret": "hunter2hunter2", "agentId": "hunter2hunter2"}),
        json!({"appKey": "k", "appSecret": "hunter2hunter2", "agentId": 5}),
    ] {
        let answer = door.ask(Method::PUT, "/api/v1/link", &shown, body.to_string().into_bytes()).await;
        assert!(answer.status().is_client_error());
        let text = answer.text().await.unwrap();
        assert!(!text.contains("hunter2"), "{text}");
    }
    // It is a trace of everything: whatever could be written is.
    let log = std::fs::read_to_string(stage.world.bridge().log()).unwrap();
    let page = reqwest::get(stage.world.bridge().metrics_url()).await.unwrap().text().await.unwrap();
    for secret in ["hunter2", TOKEN, stage.secret(), stage.hs_token.as_str()] {
        assert!(!log.contains(secret), "a secret stands in the log");
        assert!(!page.contains(secret), "a secret stands in the metrics");
    }

    // Many at once are told to wait; nobody else is hindered.
    let before = stage.before().await;
    let many = futures_util::future::join_all(
        (0..64).map(|_| door.ask(Method::GET, "/api/v1/chats", &shown, Vec::new())),
    );
    for answer in many.await {
        assert!([200, 429].contains(&answer.status().as_u16()), "{}", answer.status());
    }
    let left = stage.left(&before).await;
    assert!(left.in_rooms.is_empty() && left.in_chats.is_empty(), "{left:?}");

    // What the document describes is there.
    for operation in bridge_reference::api::OPERATIONS {
        let path = format!("{}{}", bridge_reference::api::BASE, operation.path)
            .replace("{chatId}", "cidNobody%3D%3D")
            .replace("{number}", "5");
        let method = Method::from_bytes(operation.method.to_ascii_uppercase().as_bytes()).unwrap();
        let text = door.ask(method, &path, &shown, Vec::new()).await.text().await.unwrap();
        for code in ["unknown_path", "wrong_method"] {
            assert!(!text.contains(code), "{}: {text}", operation.id);
        }
    }
    stage.world.stop().await.unwrap();
}
