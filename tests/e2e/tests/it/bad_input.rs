//! Attacks on the running bridge: each is refused or taken as it should be, counted, and changes nothing else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dingtalk_sandbox::{Envelope, sign};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Mutex, MutexGuard, OnceCell},
    time::timeout,
};
use world::World;

use crate::stage::{self, LIMIT, ghost, metric, run, sent, unique, wait_message, wait_sent, whole};

/// Timeouts of the bridge in this world.
const HEADERS: Duration = Duration::from_secs(1);
const REQUEST: Duration = Duration::from_secs(2);
/// How much later a connection may be closed.
const SLACK: Duration = Duration::from_secs(3);

/// The world of these tests, for one at a time: each looks at the figures before and after.
async fn scene() -> (&'static World, MutexGuard<'static, ()>) {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    static ALONE: Mutex<()> = Mutex::const_new(());
    let alone = ALONE.lock().await;
    let world = WORLD.get_or_init(async || {
        stage::stub("bad-input", |options| {
            options.bridge_settings = "[http]\nheader_timeout = \"1s\"\nrequest_timeout = \"2s\"".to_owned();
        })
        .await
    });
    let world = world.await;
    stage::wait_quiet(world).await;
    (world, alone)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// The body of a callback as DingTalk sends it for the first person in the first chat.
fn message(world: &World, text: &str) -> Value {
    let person = &world.info().people[0];
    json!({
        "msgtype": "text",
        "msgId": format!("msg{}==", unique("m").replace(' ', "")),
        "createAt": now_ms(),
        "conversationType": "2",
        "conversationId": world.info().chats[0].chat_id,
        "conversationTitle": world.info().chats[0].title,
        "senderId": "$:LWCP_v1:$attack",
        "senderNick": person.name,
        "senderStaffId": person.staff_id,
        "chatbotUserId": "$:LWCP_v1:$bot",
        "robotCode": world.info().robot_code,
        "text": {"content": format!(" {text}")},
    })
}

fn post(world: &World, body: impl Into<reqwest::Body>) -> RequestBuilder {
    test_support::install_crypto();
    Client::new().post(world.description().webhook_url).header("content-type", "application/json").body(body)
}

fn signed_at(world: &World, time: i64, body: impl Into<reqwest::Body>) -> RequestBuilder {
    let time = time.to_string();
    let sign = sign(&world.info().app_secret, &time);
    post(world, body).header("timestamp", time).header("sign", sign)
}

fn signed(world: &World, body: impl Into<reqwest::Body>) -> RequestBuilder {
    signed_at(world, now_ms(), body)
}

/// A callback that DingTalk could have sent.
pub(crate) fn callback(world: &World, text: &str) -> RequestBuilder {
    signed(world, message(world, text).to_string())
}

/// The envelope of event pushes, with other parts where they are given.
fn envelope(world: &World, token: Option<&str>, key: Option<&str>, receive_id: Option<&str>) -> Envelope {
    let keys = world.description().webhook;
    let (token, key) = (token.unwrap_or(&keys.token), key.unwrap_or(&keys.aes_key));
    Envelope::new(token, key, receive_id.unwrap_or(&keys.receive_id)).unwrap()
}

fn event(world: &World, envelope: &Envelope, plain: &str) -> RequestBuilder {
    let encrypt = envelope.seal(*b"0123456789abcdef", plain);
    push(world, envelope, &encrypt)
}

fn push(world: &World, envelope: &Envelope, encrypt: &str) -> RequestBuilder {
    let (time, nonce) = (now_ms().to_string(), "nonce");
    let signature = envelope.sign(&time, nonce, encrypt);
    post(world, json!({"encrypt": encrypt}).to_string()).query(&[
        ("msg_signature", signature.as_str()),
        ("timestamp", &time),
        ("nonce", nonce),
    ])
}

/// Everything that must stay as it is.
async fn figures(world: &World) -> Vec<(&'static str, i64)> {
    let mut figures = Vec::new();
    for name in
        ["received_total", "duplicates_total", "sent_total", "unreadable_total", "waiting", "failed", "held"]
    {
        figures.push((name, metric(world, name, &[]).await));
    }
    figures
}

/// Insists that a request is refused, that this is counted, and that nothing else changes.
async fn refused(world: &World, what: &str, request: RequestBuilder, status: u16, door: &str, code: &str) {
    let labels = [("door", door), ("code", code)];
    let (before, count) = (figures(world).await, metric(world, "refused_total", &labels).await);
    let answer = request.send().await.unwrap();
    let got = answer.status();
    let text = answer.text().await.unwrap_or_default();
    assert_eq!(got, status, "{what}: {text}");
    let counted = metric(world, "refused_total", &labels).await - count;
    assert!(counted == 1, "{what}: {code} was counted {counted} times; answered: {text}");
    assert_eq!(figures(world).await, before, "{what} changed something");
}

/// A good message still crosses, once.
async fn still_works(world: &World) {
    let text = unique("good");
    let chat = &world.chats()[0];
    world.sandbox().write(&chat.chat_id, &world.info().people[0].staff_id, &text).await.unwrap();
    wait_message(world, &chat.room_id, &text).await;
    stage::wait_quiet(world).await;
    assert_eq!(stage::messages(world, &chat.room_id, &text).await.len(), 1);
}

#[test]
fn a_callback_that_is_not_dingtalks_is_refused() {
    run(async {
        let (world, _alone) = scene().await;
        let good = || message(world, &unique("attack")).to_string();
        let minute = 60_000;
        let (time, secret) = (now_ms().to_string(), &world.info().app_secret);
        let without = |field: &str| {
            let mut body = message(world, &unique("attack"));
            body.as_object_mut().unwrap().remove(field);
            body.to_string()
        };
        let truncated = {
            let body = good();
            body[..body.len() / 2].to_owned()
        };
        let mut not_text = good().into_bytes();
        not_text[20] = 0xff;
        let wrong =
            post(world, good()).header("timestamp", &time).header("sign", sign("another-secret", &time));
        let not_a_time =
            post(world, good()).header("timestamp", "yesterday").header("sign", sign(secret, "yesterday"));
        for (what, request, status, code) in [
            ("a wrong signature", wrong, 401, "signature"),
            (
                "an empty signature",
                post(world, good()).header("timestamp", &time).header("sign", ""),
                401,
                "signature",
            ),
            ("no signature", post(world, good()).header("timestamp", &time), 401, "no_sign"),
            ("no timestamp", post(world, good()).header("sign", sign(secret, &time)), 401, "no_timestamp"),
            ("no headers", post(world, good()), 401, "no_timestamp"),
            ("an old timestamp", signed_at(world, now_ms() - 61 * minute, good()), 401, "stale"),
            ("a timestamp to come", signed_at(world, now_ms() + 61 * minute, good()), 401, "stale"),
            ("a timestamp that is none", not_a_time, 401, "stale"),
            ("a truncated body", signed(world, truncated), 400, "not_json"),
            ("an empty body", signed(world, ""), 400, "not_json"),
            ("a body that is no object", signed(world, "[1]"), 400, "not_json"),
            ("no JSON", signed(world, "<xml/>"), 400, "not_json"),
            ("invalid UTF-8", signed(world, not_text), 400, "not_text"),
            ("no id", signed(world, without("msgId")), 400, "no_message_id"),
            ("no chat", signed(world, without("conversationId")), 400, "no_chat"),
            ("a large body", signed(world, vec![b' '; 1_200_000]), 413, "body_too_large"),
            ("a large body of a stranger", post(world, vec![b' '; 1_200_000]), 413, "body_too_large"),
        ] {
            refused(world, what, request, status, "webhook", code).await;
        }
        still_works(world).await;
    });
}

#[test]
fn an_event_push_that_is_not_dingtalks_is_refused() {
    run(async {
        let (world, _alone) = scene().await;
        let plain = r#"{"EventType":"user_add_org","eventId":"attack","userId":["u"]}"#;
        let right = envelope(world, None, None, None);
        let sealed = right.seal(*b"0123456789abcdef", plain);
        let other_key =
            envelope(world, None, Some(&"k".repeat(42).chars().chain(['A']).collect::<String>()), None);
        let unsigned = post(world, json!({"encrypt": sealed}).to_string());
        let half = &sealed[..sealed.len() / 2 / 4 * 4];
        for (what, request, status, code) in [
            (
                "a wrong token",
                event(world, &envelope(world, Some("anotherToken"), None, None), plain),
                401,
                "signature",
            ),
            ("a wrong AES key", event(world, &other_key, plain), 400, "cipher"),
            (
                "another app's push",
                event(world, &envelope(world, None, None, Some("dingother")), plain),
                400,
                "receive_id",
            ),
            ("no query", unsigned, 400, "query"),
            ("no Base64", push(world, &right, "*** no base64 ***"), 400, "encoding"),
            ("half of it", push(world, &right, half), 400, "cipher"),
            ("nothing encrypted", push(world, &right, ""), 400, "cipher"),
            ("an event that is no JSON", event(world, &right, "{{{"), 400, "not_json"),
        ] {
            refused(world, what, request, status, "webhook", code).await;
        }
        still_works(world).await;
    });
}

#[test]
fn deep_nesting_is_carried_out_or_refused_but_stops_nothing() {
    run(async {
        let (world, _alone) = scene().await;
        let chat = &world.chats()[0];
        let (arrays, objects) = (
            "[".repeat(100_000) + &"]".repeat(100_000),
            "{\"a\":".repeat(50_000) + "1" + &"}".repeat(50_000),
        );
        // Beside what is read it does not matter.
        for deep in [&arrays, &objects] {
            let text = unique("beside");
            let body = message(world, &text).to_string().replacen('{', &format!("{{\"deep\":{deep},"), 1);
            assert_eq!(signed(world, body).send().await.unwrap().status(), StatusCode::OK);
            wait_message(world, &chat.room_id, &text).await;
        }
        // Within what is read there is nothing to show but that something came.
        for field in ["text", "atUsers", "content", "msgtype", "sessionWebhook"] {
            let mut body = message(world, &unique("within"));
            body[field] = json!("HERE");
            let body = body.to_string().replace("\"HERE\"", &arrays);
            assert_eq!(signed(world, body).send().await.unwrap().status(), StatusCode::OK, "{field}");
        }
        stage::wait_quiet(world).await;
        assert_eq!(metric(world, "unreadable_total", &[]).await, 0);
        still_works(world).await;
    });
}

#[test]
fn unknown_fields_and_events_are_accepted_and_a_repetition_is_recognised() {
    run(async {
        let (world, _alone) = scene().await;
        let chat = &world.chats()[0];
        let text = unique("with more");
        let mut body = message(world, &text);
        body["someFieldOfNextYear"] = json!({"deep": [1, {"er": null}]});
        body["text"]["emotion"] = json!("happy");
        body["senderPlatform"] = json!(17);
        let body = body.to_string();
        for _ in 0..3 {
            assert_eq!(signed(world, body.clone()).send().await.unwrap().status(), StatusCode::OK);
        }
        wait_message(world, &chat.room_id, &text).await;
        stage::wait_quiet(world).await;
        assert_eq!(stage::messages(world, &chat.room_id, &text).await.len(), 1);

        let ignored = metric(world, "ignored_events_total", &[]).await;
        let plain =
            json!({"EventType": "event_of_next_year", "eventId": unique("e"), "x": {"y": 1}}).to_string();
        let right = envelope(world, None, None, None);
        let answer = event(world, &right, &plain).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value = answer.json().await.unwrap();
        let part = |name: &str| answer[name].as_str().unwrap();
        let said = right.verify(part("msg_signature"), part("timeStamp"), part("nonce"), part("encrypt"));
        assert_eq!(said.unwrap(), "success");
        stage::wait_quiet(world).await;
        assert!(metric(world, "ignored_events_total", &[]).await > ignored);
    });
}

#[test]
fn names_and_texts_from_dingtalk_cannot_inject_html() {
    run(async {
        let (world, _alone) = scene().await;
        let (chat, person) = (&world.chats()[0], &world.info().people[1]);
        let evil = "<img src=x onerror=alert(1)>\"'&";
        let mut body = message(world, "");
        body["senderNick"] = json!(evil);
        body["senderStaffId"] = json!(person.staff_id);
        let text =
            format!("{} <script>alert(1)</script> <b>x</b> &lt; [x](javascript:alert(1))", unique("html"));
        body["text"]["content"] = json!(format!(" {text}"));
        assert_eq!(signed(world, body.to_string()).send().await.unwrap().status(), StatusCode::OK);
        let event = wait_message(world, &chat.room_id, &text).await;
        let html = |event: &Value| event["content"]["formatted_body"].as_str().unwrap_or_default().to_owned();
        assert_eq!(stage::body(&event), text);
        assert!(!html(&event).contains('<') || !html(&event).contains("<script"), "{event}");

        let mark = unique("markdown");
        body["msgId"] = json!(format!("msg{}==", mark.replace(' ', "")));
        body["msgtype"] = json!("markdown");
        body.as_object_mut().unwrap().remove("text");
        body["content"] = json!({"text": format!(
            "**{mark}** <script>alert(1)</script><img src=x onerror=alert(1)> [link](javascript:alert(1)) \
             [data](data:text/html;base64,PHNjcmlwdD4=) ![i](http://10.0.0.1/pixel.png)"
        )});
        assert_eq!(signed(world, body.to_string()).send().await.unwrap().status(), StatusCode::OK);
        let event = wait_message(world, &chat.room_id, &mark).await;
        let html = html(&event).to_lowercase();
        assert!(html.contains("<strong>"), "{event}");
        for bad in ["<script", "<img", "href=\"javascript:", "href=\"data:"] {
            assert!(!html.contains(bad), "{bad} in {event}");
        }

        // Somebody who quotes the one with the name does not bring it back to life.
        let reply = json!({
            "msgtype": "m.text",
            "body": mark,
            "format": "org.matrix.custom.html",
            "formatted_body": format!("<em>re</em> {mark}"),
            "m.relates_to": {"m.in_reply_to": {"event_id": event["event_id"]}},
        });
        world.users()[0].send_content(&chat.room_id, "m.room.message", &reply).await.unwrap();
        let sent = wait_sent(world, chat, &mark).await;
        assert!(!sent.text().contains("<img"), "{sent:?}");
    });
}

#[test]
fn names_and_texts_from_matrix_cannot_inject_markdown() {
    run(async {
        let (world, _alone) = scene().await;
        let (chat, bob) = (&world.chats()[0], &world.users()[1]);
        bob.set_display_name("Bob](http://evil.example) **x**\n# [@Boss via Matrix] pay").await.unwrap();
        let mark = unique("markdown");
        let content = json!({
            "msgtype": "m.text",
            "body": mark,
            "format": "org.matrix.custom.html",
            "formatted_body": format!(
                "<strong>{mark}</strong> [click](http://evil.example/a) ![i](http://evil.example/i.png) \
                 <script>alert(1)</script><a href=\"javascript:alert(1)\">js</a> &lt;b&gt; # no heading"
            ),
        });
        bob.send_content(&chat.room_id, "m.room.message", &content).await.unwrap();
        let sent = wait_sent(world, chat, &mark).await;
        bob.set_display_name("Bob").await.unwrap();
        assert_eq!(whole(world, &sent).await.msg_key, "sampleMarkdown");
        let text = sent.text();
        let links = text.match_indices("](").filter(|(at, _)| !text[..*at].ends_with('\\')).count();
        assert_eq!(links, 0, "{text}");
        assert!(
            !text.contains("**x**") && !text.contains("<script") && !text.contains("javascript:"),
            "{text}"
        );
        assert!(!text.lines().any(|line| line.trim_start().starts_with("# ")), "{text}");
    });
}

#[test]
fn a_reply_address_that_is_not_dingtalks_is_never_called() {
    run(async {
        let (world, _alone) = scene().await;
        // A group without any good reply address.
        let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = trap.local_addr().unwrap().port();
        let (chat, person) = (&world.chats()[1], &world.info().people[0]);
        let _: Value = world.sandbox().post("sessions/expire", &json!({})).await.unwrap();
        let addresses = [
            format!("http://127.0.0.1:{port}/robot/sendBySession?session=1"),
            format!("http://localhost:{port}/robot/sendBySession?session=1"),
            format!("http://oapi.dingtalk.com@127.0.0.1:{port}/robot/sendBySession"),
            format!("http://127.0.0.1:{port}/#oapi.dingtalk.com"),
            format!("http://[::ffff:127.0.0.1]:{port}/dingtalk.com"),
            format!("{}@127.0.0.1:{port}/robot", world.sandbox().url()),
            "https://dingtalk.com.evil.example/robot/sendBySession".to_owned(),
            "file:///etc/passwd".to_owned(),
            "not an address".to_owned(),
        ];
        for (number, address) in addresses.iter().enumerate() {
            let refusals =
                metric(world, "refused_total", &[("door", "callback"), ("code", "session_host")]).await;
            let text = unique("trap");
            let mut body = message(world, &text);
            body["conversationId"] = json!(chat.chat_id);
            body["conversationTitle"] = json!(chat.title);
            body["sessionWebhook"] = json!(address);
            // Newer than any good one.
            body["sessionWebhookExpiredTime"] =
                json!(now_ms() + 86_400_000 * (2 + i64::try_from(number).unwrap()));
            assert_eq!(signed(world, body.to_string()).send().await.unwrap().status(), StatusCode::OK);
            wait_message(world, &chat.room_id, &text).await;
            let now = metric(world, "refused_total", &[("door", "callback"), ("code", "session_host")]).await;
            assert!(now > refusals, "{address} was taken");
        }
        // A mention is what a reply address is used for.
        let (mark, ghost) = (unique("mention"), ghost(world, 0));
        let content = json!({
            "msgtype": "m.text",
            "body": format!("{} {mark}", person.name),
            "format": "org.matrix.custom.html",
            "formatted_body": format!("<a href=\"https://matrix.to/#/{ghost}\">{}</a> {mark}", person.name),
            "m.mentions": {"user_ids": [ghost]},
        });
        world.users()[0].send_content(&chat.room_id, "m.room.message", &content).await.unwrap();
        wait_sent(world, chat, &mark).await;
        let called = timeout(Duration::from_millis(1), trap.accept()).await;
        assert!(called.is_err(), "somebody called the trap");
    });
}

/// Where the webhook listens.
fn address(world: &World) -> String {
    let url = world.description().webhook_url;
    url.trim_start_matches("http://").split('/').next().unwrap().to_owned()
}

/// Sends a byte now and then until the connection is closed; what came back, and how long it took.
async fn trickle(world: &World, start: &str) -> (String, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address(world)).await.unwrap();
    stream.write_all(start.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let reading = async {
        // A reset is an end, too.
        let _ = reader.read_to_end(&mut answer).await;
    };
    let writing = async {
        loop {
            ticks.tick().await;
            if writer.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
        () = tokio::time::sleep(LIMIT) => panic!("the connection is open after {LIMIT:?}"),
    }
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[test]
fn a_slow_client_is_cut_off_in_bounded_time() {
    run(async {
        let (world, _alone) = scene().await;
        let before = figures(world).await;
        let start = "POST /bridges/dingtalk/webhook HTTP/1.1\r\nHost: x\r\n";
        let (_, took) = trickle(world, &format!("{start}X-Slow: ")).await;
        assert!(took < HEADERS + SLACK, "headers were waited for {took:?}");
        let labels = [("door", "webhook"), ("code", "body_too_slow")];
        let count = metric(world, "refused_total", &labels).await;
        let (answer, took) = trickle(world, &format!("{start}Content-Length: 1000\r\n\r\n")).await;
        assert!(took < REQUEST + SLACK, "a body was waited for {took:?}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(metric(world, "refused_total", &labels).await > count);
        assert_eq!(figures(world).await, before);
        still_works(world).await;
    });
}

#[test]
fn more_headers_than_anybody_needs_are_refused() {
    run(async {
        let (world, _alone) = scene().await;
        let before = figures(world).await;
        let mut request = callback(world, &unique("headers"));
        for number in 0..70 {
            request = request.header(format!("x-header-{number}"), "x");
        }
        assert_eq!(request.send().await.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        assert_eq!(figures(world).await, before);
        still_works(world).await;
    });
}

#[test]
fn a_thousand_connections_at_once_do_not_stop_the_others() {
    run(async {
        let (world, _alone) = scene().await;
        let address = address(world);
        let connections = (0..1_000).map(|_| async {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            // Headers that never end. A reset tells that the bridge has had enough of it.
            let _ = stream.write_all(b"POST /bridges/dingtalk/webhook HTTP/1.1\r\nHost: x\r\n").await;
            stream
        });
        let held = futures_util::future::join_all(connections).await;
        assert_eq!(held.len(), 1_000);
        let livez = world.bridge().metrics_url().replace("/metrics", "/livez");
        assert_eq!(reqwest::get(livez).await.unwrap().status(), StatusCode::OK);
        still_works(world).await;
        let text = unique("the other way");
        world.users()[0].send_text(&world.chats()[0].room_id, &text).await.unwrap();
        wait_sent(world, &world.chats()[0], &text).await;
        drop(held);
    });
}

/// The homeserver's token and where its transactions go.
fn homeserver(world: &World, transaction: &str) -> (String, String) {
    let registration = std::fs::read_to_string(world.description().registration).unwrap();
    let token = registration.lines().find_map(|line| line.strip_prefix("hs_token:")).unwrap();
    let token = token.trim().trim_matches(['"', '\'']).to_owned();
    let url = format!("http://{}/_matrix/app/v1/transactions/{transaction}", address(world));
    (token, url)
}

#[test]
fn who_is_not_the_homeserver_is_refused() {
    run(async {
        let (world, _alone) = scene().await;
        let (token, url) = homeserver(world, "attack");
        let chat = &world.chats()[0];
        let forged = json!({"events": [{
            "type": "m.room.message",
            "event_id": "$forged",
            "room_id": chat.room_id,
            "sender": world.users()[0].user_id(),
            "origin_server_ts": now_ms(),
            "content": {"msgtype": "m.text", "body": "forged"},
        }]});
        let put = || Client::new().put(&url).json(&forged);
        let large = format!("{{\"events\":[],\"x\":\"{}\"}}", "x".repeat(17 << 20));
        for (what, request, status, code) in [
            ("no token", put(), 401, "missing_token"),
            ("a wrong token", put().bearer_auth("wrong"), 403, "wrong_token"),
            ("an empty token", put().header("authorization", "Bearer "), 403, "wrong_token"),
            ("a wrong token in the query", put().query(&[("access_token", "wrong")]), 403, "wrong_token"),
            ("two tokens", put().bearer_auth(&token).query(&[("access_token", "wrong")]), 403, "wrong_token"),
            ("no JSON", Client::new().put(&url).bearer_auth(&token).body("{"), 400, "no_transaction"),
            ("a large one", Client::new().put(&url).bearer_auth(&token).body(large), 413, "body_too_large"),
        ] {
            refused(world, what, request, status, "transactions", code).await;
        }
        assert!(sent(world, chat, "forged").await.is_empty());
        still_works(world).await;
    });
}

#[test]
fn a_poisoned_event_does_not_stop_the_good_ones_beside_it() {
    run(async {
        let (world, _alone) = scene().await;
        let (token, url) = homeserver(world, "poisoned");
        let (chat, alice) = (&world.chats()[0], &world.users()[0]);
        let control = async |call: &str| {
            let url = format!("{}/_stub/{call}", world.homeserver().url());
            Client::new().post(url).send().await.unwrap().error_for_status().unwrap();
        };
        control("pause").await;
        let mut events =
            vec![json!("no event"), json!({"type": 5}), json!(null), json!({"event_id": "$only"})];
        let texts = [unique("good-1"), unique("good-2")];
        for (number, text) in texts.iter().enumerate() {
            let id = alice.send_text(&chat.room_id, text).await.unwrap();
            events.insert(number * 3, alice.event(&chat.room_id, &id).await.unwrap());
        }
        let odd = |number: usize, content: Value| {
            json!({
                "type": "m.room.message",
                "event_id": format!("$odd{number}{}", unique("").trim()),
                "room_id": chat.room_id,
                "sender": alice.user_id(),
                "origin_server_ts": now_ms(),
                "content": content,
            })
        };
        events.push(odd(1, json!({"msgtype": "m.text", "body": 7})));
        events.push(odd(2, json!("content")));
        events.push(odd(
            3,
            json!({"msgtype": "m.text", "body": "x", "m.relates_to": 5, "formatted_body": [1]}),
        ));
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let mut body = json!({"events": events}).to_string();
        let at = body.len() - 2;
        body.insert_str(
            at,
            &format!(",{{\"type\":\"m.room.message\",\"event_id\":\"$deep\",\"content\":{deep}}}"),
        );
        let malformed = [("door", "transactions"), ("code", "malformed_event")];
        let count = metric(world, "refused_total", &malformed).await;
        let answer = Client::new().put(&url).bearer_auth(&token).body(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        for text in &texts {
            wait_sent(world, chat, text).await;
        }
        assert!(metric(world, "refused_total", &malformed).await > count);
        control("resume").await;
        still_works(world).await;
        let next = unique("next");
        alice.send_text(&chat.room_id, &next).await.unwrap();
        wait_sent(world, chat, &next).await;
        for text in &texts {
            assert_eq!(sent(world, chat, text).await.len(), 1);
        }
    });
}

#[test]
fn other_addresses_and_methods_are_not_found() {
    run(async {
        let (world, _alone) = scene().await;
        let before = figures(world).await;
        let base = format!("http://{}", address(world));
        let client = Client::new();
        let webhook = world.description().webhook_url;
        for (request, status) in [
            (client.get(&webhook), 200),
            (client.put(&webhook), 405),
            (client.get(format!("{base}/")), 404),
            (client.post(format!("{base}/bridges/dingtalk/webhook/more")), 404),
            (client.get(format!("{base}/metrics")), 404),
            (client.get(format!("{base}/livez")), 404),
        ] {
            let answer = request.build().unwrap();
            let what = format!("{} {}", answer.method(), answer.url());
            assert_eq!(client.execute(answer).await.unwrap().status(), status, "{what}");
        }
        assert_eq!(figures(world).await, before);
    });
}
