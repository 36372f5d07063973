//! Stream mode: messages come over a connection that the bridge opened, beside the webhook or alone.

use dingtalk_sandbox::StreamInfo;
use serde_json::{Value, json};
use test_support::wait_until;
use world::{BridgedChat, World};

use crate::{
    direct::Direct,
    stage::{self, LIMIT, Turns, messages, metric, run, sent, unique, wait_message, wait_sent},
};

/// Runs a test in the world whose bridge has no address for a webhook.
fn alone_on_synapse(test: impl AsyncFnOnce(&World)) {
    static TURNS: Turns = Turns::new();
    let start = async || {
        stage::own_synapse("stream", |options| {
            options.stream = true;
            options.bridge_settings.push_str("\n[dingtalk]\nstream_silence = \"2s\"");
        })
        .await
    };
    TURNS.run(start, test);
}

async fn order(world: &World, order: Value) {
    let met: Value = world.sandbox().post("stream", &order).await.unwrap();
    assert_ne!(met["met"], 0, "{order}");
}

/// Waits until the sandbox's connections are as wanted.
async fn wait_streams(world: &World, what: &str, fits: impl Fn(&[StreamInfo]) -> bool) -> Vec<StreamInfo> {
    wait_until(LIMIT, what, async || {
        let open = world.sandbox().streams().await.ok()?;
        fits(&open).then_some(open)
    })
    .await
    .unwrap()
}

async fn write(world: &World, chat: &BridgedChat, text: &str) -> String {
    world.sandbox().write(&chat.chat_id, &world.info().people[0].staff_id, text).await.unwrap()
}

/// Every text is in the chat's room, once.
async fn all_once(world: &World, texts: &[(usize, String)]) {
    for (chat, text) in texts {
        wait_message(world, &world.chats()[*chat].room_id, text).await;
    }
    stage::wait_quiet(world).await;
    for (chat, text) in texts {
        assert_eq!(messages(world, &world.chats()[*chat].room_id, text).await.len(), 1, "{text}");
    }
}

#[test]
fn text_crosses_both_ways_without_any_address() {
    alone_on_synapse(async |world| {
        assert_eq!(world.description().webhook_url, "");
        for chat in world.chats() {
            let (there, back) = (unique("over Stream"), unique("to DingTalk"));
            write(world, chat, &there).await;
            wait_message(world, &chat.room_id, &there).await;
            world.users()[0].send_text(&chat.room_id, &back).await.unwrap();
            wait_sent(world, chat, &back).await;
        }

        // An event is acknowledged as one.
        let event: Value =
            world.sandbox().post("events", &json!({"event_type": "org_change"})).await.unwrap();
        let id = event["event_id"].as_str().unwrap();
        let answered = wait_until(LIMIT, "the event to be acknowledged", async || {
            let events: Vec<dingtalk_sandbox::Event> = world.sandbox().get("events").await.ok()?;
            events.into_iter().find(|event| event.event_id == id && event.progress.answered)
        });
        assert_eq!(answered.await.unwrap().progress.attempts, 1);

        let direct = Direct::open(world, world.admin()).await;
        direct
            .expect("status", &["Receiving: Stream, connected for", "Last event from DingTalk: event"])
            .await;
        direct.expect("stream", &["by Stream, connected for", "Pushes to the webhook are refused"]).await;
        // One that a test before had leave may not be gone yet.
        let alone = async || (metric(world, "stream_connections", &[]).await == 1).then_some(());
        wait_until(LIMIT, "one connection", alone).await.unwrap();

        // Nothing of the app is received after a logout, and what is written then comes by a new connection.
        direct.expect("logout", &["Logged out"]).await;
        wait_streams(world, "no connection", <[StreamInfo]>::is_empty).await;
        let late = unique("while logged out");
        let chat = &world.chats()[1];
        write(world, chat, &late).await;
        let info = world.info();
        let login = format!("login {} {} {}", info.app_key, info.app_secret, info.agent_id);
        direct.expect(&login, &["Logged in", "choose Stream mode"]).await;
        wait_message(world, &chat.room_id, &late).await;
    });
}

