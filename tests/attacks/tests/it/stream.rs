//! Hostile frames, addresses and handshakes where the bridge connects to DingTalk by itself, and files that are said to
//! be where they must not be fetched.

use serde_json::{Value, json};
use test_support::wait_until;

use crate::gateway::{Gateway, Manner, Script, bytes, text};
use crate::stage::{LIMIT, Stage, body};

/// Both ways of receiving, and waits short enough for a test to see their end.
const SETTINGS: &str = "[dingtalk]\nreceive = \"both\"\nrequest_timeout = \"1s\"";

/// How much the bridge may grow under an attack, in KiB; less than what it is sent.
const GROWTH_KIB: u64 = 32 * 1024;

fn message(id: &str, data: &Value) -> Value {
    json!({
        "specVersion": "1.0", "type": "CALLBACK", "data": data.to_string(),
        "headers": {"topic": "/v1.0/im/bot/messages/get", "messageId": id, "contentType": "application/json"},
    })
}

fn frame(frame: &Value) -> Vec<u8> {
    text(&frame.to_string())
}

async fn refused(stage: &Stage) -> f64 {
    stage.figure("refused_total", &[("door", "stream")]).await
}

/// A message crosses each way while the attack goes on.
async fn goes_on(stage: &Stage) {
    stage.world.cross_to_matrix(stage.chat(), "照常", LIMIT).await.unwrap();
    stage.world.cross_to_dingtalk(stage.chat(), "as usual", LIMIT).await.unwrap();
}

