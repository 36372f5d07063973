//! A person who writes to the bot in private has one room, whoever begins and however often it is tried.

use serde_json::{Value, json};
use test_support::{RoomOptions, wait_until};
use world::{User, World};

use crate::{
    direct::Direct,
    group::new_person,
    stage::{self, LIMIT, body, on_synapse, run, unique, wait_message},
};

/// A person writes to the bot in private.
async fn write(world: &World, staff_id: &str, text: &str) {
    world.sandbox().write("", staff_id, text).await.unwrap();
}

/// Waits for the invitation to the room of a ghost's, and accepts it.
pub(crate) async fn accept(world: &World, ghost: &str) -> String {
    // Each look is a first sync, which takes Synapse long for somebody in many rooms.
    world.admin().accept_invitation_of(ghost, LIMIT).await.unwrap()
}

/// What reached a person.
async fn wait_reached(world: &World, staff_id: &str, text: &str) -> dingtalk_sandbox::Sent {
    let chat_id = one_to_one(world, staff_id).await;
    let fits = |sent: &world::Sent| sent.chat_id == chat_id && sent.says(text);
    let sent = world.sandbox().wait_sent(text, 0, LIMIT, fits).await.unwrap();
    assert_eq!(sent.channel, "oto");
    stage::whole(world, &sent).await
}

/// The conversation's id, once anything was said in it.
async fn one_to_one(world: &World, staff_id: &str) -> String {
    let found = wait_until(LIMIT, "the 1:1 chat", async || {
        let chats: Vec<Value> = world.sandbox().get("chats").await.ok()?;
        let chat = chats.iter().find(|chat| {
            chat["kind"] != "group"
                && chat["members"].as_array().is_some_and(|all| all.contains(&json!(staff_id)))
        })?;
        chat["chat_id"].as_str().map(str::to_owned)
    });
    found.await.unwrap()
}

/// Rooms in which the admin and this ghost are, or to which it invited the admin.
async fn rooms_with(world: &World, ghost: &str) -> usize {
    let admin = world.admin();
    let mut found = 0;
    for room in admin.joined_rooms().await.unwrap() {
        found += usize::from(admin.joined_members(&room).await.unwrap().contains_key(ghost));
    }
    let invitations = admin.invitations().await.unwrap();
    let from_ghost = |state: &Vec<Value>| state.iter().any(|event| event["sender"] == ghost);
    found + invitations.values().filter(|state| from_ghost(state)).count()
}

async fn texts(user: &User, room: &str, of: &str) -> Vec<String> {
    let events = user.messages(room, 100).await.unwrap();
    let said = events.iter().filter(|event| event["sender"] == of && event["type"] == "m.room.message");
    said.map(|event| body(event).to_owned()).collect()
}

#[test]
fn who_writes_in_private_gets_a_room_with_whoever_logged_in() {
    on_synapse(async |world| {
        let name = unique("私聊");
        let staff_id = new_person(world, &name).await;
        let ghost = world.ghost_of(&staff_id);
        let said: Vec<String> = (0..5).map(|number| unique(&format!("private-{number}"))).collect();
        for text in &said {
            write(world, &staff_id, text).await;
        }
        let room = accept(world, &ghost).await;
        wait_message(world, &room, &said[4]).await;
        assert_eq!(texts(world.admin(), &room, &ghost).await, said);
        let shown = world.admin().state(&room, "m.room.name", "").await.unwrap().unwrap();
        assert_eq!(shown["name"], name.as_str());

        let answer = unique("answer");
        let event = world.admin().send_text(&room, &answer).await.unwrap();
        wait_reached(world, &staff_id, &answer).await;
        world.admin().redact(&room, &event).await.unwrap();
        let recalled = wait_until(LIMIT, "the answer to be taken back", async || {
            wait_reached(world, &staff_id, &answer).await.recalled.then_some(())
        });
        recalled.await.unwrap();
        let more = unique("more");
        write(world, &staff_id, &more).await;
        wait_message(world, &room, &more).await;
        assert_eq!(rooms_with(world, &ghost).await, 1);
        let bystander = &world.users()[0];
        assert!(bystander.joined_members(&room).await.is_err(), "others do not see it");
        let told = world.sandbox().sent(0).await.unwrap();
        assert!(!told.iter().any(|sent| sent.says("bridge <matrix-room>") && sent.says(&staff_id)));
    });
}

