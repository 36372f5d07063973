//! Random messages both ways, written by people who do not give up.

use std::collections::HashMap;

use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::wait_until;
use tokio::sync::{RwLock, watch};
use world::World;

use crate::{chance::Chance, kill::PATIENCE};

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

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) token: String,
    pub(crate) chat: usize,
    pub(crate) writer: usize,
    pub(crate) text: String,
    /// When it is written: after so many kills.
    round: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToMatrix,
    ToDingTalk,
}

/// Messages of one way, in the order of writing within each chat.
pub(crate) fn plan(
    way: Way,
    messages: usize,
    rounds: usize,
    chats: usize,
    writers: usize,
    chance: &mut Chance,
) -> Vec<Message> {
    let mut all: Vec<Message> = (0..messages)
        .map(|number| {
            let letter = if way == Way::ToMatrix { 'm' } else { 'd' };
            let token = format!("{MARK}{letter}{number:05}");
            let most = if chance.percent(3) { 300 } else { 6 };
            let count = 1 + chance.below(most);
            let words: Vec<&str> = (0..count).map(|_| *chance.pick(&WORDS)).collect();
            let text = format!("{token} {}", words.join(" "));
            Message {
                token,
                chat: chance.below(chats),
                writer: chance.below(writers),
                text,
                round: chance.below(rounds),
            }
        })
        .collect();
    all.sort_by_key(|message| message.round);
    all
}

/// The token in a text.
pub(crate) fn token(text: &str) -> Option<&str> {
    text.split_whitespace().find(|word| word.starts_with(MARK))
}

/// Writes everything, each chat and way on its own, as the rounds go by and while it is `open`. Answers with the events' ids by token.
pub(crate) async fn write(
    world: &World,
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
            let mut ids = Vec::new();
            let mut round = None;
            for message in own {
                if round.replace(message.round) != Some(message.round) {
                    rounds.wait_for(|now| *now >= message.round).await?;
                    // People do not all write at once: this is the load, not a waiting for something.
                    tokio::time::sleep(chance.span(0, 400)).await;
                }
                let what = format!("{} to be taken", message.token);
                let id = wait_until(PATIENCE, &what, async || {
                    let _open = open.read().await;
                    write_one(world, message, way).await.ok()
                });
                ids.push((message.token.clone(), id.await?));
            }
            anyhow::Ok(ids)
        }
    });
    Ok(try_join_all(writers).await?.into_iter().flatten().collect())
}

/// Both servers recognise a repetition by the id.
async fn write_one(world: &World, message: &Message, way: Way) -> anyhow::Result<String> {
    let chat = &world.chats()[message.chat];
    if way == Way::ToMatrix {
        let person = &world.info().people[message.writer];
        let body = json!({
            "chat_id": chat.chat_id,
            "staff_id": person.staff_id,
            "text": message.text,
            "msg_id": format!("msg{}==", message.token),
        });
        let posted: Value = world.sandbox().post("messages", &body).await?;
        return Ok(posted["msg_id"].as_str().unwrap_or_default().to_owned());
    }
    let path = ["v3", "rooms", &chat.room_id, "send", "m.room.message", &message.token];
    let content = json!({"msgtype": "m.text", "body": message.text});
    let answer = world.users()[message.writer].request(Method::PUT, &path, &[], Some(&content)).await?;
    Ok(answer["event_id"].as_str().unwrap_or_default().to_owned())
}
