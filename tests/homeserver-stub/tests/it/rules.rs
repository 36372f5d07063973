use crate::client::{ALICE, BOB, Client, options, texts, wait_until, with_room};
use homeserver_stub::{Mode, start};
use serde_json::{Value, json};

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["errcode"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn the_bridge_acts_only_as_its_registered_users() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let human = stub.create_human("olga").unwrap();
    assert_eq!(code(&bridge.acting(&human.user_id).get("/account/whoami").await), (403, "M_FORBIDDEN"));
    let ghost = bridge.acting("@dingtalk_nobody:localhost.test").get("/account/whoami").await;
    assert_eq!(code(&ghost), (403, "M_FORBIDDEN"));
    assert_eq!(code(&bridge.register("olga2").await), (400, "M_EXCLUSIVE"));
    assert_eq!(code(&bridge.register("dingtalk_bob").await), (400, "M_USER_IN_USE"));
    let unknown = bridge.acting(ALICE).on_device("NONE").text(&room, "1", "x").await;
    assert_eq!(code(&unknown), (400, "M_UNKNOWN_DEVICE"));
    assert_eq!(Client::new(&stub, "wrong").get("/account/whoami").await.0, 401);
    let (_, who) = bridge.get("/account/whoami").await;
    assert_eq!(who["user_id"], "@dingtalk-sender:localhost.test");
}

#[tokio::test]
async fn bad_contents_are_refused() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let alice = bridge.acting(ALICE);
    let path = |n: u32| format!("/rooms/{room}/send/m.room.message/{n}");
    let cases = [
        (json!({"msgtype": "m.text", "body": "x", "a": 1.5}), 400, "M_BAD_JSON"),
        (json!({"msgtype": "m.text", "body": null}), 400, "M_BAD_JSON"),
        (json!({"msgtype": "m.text"}), 400, "M_BAD_JSON"),
        (json!({"msgtype": "m.text", "body": "字".repeat(22_000)}), 413, "M_TOO_LARGE"),
        (json!([]), 400, "M_BAD_JSON"),
    ];
    for (n, (content, status, errcode)) in (0..).zip(cases) {
        assert_eq!(code(&alice.put(&path(n), content).await), (status, errcode));
    }
    let text = json!({"msgtype": "m.text", "body": "x"});
    for ts in ["-1", "1.5", "soon"] {
        let answer = alice.put(&format!("{}?ts={ts}", path(90)), text.clone()).await;
        assert_eq!(code(&answer), (400, "M_INVALID_PARAM"), "{ts}");
    }
    assert_eq!(alice.put(&format!("{}?ts=1234567", path(91)), text).await.0, 200);
    assert_eq!(stub.events(Some(&room), 0).last().unwrap().origin_server_ts, 1_234_567);
}

