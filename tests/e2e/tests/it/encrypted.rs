//! In a room that it cannot read the bot says what to do, in both languages.

use serde_json::{Value, json};
use test_support::RoomOptions;

use crate::stage::{self, LIMIT, body, on_synapse};

#[test]
fn who_starts_an_encrypted_chat_is_told_what_to_do_once() {
    on_synapse(async |world| {
        for is_direct in [true, false] {
            let options = RoomOptions {
                is_direct,
                encrypted: true,
                invite: vec![world.bot_user_id()],
                ..RoomOptions::default()
            };
            let room = world.admin().create_room(options).await.unwrap();
            let bot = world.bot_user_id();
            let of_bot = |event: &Value| event["sender"] == bot.as_str() && event["type"] == "m.room.message";
            let told = world.admin().wait_for_event(&room, LIMIT, of_bot).await.unwrap();
            let text = body(&told);
            assert!(text.contains("turn encryption off") && text.contains("关闭加密"), "{text}");

            // What nobody can read does not make it say so again.
            let secret = json!({
                "algorithm": "m.megolm.v1.aes-sha2",
                "ciphertext": "AwgAEnACgAkLmt6q",
                "session_id": "s",
                "sender_key": "k",
                "device_id": "d",
            });
            let first = world.admin().send_content(&room, "m.room.encrypted", &secret).await.unwrap();
            let reads = |event: &Value| event["event_id"] == first.as_str();
            world.admin().wait_for_event(&room, LIMIT, reads).await.unwrap();
            stage::wait_quiet(world).await;
            let events = world.admin().messages(&room, 100).await.unwrap();
            assert_eq!(events.iter().filter(|event| of_bot(event)).count(), 1);
        }
    });
}
