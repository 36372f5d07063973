use crate::client::{ALICE, BOB, options, with_room};
use homeserver_stub::NewEvent;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_bulk_send_keeps_its_order_and_stops_at_the_first_refusal() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let mut events: Vec<_> = (0..5).map(|n| NewEvent::text(&room, ALICE, &n.to_string())).collect();
    events.push(NewEvent::text(&room, "@olga:localhost.test", "not in the room"));
    events.push(NewEvent::text(&room, ALICE, "after"));
    let (status, body) = bridge.try_call(Method::POST, "/_stub/send", &json!(events)).await.unwrap();
    assert_eq!((status, &body["errcode"]), (403, &json!("M_FORBIDDEN")));
    assert_eq!(crate::client::texts(&stub, &room), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_reader_of_events_can_wait_for_them() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let path = format!("/_stub/events?room={room}&since={}&timeout=20000", stub.event_count());
    let reader =
        tokio::spawn(async move { bridge.try_call(Method::GET, &path, &Value::Null).await.unwrap() });
    let since = stub.event_count();
    let seen = stub.wait_event(since, Duration::from_secs(20), |event| event.sender == BOB);
    let (seen, ()) = tokio::join!(seen, async {
        stub.send_text(&room, BOB, "at last").unwrap();
    });
    assert_eq!(seen.unwrap().content_value()["body"], "at last");
    let (_, body) = reader.await.unwrap();
    assert_eq!(body["events"].as_array().unwrap().len(), 1);
    assert_eq!(body["next"], stub.event_count());
    assert!(stub.wait_event(since, Duration::ZERO, |event| event.sender == ALICE).await.is_err());
}

#[tokio::test]
async fn rooms_tell_who_is_in_them_types_and_has_read() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let sent = stub.send_text(&room, ALICE, "x").unwrap();
    let bob = bridge.acting(BOB);
    let typing = format!("/rooms/{room}/typing/{BOB}");
    assert_eq!(bob.put(&typing, json!({"typing": true})).await.0, 200);
    assert_eq!(bob.put(&format!("/rooms/{room}/typing/{ALICE}"), json!({"typing": true})).await.0, 400);
    let receipt = format!("/rooms/{room}/receipt/m.read/{}", sent.event_id);
    assert_eq!(bob.post(&receipt, json!({})).await.0, 200);
    let info = stub.room(&room).unwrap();
    assert_eq!((info.members.len(), info.typing.as_slice()), (2, [BOB.to_owned()].as_slice()));
    assert_eq!(info.receipts[BOB].event_id, sent.event_id);
    assert_eq!(bob.put(&typing, json!({"typing": false})).await.0, 200);
    assert!(stub.room(&room).unwrap().typing.is_empty());
}
