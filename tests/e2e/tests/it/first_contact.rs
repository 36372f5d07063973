//! A group that is not bridged gets one confirmation; what its people write waits sealed and follows in order.

use serde_json::Value;
use test_support::{RoomOptions, wait_until};

use crate::{
    database,
    direct::Direct,
    stage::{self, LIMIT, body, new_group, on_synapse, unique},
};

#[test]
fn what_was_written_before_bridging_follows_with_its_time_before_what_is_newer() {
    on_synapse(async |world| {
        let (admin, sandbox) = (world.admin(), world.sandbox());
        let chat_id = new_group(world, "首次接触").await;
        let person = &world.info().people[0];
        let texts: Vec<String> = (0..5).map(|number| unique(&format!("held-{number}"))).collect();
        let mut ids = Vec::new();
        for text in &texts {
            ids.push(sandbox.write(&chat_id, &person.staff_id, text).await.unwrap());
        }
        for id in &ids {
            let taken = wait_until(LIMIT, "the message to be taken", async || {
                sandbox.delivery(id).await.ok()?["answered"].as_bool()?.then_some(())
            });
            taken.await.unwrap();
        }
        // What was taken is held when nothing is to be handled any more. Others hold and release messages of their own meanwhile.
        stage::wait_quiet(world).await;
        assert!(stage::metric(world, "held", &[]).await >= 5);
        for text in &texts {
            assert!(
                !database::contains(world, text),
                "{text} stands in the database as people could read it"
            );
        }
        let told = |sent: &world::Sent| sent.chat_id == chat_id;
        let confirmation = sandbox.wait_sent("the confirmation", 0, LIMIT, told).await.unwrap();
        assert!(confirmation.says(&format!("bridge <matrix-room> {chat_id}")), "{confirmation:?}");

        let options = RoomOptions {
            name: Some("First contact".to_owned()),
            invite: vec![world.bot_user_id()],
            ..RoomOptions::default()
        };
        let room = admin.create_room(options).await.unwrap();
        let joined = wait_until(LIMIT, "the bot to join", async || {
            admin.joined_members(&room).await.ok()?.contains_key(&world.bot_user_id()).then_some(())
        });
        joined.await.unwrap();
        admin.set_power(&room, &world.bot_user_id(), 50).await.unwrap();
        let direct = Direct::open(world, admin).await;
        direct.expect(&format!("bridge {room} {chat_id}"), &["Bridged: 首次接触", "5 messages"]).await;
        let newer = unique("newer");
        sandbox.write(&chat_id, &person.staff_id, &newer).await.unwrap();
        stage::wait_message(world, &room, &newer).await;

        let written: Vec<Value> =
            sandbox.get(&format!("messages?chat_id={}", urlencoded(&chat_id))).await.unwrap();
        let events = admin.messages(&room, 100).await.unwrap();
        let arrived: Vec<(&str, i64)> = events
            .iter()
            .filter(|event| body(event).starts_with("held-") || body(event).starts_with("newer"))
            .map(|event| (body(event), event["origin_server_ts"].as_i64().unwrap()))
            .collect();
        let expected: Vec<(&str, i64)> = written
            .iter()
            .map(|message| (message["text"].as_str().unwrap(), message["time"].as_i64().unwrap()))
            .collect();
        assert_eq!(arrived, expected);
        let confirmations = sandbox.sent(0).await.unwrap().into_iter().filter(told).count();
        assert_eq!(confirmations, 1);
    });
}

fn urlencoded(text: &str) -> String {
    text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}
