//! After a time in which DingTalk could not reach the bridge: what is to be had is fetched, what is lost is said.

use serde_json::{Value, json};
use test_support::wait_until;

use crate::{
    direct::Direct,
    stage::{self, LIMIT, messages, metric, run, unique, wait_message},
};

#[test]
fn pushes_that_dingtalk_gave_up_are_fetched_after_a_downtime() {
    run(async {
        let world = stage::stub("away-failed", |_| ()).await;
        world.bridge().stop().await.unwrap();
        let person = &world.info().people[1].staff_id;
        let mut ids = Vec::new();
        for staff in [person.as_str(), "user0999"] {
            let event = json!({"event_type": "user_modify_org", "staff_ids": [staff]});
            let made: Value = world.sandbox().post("events", &event).await.unwrap();
            ids.push(made["event_id"].as_str().unwrap().to_owned());
        }
        let events = async || -> Option<Vec<dingtalk_sandbox::Event>> {
            let all: Vec<dingtalk_sandbox::Event> = world.sandbox().get("events").await.ok()?;
            Some(all.into_iter().filter(|event| ids.contains(&event.event_id)).collect())
        };
        let given_up = wait_until(LIMIT, "the pushes to be given up", async || {
            events().await?.iter().all(|event| event.failed).then_some(())
        });
        given_up.await.unwrap();
        world.bridge().resume().await.unwrap();
        let fetched = wait_until(LIMIT, "the pushes to be fetched", async || {
            (metric(&world, "failed_pushes_total", &[]).await == 2).then_some(())
        });
        fetched.await.unwrap();
        assert!(events().await.unwrap().iter().all(|event| event.fetched));
        assert_eq!(metric(&world, "received_total", &[("source", "event")]).await, 2);
        assert_eq!(metric(&world, "duplicates_total", &[]).await, 0);
        world.stop().await.unwrap();
    });
}

#[test]
fn a_long_outage_is_told_once_in_the_rooms_that_may_have_missed_something() {
    run(async {
        let world = stage::stub("away-gap", |options| {
            options.bridge_settings.push_str("\n[dingtalk]\ngap_after = \"10s\"");
        })
        .await;
        let chat = &world.chats()[0];
        let notices = async || messages(&world, &chat.room_id, "may be lost").await.len();
        world.bridge().stop().await.unwrap();
        // Longer than the setting, by DingTalk's clock: a message that was written then is older than that.
        let text = unique("into the outage");
        let id = world.sandbox().write(&chat.chat_id, &world.info().people[0].staff_id, &text).await.unwrap();
        wait_until(LIMIT, "attempts over some time", async || {
            let tried = world.sandbox().delivery(&id).await.ok()?;
            (tried["attempts"].as_u64()? >= 5).then_some(())
        })
        .await
        .unwrap();
        world.bridge().resume().await.unwrap();
        wait_message(&world, &chat.room_id, "may be lost").await;
        wait_message(&world, &chat.room_id, &text).await;

        // A restart that is shorter says nothing more.
        world.bridge().kill().await.unwrap();
        let again = unique("after the kill");
        world.sandbox().write(&chat.chat_id, &world.info().people[0].staff_id, &again).await.unwrap();
        wait_message(&world, &chat.room_id, &again).await;
        stage::wait_quiet(&world).await;
        assert_eq!(notices().await, 1);
        world.stop().await.unwrap();
    });
}

#[test]
fn a_subscription_that_went_silent_is_shown_and_told_once() {
    run(async {
        let world = stage::stub("away-silent", |options| {
            options.bridge_settings.push_str("\n[dingtalk]\nsilence_after = \"3s\"");
        })
        .await;
        let room = world.direct_room().unwrap();
        let told = async || messages(&world, room, "Nothing has come from DingTalk for").await.len();
        wait_message(&world, room, "Nothing has come from DingTalk for").await;
        assert_eq!(metric(&world, "silent", &[]).await, 1);
        let direct = Direct::open(&world, world.admin()).await;
        direct.expect("status", &["Nothing has come from DingTalk for", "event subscription"]).await;
        let before = told().await;

        // Something comes, and it is over.
        let chat = &world.chats()[0];
        let text = unique("here we are");
        world.sandbox().write(&chat.chat_id, &world.info().people[0].staff_id, &text).await.unwrap();
        wait_message(&world, &chat.room_id, &text).await;
        // It falls silent again, and that is told again: once for each silence.
        wait_until(LIMIT, "the second notice", async || (told().await > before).then_some(())).await.unwrap();
        assert_eq!(told().await, before + 1);
        world.stop().await.unwrap();
    });
}