#[tokio::test]
async fn power_levels_and_membership_are_honoured() {
    let (stub, bridge, _) = with_room(options(None)).await;
    let (alice, bob) = (bridge.acting(ALICE), bridge.acting(BOB));
    let over = json!({"invite": 50, "events_default": 0, "events": {"m.room.message": 10}});
    let wish = json!({"power_level_content_override": over, "invite": [BOB]});
    let room = alice.post("/createRoom", wish).await.1["room_id"].as_str().unwrap().to_owned();
    assert_eq!(code(&bob.text(&room, "0", "x").await), (403, "M_FORBIDDEN"));
    assert_eq!(bob.post(&format!("/join/{room}"), json!({})).await.0, 200);
    assert_eq!(code(&bob.text(&room, "1", "x").await), (403, "M_FORBIDDEN"));
    let human = stub.create_human("olga").unwrap();
    let invite = format!("/rooms/{room}/invite");
    assert_eq!(code(&bob.post(&invite, json!({"user_id": human.user_id})).await), (403, "M_FORBIDDEN"));
    assert_eq!(alice.post(&invite, json!({"user_id": human.user_id})).await.0, 200);
    assert_eq!(alice.post(&invite, json!({"user_id": human.user_id})).await.0, 200);
    assert_eq!(code(&alice.post(&invite, json!({"user_id": BOB})).await), (403, "M_FORBIDDEN"));
    let name = format!("/rooms/{room}/state/m.room.name");
    assert_eq!(code(&bob.put(&name, json!({"name": "x"})).await), (403, "M_FORBIDDEN"));
    let first = alice.put(&name, json!({"name": "x"})).await;
    assert_eq!(alice.put(&name, json!({"name": "x"})).await, first, "equal state is not written twice");
    assert_eq!(alice.post(&format!("/rooms/{room}/kick"), json!({"user_id": BOB})).await.0, 200);
    assert_eq!(code(&bob.text(&room, "2", "x").await), (403, "M_FORBIDDEN"));
    let (_, joined) = alice.get(&format!("/rooms/{room}/joined_members")).await;
    assert_eq!(joined["joined"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn room_versions_differ_as_they_should() {
    let (_stub, bridge, _) = with_room(options(None)).await;
    let alice = bridge.acting(ALICE);
    let listed = json!({"power_level_content_override": {"users": {ALICE: 100}}});
    assert_eq!(alice.post("/createRoom", listed.clone()).await.0, 400);
    let mut old = listed;
    old["room_version"] = "10".into();
    let (status, room) = alice.post("/createRoom", old).await;
    assert_eq!(status, 200);
    let room = room["room_id"].as_str().unwrap();
    assert!(room.ends_with(":localhost.test"));
    let (_, create) = alice.get(&format!("/rooms/{room}/state/m.room.create")).await;
    assert_eq!((&create["creator"], &create["room_version"]), (&json!(ALICE), &json!("10")));
    let (_, new) = alice.post("/createRoom", json!({})).await;
    assert!(!new["room_id"].as_str().unwrap().contains(':'));
}

#[tokio::test]
async fn redactions_empty_and_reactions_are_unique() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let (alice, bob) = (bridge.acting(ALICE), bridge.acting(BOB));
    let id = alice.text(&room, "1", "secret").await.1["event_id"].as_str().unwrap().to_owned();
    let thumb = json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": id, "key": "👍"}});
    let react = |n: u32| format!("/rooms/{room}/send/m.reaction/r{n}");
    let (_, first) = bob.put(&react(1), thumb.clone()).await;
    assert_eq!(code(&bob.put(&react(2), thumb.clone()).await), (400, "M_DUPLICATE_ANNOTATION"));
    let reaction_id = first["event_id"].as_str().unwrap();
    let removal = |event: &str, txn: &str| format!("/rooms/{room}/redact/{event}/{txn}");
    assert_eq!(code(&bob.put(&removal(&id, "x1"), json!({})).await), (403, "M_FORBIDDEN"));
    assert_eq!(bob.put(&removal(reaction_id, "x2"), json!({})).await.0, 200);
    assert_eq!(bob.put(&react(3), thumb).await.0, 200);
    let (_, removed) = alice.put(&removal(&id, "x3"), json!({"reason": "r"})).await;
    assert_eq!(alice.put(&removal(&id, "x3"), json!({})).await.1, removed);
    let (_, event) = alice.get(&format!("/rooms/{room}/event/{id}")).await;
    assert_eq!(event["content"], json!({}));
    assert_eq!(event["unsigned"]["redacted_because"]["event_id"], removed["event_id"]);
    let last = stub.events(Some(&room), 0).pop().unwrap();
    assert_eq!((last.redacts.as_deref(), last.content_value()["redacts"].as_str()), (Some(&*id), Some(&*id)));
}

#[tokio::test]
async fn a_new_name_is_written_into_every_room() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let other = stub.create_room(BOB, &json!({}), &[]).unwrap();
    let path = format!("/profile/{BOB}/displayname");
    let before = stub.event_count();
    assert_eq!(bridge.acting(BOB).put(&path, json!({"displayname": "Bob"})).await.0, 200);
    assert_eq!(bridge.acting(BOB).put(&path, json!({"displayname": "Bob"})).await.0, 200);
    let events = stub.events(None, before);
    let mut rooms: Vec<_> = events.iter().map(|event| event.room_id.clone()).collect();
    rooms.sort();
    let mut expected = vec![room, other];
    expected.sort();
    assert_eq!(rooms, expected);
    assert!(events.iter().all(|event| event.content_value()["displayname"] == "Bob"));
}

#[tokio::test]
async fn timelines_are_read_backwards_and_palpo_turns_the_other_direction_round() {
    for mode in [Mode::Synapse, Mode::Palpo] {
        let mut settings = options(None);
        settings.mode = mode;
        let (_stub, bridge, room) = with_room(settings).await;
        let alice = bridge.acting(ALICE);
        let (_, start) = alice.get(&format!("/rooms/{room}/messages?dir=b&limit=1")).await;
        for n in 0..5 {
            alice.text(&room, &n.to_string(), &n.to_string()).await;
        }
        let bodies = |answer: &Value| -> Vec<String> {
            let chunk = answer["chunk"].as_array().unwrap();
            chunk.iter().map(|event| event["content"]["body"].as_str().unwrap_or("-").to_owned()).collect()
        };
        let (_, newest) = alice.get(&format!("/rooms/{room}/messages?dir=b&limit=3")).await;
        assert_eq!(bodies(&newest), ["4", "3", "2"]);
        let end = newest["end"].as_str().unwrap();
        let (_, older) = alice.get(&format!("/rooms/{room}/messages?dir=b&limit=3&from={end}")).await;
        assert_eq!(bodies(&older), ["1", "0", "-"]);
        let from = start["start"].as_str().unwrap();
        let (_, forward) = alice.get(&format!("/rooms/{room}/messages?dir=f&limit=3&from={from}")).await;
        let expected = if mode == Mode::Palpo { ["2", "1", "0"] } else { ["0", "1", "2"] };
        assert_eq!(bodies(&forward), expected);
    }
}

#[tokio::test]
async fn media_has_one_owner_one_content_and_a_limit() {
    let mut small = options(None);
    small.max_upload = 1000;
    let (stub, bridge, _) = with_room(small).await;
    let http = &bridge.http;
    let url = |path: &str, user: &str| format!("{}{path}?user_id={user}", stub.base_url());
    let made =
        http.post(url("/_matrix/media/v1/create", ALICE)).bearer_auth("as-token").send().await.unwrap();
    let made: Value = made.json().await.unwrap();
    let id = made["content_uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let down = format!(
        "{}&timeout_ms=0",
        url(&format!("/_matrix/client/v1/media/download/localhost.test/{id}"), BOB)
    );
    let get = || async { http.get(&down).bearer_auth("as-token").send().await.unwrap() };
    assert_eq!(get().await.status().as_u16(), 504);
    let fill = |user: &'static str, bytes: usize| {
        let target = url(&format!("/_matrix/media/v3/upload/localhost.test/{id}"), user);
        let request = http.put(target).bearer_auth("as-token").header("content-type", "text/plain");
        async move { request.body(vec![7; bytes]).send().await.unwrap().status().as_u16() }
    };
    assert_eq!(fill(BOB, 10).await, 403);
    assert_eq!(fill(ALICE, 1001).await, 413);
    assert_eq!(fill(ALICE, 10).await, 200);
    assert_eq!(fill(ALICE, 10).await, 409);
    let answer = get().await;
    assert_eq!(answer.headers()["content-type"], "text/plain");
    assert_eq!(answer.bytes().await.unwrap(), vec![7; 10]);
    assert_eq!(http.get(&down).send().await.unwrap().status().as_u16(), 401);
}

