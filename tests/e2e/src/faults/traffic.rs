//! Random messages both ways, written by people who do not give up.

use std::collections::HashMap;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::wait_until;
use tokio::sync::{RwLock, watch};
use world::World;

use super::{
    PATIENCE,
    chance::Chance,
    humans::{Humans, Picture},
};

/// Every message has one, and nothing else does.
const MARK: &str = "tok-";

const WORDS: [&str; 14] = [
    "lunch",
    "明天见",
    "🙂",
    "naïve",
    "1 < 2 && 3 > 2",
    "<b>bold?</b>",
    "“quoted”",
    "it's",
    "a_b_c",
    "C:\\temp",
    "50%",
    "ok",
    "好的，没问题。",
    "https://example.org/?a=1&b=2",
];

/// Words without characters that mean something to Markdown, for messages that go as Markdown.
const PLAIN: [&str; 4] = ["lunch", "明天见", "ok", "好的，没问题。"];

/// A picture of 2 by 1 pixels. What stands behind its end is no part of it, and tells it from others.
const PICTURE: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x02\x00\x00\x00\x01\x08\x02\x00\x00\x00{@\xe8\xdd\x00\x00\x00\x0bIDATx\xdac`\x00\x03\x00\x00\x07\x00\x01!\"\xdb\x13\x00\x00\x00\x00IEND\xaeB`\x82";

/// What a message is. Others are named by their places in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Text,
    /// A text with a picture after it.
    Picture,
    /// The answer to another one.
    Reply(usize),
    /// Another text for one of its writer's.
    Edit(usize),
    /// Takes back one of its writer's.
    Redact(usize),
}

/// A message of the plan.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) token: String,
    pub(crate) chat: usize,
    pub(crate) writer: usize,
    pub(crate) what: What,
    pub(crate) text: String,
    /// When it is written: after so many kills.
    round: usize,
}

impl Message {
    /// The picture's own token.
    pub(crate) fn picture(&self) -> String {
        picture_of(&self.token)
    }

    fn picture_bytes(&self) -> Vec<u8> {
        [PICTURE, self.token.as_bytes()].concat()
    }
}

fn picture_of(token: &str) -> String {
    format!("{token}.png")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToMatrix,
    ToDingTalk,
}

/// How many people and places there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub(crate) chats: usize,
    pub(crate) writers: usize,
    pub(crate) rounds: usize,
}

/// Messages of one way, in the order of writing.
pub(crate) fn plan(way: Way, messages: usize, stage: Stage, chance: &mut Chance) -> Vec<Message> {
    let mut rounds: Vec<usize> = (0..messages).map(|_| chance.below(stage.rounds)).collect();
    rounds.sort_unstable();
    let mut all: Vec<Message> = Vec::with_capacity(messages);
    // What can still be answered, changed or taken back, by chat.
    let mut open: Vec<Vec<usize>> = vec![Vec::new(); stage.chats];
    for (number, round) in rounds.into_iter().enumerate() {
        let letter = if way == Way::ToMatrix { 'm' } else { 'd' };
        let token = format!("{MARK}{letter}{number:05}");
        let chat = chance.below(stage.chats);
        let mut writer = chance.below(stage.writers);
        let what = choose(way, &open[chat], chance);
        match what {
            What::Edit(target) | What::Redact(target) => writer = all[target].writer,
            What::Text | What::Picture | What::Reply(_) => {}
        }
        let words: &[&str] = if what == What::Text { &WORDS } else { &PLAIN };
        let most = if what == What::Text && chance.percent(3) { 300 } else { 6 };
        let words: Vec<&str> = (0..=chance.below(most)).map(|_| *chance.pick(words)).collect();
        match what {
            // What was answered stays, so that the answer can be compared whole.
            What::Reply(target) | What::Redact(target) => open[chat].retain(|place| *place != target),
            What::Text | What::Picture | What::Edit(_) => {}
        }
        if matches!(what, What::Text | What::Picture) {
            open[chat].push(number);
        }
        all.push(Message { text: format!("{token} {}", words.join(" ")), token, chat, writer, what, round });
    }
    all
}

fn choose(way: Way, open: &[usize], chance: &mut Chance) -> What {
    let kind = chance.below(100);
    let target = (!open.is_empty()).then(|| *chance.pick(open));
    match (way, kind, target) {
        (_, 0..4, _) => What::Picture,
        (Way::ToDingTalk, 4..12, Some(target)) => What::Reply(target),
        (Way::ToDingTalk, 12..17, Some(target)) => What::Edit(target),
        (Way::ToDingTalk, 17..21, Some(target)) => What::Redact(target),
        _ => What::Text,
    }
}

/// The last token in a text: one that answers another message names that one's first.
pub(crate) fn token(text: &str) -> Option<&str> {
    text.split_whitespace().rfind(|word| word.starts_with(MARK))
}

/// The token of a picture.
pub(crate) fn picture_token(bytes: &[u8]) -> Option<String> {
    let own = bytes.strip_prefix(PICTURE)?;
    std::str::from_utf8(own).ok().filter(|own| own.starts_with(MARK)).map(picture_of)
}

