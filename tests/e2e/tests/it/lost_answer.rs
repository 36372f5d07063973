//! An answer of DingTalk that is lost: the message is not repeated, and the room is told that it may have been sent.

use serde_json::{Value, json};

use crate::{
    direct::Direct,
    stage::{self, run, sent, unique, wait_sent, wait_told},
};

#[test]
fn a_message_whose_answer_was_lost_is_not_repeated_and_the_room_is_told() {
    run(async {
        let world = stage::stub("lost-answer", |_| ()).await;
        let (chat, alice) = (&world.chats()[0], &world.users()[0]);
        let direct = Direct::open(&world, world.admin()).await;
        let fault = json!({"target": "/v1.0/robot/groupMessages/send", "kind": "lose_answer", "count": 1});
        let _: Value = world.sandbox().post("faults", &fault).await.unwrap();
        let text = unique("once");
        let event = alice.send_text(&chat.room_id, &text).await.unwrap();
        wait_told(&world, &chat.room_id, &event, "may or may not have reached DingTalk").await;
        direct.expect("status", &["Failed messages: 1", "it may have been sent"]).await;

        world.bridge().kill().await.unwrap();
        let next = unique("next");
        alice.send_text(&chat.room_id, &next).await.unwrap();
        wait_sent(&world, chat, &next).await;
        stage::wait_quiet(&world).await;
        assert_eq!(sent(&world, chat, &text).await.len(), 1);
        assert_eq!(
            stage::messages(&world, &chat.room_id, "may or may not have reached DingTalk").await.len(),
            1
        );

        // Only a person may decide that it be sent again.
        direct.expect("retry", &["Sending 1 failed message again"]).await;
        let again = test_support::wait_until(stage::LIMIT, "the second one", async || {
            (sent(&world, chat, &text).await.len() == 2).then_some(())
        });
        again.await.unwrap();
        world.stop().await.unwrap();
    });
}