#[test]
fn a_chat_begun_with_pm_is_the_one_the_person_answers_in() {
    on_synapse(async |world| {
        let staff_id = new_person(world, &unique("先写")).await;
        let ghost = world.ghost_of(&staff_id);
        let direct = Direct::open(world, world.admin()).await;
        direct.expect(&format!("pm {staff_id}"), &["is open: !"]).await;
        let room = accept(world, &ghost).await;
        let first = unique("may I?");
        let asked = world.admin().send_text(&room, &first).await.unwrap();
        let sent = wait_reached(world, &staff_id, &first).await;
        // The answer, which quotes what was asked, names the conversation for the first time.
        let reply = unique("of course");
        let quote = json!({"chat_id": "", "staff_id": staff_id, "text": reply, "quote": sent.msg_id,
            "fields": {"originalProcessQueryKey": sent.process_query_key}});
        let _: Value = world.sandbox().post("messages", &quote).await.unwrap();
        let event = wait_message(world, &room, &reply).await;
        assert_eq!(event["sender"], ghost.as_str());
        assert_eq!(stage::answers(&event), Some(&*asked));
        let second = unique("thanks");
        world.admin().send_text(&room, &second).await.unwrap();
        wait_reached(world, &staff_id, &second).await;
        direct.expect(&format!("pm {staff_id}"), &["already", &room]).await;
        assert_eq!(rooms_with(world, &ghost).await, 1);
        let chat_id = one_to_one(world, &staff_id).await;
        direct.expect("groups", &[&format!("{chat_id}, bridged ↔ {room}")]).await;
    });
}

#[test]
fn pm_tells_people_apart_and_says_who_cannot_be_reached() {
    on_synapse(async |world| {
        let direct = Direct::open(world, world.admin()).await;
        let name = unique("同名");
        let mut same = Vec::new();
        for _ in 0..2 {
            let staff_id = new_person(world, &name).await;
            write(world, &staff_id, "hello").await;
            accept(world, &world.ghost_of(&staff_id)).await;
            same.push(staff_id);
        }
        direct.expect(&format!("pm {name}"), &["Several people", &same[0], &same[1]]).await;
        direct.expect(&format!("pm {}", same[0]), &["already"]).await;
        direct.expect("pm nobody-has-this-id", &["I know nobody called \"nobody-has-this-id\""]).await;
        direct.expect("pm", &["Please write: pm"]).await;
        direct.expect("私聊 nobody-has-this-id", &["没有找到"]).await;

        let gone = new_person(world, &unique("已离职")).await;
        let chat = json!({"event_type": "chat_add_member", "chat_id": world.chats()[0].chat_id, "staff_ids": [gone]});
        crate::group::happen(world, chat).await;
        let known = world.ghost_of(&gone);
        let joined = wait_until(LIMIT, "the person to be known", async || {
            let members = world.admin().joined_members(&world.chats()[0].room_id).await.ok()?;
            members.contains_key(&known).then_some(())
        });
        joined.await.unwrap();
        crate::group::happen(world, json!({"event_type": "user_leave_org", "staff_ids": [gone]})).await;
        let left = wait_until(LIMIT, "the person to have left", async || {
            direct.ask(&format!("pm {gone}")).await.contains("has left the organisation").then_some(())
        });
        left.await.unwrap();

        let alice = Direct::open(world, &world.users()[0]).await;
        alice.expect(&format!("pm {}", same[0]), &["are shown to", world.admin().user_id()]).await;
    });
}

