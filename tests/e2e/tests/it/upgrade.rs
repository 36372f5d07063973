//! An upgraded room takes its portal along, also to another room version, but never into a room that is another
//! chat's.

use reqwest::Method;
use serde_json::json;
use test_support::wait_until;
use world::BridgedChat;

use crate::group;
use crate::stage::{self, LIMIT, on_synapse, run, unique, wait_message, wait_sent};

#[test]
fn a_room_is_not_upgraded_into_another_chats_room() {
    run(async {
        let world = stage::own_synapse("upgrade", |options| {
            options.sandbox_flags.extend(["--groups", "2"].map(str::to_owned));
        })
        .await;
        let [first, second] = world.chats() else { panic!("two chats are bridged") };
        let admin = world.admin();
        let tombstone = json!({"body": "moved", "replacement_room": second.room_id});
        admin.put_state(&first.room_id, "m.room.tombstone", "", &tombstone).await.unwrap();
        wait_message(&world, &first.room_id, &format!("bridged to \"{}\"", second.title)).await;
        for chat in [first, second] {
            let text = unique("still here");
            admin.send_text(&chat.room_id, &text).await.unwrap();
            wait_sent(&world, chat, &text).await;
        }
        assert_eq!(stage::metric(&world, "unreadable_total", &[]).await, 0);
        world.stop().await.unwrap();
    });
}

#[test]
fn a_room_takes_its_chat_along_to_the_newest_version() {
    on_synapse(async |world| {
        let (admin, bot) = (world.admin(), world.bot_user_id());
        let chat = group::bridged(world, "升级").await;
        let path = ["v3", "rooms", &chat.room_id, "upgrade"];
        let wish = json!({"new_version": "12"});
        let answer = admin.request(Method::POST, &path, &[], Some(&wish)).await.unwrap();
        let room = answer["replacement_room"].as_str().unwrap().to_owned();
        assert_eq!(stage::room_version(world, &room).await, "12");
        admin.invite(&room, &bot).await.unwrap();
        let joined = wait_until(LIMIT, "the bot to come along", async || {
            admin.joined_members(&room).await.ok()?.contains_key(&bot).then_some(())
        });
        joined.await.unwrap();

        let upgraded = BridgedChat { room_id: room, ..chat.clone() };
        let text = unique("from the new room");
        admin.send_text(&upgraded.room_id, &text).await.unwrap();
        wait_sent(world, &upgraded, &text).await;
        let text = unique("into the new room");
        world.sandbox().write(&upgraded.chat_id, &world.info().people[0].staff_id, &text).await.unwrap();
        let event = wait_message(world, &upgraded.room_id, &text).await;
        assert_eq!(event["sender"], stage::ghost(world, 0).as_str());
        assert_eq!(stage::messages(world, &chat.room_id, &text).await.len(), 0);
    });
}
