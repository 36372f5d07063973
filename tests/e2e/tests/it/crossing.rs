//! Text crosses both ways, readable, with the right sender.

use serde_json::{Value, json};
use world::World;

use crate::stage::{LIMIT, answers, body, ghost, on_synapse, unique, wait_message, wait_sent, whole};

async fn write(world: &World, message: &Value) -> String {
    let posted: Value = world.sandbox().post("messages", message).await.unwrap();
    posted["msg_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_persons_messages_come_from_their_ghost_which_joins_once() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let person = &world.info().people[1];
        let texts: Vec<String> =
            ["你好 <b>&amp;</b>", "second\nline", "*third*"].iter().map(|text| unique(text)).collect();
        for text in &texts {
            world.sandbox().write(&chat.chat_id, &person.staff_id, text).await.unwrap();
        }
        for text in &texts {
            let event = wait_message(world, &chat.room_id, text).await;
            assert_eq!(body(&event), text);
            assert_eq!(event["sender"], ghost(world, 1).as_str());
        }
        let name = world.admin().display_name(&ghost(world, 1)).await.unwrap().unwrap();
        assert!(name.contains(&person.name), "{name} for {}", person.name);
        let events = world.admin().messages(&chat.room_id, 1_000).await.unwrap();
        let joins = events.iter().filter(|event| {
            event["type"] == "m.room.member"
                && event["state_key"] == ghost(world, 1).as_str()
                && event["content"]["membership"] == "join"
        });
        assert_eq!(joins.count(), 1);
    });
}

#[test]
fn a_matrix_text_comes_from_the_bot_with_its_writers_name() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let text = unique("1 < 2 && *no* _markup_ 你好");
        world.users()[0].send_text(&chat.room_id, &text).await.unwrap();
        let sent = wait_sent(world, chat, &text).await;
        assert_eq!(whole(world, &sent).await.msg_key, "sampleText");
        assert_eq!(sent.text(), format!("[@Alice via Matrix] {text}"));
    });
}

#[test]
fn formatted_text_becomes_markdown_and_markdown_becomes_html() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let mark = unique("");
        let content = json!({
            "msgtype": "m.text",
            "body": format!("plain{mark}"),
            "format": "org.matrix.custom.html",
            "formatted_body": format!("<strong>bold{mark}</strong> and <a href=\"https://example.org/x\">a link</a>"),
        });
        world.users()[0].send_content(&chat.room_id, "m.room.message", &content).await.unwrap();
        let sent = wait_sent(world, chat, &mark).await;
        assert_eq!(whole(world, &sent).await.msg_key, "sampleMarkdown");
        let text = sent.text();
        assert!(text.starts_with("[@Alice via Matrix]"), "{text}");
        assert!(text.contains(&format!("**bold{mark}**")), "{text}");
        assert!(text.contains("[a link](https://example.org/x)"), "{text}");

        let mark = unique("");
        let person = &world.info().people[0];
        let message = json!({
            "chat_id": chat.chat_id,
            "staff_id": person.staff_id,
            "kind": "markdown",
            "content": {"text": format!("**fett{mark}** and *slanted*")},
        });
        write(world, &message).await;
        let event = wait_message(world, &chat.room_id, &mark).await;
        let html = event["content"]["formatted_body"].as_str().unwrap_or_default();
        assert!(
            html.contains(&format!("<strong>fett{mark}</strong>")) && html.contains("<em>slanted</em>"),
            "{event}"
        );
    });
}

#[test]
fn a_quote_answers_the_quoted_message_when_it_is_known_and_repeats_its_words_else() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let people = &world.info().people;
        let quote = |text: &str, of: &str| json!({"chat_id": chat.chat_id, "staff_id": people[1].staff_id, "text": text, "quote": of});
        // A person quotes a person.
        let (first, second) = (unique("asked"), unique("answered"));
        let asked = world.sandbox().write(&chat.chat_id, &people[0].staff_id, &first).await.unwrap();
        write(world, &quote(&second, &asked)).await;
        let quoted = wait_message(world, &chat.room_id, &first).await;
        let answer = wait_message(world, &chat.room_id, &second).await;
        assert_eq!(answers(&answer), quoted["event_id"].as_str());

        // A person quotes what came from Matrix.
        let (third, fourth) = (unique("from Matrix"), unique("back to Matrix"));
        let event_id = world.users()[0].send_text(&chat.room_id, &third).await.unwrap();
        let sent = wait_sent(world, chat, &third).await;
        write(world, &quote(&fourth, &whole(world, &sent).await.msg_id)).await;
        let answer = wait_message(world, &chat.room_id, &fourth).await;
        assert_eq!(answers(&answer), Some(event_id.as_str()));

        // The quoted message was written before the bridge was there.
        let (fifth, sixth) = (unique("long ago"), unique("about something old"));
        let mut old = quote(&sixth, "");
        old["fields"] = json!({
            "originalMsgId": "msgOfLongAgo==",
            "text": {
                "content": format!(" {sixth}"),
                "isReplyMsg": true,
                "repliedMsg": {"msgType": "text", "msgId": "msgOfLongAgo==", "content": {"text": fifth}},
            },
        });
        old.as_object_mut().unwrap().remove("quote");
        write(world, &old).await;
        let answer = wait_message(world, &chat.room_id, &sixth).await;
        assert_eq!(answers(&answer), None);
        let lines: Vec<&str> = body(&answer).lines().filter(|line| !line.is_empty()).collect();
        assert!(
            matches!(lines.as_slice(), [quoted, own] if quoted.contains(&fifth) && *own == sixth),
            "{answer}"
        );
    });
}