#[test]
fn connections_that_are_asked_to_leave_lose_and_double_nothing() {
    alone_on_synapse(async |world| {
        let mut texts = Vec::new();
        for round in 0..4 {
            for number in 0..8 {
                let chat = number % world.chats().len();
                let text = unique(&format!("round {round} number {number}."));
                write(world, &world.chats()[chat], &text).await;
                texts.push((chat, text));
            }
            let open = wait_streams(world, "a connection", |open| open.iter().any(|stream| !stream.leaving));
            let last = open.await.last().unwrap().id;
            order(world, json!({"act": "disconnect"})).await;
            if round == 0 {
                // The next one stands before the one that leaves is gone.
                wait_streams(world, "two connections", |open| {
                    open.iter().any(|stream| stream.id == last && stream.leaving)
                        && open.iter().any(|stream| stream.id > last)
                })
                .await;
            }
        }
        all_once(world, &texts).await;
        wait_until(LIMIT, "DingTalk to close the first", async || {
            (metric(world, "stream_ended_total", &[("reason", "closed")]).await > 0).then_some(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_connection_that_only_looks_alive_is_noticed() {
    alone_on_synapse(async |world| {
        // One that a test before had leave would be replaced anyway.
        let alone = wait_streams(
            world,
            "one connection that stays",
            |open| matches!(open, [stream] if !stream.leaving),
        );
        let frozen = alone.await[0].id;
        order(world, json!({"act": "freeze"})).await;
        let texts = [0, 1].map(|chat| (chat, unique("into the void")));
        for (chat, text) in &texts {
            write(world, &world.chats()[*chat], text).await;
        }
        wait_streams(world, "another connection", |open| open.iter().any(|stream| stream.id > frozen)).await;
        // DingTalk notices as well, later.
        order(world, json!({"act": "cut", "id": frozen})).await;
        all_once(world, &texts).await;
        assert!(metric(world, "stream_ended_total", &[("reason", "dead")]).await > 0);
        let open = world.sandbox().streams().await.unwrap();
        assert!(open.iter().any(|stream| !stream.frozen && stream.acknowledged > 0), "{open:?}");
    });
}

#[test]
fn a_kill_between_receipt_and_acknowledgement_doubles_nothing() {
    alone_on_synapse(async |world| {
        let lost = json!({"target": "stream", "kind": "lose_answer", "count": 3});
        let _: Value = world.sandbox().post("faults", &lost).await.unwrap();
        let texts: Vec<_> = (0..6).map(|number| (number % 2, unique(&format!("{number}.")))).collect();
        let mut ids = Vec::new();
        for (chat, text) in &texts {
            ids.push(write(world, &world.chats()[*chat], text).await);
        }
        // It has the first and is not believed.
        wait_until(LIMIT, "an attempt", async || {
            let tried = world.sandbox().delivery(&ids[0]).await.ok()?;
            (tried["attempts"].as_u64()? > 0).then_some(())
        })
        .await
        .unwrap();
        world.bridge().kill().await.unwrap();
        all_once(world, &texts).await;
        for id in ids {
            wait_until(LIMIT, "the acknowledgement", async || {
                let tried = world.sandbox().delivery(&id).await.ok()?;
                tried["answered"].as_bool()?.then_some(())
            })
            .await
            .unwrap();
        }
        all_once(world, &texts).await;
    });
}

#[test]
fn the_way_is_changed_at_run_time_and_what_comes_by_both_counts_once() {
    run(async {
        let world = stage::own_synapse("stream-switch", |_| ()).await;
        let chat = &world.chats()[0];
        let app = world.info().app_key.clone();
        let direct = Direct::open(&world, world.admin()).await;
        let mut texts = Vec::new();
        let mut more = async |count: usize| {
            let mut ids = Vec::new();
            for number in 0..count {
                let text = unique(&format!("switch {number}."));
                ids.push(write(&world, &world.chats()[number % 2], &text).await);
                texts.push((number % 2, text));
            }
            ids
        };
        more(4).await;
        direct.expect("stream on", &["by webhook and by Stream", "choose Stream mode"]).await;
        wait_streams(&world, "a connection", |open| open.len() == 1).await;
        more(4).await;
        world.sandbox().receive_by(&app, "stream").await.unwrap();
        let by_stream = more(4).await;
        wait_until(LIMIT, "messages over Stream", async || {
            world.sandbox().streams().await.ok()?.iter().any(|stream| stream.acknowledged >= 4).then_some(())
        })
        .await
        .unwrap();

        // Message and event a second time by the other way.
        let before = metric(&world, "duplicates_total", &[]).await;
        let event = json!({"event_type": "org_change", "event_id": unique("e").replace(' ', "")});
        let _: Value = world.sandbox().post("events", &event).await.unwrap();
        wait_until(LIMIT, "the event over Stream", async || {
            (metric(&world, "stream_frames_total", &[("kind", "event")]).await > 0).then_some(())
        })
        .await
        .unwrap();
        world.sandbox().receive_by(&app, "http").await.unwrap();
        let _: Value = world.sandbox().post("events", &event).await.unwrap();
        let again = json!({"chat_id": chat.chat_id, "staff_id": world.info().people[0].staff_id, "msg_id": by_stream[0]});
        let _: Value = world.sandbox().post("messages", &again).await.unwrap();
        wait_until(LIMIT, "both to be recognised", async || {
            (metric(&world, "duplicates_total", &[]).await >= before + 2).then_some(())
        })
        .await
        .unwrap();

        // Alone, and still so after a restart.
        world.sandbox().receive_by(&app, "stream").await.unwrap();
        direct.expect("stream only", &["come by Stream, connected"]).await;
        more(4).await;
        test_support::install_crypto();
        let refused = reqwest::Client::new().post(world.description().webhook_url).body("{}").send();
        assert_eq!(refused.await.unwrap().status(), 403);
        let first = wait_streams(&world, "a connection", |open| open.len() == 1).await[0].id;
        world.bridge().kill().await.unwrap();
        wait_streams(&world, "a connection of the new process", |open| {
            open.iter().any(|stream| stream.id > first)
        })
        .await;
        more(4).await;

        // And back.
        direct.expect("stream on", &["by webhook and by Stream"]).await;
        world.sandbox().receive_by(&app, "http").await.unwrap();
        direct.expect("stream off", &["come by webhook."]).await;
        wait_streams(&world, "no connection", <[StreamInfo]>::is_empty).await;
        more(4).await;
        all_once(&world, &texts).await;
        assert!(sent(&world, chat, "switch").await.is_empty());
        world.stop().await.unwrap();
    });
}
