use crate::bridge::FakeBridge;
use crate::client::{ALICE, Client, options, texts, wait_until, with_room};
use homeserver_stub::{Options, start};
use serde_json::json;
use std::io::Write;
use std::path::Path;

fn kept(path: &Path, url: Option<&str>) -> Options {
    let mut options = options(url);
    options.state = Some(path.to_owned());
    options
}

#[tokio::test]
async fn a_resend_after_a_restart_finds_the_event_only_with_a_device() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (stub, bridge, room) = with_room(kept(&path, None)).await;
    let alice = bridge.acting(ALICE);
    assert_eq!(alice.put("/devices/DEV", json!({"display_name": "bridge"})).await.0, 201);
    assert_eq!(alice.put("/devices/DEV", json!({})).await.0, 200);
    let with_device = alice.on_device("DEV").text(&room, "d1", "with device").await;
    let without = alice.text(&room, "n1", "without").await;
    stub.shutdown().await;

    let stub = start(kept(&path, None)).await.unwrap();
    let alice = Client::bridge(&stub).acting(ALICE);
    assert_eq!(alice.on_device("DEV").text(&room, "d1", "with device").await, with_device);
    let (status, again) = alice.text(&room, "n1", "without").await;
    assert_eq!(status, 200);
    assert_ne!(again, without.1);
    assert_eq!(texts(&stub, &room), ["with device", "without", "without"]);
}

#[tokio::test]
async fn a_restarted_stub_knows_rooms_members_aliases_profiles_and_humans() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (stub, bridge, _) = with_room(kept(&path, None)).await;
    let human = stub.create_human("olga").unwrap();
    let alice = bridge.acting(ALICE);
    let wish = json!({"room_alias_name": "dingtalk_x", "name": "X", "invite": [human.user_id]});
    let (_, made) = alice.post("/createRoom", wish.clone()).await;
    alice.put(&format!("/profile/{ALICE}/displayname"), json!({"displayname": "Alice"})).await;
    stub.shutdown().await;
    // A kill in the middle of a line.
    std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"{\"User\":{\"id\":\"@x")
        .unwrap();

    let stub = start(kept(&path, None)).await.unwrap();
    let alice = Client::bridge(&stub).acting(ALICE);
    let (status, body) = alice.post("/createRoom", wish).await;
    assert_eq!((status, body["errcode"].as_str()), (400, Some("M_ROOM_IN_USE")));
    let (_, found) = alice.get("/directory/room/%23dingtalk_x:localhost.test").await;
    assert_eq!(found["room_id"], made["room_id"]);
    let room = found["room_id"].as_str().unwrap();
    let olga = Client::new(&stub, &human.access_token);
    assert_eq!(olga.post(&format!("/join/{room}"), json!({})).await.0, 200);
    let (_, members) = olga.get(&format!("/rooms/{room}/joined_members")).await;
    assert_eq!(members["joined"][ALICE]["display_name"], "Alice");
}

#[tokio::test]
async fn undelivered_events_are_delivered_after_a_restart_and_ids_may_start_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let fake = FakeBridge::start().await;
    let mut settings = kept(&path, Some(&fake.url));
    settings.reset_transaction_ids = true;
    let (stub, bridge, room) = with_room(settings.clone()).await;
    bridge.acting(ALICE).text(&room, "1", "before").await;
    wait_until("the first is delivered", || fake.texts().len() == 1 && stub.pending_pushes() == 0).await;
    stub.pause_pushing();
    bridge.acting(ALICE).text(&room, "2", "held").await;
    stub.shutdown().await;
    let before = fake.transactions().len();

    let stub = start(settings).await.unwrap();
    wait_until("the second is delivered", || fake.texts().len() == 2 && stub.pending_pushes() == 0).await;
    let transactions = fake.transactions();
    assert_eq!(fake.texts(), ["before", "held"]);
    assert!(transactions[before].uri.ends_with("/transactions/1"), "{}", transactions[before].uri);
}

#[tokio::test]
async fn without_the_reset_transaction_ids_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let fake = FakeBridge::start().await;
    let (stub, bridge, room) = with_room(kept(&path, Some(&fake.url))).await;
    bridge.acting(ALICE).text(&room, "1", "one").await;
    wait_until("delivery", || stub.pending_pushes() == 0).await;
    stub.shutdown().await;
    let stub = start(kept(&path, Some(&fake.url))).await.unwrap();
    Client::bridge(&stub).acting(ALICE).text(&room, "2", "two").await;
    wait_until("delivery", || stub.pending_pushes() == 0 && fake.texts().len() == 2).await;
    let mut uris: Vec<_> = fake.transactions().into_iter().map(|call| call.uri).collect();
    let count = uris.len();
    uris.sort();
    uris.dedup();
    assert_eq!(uris.len(), count, "no id twice");
}
