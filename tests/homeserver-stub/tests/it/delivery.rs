use crate::bridge::FakeBridge;
use crate::client::{ALICE, BOB, Client, options, wait_until, with_room};
use homeserver_stub::{Fault, FaultKind, Mode, Options, start};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};

fn palpo(url: &str) -> Options {
    let mut options = options(Some(url));
    options.mode = Mode::Palpo;
    options.retry_scale = 0.001;
    options
}

#[tokio::test]
async fn the_bridge_sees_its_own_echo_unless_told_otherwise() {
    let fake = FakeBridge::start().await;
    let (_stub, bridge, room) = with_room(options(Some(&fake.url))).await;
    bridge.acting(ALICE).text(&room, "1", "mine").await;
    wait_until("the echo", || fake.texts() == ["mine"]).await;
    let call = fake.transactions().pop().unwrap();
    assert_eq!(call.bearer.as_deref(), Some("Bearer hs-token"));
    assert!(!call.uri.contains("access_token"));

    let quiet = FakeBridge::start().await;
    let mut silent = options(Some(&quiet.url));
    silent.echo = false;
    let (stub, bridge, room) = with_room(silent).await;
    bridge.acting(ALICE).text(&room, "1", "mine").await;
    let human = stub.create_human("olga").unwrap();
    stub.join(&room, &human.user_id).unwrap();
    stub.send_text(&room, &human.user_id, "theirs").unwrap();
    wait_until("the human's text", || stub.pending_pushes() == 0 && !quiet.texts().is_empty()).await;
    assert_eq!(quiet.texts(), ["theirs"]);
}

#[tokio::test]
async fn rooms_without_users_of_the_bridge_are_not_pushed() {
    let fake = FakeBridge::start().await;
    let (stub, _, room) = with_room(options(Some(&fake.url))).await;
    let human = stub.create_human("olga").unwrap();
    let private = stub.create_room(&human.user_id, &json!({}), &[]).unwrap();
    stub.send_text(&private, &human.user_id, "private").unwrap();
    stub.join(&room, &human.user_id).unwrap();
    stub.send_text(&room, &human.user_id, "shared").unwrap();
    wait_until("the shared text", || fake.texts() == ["shared"]).await;
    let olga = Client::new(&stub, &human.access_token);
    olga.post(&format!("/rooms/{private}/invite"), json!({"user_id": BOB})).await;
    let invited = || {
        let calls = fake.transactions();
        let mut events = calls.iter().flat_map(|call| call.body["events"].as_array().unwrap().clone());
        events.any(|event| event["room_id"] == private.as_str() && event["state_key"] == BOB)
    };
    wait_until("the invite", invited).await;
}

#[tokio::test]
async fn synapse_repeats_a_refused_transaction_and_keeps_the_order() {
    let fake = FakeBridge::start().await;
    let (stub, bridge, room) = with_room(options(Some(&fake.url))).await;
    wait_until("the room is known", || stub.pending_pushes() == 0).await;
    fake.answer(&[(500, "{}"), (403, "{}"), (200, "not json")]);
    let before = fake.transactions().len();
    for n in 0..5 {
        bridge.acting(ALICE).text(&room, &format!("t{n}"), &format!("text {n}")).await;
    }
    wait_until("all delivered", || stub.pending_pushes() == 0).await;
    let calls = fake.transactions().split_off(before);
    assert_eq!(calls[0].body["events"][0]["event_id"], calls[3].body["events"][0]["event_id"]);
    assert!(calls[..4].iter().all(|call| call.uri == calls[0].uri && call.texts() == calls[0].texts()));
    let texts: Vec<_> = calls[3..].iter().flat_map(crate::bridge::Call::texts).collect();
    assert_eq!(texts, ["text 0", "text 1", "text 2", "text 3", "text 4"]);
    assert_eq!(stub.stats()["push"]["failed"], 3);
}

#[tokio::test]
async fn synapse_sends_at_most_a_hundred_events_at_once() {
    let fake = FakeBridge::start().await;
    let (stub, bridge, room) = with_room(options(Some(&fake.url))).await;
    stub.pause_pushing();
    for n in 0..150 {
        bridge.acting(ALICE).text(&room, &format!("t{n}"), "x").await;
    }
    stub.resume_pushing();
    wait_until("all delivered", || stub.pending_pushes() == 0).await;
    let sizes: Vec<_> =
        fake.transactions().iter().map(|c| c.body["events"].as_array().unwrap().len()).collect();
    assert!(sizes.contains(&100) && sizes.iter().all(|size| *size <= 100), "{sizes:?}");
}

#[tokio::test]
async fn the_waits_of_synapse_double() {
    let fake = FakeBridge::start().await;
    let mut scaled = options(Some(&fake.url));
    scaled.retry_scale = 0.02;
    let (stub, bridge, room) = with_room(scaled).await;
    wait_until("the room is known", || stub.pending_pushes() == 0).await;
    fake.answer(&[(500, "{}"); 3]);
    let started = Instant::now();
    bridge.acting(ALICE).text(&room, "1", "late").await;
    wait_until("delivery", || stub.pending_pushes() == 0).await;
    // 2, 4 and 8 seconds, scaled; sleeping is never too short.
    assert!(started.elapsed() >= Duration::from_millis((2 + 4 + 8) * 20), "{:?}", started.elapsed());
    assert_eq!(stub.stats()["push"]["failed"], 3);
}