#[test]
fn a_reply_from_matrix_quotes_one_line() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let person = &world.info().people[2];
        let (first, second) = (unique("what time?"), unique("at noon"));
        world
            .sandbox()
            .write(&chat.chat_id, &person.staff_id, &format!("{first}\nsecond line"))
            .await
            .unwrap();
        let asked = wait_message(world, &chat.room_id, &first).await;
        let content = json!({
            "msgtype": "m.text",
            "body": second,
            "m.relates_to": {"m.in_reply_to": {"event_id": asked["event_id"]}},
        });
        world.users()[1].send_content(&chat.room_id, "m.room.message", &content).await.unwrap();
        let sent = wait_sent(world, chat, &second).await;
        let text = sent.text();
        assert!(text.contains(&first) && text.contains(&person.name), "{text}");
        assert!(!text.contains("second line"), "{text}");
        assert!(text.contains(&format!("[@Bob via Matrix] {second}")), "{text}");
    });
}

#[test]
fn a_mentioned_ghost_is_mentioned_in_dingtalk() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let person = &world.info().people[0];
        // Its ghost is known once the person wrote; so is the reply address.
        let hello = unique("hello");
        world.sandbox().write(&chat.chat_id, &person.staff_id, &hello).await.unwrap();
        wait_message(world, &chat.room_id, &hello).await;
        let (mark, ghost) = (unique("please look"), ghost(world, 0));
        let content = json!({
            "msgtype": "m.text",
            "body": format!("{}: {mark}", person.name),
            "format": "org.matrix.custom.html",
            "formatted_body": format!("<a href=\"https://matrix.to/#/{ghost}\">{}</a>: {mark}", person.name),
            "m.mentions": {"user_ids": [ghost]},
        });
        world.users()[0].send_content(&chat.room_id, "m.room.message", &content).await.unwrap();
        let sent = wait_sent(world, chat, &mark).await;
        assert_eq!(sent.channel, "session");
        let whole = whole(world, &sent).await;
        assert_eq!(whole.mentions, [person.staff_id.as_str()], "{whole:?}");
    });
}

#[test]
fn a_mention_in_dingtalk_becomes_a_pill() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let people = &world.info().people;
        let hello = unique("hello");
        world.sandbox().write(&chat.chat_id, &people[0].staff_id, &hello).await.unwrap();
        wait_message(world, &chat.room_id, &hello).await;
        let text = unique("have a look");
        write(
            world,
            &json!({
                "chat_id": chat.chat_id,
                "staff_id": people[1].staff_id,
                "text": text,
                "mentions": [people[0].staff_id],
            }),
        )
        .await;
        let event = wait_message(world, &chat.room_id, &text).await;
        let content = &event["content"];
        assert_eq!(content["m.mentions"]["user_ids"], json!([ghost(world, 0)]), "{event}");
        let html = content["formatted_body"].as_str().unwrap_or_default();
        assert!(html.contains("https://matrix.to/#/"), "{event}");
    });
}

#[test]
fn a_kind_that_does_not_cross_is_visible() {
    on_synapse(async |world| {
        let chat = &world.chats()[0];
        let person = &world.info().people[3];
        write(
            world,
            &json!({
                "chat_id": chat.chat_id,
                "staff_id": person.staff_id,
                "kind": "holographicCard",
                "content": {"title": "x"},
            }),
        )
        .await;
        let notice = |event: &Value| {
            event["content"]["msgtype"] == "m.notice" && event["sender"] == ghost(world, 3).as_str()
        };
        let event = world.admin().wait_for_event(&chat.room_id, LIMIT, notice).await.unwrap();
        assert!(body(&event).contains("holographicCard"), "{event}");

        let content = json!({"msgtype": "com.example.hologram", "body": "x"});
        world.users()[0].send_content(&chat.room_id, "m.room.message", &content).await.unwrap();
        let notice = wait_message(world, &chat.room_id, "do not cross to DingTalk yet").await;
        assert!(
            body(&notice).contains("com.example.hologram")
                && notice["sender"] == world.bot_user_id().as_str(),
            "{notice}"
        );
    });
}
