//! What the homeserver does not deliver is read from the timeline.

use e2e::{Fate, Gate};
use serde_json::json;
use test_support::wait_until;
use world::{HomeserverKind, StubMode};

use crate::stage::{self, LIMIT, run, sent, unique, wait_sent};

#[test]
fn events_that_are_never_delivered_cross_in_order_and_a_late_delivery_changes_nothing() {
    run(async {
        let mut gate = None;
        let dir = e2e::options("it-readback", HomeserverKind::stub()).dir;
        let opened = Gate::open(dir.join("bridge.toml"), |_| Fate::Pass).await.unwrap();
        let world = stage::stub("readback", |options| {
            options.homeserver = HomeserverKind::Stub { mode: StubMode::Palpo, flags: Vec::new() };
            options.bridge_settings = format!("[appservice]\nurl = \"{}\"", opened.url());
            gate = Some(opened);
        })
        .await;
        let gate = gate.unwrap();
        let (chat, alice) = (&world.chats()[0], &world.users()[0]);
        let first = unique("delivered");
        alice.send_text(&chat.room_id, &first).await.unwrap();
        wait_sent(&world, chat, &first).await;

        gate.decide(|_| Fate::Refuse);
        let mut missed = Vec::new();
        for number in 0..5 {
            let text = unique(&format!("missed-{number}"));
            let event_id = alice.send_text(&chat.room_id, &text).await.unwrap();
            missed.push((event_id, text));
        }
        let (last, _) = missed.last().unwrap();
        let dropped = wait_until(LIMIT, "the homeserver to give up", async || gate.first_delivery(last));
        assert!(!dropped.await.unwrap());
        gate.decide(|_| Fate::Pass);
        for (_, text) in &missed {
            assert!(sent(&world, chat, text).await.is_empty(), "{text} was delivered");
        }

        world.bridge().kill().await.unwrap();
        let mut places = Vec::new();
        for (_, text) in &missed {
            places.push(wait_sent(&world, chat, text).await.index);
        }
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(stage::metric(&world, "read_back_total", &[]).await, 5);

        // A proxy that kept a transaction delivers it now.
        let registration = std::fs::read_to_string(world.description().registration).unwrap();
        let token = registration.lines().find_map(|line| line.strip_prefix("hs_token:")).unwrap();
        let token = token.trim().trim_matches(['"', '\'']);
        let mut events = Vec::new();
        for (event_id, _) in &missed {
            events.push(alice.event(&chat.room_id, event_id).await.unwrap());
        }
        let url = world
            .description()
            .webhook_url
            .replace("/bridges/dingtalk/webhook", "/_matrix/app/v1/transactions/late");
        let answer =
            reqwest::Client::new().put(url).bearer_auth(token).json(&json!({"events": events})).send().await;
        assert_eq!(answer.unwrap().status(), 200);
        let newer = unique("newer");
        alice.send_text(&chat.room_id, &newer).await.unwrap();
        wait_sent(&world, chat, &newer).await;
        for (_, text) in &missed {
            assert_eq!(sent(&world, chat, text).await.len(), 1, "{text}");
        }
        world.stop().await.unwrap();
    });
}