/// Writes everything, each chat and way on its own, as the rounds go by and while it is `open`. Answers with the events' ids by token.
pub(crate) async fn write(
    (world, humans): (&World, &Humans),
    plan: &[Message],
    way: Way,
    rounds: &watch::Receiver<usize>,
    open: &RwLock<()>,
    chance: &mut Chance,
) -> anyhow::Result<HashMap<String, String>> {
    let writers = (0..world.chats().len()).map(|chat| {
        let own = plan.iter().filter(move |message| message.chat == chat);
        let (mut rounds, mut chance) = (rounds.clone(), chance.fork());
        async move {
            let mut ids = HashMap::new();
            let mut round = None;
            for message in own {
                if round.replace(message.round) != Some(message.round) {
                    rounds.wait_for(|now| *now >= message.round).await?;
                    // People do not all write at once: this is the load, not a waiting for something.
                    tokio::time::sleep(chance.span(0, 400)).await;
                }
                let what = format!("{} to be taken", message.token);
                let about = match message.what {
                    What::Reply(target) | What::Edit(target) | What::Redact(target) => {
                        let token = &plan[target].token;
                        Some(ids.get(token).cloned().with_context(|| format!("{token} was not written"))?)
                    }
                    What::Text | What::Picture => None,
                };
                let id = wait_until(PATIENCE, &what, async || {
                    let _open = open.read().await;
                    match way {
                        Way::ToMatrix => write_in_dingtalk(world, message).await.ok(),
                        Way::ToDingTalk => {
                            write_in_matrix(world, humans, message, about.as_deref()).await.ok()
                        }
                    }
                });
                ids.insert(message.token.clone(), id.await?);
            }
            anyhow::Ok(ids)
        }
    });
    Ok(try_join_all(writers).await?.into_iter().flatten().collect())
}

/// The sandbox recognises a repetition by the id.
async fn write_in_dingtalk(world: &World, message: &Message) -> anyhow::Result<String> {
    let chat = &world.chats()[message.chat];
    let person = &world.info().people[message.writer];
    let mut body = json!({
        "chat_id": chat.chat_id,
        "staff_id": person.staff_id,
        "msg_id": format!("msg{}==", message.token),
    });
    if message.what == What::Picture {
        let file = json!({"base64": STANDARD.encode(message.picture_bytes()), "name": "a.png"});
        body["kind"] = json!("richText");
        body["content"] = json!({"richText": [{"text": message.text}, {"type": "picture", "file": file}]});
    } else {
        body["text"] = json!(message.text);
    }
    let posted: Value = world.sandbox().post("messages", &body).await?;
    Ok(posted["msg_id"].as_str().unwrap_or_default().to_owned())
}

/// The homeserver recognises a repetition by the transaction id.
async fn write_in_matrix(
    world: &World,
    humans: &Humans,
    message: &Message,
    about: Option<&str>,
) -> anyhow::Result<String> {
    let room = &world.chats()[message.chat].room_id;
    let user = &world.users()[message.writer];
    let text = &message.text;
    let content = match (message.what, about) {
        (What::Redact(_), Some(target)) => {
            let path = ["v3", "rooms", room, "redact", target, &message.token];
            let answer = user.request(Method::PUT, &path, &[], Some(&json!({}))).await?;
            return Ok(answer["event_id"].as_str().unwrap_or_default().to_owned());
        }
        (What::Picture, _) => {
            let picture = Picture { bytes: message.picture_bytes(), caption: text.clone() };
            return humans.show(world, message.writer, room, &message.token, picture).await;
        }
        (What::Reply(_), Some(target)) => {
            json!({"msgtype": "m.text", "body": text, "m.relates_to": {"m.in_reply_to": {"event_id": target}}})
        }
        (What::Edit(_), Some(target)) => json!({
            "msgtype": "m.text",
            "body": format!("* {text}"),
            "m.new_content": {"msgtype": "m.text", "body": text},
            "m.relates_to": {"rel_type": "m.replace", "event_id": target},
        }),
        _ => json!({"msgtype": "m.text", "body": text}),
    };
    humans.say(world, message.writer, room, &message.token, &content).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE: Stage = Stage { chats: 10, writers: 2, rounds: 10 };

    #[test]
    fn a_plan_is_repeated_by_its_seed() {
        let all = |seed| {
            let all = plan(Way::ToDingTalk, 200, STAGE, &mut Chance::new(seed));
            all.into_iter().map(|message| (message.chat, message.what, message.text)).collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        assert!(all(7).iter().all(|(_, _, text)| token(text).is_some()));
    }

    #[test]
    fn what_is_changed_or_taken_back_stands_before_in_its_chat_and_is_its_writers() {
        let all = plan(Way::ToDingTalk, 2_000, STAGE, &mut Chance::new(3));
        let mut gone = Vec::new();
        for (place, message) in all.iter().enumerate() {
            assert!(place == 0 || all[place - 1].round <= message.round);
            match message.what {
                What::Text | What::Picture => {}
                What::Reply(target) | What::Edit(target) | What::Redact(target) => {
                    assert!(target < place && all[target].chat == message.chat && !gone.contains(&target));
                }
            }
            match message.what {
                What::Edit(target) => assert_eq!(all[target].writer, message.writer),
                What::Redact(target) => {
                    assert_eq!(all[target].writer, message.writer);
                    gone.push(target);
                }
                _ => {}
            }
        }
        assert!(gone.len() > 20);
    }

    #[test]
    fn tokens_are_read_from_texts_and_pictures() {
        assert_eq!(token("> A: tok-d1 x\n\n[@B via Matrix] tok-d2 y"), Some("tok-d2"));
        let bytes = [PICTURE, b"tok-d00001"].concat();
        assert_eq!(picture_token(&bytes).as_deref(), Some("tok-d00001.png"));
        assert_eq!(picture_token(PICTURE), None);
    }
}
