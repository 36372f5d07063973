//! An upgraded room takes its portal along, but never into a room that is another chat's.

use serde_json::json;

use crate::stage::{self, run, unique, wait_message, wait_sent};

#[test]
fn a_room_is_not_upgraded_into_another_chats_room() {
    run(async {
        let world = stage::stub("upgrade", |options| {
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
