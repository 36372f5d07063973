//! After a time in which DingTalk could not reach the bridge: what is to be had is fetched, what is lost is said.

use serde_json::{Value, json};
use test_support::wait_until;

use world::World;

use crate::{
    direct::Direct,
    stage::{self, LIMIT, Turns, messages, metric, unique, wait_message},
};

/// Runs a test in a world whose bridge soon thinks that it was away, or that nothing comes any more.
fn away_on_synapse(test: impl AsyncFnOnce(&World)) {
    static TURNS: Turns = Turns::new();
    let start = async || {
        stage::own_synapse("away", |options| {
            // Longer than a restart takes on a busy machine.
            options.bridge_settings.push_str("\n[dingtalk]\ngap_after = \"20s\"\nsilence_after = \"3s\"");
        })
        .await
    };
    TURNS.run(start, test);
}

#[test]
fn pushes_that_dingtalk_gave_up_are_fetched_after_a_downtime() {
    away_on_synapse(async |world| {
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
        // A process that was started anew has counted nothing yet.
        // They are counted as fetched before they are written, and as received after that.
        let fetched = wait_until(LIMIT, "the pushes to be fetched and taken", async || {
            let fetched = metric(world, "failed_pushes_total", &[]).await == 2;
            let received = metric(world, "received_total", &[("source", "event")]).await == 2;
            (fetched && received).then_some(())
        });
        fetched.await.unwrap();
        assert!(events().await.unwrap().iter().all(|event| event.fetched));
        assert_eq!(metric(world, "duplicates_total", &[]).await, 0);
    });
}

#[test]
fn a_long_outage_is_told_once_in_the_rooms_that_may_have_missed_something() {
    away_on_synapse(async |world| {
        let staff_id = &world.info().people[0].staff_id;
        let notices = async |room: &str| messages(world, room, "may be lost").await.len();
        world.bridge().stop().await.unwrap();
        let mut missed = Vec::new();
        for chat in world.chats() {
            let before = notices(&chat.room_id).await;
            let text = unique("into the outage");
            let id = world.sandbox().write(&chat.chat_id, staff_id, &text).await.unwrap();
            missed.push((chat, before, text, id));
        }
        // Longer than the setting, by DingTalk's clock: a message that was written then is older than that. The sixth attempt comes
        // 23 s after the first.
        for (_, _, _, id) in &missed {
            wait_until(LIMIT, "attempts over some time", async || {
                let tried = world.sandbox().delivery(id).await.ok()?;
                (tried["attempts"].as_u64()? >= 6).then_some(())
            })
            .await
            .unwrap();
        }
        world.bridge().resume().await.unwrap();
        for (chat, before, text, _) in &missed {
            let told = async || (notices(&chat.room_id).await > *before).then_some(());
            wait_until(LIMIT, "the notice", told).await.unwrap();
            wait_message(world, &chat.room_id, text).await;
        }

        // A restart that is shorter says nothing more.
        world.bridge().kill().await.unwrap();
        for (chat, _, _, _) in &missed {
            let again = unique("after the kill");
            world.sandbox().write(&chat.chat_id, staff_id, &again).await.unwrap();
            wait_message(world, &chat.room_id, &again).await;
        }
        stage::wait_quiet(world).await;
        for (chat, before, _, _) in &missed {
            assert_eq!(notices(&chat.room_id).await, before + 1);
        }
    });
}

#[test]
fn a_subscription_that_went_silent_is_shown_and_told_once() {
    away_on_synapse(async |world| {
        let room = world.direct_room().unwrap();
        let told = async || messages(world, room, "Nothing has come from DingTalk for").await.len();
        wait_message(world, room, "Nothing has come from DingTalk for").await;
        let silent = async || (metric(world, "silent", &[]).await == 1).then_some(());
        wait_until(LIMIT, "the silence", silent).await.unwrap();
        let direct = Direct::open(world, world.admin()).await;
        direct.expect("status", &["Nothing has come from DingTalk for", "event subscription"]).await;
        // Of this silence, of which the metric tells before the room.
        stage::wait_quiet(world).await;
        let before = told().await;

        // Something comes, and it is over. In all chats at once: between two of them it might fall silent as well.
        let text = unique("here we are");
        for chat in world.chats() {
            world.sandbox().write(&chat.chat_id, &world.info().people[0].staff_id, &text).await.unwrap();
        }
        for chat in world.chats() {
            wait_message(world, &chat.room_id, &text).await;
        }
        // It falls silent again, and that is told again: once for each silence.
        wait_until(LIMIT, "the second notice", async || (told().await > before).then_some(())).await.unwrap();
        assert_eq!(told().await, before + 1);
    });
}