#[test]
fn a_room_a_ghost_is_invited_to_becomes_the_chat() {
    on_synapse(async |world| {
        let admin = world.admin();
        let staff_id = new_person(world, &unique("受邀")).await;
        let ghost = world.ghost_of(&staff_id);
        let options = |encrypted| RoomOptions {
            is_direct: true,
            encrypted,
            invite: vec![ghost.clone()],
            power_levels: Some(json!({"invite": 0})),
            ..RoomOptions::default()
        };
        let secret = admin.create_room(options(true)).await.unwrap();
        wait_message(world, &secret, "encryption is not switched on").await;
        let gone = wait_until(LIMIT, "the ghost to leave", async || {
            (!admin.joined_members(&secret).await.ok()?.contains_key(&ghost)).then_some(())
        });
        gone.await.unwrap();

        let room = admin.create_room(options(false)).await.unwrap();
        wait_message(world, &room, "1:1 chat with").await;
        let text = unique("through my own room");
        admin.send_text(&room, &text).await.unwrap();
        wait_reached(world, &staff_id, &text).await;
        let reply = unique("heard");
        write(world, &staff_id, &reply).await;
        assert_eq!(wait_message(world, &room, &reply).await["sender"], ghost.as_str());

        let second = admin.create_room(options(false)).await.unwrap();
        wait_message(world, &second, &format!("already: {room}")).await;

        // A stranger learns who may.
        let alice = &world.users()[0];
        let theirs = alice.create_room(options(false)).await.unwrap();
        let told = alice.wait_for_event(&theirs, LIMIT, |event| body(event).contains("are shown to")).await;
        assert_eq!(told.unwrap()["sender"], ghost.as_str());
        let bridged = &world.chats()[0].room_id;
        admin.invite(bridged, &ghost).await.unwrap();
        wait_message(world, bridged, "is invited there, in DingTalk").await;
    });
}

#[test]
fn a_room_whose_creation_was_not_answered_is_found_again() {
    run(async {
        let world = stage::stub("direct-crash", |_| ()).await;
        let staff_id = new_person(&world, "一次").await;
        let ghost = world.ghost_of(&staff_id);
        let fault = json!({"path_contains": "/createRoom", "kind": "lose_answer", "count": 2});
        let url = format!("{}/_stub/faults", world.homeserver().url());
        let added = reqwest::Client::new().post(url).json(&fault).send().await.unwrap();
        assert!(added.status().is_success());
        let text = unique("once");
        write(&world, &staff_id, &text).await;
        let room = accept(&world, &ghost).await;
        wait_message(&world, &room, &text).await;
        world.bridge().kill().await.unwrap();
        let more = unique("after the crash");
        write(&world, &staff_id, &more).await;
        wait_message(&world, &room, &more).await;
        assert_eq!(rooms_with(&world, &ghost).await, 1);
        world.stop().await.unwrap();
    });
}

#[test]
fn without_anybody_to_see_them_private_chats_wait_for_an_admin() {
    run(async {
        let world = stage::stub("direct-off", |options| {
            options.bridge_settings.push_str("\n[direct]\nenabled = false");
        })
        .await;
        let staff_id = new_person(&world, "等待").await;
        let text = unique("waiting");
        write(&world, &staff_id, &text).await;
        let chat_id = one_to_one(&world, &staff_id).await;
        let confirmed = |sent: &world::Sent| sent.chat_id == chat_id && sent.says("bridge <matrix-room>");
        world.sandbox().wait_sent("the confirmation", 0, LIMIT, confirmed).await.unwrap();
        let direct = Direct::open(&world, world.admin()).await;
        direct.expect(&format!("pm {staff_id}"), &["Nobody is chosen to see 1:1 chats"]).await;
        let room = crate::group::room(&world, None).await;
        direct.expect(&format!("bridge {room} {chat_id}"), &["Bridged: 等待"]).await;
        wait_message(&world, &room, &text).await;
        let answer = unique("late answer");
        world.admin().send_text(&room, &answer).await.unwrap();
        wait_reached(&world, &staff_id, &answer).await;
        world.stop().await.unwrap();
    });
}
