use crate::bridge::FakeBridge;
use crate::client::{ALICE, options, texts, wait_until, with_room};
use homeserver_stub::{Fault, FaultKind, NewEvent};
use reqwest::Method;
use serde_json::json;

const SEND: &str = "PUT /_matrix/client/v3/rooms/{room}/send/{kind}/{txn}";

#[tokio::test]
async fn a_status_a_cut_and_a_limit_do_nothing() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let alice = bridge.acting(ALICE);
    stub.add_fault(Fault::on_path("/send/", FaultKind::Status, 503).times(1));
    assert_eq!(alice.text(&room, "1", "a").await.0, 503);
    stub.add_fault(Fault::on_path("/send/", FaultKind::Limit, 2500).times(1));
    let (status, body) = alice.text(&room, "1", "a").await;
    assert_eq!((status, &body["retry_after_ms"]), (429, &json!(2500)));
    stub.add_fault(Fault::on_path("/send/", FaultKind::Cut, 0).times(1));
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/1");
    let body = json!({"msgtype": "m.text", "body": "a"});
    assert!(alice.try_call(Method::PUT, &path, &body).await.is_err());
    assert!(texts(&stub, &room).is_empty());
    assert_eq!(alice.text(&room, "1", "a").await.0, 200);
    assert_eq!(stub.requests(SEND), 4);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_event_behind() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let alice = bridge.acting(ALICE);
    stub.add_fault(Fault::on_path("/send/", FaultKind::LoseAnswer, 0).times(1));
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/1");
    let body = json!({"msgtype": "m.text", "body": "a"});
    assert!(alice.try_call(Method::PUT, &path, &body).await.is_err());
    assert_eq!(texts(&stub, &room), ["a"]);
    assert_eq!(alice.text(&room, "1", "a").await.0, 200);
    assert_eq!(texts(&stub, &room), ["a"]);
}

#[tokio::test]
async fn a_transaction_whose_answer_is_lost_comes_again() {
    let fake = FakeBridge::start().await;
    let (stub, bridge, room) = with_room(options(Some(&fake.url))).await;
    wait_until("the room is known", || stub.pending_pushes() == 0).await;
    stub.add_fault(Fault::on_transactions(FaultKind::LoseAnswer, 0).times(1));
    bridge.acting(ALICE).text(&room, "1", "twice").await;
    wait_until("delivery", || stub.pending_pushes() == 0).await;
    assert_eq!(fake.texts(), ["twice", "twice"]);
}

#[tokio::test]
async fn faults_and_events_work_over_http_too() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let call = |method: Method, path: &'static str, body| {
        let bridge = bridge.clone();
        async move { bridge.try_call(method, path, &body).await.unwrap() }
    };
    let fault = json!({"path_prefix": "/_matrix/client/v3/account", "kind": "status", "value": 500, "probability": 1.0});
    let (status, added) = call(Method::POST, "/_stub/faults", fault).await;
    assert_eq!(status, 200, "{added}");
    assert_eq!(bridge.get("/account/whoami").await.0, 500);
    let (_, list) = call(Method::GET, "/_stub/faults", json!(null)).await;
    assert_eq!(list["faults"][0]["hits"], 1);
    call(Method::DELETE, "/_stub/faults", json!(null)).await;
    assert_eq!(bridge.get("/account/whoami").await.0, 200);
    assert_eq!(call(Method::POST, "/_stub/faults", json!({"kind": "status", "typo": 1})).await.0, 400);

    let (_, human) = call(Method::POST, "/_stub/humans", json!({"localpart": "olga"})).await;
    let wish = json!({"creator": ALICE, "join": [human["user_id"]]});
    let (_, made) = call(Method::POST, "/_stub/rooms", wish).await;
    let sender = human["user_id"].as_str().unwrap().to_owned();
    let messages: Vec<_> =
        (0..3).map(|n| NewEvent::text(made["room_id"].as_str().unwrap(), &sender, &n.to_string())).collect();
    let (status, sent) = call(Method::POST, "/_stub/send", json!(messages)).await;
    assert_eq!((status, sent["event_ids"].as_array().unwrap().len()), (200, 3));
    let (_, events) = call(Method::GET, "/_stub/events?since=0", json!(null)).await;
    let newest = events["events"].as_array().unwrap().last().unwrap();
    assert_eq!((&newest["event_id"], &newest["content"]["body"]), (&sent["event_ids"][2], &json!("2")));
    assert!(newest["received_us"].as_u64().unwrap() > 1_600_000_000_000_000);
    assert_eq!(events["next"], stub.event_count());
    let (_, counts) = call(Method::GET, "/_stub/stats", json!(null)).await;
    assert_eq!(counts["requests"]["GET /_matrix/client/v3/account/whoami"]["errors"], 1);
    assert!(texts(&stub, &room).is_empty());
}
