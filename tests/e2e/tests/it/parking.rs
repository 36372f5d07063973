//! One message that cannot be sent is parked, the room learns of it, others go on, and `retry` sends it.

use serde_json::{Value, json};

use crate::{
    direct::Direct,
    stage::{self, run, sent, unique, wait_sent, wait_told},
};

#[test]
fn a_refused_message_is_parked_and_sent_again_by_retry() {
    run(async {
        let world = stage::stub("parking", |_| ()).await;
        let (chat, other, alice) = (&world.chats()[0], &world.chats()[1], &world.users()[0]);
        let direct = Direct::open(&world, world.admin()).await;
        let present = async |present: bool| {
            let app_key = &world.info().app_key;
            let body = json!({"chat_id": chat.chat_id, "app_key": app_key, "present": present});
            let _: Value = world.sandbox().post("groups/bot", &body).await.unwrap();
        };
        present(false).await;
        let parked = unique("parked");
        let event = alice.send_text(&chat.room_id, &parked).await.unwrap();
        let notice = wait_told(&world, &chat.room_id, &event, "did not reach DingTalk").await;
        assert!(stage::body(&notice).contains("retry") && stage::body(&notice).contains("未"), "{notice}");
        let elsewhere = unique("elsewhere");
        alice.send_text(&other.room_id, &elsewhere).await.unwrap();
        wait_sent(&world, other, &elsewhere).await;
        direct.expect("status", &["Failed messages: 1", "retry"]).await;
        assert_eq!(stage::metric(&world, "failed", &[("network", "dingtalk")]).await, 1);

        present(true).await;
        let next = unique("next");
        alice.send_text(&chat.room_id, &next).await.unwrap();
        wait_sent(&world, chat, &next).await;
        assert!(sent(&world, chat, &parked).await.is_empty());
        direct.expect("retry", &["Sending 1 failed messages again"]).await;
        wait_sent(&world, chat, &parked).await;
        stage::wait_quiet(&world).await;
        assert_eq!(sent(&world, chat, &parked).await.len(), 1);
        direct.expect("status", &["Failed messages: none"]).await;
        world.stop().await.unwrap();
    });
}

#[test]
fn a_failure_that_passes_is_tried_again_without_a_word_and_in_order() {
    run(async {
        let world = stage::stub("retrying", |_| ()).await;
        let (chat, alice) = (&world.chats()[0], &world.users()[0]);
        world.sandbox().kill().await.unwrap();
        let texts: Vec<String> = (0..5).map(|number| unique(&format!("waits-{number}"))).collect();
        for text in &texts {
            alice.send_text(&chat.room_id, text).await.unwrap();
        }
        let waiting = test_support::wait_until(stage::LIMIT, "five waiting messages", async || {
            (stage::metric(&world, "waiting", &[("network", "dingtalk")]).await >= 5).then_some(())
        });
        waiting.await.unwrap();
        world.sandbox().resume().await.unwrap();
        let mut places = Vec::new();
        for text in &texts {
            places.push(wait_sent(&world, chat, text).await.index);
        }
        assert!(places.is_sorted(), "{places:?}");
        stage::wait_quiet(&world).await;
        let told = stage::messages(&world, &chat.room_id, "⚠").await;
        assert!(told.is_empty(), "{told:?}");
        world.stop().await.unwrap();
    });
}

#[test]
fn a_step_that_can_never_be_made_does_not_stop_its_room() {
    run(async {
        let world = stage::stub("aside", |_| ()).await;
        let (chat, other, alice) = (&world.chats()[0], &world.chats()[1], &world.users()[0]);
        // A room belongs to one chat: this move contradicts what the bridge knows.
        let moved = json!({"body": "moved", "replacement_room": other.room_id});
        world.admin().put_state(&chat.room_id, "m.room.tombstone", "", &moved).await.unwrap();
        let (after, beside) = (unique("after"), unique("beside"));
        alice.send_text(&chat.room_id, &after).await.unwrap();
        alice.send_text(&other.room_id, &beside).await.unwrap();
        wait_sent(&world, chat, &after).await;
        wait_sent(&world, other, &beside).await;
        let aside = stage::metric(&world, "unreadable_total", &[("code", "database_conflict")]).await;
        assert_eq!(aside, 1);
        world.stop().await.unwrap();
    });
}
