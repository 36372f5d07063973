//! A real Synapse, once through everything.

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use test_support::{
    Installation, MatrixClient, MatrixError, RoomOptions, Synapse, SynapseOptions, free_port,
};
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(30);

/// Says how long the steps took.
struct Clock(Instant);

impl Clock {
    fn step(&mut self, what: &str) {
        println!("{what}: {} ms", self.0.elapsed().as_millis());
        self.0 = Instant::now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "installs 250 MB from the Python package index; by hand: cargo test -p test-support -- --ignored --nocapture"]
async fn synapse_is_installed_and_serves_people() {
    // Kept between runs; the variable is for trying an installation from nothing.
    let cache =
        std::env::var_os("SYNAPSE_CACHE").map_or_else(|| std::env::temp_dir().join("synapse"), PathBuf::from);
    let mut clock = Clock(Instant::now());
    let progress = |text: &str| println!("{text}");
    let (first, second) =
        tokio::join!(Installation::ensure(&cache, &progress), Installation::ensure(&cache, &progress));
    let installation = first.unwrap();
    second.unwrap();
    clock.step("two installations at once");
    Installation::ensure(&cache, &progress).await.unwrap();
    clock.step("one that is there");

    let dir = tempfile::tempdir().unwrap();
    let registration = dir.path().join("registration.yaml");
    let rule = json!({"exclusive": true, "regex": "@bot_.*:localhost\\.test"});
    let content = json!({
        "id": "test", "url": null, "as_token": "a", "hs_token": "h", "sender_localpart": "bot",
        "namespaces": {"users": [rule]}, "rate_limited": false,
    });
    std::fs::write(&registration, content.to_string()).unwrap();
    let options = SynapseOptions {
        dir: dir.path().join("synapse"),
        server_name: "localhost.test".into(),
        port: free_port().unwrap(),
        registrations: vec![registration],
        room_version: Some("11".into()),
        encryption_extensions: true,
    };
    // In a task: the futures must be able to change threads.
    let mut synapse =
        tokio::spawn(async move { Synapse::start(&installation, options).await }).await.unwrap().unwrap();
    clock.step("start");

    let session = synapse.register_user("alice", "pw of alice", false).await.unwrap();
    assert_eq!(session.user_id, "@alice:localhost.test");
    let admin = synapse.register_user("bob", "pw of bob", true).await.unwrap();
    clock.step("two accounts");
    let alice = MatrixClient::login(synapse.base_url(), "alice", &session.password).await.unwrap();
    let bob = synapse.client(&admin).unwrap();
    assert!(synapse.register_user("alice", "pw", false).await.is_err());
    let service = MatrixClient::from_token(synapse.base_url(), "@bot:localhost.test", "a").unwrap();
    service.joined_rooms().await.unwrap();

    let room =
        RoomOptions { name: Some("Ops".into()), invite: vec![bob.user_id().into()], ..Default::default() };
    let room = alice.create_room(room).await.unwrap();
    let create = alice.state(&room, "m.room.create", "").await.unwrap().unwrap();
    assert_eq!(create["room_version"], "11");
    let invited = bob.wait_for_invitation(LIMIT, |id, _| id == room).await.unwrap();
    let waiting = tokio::spawn({
        let (bob, room) = (bob.clone(), room.clone());
        // Begun before the joining.
        async move { bob.wait_for_event(&room, LIMIT, |event| event["content"]["body"] == "after").await }
    });
    bob.join(&invited).await.unwrap();
    assert_eq!(alice.joined_members(&room).await.unwrap().len(), 2);
    alice.set_power(&room, bob.user_id(), 50).await.unwrap();
    for number in 0..120 {
        alice.send_text(&room, &format!("text {number}")).await.unwrap();
    }
    let after = alice.send_text(&room, "after").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap()["event_id"], after);
    clock.step("a room with 121 texts");
    let last = bob.messages(&room, 110).await.unwrap();
    assert_eq!((last.len(), &last[109]["event_id"]), (110, &json!(after)));

    bob.redact(&room, &after).await.unwrap();
    let redacted =
        bob.wait_for_event(&room, LIMIT, |event| event["type"] == "m.room.redaction").await.unwrap();
    assert_eq!(redacted["redacts"], json!(after));
    assert!(alice.event(&room, &after).await.unwrap()["unsigned"]["redacted_because"].is_object());
    let mxc = alice.upload("text/plain", "a b.txt", b"hello".to_vec()).await.unwrap();
    assert_eq!(bob.download(&mxc).await.unwrap(), b"hello");
    let encrypted = RoomOptions { encrypted: true, is_direct: true, ..Default::default() };
    let encrypted = alice.create_room(encrypted).await.unwrap();
    assert!(alice.state(&encrypted, "m.room.encryption", "").await.unwrap().is_some());
    alice.set_display_name("Alice A").await.unwrap();
    assert_eq!(bob.display_name(alice.user_id()).await.unwrap().as_deref(), Some("Alice A"));
    bob.leave(&room).await.unwrap();
    let error = bob.send_text(&room, "too late").await.unwrap_err();
    assert_eq!(error.downcast_ref::<MatrixError>().unwrap().errcode, "M_FORBIDDEN");
    println!("{:?}", synapse.process().usage().unwrap());
    clock.step("the rest");

    let waiting = tokio::spawn({
        let (alice, room) = (alice.clone(), room.clone());
        async move { alice.wait_for_event(&room, LIMIT, |event| event["content"]["body"] == "again").await }
    });
    synapse.restart().await.unwrap();
    clock.step("restart");
    alice.send_text(&room, "again").await.unwrap();
    waiting.await.unwrap().unwrap();
    synapse.kill().await.unwrap();
    assert!(alice.joined_rooms().await.is_err());
    synapse.restart().await.unwrap();
    clock.step("kill and restart");
    assert_eq!(alice.joined_rooms().await.unwrap().len(), 2);
    synapse.stop().await.unwrap();
    clock.step("stop");
}
