//! Who is in a chat, what it is called and whose it is shows in its room; a chat that ends says so.

use serde_json::{Value, json};
use test_support::wait_until;
use world::World;

use crate::{
    direct::Direct,
    group::{bridged, happen, new_person, room},
    stage::{self, LIMIT, on_synapse, run, sent, unique, wait_message, wait_sent, wait_told},
};

/// Waits until a user is in a room, or is not; answers the name shown there.
async fn wait_member(world: &World, room: &str, user: &str, present: bool) -> Option<String> {
    let what = format!("{user} {} {room}", if present { "in" } else { "not in" });
    let found = wait_until(LIMIT, &what, async || {
        let members = world.admin().joined_members(room).await.ok()?;
        let member = members.get(user);
        (member.is_some() == present).then(|| member.and_then(|member| member.display_name.clone()))
    });
    found.await.unwrap()
}

#[test]
fn people_who_come_and_go_come_and_go_in_the_room() {
    on_synapse(async |world| {
        let chat = bridged(world, "成员").await;
        for shape in ["http", "legacy", "stream"] {
            let name = unique("新同事");
            let staff_id = new_person(world, &name).await;
            let ghost = world.ghost_of(&staff_id);
            let event = |kind: &str| json!({"event_type": kind, "chat_id": chat.chat_id, "staff_ids": [staff_id], "shape": shape});
            happen(world, event("chat_add_member")).await;
            let shown = wait_member(world, &chat.room_id, &ghost, true).await;
            assert_eq!(shown.as_deref(), Some(&*name), "{shape}");
            happen(world, event("chat_remove_member")).await;
            wait_member(world, &chat.room_id, &ghost, false).await;

            // Who comes back and speaks is there again.
            happen(world, event("chat_add_member")).await;
            wait_member(world, &chat.room_id, &ghost, true).await;
            let text = unique("back");
            world.sandbox().write(&chat.chat_id, &staff_id, &text).await.unwrap();
            assert_eq!(wait_message(world, &chat.room_id, &text).await["sender"], ghost.as_str());
            let quit = json!({"event_type": "chat_quit", "chat_id": chat.chat_id, "operator": staff_id, "shape": shape});
            happen(world, quit).await;
            wait_member(world, &chat.room_id, &ghost, false).await;
        }
    });
}

#[test]
fn a_room_follows_its_chats_title_until_somebody_names_it() {
    on_synapse(async |world| {
        let (admin, chat) = (world.admin(), bridged(world, "标题").await);
        let name = async || {
            let state = admin.state(&chat.room_id, "m.room.name", "").await.ok()??;
            state["name"].as_str().map(str::to_owned)
        };
        let wait_name = async |expected: &str| {
            let what = format!("the room to be called {expected}");
            let named =
                wait_until(LIMIT, &what, async || (name().await.as_deref() == Some(expected)).then_some(()));
            named.await.unwrap();
        };
        let title = |title: &str, shape: &str| json!({"event_type": "chat_update_title", "chat_id": chat.chat_id, "title": title, "shape": shape});
        for shape in ["http", "legacy", "stream"] {
            let new = unique("改名");
            happen(world, title(&new, shape)).await;
            wait_name(&new).await;
        }
        // A title that comes with a message counts as well.
        let silent = unique("没有事件");
        let person = &world.info().people[0];
        let message = json!({"chat_id": chat.chat_id, "staff_id": person.staff_id, "text": "hi",
            "fields": {"conversationTitle": silent}});
        let _: Value = world.sandbox().post("messages", &message).await.unwrap();
        wait_name(&silent).await;

        let own = unique("Our own name");
        admin.put_state(&chat.room_id, "m.room.name", "", &json!({"name": own})).await.unwrap();
        happen(world, title(&unique("另一个"), "http")).await;
        let owner = &world.info().people[1];
        let event =
            json!({"event_type": "chat_update_owner", "chat_id": chat.chat_id, "owner": owner.staff_id});
        happen(world, event).await;
        // The lane keeps its order: the owner is told after the title was looked at.
        wait_message(world, &chat.room_id, &format!("belongs to {}", owner.name)).await;
        assert_eq!(name().await.as_deref(), Some(&*own));
    });
}

#[test]
fn a_disbanded_chat_says_so_refuses_messages_and_gives_its_room_away() {
    on_synapse(async |world| {
        let chat = bridged(world, "解散").await;
        let alice = world.admin();
        happen(world, json!({"event_type": "chat_disband", "chat_id": chat.chat_id, "shape": "stream"}))
            .await;
        wait_message(world, &chat.room_id, "was disbanded").await;
        let text = unique("anybody there?");
        let event = alice.send_text(&chat.room_id, &text).await.unwrap();
        wait_told(world, &chat.room_id, &event, "did not reach DingTalk").await;
        assert!(sent(world, &chat, &text).await.is_empty());
        let direct = Direct::open(world, world.admin()).await;
        direct.expect("groups", &[&format!("{}, disbanded", chat.chat_id)]).await;
        let other = room(world, None).await;
        direct.expect(&format!("bridge {other} {}", chat.chat_id), &["has disbanded this chat"]).await;

        let next = bridged(world, "接替").await;
        direct.expect(&format!("unbridge {}", next.room_id), &["No longer bridged"]).await;
        direct.expect(&format!("bridge {} {}", chat.room_id, next.chat_id), &["Bridged: "]).await;
        let text = unique("into the old room");
        alice.send_text(&chat.room_id, &text).await.unwrap();
        wait_sent(world, &next, &text).await;
    });
}

