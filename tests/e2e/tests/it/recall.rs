//! What is taken back in Matrix is taken back in DingTalk, or the room is told that it stays.

use serde_json::{Value, json};
use test_support::wait_until;
use world::World;

use crate::stage::{self, LIMIT, on_synapse, unique, wait_message, wait_sent, wait_told};

/// Waits until everything that DingTalk has of a message is taken back; answers how much it was.
async fn wait_recalled(world: &World, text: &str) -> usize {
    let recalled = wait_until(LIMIT, "the message to be taken back", async || {
        let all: Vec<dingtalk_sandbox::Sent> = world.sandbox().get("sent?since=0").await.ok()?;
        let parts: Vec<_> = all.iter().filter(|sent| sent.body.to_string().contains(text)).collect();
        (!parts.is_empty() && parts.iter().all(|sent| sent.recalled)).then_some(parts.len())
    });
    recalled.await.unwrap()
}

#[test]
fn a_redacted_message_is_taken_back_with_all_its_parts() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let alice = &world.users()[0];
        let kept = unique("kept");
        alice.send_text(&chat.room_id, &kept).await.unwrap();
        let marker = unique("很长的一段话");
        let text = format!("{marker}。").repeat(40_000 / marker.len());
        let event = alice.send_text(&chat.room_id, &text).await.unwrap();
        alice.redact(&chat.room_id, &event).await.unwrap();
        assert!(wait_recalled(world, &marker).await >= 3);
        let kept = wait_sent(world, chat, &kept).await;
        assert!(!stage::whole(world, &kept).await.recalled);
    });
}

#[test]
fn what_was_changed_is_taken_back_with_all_its_versions() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let alice = &world.users()[0];
        let (first, second, third) = (unique("one version"), unique("one version"), unique("one version"));
        let event = alice.send_text(&chat.room_id, &first).await.unwrap();
        let changed = async |text: &str| {
            let content = json!({
                "msgtype": "m.text", "body": format!("* {text}"),
                "m.new_content": {"msgtype": "m.text", "body": text},
                "m.relates_to": {"rel_type": "m.replace", "event_id": event},
            });
            alice.send_content(&chat.room_id, "m.room.message", &content).await.unwrap()
        };
        changed(&second).await;
        let last = changed(&third).await;
        let sent = wait_sent(world, chat, &third).await;
        // A version by itself goes by itself.
        alice.redact(&chat.room_id, &last).await.unwrap();
        assert_eq!(wait_recalled(world, &third).await, 1);
        let second_sent = wait_sent(world, chat, &second).await;
        assert!(!stage::whole(world, &second_sent).await.recalled && sent.index > second_sent.index);
        alice.redact(&chat.room_id, &event).await.unwrap();
        assert_eq!(wait_recalled(world, &first).await, 1);
        assert_eq!(wait_recalled(world, &second).await, 1);
        stage::wait_quiet(world).await;
        let told = stage::messages(world, &chat.room_id, "can still be read in DingTalk").await;
        assert!(!told.iter().any(|notice| stage::answers(notice) == Some(&*event)), "{told:?}");
    });
}

#[test]
fn a_recall_whose_answer_is_lost_is_made_again() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let alice = &world.users()[0];
        let text = unique("lost recall");
        let event = alice.send_text(&chat.room_id, &text).await.unwrap();
        wait_sent(world, chat, &text).await;
        let fault = json!({"target": "/v1.0/robot/groupMessages/recall", "kind": "lose_answer", "count": 1});
        let _: Value = world.sandbox().post("faults", &fault).await.unwrap();
        alice.redact(&chat.room_id, &event).await.unwrap();
        wait_recalled(world, &text).await;
        stage::wait_quiet(world).await;
        let told = stage::messages(world, &chat.room_id, "can still be read in DingTalk").await;
        assert!(!told.iter().any(|notice| stage::answers(notice) == Some(&*event)), "{told:?}");
    });
}

#[test]
fn what_stays_in_dingtalk_is_said_in_the_room() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let (admin, alice, person) = (world.admin(), &world.users()[0], &world.info().people[0]);
        let stays = "can still be read in DingTalk";

        let old = unique("too old");
        let event = alice.send_text(&chat.room_id, &old).await.unwrap();
        let sent = wait_sent(world, chat, &old).await;
        let _: Value =
            world.sandbox().post(&format!("sent/expire?index={}", sent.index), &json!({})).await.unwrap();
        alice.redact(&chat.room_id, &event).await.unwrap();
        let notice = wait_told(world, &chat.room_id, &event, stays).await;
        assert!(stage::body(&notice).contains("24 小时"), "{notice}");

        let theirs = unique("theirs");
        world.sandbox().write(&chat.chat_id, &person.staff_id, &theirs).await.unwrap();
        let event = wait_message(world, &chat.room_id, &theirs).await;
        let event = event["event_id"].as_str().unwrap().to_owned();
        admin.redact(&chat.room_id, &event).await.unwrap();
        wait_told(world, &chat.room_id, &event, "only its author can take it back").await;

        // A message with a mention goes through the reply address.
        let ghost = stage::ghost(world, 0);
        let call = unique("call");
        let content = json!({
            "msgtype": "m.text", "body": format!("{} {call}", person.name),
            "format": "org.matrix.custom.html",
            "formatted_body": format!("<a href=\"https://matrix.to/#/{ghost}\">{}</a> {call}", person.name),
            "m.mentions": {"user_ids": [ghost]},
        });
        let event = alice.send_content(&chat.room_id, "m.room.message", &content).await.unwrap();
        let sent = wait_sent(world, chat, &call).await;
        assert_eq!(sent.channel, "session");
        alice.redact(&chat.room_id, &event).await.unwrap();
        wait_told(world, &chat.room_id, &event, stays).await;
    });
}