#[tokio::test]
async fn humans_log_in_and_sync() {
    let (stub, bridge, room) = with_room(options(None)).await;
    let human = stub.create_human("olga").unwrap();
    let login = json!({"type": "m.login.password", "password": human.password,
        "identifier": {"type": "m.id.user", "user": "olga"}});
    let (status, session) = Client::new(&stub, "").post("/login", login).await;
    assert_eq!(status, 200, "{session}");
    let olga = Client::new(&stub, session["access_token"].as_str().unwrap());
    stub.join(&room, &human.user_id).unwrap();
    let (_, first) = olga.get("/sync").await;
    assert!(first["rooms"]["join"][&room].is_object());
    let next = first["next_batch"].as_str().unwrap().to_owned();
    let waiting = tokio::spawn({
        let olga = olga.clone();
        async move { olga.get(&format!("/sync?timeout=20000&since={next}")).await.1 }
    });
    wait_until("the sync has begun", || stub.requests("GET /_matrix/client/v3/sync") >= 1).await;
    bridge.acting(ALICE).text(&room, "1", "hello").await;
    let news = waiting.await.unwrap();
    let events = news["rooms"]["join"][&room]["timeline"]["events"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["content"]["body"], "hello");
    assert_eq!(texts(&stub, &room), ["hello"]);
}

#[tokio::test]
async fn unknown_routes_and_methods_have_their_own_errors() {
    let stub = start(options(None)).await.unwrap();
    let bridge = Client::bridge(&stub);
    assert_eq!(code(&bridge.get("/nonsense").await), (404, "M_UNRECOGNIZED"));
    assert_eq!(code(&bridge.put("/account/whoami", json!({})).await), (405, "M_UNRECOGNIZED"));
}
