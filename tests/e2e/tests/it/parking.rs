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
        let status = direct.expect("status", &["Failed messages: 1", "retry", "to DingTalk"]);
        let status = status.await;
        let number =
            status.split_once("\n  #").and_then(|(_, rest)| rest.split_once(' ')).unwrap().0.to_owned();
        direct.expect("retry 999999", &["No failed message has this number"]).await;
        direct.expect("retry soon", &["retry takes nothing, the number"]).await;
        assert_eq!(stage::metric(&world, "failed", &[("network", "dingtalk")]).await, 1);

        present(true).await;
        let next = unique("next");
        alice.send_text(&chat.room_id, &next).await.unwrap();
        wait_sent(&world, chat, &next).await;
        assert!(sent(&world, chat, &parked).await.is_empty());
        direct.expect(&format!("retry {number}"), &["Sending 1 failed message again", "1 to DingTalk"]).await;
        wait_sent(&world, chat, &parked).await;
        stage::wait_quiet(&world).await;
        assert_eq!(sent(&world, chat, &parked).await.len(), 1);
        direct.expect("status", &["Failed messages: none"]).await;
        direct.expect("retry", &["Nothing to send again"]).await;
        world.stop().await.unwrap();
    });
}

#[test]
fn a_message_that_a_room_refuses_is_parked_told_there_and_sent_again_by_its_id() {
    run(async {
        let world = stage::stub("refusing", |_| ()).await;
        let (chat, admin) = (&world.chats()[0], world.admin());
        let direct = Direct::open(&world, admin).await;
        let person = &world.info().people[0];
        let levels = admin.state(&chat.room_id, "m.room.power_levels", "").await.unwrap().unwrap();
        let mut strict = levels.clone();
        strict["events_default"] = json!(25);
        admin.put_state(&chat.room_id, "m.room.power_levels", "", &strict).await.unwrap();
        let refused = unique("refused");
        let message = world.sandbox().write(&chat.chat_id, &person.staff_id, &refused).await.unwrap();
        let notice = stage::wait_message(&world, &chat.room_id, "could not be shown in this room").await;
        assert_eq!(notice["sender"], world.bot_user_id().as_str());
        assert!(stage::body(&notice).contains("无法在此房间显示"), "{notice}");
        direct.expect("status", &["Failed messages: 1", "to Matrix", "does not let the sender speak"]).await;

        admin.put_state(&chat.room_id, "m.room.power_levels", "", &levels).await.unwrap();
        direct.expect(&format!("retry {message}"), &["Sending 1 failed message again", "1 to Matrix"]).await;
        let event = stage::wait_message(&world, &chat.room_id, &refused).await;
        assert_eq!(event["sender"], stage::ghost(&world, 0).as_str());
        direct.expect("status", &["Failed messages: none"]).await;
        assert_eq!(stage::messages(&world, &chat.room_id, "could not be shown").await.len(), 1);
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
fn what_cannot_be_read_is_kept_aside_and_does_not_stop_its_chat() {
    run(async {
        let world = stage::stub("aside", |_| ()).await;
        let chat = &world.chats()[0];
        // An event of the chat that lacks what it is about.
        let event = json!({"event_type": "chat_update_title", "chat_id": chat.chat_id});
        let _: Value = world.sandbox().post("events", &event).await.unwrap();
        let after = unique("after");
        world.sandbox().write(&chat.chat_id, &world.info().people[0].staff_id, &after).await.unwrap();
        stage::wait_message(&world, &chat.room_id, &after).await;
        let aside =
            async || stage::metric(&world, "unreadable_total", &[("code", "undecodable_event")]).await;
        let kept = test_support::wait_until(stage::LIMIT, "the event to be kept aside", async || {
            (aside().await == 1).then_some(())
        });
        kept.await.unwrap();
        world.stop().await.unwrap();
    });
}