#[tokio::test]
async fn a_successful_ping_ends_the_wait_of_synapse() {
    let fake = FakeBridge::start().await;
    let mut slow = options(Some(&fake.url));
    slow.retry_scale = 1000.0;
    let (stub, bridge, room) = with_room(slow).await;
    wait_until("the room is known", || stub.pending_pushes() == 0).await;
    fake.answer(&[(500, "{}")]);
    bridge.acting(ALICE).text(&room, "1", "late").await;
    wait_until("the refusal", || stub.stats()["push"]["failed"] == 1).await;
    let path = "/_matrix/client/v1/appservice/bridge/ping";
    let (status, body) = bridge.try_call(Method::POST, path, &json!({"transaction_id": "p"})).await.unwrap();
    assert_eq!(status, 200, "{body}");
    assert!(body["duration_ms"].is_u64());
    wait_until("delivery", || stub.pending_pushes() == 0).await;
    let ping = fake.calls().into_iter().find(|call| call.uri.ends_with("/ping")).unwrap();
    assert_eq!((ping.uri.as_str(), &ping.body["transaction_id"]), ("POST /_matrix/app/v1/ping", &json!("p")));
}

#[tokio::test]
async fn a_ping_that_the_bridge_refuses_says_how() {
    let fake = FakeBridge::start().await;
    let stub = start(options(Some(&fake.url))).await.unwrap();
    let bridge = Client::bridge(&stub);
    fake.answer(&[(503, "no")]);
    let path = "/_matrix/client/v1/appservice/bridge/ping";
    let (status, body) = bridge.try_call(Method::POST, path, &json!({})).await.unwrap();
    assert_eq!((status, body["errcode"].as_str()), (502, Some("M_BAD_STATUS")));
    assert_eq!((&body["status"], &body["body"]), (&json!(503), &json!("no")));
    let (status, _) =
        bridge.try_call(Method::POST, "/_matrix/client/v1/appservice/other/ping", &json!({})).await.unwrap();
    assert_eq!(status, 403);
}

#[tokio::test]
async fn palpo_forgets_what_was_refused() {
    let fake = FakeBridge::start().await;
    let (stub, bridge, room) = with_room(palpo(&fake.url)).await;
    wait_until("the room is known", || stub.pending_pushes() == 0).await;
    fake.answer(&[(500, "{}")]);
    bridge.acting(ALICE).text(&room, "1", "lost").await;
    bridge.acting(ALICE).text(&room, "2", "kept").await;
    wait_until("nothing waits", || stub.pending_pushes() == 0).await;
    assert_eq!(stub.stats()["push"]["events_dropped"], 1);
    let calls = fake.transactions();
    let seen = calls.iter().filter(|call| call.texts() == ["lost"]).count();
    assert_eq!(seen, 1, "refused once, never sent again");
    for call in &calls {
        assert_eq!(call.body["events"].as_array().unwrap().len(), 1);
        assert!(call.bearer.is_none() && call.uri.contains("?access_token=hs-token"), "{}", call.uri);
    }
}

#[tokio::test]
async fn palpo_repeats_what_met_no_answer_and_lets_later_events_overtake() {
    let fake = FakeBridge::start().await;
    let mut options = palpo(&fake.url);
    // 30 s, scaled, in which the second has to arrive.
    options.retry_scale = 0.05;
    let (stub, bridge, room) = with_room(options).await;
    wait_until("the room is known", || stub.pending_pushes() == 0).await;
    stub.add_fault(Fault::on_transactions(FaultKind::Cut, 0).times(1));
    stub.pause_pushing();
    bridge.acting(ALICE).text(&room, "1", "first").await;
    bridge.acting(ALICE).text(&room, "2", "second").await;
    stub.resume_pushing();
    wait_until("both", || fake.texts().len() == 2).await;
    assert_eq!(fake.texts(), ["second", "first"]);
}

#[tokio::test]
async fn palpo_pings_the_root_and_says_502_all_the_same() {
    let fake = FakeBridge::start().await;
    let stub = start(palpo(&fake.url)).await.unwrap();
    let path = "/_matrix/client/v1/appservice/bridge/ping";
    let (status, body) =
        Client::bridge(&stub).try_call(Method::POST, path, &json!({"transaction_id": "p"})).await.unwrap();
    assert_eq!((status, body["errcode"].as_str()), (502, Some("M_UNKNOWN")));
    assert_eq!(fake.calls()[0].uri, "POST /?access_token=hs-token");
}

#[tokio::test]
async fn palpo_limits_registrations_but_creates_ghosts_that_act() {
    let mut options = palpo("http://127.0.0.1:9");
    options.retry_scale = 1.0;
    let stub = start(options).await.unwrap();
    let bridge = Client::bridge(&stub);
    let mut limited = None;
    for n in 0..5 {
        let (status, body) = bridge.register(&format!("dingtalk_{n}")).await;
        if status == 429 {
            limited = Some(body);
        }
    }
    assert!(limited.unwrap()["retry_after_ms"].as_u64().unwrap() > 0);
    let (status, who) = bridge.acting("@dingtalk_new:localhost.test").get("/account/whoami").await;
    assert_eq!((status, who["user_id"].as_str()), (200, Some("@dingtalk_new:localhost.test")));
}

#[tokio::test]
async fn typing_reaches_the_bridge_only_when_asked_for() {
    let fake = FakeBridge::start().await;
    let mut wanted = options(Some(&fake.url));
    wanted.registration.receive_ephemeral = true;
    let (_stub, bridge, room) = with_room(wanted).await;
    let path = format!("/rooms/{room}/typing/{ALICE}");
    assert_eq!(bridge.acting(ALICE).put(&path, json!({"typing": true, "timeout": 1000})).await.0, 200);
    let typing = || {
        let calls = fake.transactions();
        let mut items = calls.iter().filter_map(|call| call.body["ephemeral"].as_array()).flatten();
        items.any(|item| item["type"] == "m.typing" && item["content"]["user_ids"][0] == ALICE)
    };
    wait_until("typing", typing).await;
}
