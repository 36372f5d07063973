use crate::client::{ALICE, BOB, options, texts, with_room};
use homeserver_stub::Mode;
use serde_json::json;

#[tokio::test]
async fn a_repeated_transaction_id_gives_the_first_event_whatever_the_body_says() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let alice = bridge.acting(ALICE);
    let first = alice.text(&room, "m1", "one").await;
    let again = alice.text(&room, "m1", "two").await;
    let floats = alice.put(&format!("/rooms/{room}/send/m.room.message/m1"), json!({"body": 1.5})).await;
    assert_eq!((first.0, &first), (200, &again));
    assert_eq!(floats, first);
    assert_eq!(texts(&stub, &room), ["one"]);
}

#[tokio::test]
async fn in_synapse_all_users_of_the_bridge_share_transaction_ids() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let first = bridge.acting(ALICE).text(&room, "m1", "from alice").await;
    let second = bridge.acting(BOB).text(&room, "m1", "from bob").await;
    assert_eq!(first, second, "the second message never exists");
    assert_eq!(texts(&stub, &room), ["from alice"]);
    let other_type =
        bridge.acting(BOB).put(&format!("/rooms/{room}/send/m.sticker/m1"), json!({"body": "s"})).await;
    assert_ne!(other_type, first);
}

#[tokio::test]
async fn in_palpo_each_user_has_its_own() {
    let mut palpo = options(None);
    palpo.mode = Mode::Palpo;
    let (stub, bridge, room) = with_room(palpo).await;
    bridge.acting(ALICE).text(&room, "m1", "from alice").await;
    bridge.acting(BOB).text(&room, "m1", "from bob").await;
    bridge.acting(BOB).on_device("NONE").text(&room, "m1", "again").await;
    assert_eq!(texts(&stub, &room), ["from alice", "from bob"]);
}

#[tokio::test]
async fn errors_are_not_remembered() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let carol = bridge.acting("@dingtalk_carol:localhost.test");
    bridge.register("dingtalk_carol").await;
    let (status, body) = carol.text(&room, "m1", "hi").await;
    assert_eq!((status, body["errcode"].as_str()), (403, Some("M_FORBIDDEN")));
    stub.join(&room, "@dingtalk_carol:localhost.test").unwrap();
    assert_eq!(carol.text(&room, "m1", "hi").await.0, 200);
    assert_eq!(texts(&stub, &room), ["hi"]);
}

#[tokio::test]
async fn parallel_requests_with_one_transaction_id_make_one_event() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let alice = bridge.acting(ALICE);
    let calls = (0..20).map(|_| {
        let (alice, room) = (alice.clone(), room.clone());
        tokio::spawn(async move { alice.text(&room, "same", "once").await })
    });
    let calls: Vec<_> = calls.collect();
    let mut ids = Vec::new();
    for call in calls {
        ids.push(call.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(texts(&stub, &room), ["once"]);
}