async fn nonsense_is_counted_and_what_follows_crosses(stage: &Stage, gateway: &Gateway) {
    let said = stage.unique("behind the nonsense");
    let good = stage.callback(&said);
    let without = |name: &str| {
        let mut without = message("m", &good);
        without["headers"].as_object_mut().unwrap().remove(name);
        without
    };
    let with = |name: &str, value: Value| {
        let mut with = message("m", &good);
        with[name] = value;
        with
    };
    let no_message = |field: &str| {
        let mut callback = good.clone();
        callback.as_object_mut().unwrap().remove(field);
        message("refused", &callback)
    };
    let bad = [
        text(""),
        text("no frame"),
        text("[]"),
        text(&"[".repeat(100_000)),
        text(&r#"{"a":"#.repeat(100_000)),
        text(r#"{"type":"CALLBACK","headers":"#),
        bytes(b"\x00\xff\x00"),
        frame(&without("messageId")),
        frame(&with("type", json!("TYPE OF TOMORROW"))),
        frame(&with("type", json!(["CALLBACK"]))),
        frame(&with("headers", json!("not headers"))),
        frame(&with("headers", json!(null))),
        frame(&message(&"m".repeat(100_000), &good)),
        frame(&json!({"type": "SYSTEM", "headers": {"topic": "ping"}, "data": {"no": "id"}})),
        frame(&message("refused", &json!("no object"))),
        frame(&message("refused", &json!([[[]]]))),
        frame(&no_message("msgId")),
        frame(&no_message("conversationId")),
    ];
    let harmless = [
        frame(&without("topic")),
        frame(&json!({"type": "SYSTEM", "headers": {"topic": "of tomorrow"}, "data": "?"})),
        frame(
            &json!({"type": "EVENT", "headers": {"topic": "*", "messageId": "e", "eventType": "of_tomorrow", "eventId": "e1"}, "data": "{}"}),
        ),
    ];
    let count = f64::from(u32::try_from(bad.len()).unwrap());
    let before = refused(stage).await;
    let mut frames = [&bad[..], &harmless[..]].concat();
    frames.push(frame(&message("good", &good)));
    // The same again is not a second message.
    frames.push(frame(&message("good again", &good)));
    gateway.set(Script { stream: Manner::Send(frames), ..Script::default() });
    stage.wait_in_room(&said).await;
    let counted = wait_until(LIMIT, "the refusals to be counted", async || {
        (refused(stage).await >= before + count).then_some(())
    });
    counted.await.unwrap();
    assert_eq!(refused(stage).await.total_cmp(&(before + count)), std::cmp::Ordering::Equal);
    assert!(stage.figure("stream_connections", &[]).await > 0.0, "a little nonsense ends nothing");
    goes_on(stage).await;
    let all = stage.user().messages(&stage.chat().room_id, 500).await.unwrap();
    assert_eq!(all.iter().filter(|event| body(event).contains(&said)).count(), 1);
}

async fn floods_and_frames_without_end_are_cut_off(stage: &Stage, gateway: &Gateway) {
    let ended = async |reason| stage.figure("stream_ended_total", &[("reason", reason)]).await;
    let flood = vec![text("not a frame"); 10_000];
    for (reason, manner) in [
        ("nonsense", Manner::Send(flood)),
        // Longer than any frame, and said to be so from the start.
        ("broken", Manner::Endless(256 << 20)),
        ("broken", Manner::Send(vec![b"no WebSocket at all\xff\xff\xff\xff".to_vec()])),
    ] {
        let before = ended(reason).await;
        gateway.set(Script { stream: manner, ..Script::default() });
        stage.world.bridge().kill().await.unwrap();
        stage.world.bridge().wait_ready(LIMIT).await.unwrap();
        let start = stage.world.bridge().usage().unwrap().resident_kib;
        let cut = wait_until(LIMIT, reason, async || (ended(reason).await > 0.0).then_some(()));
        cut.await.unwrap();
        goes_on(stage).await;
        let usage = stage.world.bridge().usage().unwrap();
        assert!(usage.peak_kib < start + GROWTH_KIB, "{reason}, after {before}: from {start} KiB: {usage:?}");
    }
}

async fn addresses_that_are_not_dingtalks_are_not_called(stage: &Stage, gateway: &Gateway) {
    let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let port = trap.local_addr().unwrap().port();
    let labels = [("door", "stream_open"), ("code", "bridge.addressNotAllowed")];
    for endpoints in [
        [
            format!("ws://127.0.0.1:{port}/"),
            format!("wss://wss-open-connection.dingtalk.com@127.0.0.1:{port}/"),
        ],
        [format!("wss://[::1]:{port}/"), "ws://169.254.169.254/latest/meta-data/".to_owned()],
        ["wss://dingtalk.com.evil.example/connect".to_owned(), format!("http://127.0.0.1:{port}/no-socket")],
        ["file:///etc/passwd".to_owned(), "no address".to_owned()],
    ] {
        // Each process tries at once, and a second later.
        for (number, endpoint) in endpoints.into_iter().enumerate() {
            gateway.set(Script { endpoint: Some(endpoint.clone()), ..Script::default() });
            if number == 0 {
                stage.world.bridge().kill().await.unwrap();
            }
            let wanted = f64::from(u32::try_from(number + 1).unwrap());
            let known = wait_until(LIMIT, &endpoint, async || {
                let metrics = stage.world.bridge().metrics_url();
                let metrics = test_support::Metrics::fetch(&metrics).await.ok()?;
                let count = metrics.value("dingtalk_bridge_refused_total", &labels).unwrap_or_default();
                (count >= wanted).then_some(())
            });
            known.await.unwrap();
        }
    }
    let called = trap.accept().map_err(|error| error.kind());
    assert_eq!(called.err(), Some(std::io::ErrorKind::WouldBlock), "the trap was called");
    goes_on(stage).await;
}

async fn handshakes_without_end_end(stage: &Stage, gateway: &Gateway) {
    for manner in [Manner::Silent, Manner::Drip, Manner::WrongHand, Manner::Refuse] {
        gateway.set(Script { stream: manner, ..Script::default() });
        let before = gateway.connected();
        stage.world.bridge().kill().await.unwrap();
        let again =
            wait_until(LIMIT, "a second attempt", async || (gateway.connected() >= before + 2).then_some(()));
        again.await.unwrap();
        goes_on(stage).await;
        let usage = stage.world.bridge().usage().unwrap();
        assert!(usage.peak_kib < 150 * 1024, "{usage:?}");
    }
    assert!(stage.figure("stream_opened_total", &[("result", "failed")]).await >= 1.0);
}

async fn files_are_fetched_nowhere_else(stage: &Stage, gateway: &Gateway) {
    let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let port = trap.local_addr().unwrap().port();
    let inside = format!("http://127.0.0.1:{port}/secret");
    let addresses = [
        inside.clone(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://files.evil.example/a.png".to_owned(),
        format!("http://static.dingtalk.com@127.0.0.1:{port}/a.png"),
        // A host that may be asked, which leads on to one that may not.
        gateway.redirecting(&inside),
    ];
    for address in &addresses {
        gateway.set(Script { file: Some(address.clone()), ..Script::default() });
        let refused = stage.figure("refused_total", &[("door", "file")]).await;
        let before = stage.user().messages(&stage.chat().room_id, 500).await.unwrap().len();
        let mut callback = stage.callback("");
        callback.as_object_mut().unwrap().remove("text");
        callback["msgtype"] = json!("picture");
        callback["content"] = json!({"downloadCode": stage.unique("code")});
        stage.push_callback(&callback).await;
        let told = wait_until(LIMIT, "the room to be told", async || {
            let all = stage.user().messages(&stage.chat().room_id, 500).await.ok()?;
            let told = |event: &&Value| {
                event["content"]["msgtype"] == "m.notice"
                    && body(event).contains("at an address that is not allowed")
            };
            all.iter().skip(before).find(told).cloned()
        });
        told.await.unwrap();
        let counted = stage.figure("refused_total", &[("door", "file")]).await;
        assert!(counted > refused, "{address} was not counted");
    }
    assert_eq!(gateway.redirected(), 1);
    let called = trap.accept().map_err(|error| error.kind());
    assert_eq!(called.err(), Some(std::io::ErrorKind::WouldBlock), "the trap was called");
    goes_on(stage).await;
}

/// One after the other in one world, whose DingTalk is not what it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_dingtalk_is_counted_bounded_and_stops_nothing_else() {
    let stage = Stage::build("stream", SETTINGS).await;
    let gateway = Gateway::between(&stage, Script::default()).await;
    stage.world.bridge().wait_ready(LIMIT).await.unwrap();
    nonsense_is_counted_and_what_follows_crosses(&stage, &gateway).await;
    floods_and_frames_without_end_are_cut_off(&stage, &gateway).await;
    addresses_that_are_not_dingtalks_are_not_called(&stage, &gateway).await;
    handshakes_without_end_end(&stage, &gateway).await;
    files_are_fetched_nowhere_else(&stage, &gateway).await;
    stage.world.stop().await.unwrap();
}
