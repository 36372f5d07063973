//! SIGTERM: what is under way is finished, nothing is lost, and it takes no longer than promised.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_support::wait_until;

use crate::stage::{self, LIMIT, body, messages, run, sent, unique};

/// Contract: exit within 10 s.
const PROMISED: Duration = Duration::from_secs(10);

#[test]
fn it_ends_in_time_with_traffic_under_way_and_loses_and_doubts_nothing() {
    run(async {
        let world = stage::stub("restart", |_| ()).await;
        // Something is under way at any moment.
        let slow = json!({"target": "/v1.0/robot", "kind": "delay_ms", "value": 150});
        let _: Value = world.sandbox().post("faults", &slow).await.unwrap();
        let mark = unique("m");
        let text = |number: usize| format!("{mark}-{number}.");
        for number in 0..40 {
            let chat = &world.chats()[number % world.chats().len()];
            let person = &world.info().people[number % 3];
            world.users()[0].send_text(&chat.room_id, &text(number)).await.unwrap();
            world.sandbox().write(&chat.chat_id, &person.staff_id, &text(number)).await.unwrap();
        }
        let began = Instant::now();
        world.bridge().stop().await.unwrap();
        let took = began.elapsed();
        assert!(took < PROMISED, "the end took {took:?}");
        let log = std::fs::read_to_string(world.bridge().log()).unwrap();
        assert!(
            log.trim_end().ends_with("stopped"),
            "it did not end by itself: {}",
            world.bridge().log().display()
        );
        world.bridge().resume().await.unwrap();

        let chat = |number: usize| &world.chats()[number % world.chats().len()];
        let arrived = wait_until(2 * LIMIT, "everything to arrive", async || {
            for number in 0..40 {
                let matrix = messages(&world, &chat(number).room_id, &text(number)).await;
                let ghosts =
                    matrix.iter().filter(|event| event["sender"].as_str().unwrap().starts_with("@dingtalk_"));
                if ghosts.count() == 0 || sent(&world, chat(number), &text(number)).await.is_empty() {
                    return None;
                }
            }
            Some(())
        });
        arrived.await.unwrap();
        stage::wait_quiet(&world).await;
        for number in 0..40 {
            assert_eq!(sent(&world, chat(number), &text(number)).await.len(), 1, "{}", text(number));
            // Once as written by Alice or by a ghost, each.
            assert_eq!(
                messages(&world, &chat(number).room_id, &text(number)).await.len(),
                2,
                "{}",
                text(number)
            );
        }
        for chat in world.chats() {
            let told = messages(&world, &chat.room_id, "DingTalk").await;
            let doubts: Vec<&str> = told.iter().map(body).filter(|text| text.contains('⚠')).collect();
            assert!(doubts.is_empty(), "{doubts:?}");
        }
        world.stop().await.unwrap();
    });
}