#[test]
fn who_leaves_the_organisation_leaves_its_rooms_and_a_new_name_is_shown_once() {
    on_synapse(async |world| {
        let chats = [bridged(world, "离职一").await, bridged(world, "离职二").await];
        let name = unique("小林");
        let staff_id = new_person(world, &name).await;
        let ghost = world.ghost_of(&staff_id);
        for chat in &chats {
            let event =
                json!({"event_type": "chat_add_member", "chat_id": chat.chat_id, "staff_ids": [staff_id]});
            happen(world, event).await;
            wait_member(world, &chat.room_id, &ghost, true).await;
        }
        let new = unique("林桥");
        let renamed = |shape: &str| {
            let diff = json!({"prev": {"name": name}, "curr": {"name": new}, "userid": staff_id});
            json!({"event_type": "user_modify_org", "staff_ids": [staff_id], "shape": shape, "fields": {"diffInfo": diff}})
        };
        for shape in ["http", "stream"] {
            happen(world, renamed(shape)).await;
        }
        for chat in &chats {
            let shown = wait_until(LIMIT, "the new name", async || {
                let members = world.admin().joined_members(&chat.room_id).await.ok()?;
                (members.get(&ghost)?.display_name.as_deref() == Some(&*new)).then_some(())
            });
            shown.await.unwrap();
        }
        happen(world, json!({"event_type": "user_leave_org", "staff_ids": [staff_id]})).await;
        for chat in &chats {
            wait_member(world, &chat.room_id, &ghost, false).await;
            let events = world.admin().messages(&chat.room_id, 1_000).await.unwrap();
            let names = events.iter().filter(|event| {
                event["state_key"] == ghost.as_str() && event["content"]["displayname"] == new.as_str()
            });
            assert_eq!(names.filter(|event| event["content"]["membership"] == "join").count(), 1);
        }
    });
}

#[test]
fn what_is_recalled_in_dingtalk_is_told_unless_it_was_taken_back_here() {
    on_synapse(async |world| {
        let (alice, chat) = (world.admin(), bridged(world, "撤回").await);
        let person = &world.info().people[0];
        for shape in ["http", "stream"] {
            let [told, untold] = ["recalled there", "taken back here"].map(unique);
            let mut events = Vec::new();
            let mut keys = Vec::new();
            for text in [&told, &untold] {
                events.push(alice.send_text(&chat.room_id, text).await.unwrap());
                let sent = wait_sent(world, &chat, text).await;
                keys.push(stage::whole(world, &sent).await.process_query_key.unwrap());
            }
            alice.redact(&chat.room_id, &events[1]).await.unwrap();
            for key in keys.iter().rev() {
                let [user, post, place] = if shape == "http" {
                    ["UserId", "ProcessQueryKey", "OpenConversationId"]
                } else {
                    ["userId", "processQueryKey", "openConversationId"]
                };
                let fields = json!({user: person.staff_id, post: key, place: chat.chat_id});
                happen(world, json!({"event_type": "robot_msg_recall", "shape": shape, "fields": fields}))
                    .await;
            }
            wait_told(world, &chat.room_id, &events[0], &format!("{} recalled", person.name)).await;
            let notices = stage::messages(world, &chat.room_id, "recalled this message").await;
            assert!(!notices.iter().any(|notice| stage::answers(notice) == Some(&*events[1])), "{shape}");
        }
    });
}

#[test]
fn events_of_chats_nobody_has_seen_are_counted_and_change_nothing() {
    run(async {
        let world = stage::stub("unseen", |_| ()).await;
        let before = stage::metric(&world, "ignored_events_total", &[]).await;
        let unseen = stage::new_group(&world, "没人见过").await;
        let staff_id = &world.info().people[0].staff_id;
        for kind in [
            "chat_add_member",
            "chat_remove_member",
            "chat_quit",
            "chat_update_title",
            "chat_update_owner",
            "chat_disband",
        ] {
            happen(
                &world,
                json!({"event_type": kind, "chat_id": unseen, "staff_ids": [staff_id],
                "operator": staff_id, "title": "x", "owner": staff_id}),
            )
            .await;
        }
        let counted = wait_until(LIMIT, "six ignored events", async || {
            (stage::metric(&world, "ignored_events_total", &[]).await == before + 6).then_some(())
        });
        counted.await.unwrap();
        let direct = Direct::open(&world, world.admin()).await;
        assert!(!direct.ask("groups").await.contains(&unseen));
        world.stop().await.unwrap();
    });
}
