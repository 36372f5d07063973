//! Messages from one side to the other, each looked at where it arrives, with the time it took.

mod conversation;
mod encrypted;
mod private;
mod things;
mod to_dingtalk;
mod to_matrix;

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use dingtalk_sandbox::PersonInfo;
use serde_json::{Value, json};

use crate::{
    description::BridgedChat,
    files,
    sandbox::Sent,
    sides::Sides,
    user::{User, body},
};

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Written in DingTalk.
    ToMatrix,
    /// Written in Matrix.
    ToDingTalk,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ToMatrix => "→ Matrix",
            Self::ToDingTalk => "→ DingTalk",
        })
    }
}

/// A message that has crossed.
#[derive(Clone, Debug)]
pub struct Crossing {
    /// What it is: a text, a picture.
    pub what: &'static str,
    /// Where it went.
    pub way: Way,
    /// Who wrote it, as people see the name there.
    pub from: String,
    /// What was written.
    pub written: String,
    /// As whom it came on the other side.
    pub shown_as: String,
    /// What is read or seen on the other side.
    pub read: String,
    /// From writing to being found on the other side.
    pub took: Duration,
}

impl Sides {
    /// A person writes in a chat of DingTalk; waits until it is in the Matrix room.
    pub async fn cross_to_matrix(
        &self,
        chat: &BridgedChat,
        text: &str,
        limit: Duration,
    ) -> anyhow::Result<Crossing> {
        Crossings { sides: self, chat, limit }.text_to_matrix(text).await.map(|(crossing, _)| crossing)
    }

    /// A user writes in a Matrix room; waits until it is in the chat of DingTalk.
    pub async fn cross_to_dingtalk(
        &self,
        chat: &BridgedChat,
        text: &str,
        limit: Duration,
    ) -> anyhow::Result<Crossing> {
        Crossings { sides: self, chat, limit }.text_to_dingtalk(text).await.map(|(crossing, _)| crossing)
    }
}

/// Crosses things in one chat.
struct Crossings<'a> {
    sides: &'a Sides,
    chat: &'a BridgedChat,
    /// How long each may take.
    limit: Duration,
}

/// An event of a ghost's that was found in a room.
struct Arrived {
    event: Value,
    took: Duration,
}

impl Arrived {
    fn id(&self) -> &str {
        self.event["event_id"].as_str().unwrap_or_default()
    }
}

impl Crossings<'_> {
    /// Who writes in Matrix.
    fn user(&self) -> &User {
        self.sides.users().first().unwrap_or(self.sides.admin())
    }

    /// Somebody of the chat in DingTalk.
    fn person(&self, number: usize) -> anyhow::Result<&PersonInfo> {
        self.sides.info().people.get(number).context("the sandbox has too few people")
    }

    /// A person writes; waits for a new event of their ghost that fits.
    async fn write_to(
        &self,
        reader: &User,
        room: &str,
        message: &Value,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Arrived> {
        let ghost = self.sides.ghost_of(message["staff_id"].as_str().unwrap_or_default());
        let before = reader.messages(room, 100).await?;
        let began = Instant::now();
        self.sides.sandbox().post::<Value>("messages", message).await?;
        let came = |event: &Value| {
            event["sender"] == ghost.as_str()
                && fits(event)
                && !before.iter().any(|old| old["event_id"] == event["event_id"])
        };
        let event = reader.wait_for_event(room, self.limit, came).await;
        let event = event.with_context(|| self.sides.hint().to_owned())?;
        Ok(Arrived { event, took: began.elapsed() })
    }

    /// A user sends; waits until the chat has something new of the bridge that fits.
    async fn send_and_wait(
        &self,
        what: &str,
        content: &Value,
        fits: impl Fn(&Sent) -> bool,
    ) -> anyhow::Result<(String, Sent, Duration)> {
        let since = self.sides.sandbox().sent(0).await?.len();
        let began = Instant::now();
        let event_id = self.user().send_content(&self.chat.room_id, "m.room.message", content).await?;
        let here = |sent: &Sent| sent.chat_id == self.chat.chat_id && fits(sent);
        let sent = self.sides.sandbox().wait_sent(what, since, self.limit, here).await;
        Ok((event_id, sent.with_context(|| self.sides.hint().to_owned())?, began.elapsed()))
    }

    /// What the sender of an event is called where it was read.
    async fn shown_as(&self, reader: &User, room: &str, event: &Value) -> anyhow::Result<String> {
        let ghost = event["sender"].as_str().unwrap_or_default();
        Ok(reader.name_of(room, ghost).await?.unwrap_or_else(|| ghost.to_owned()))
    }

    /// A crossing of a person's into a room, where somebody reads it.
    async fn came(
        &self,
        what: &'static str,
        from: &PersonInfo,
        written: String,
        read: String,
        (reader, room): (&User, &str),
        arrived: &Arrived,
    ) -> anyhow::Result<Crossing> {
        Ok(Crossing {
            what,
            way: Way::ToMatrix,
            from: from.name.clone(),
            written,
            shown_as: self.shown_as(reader, room, &arrived.event).await?,
            read,
            took: arrived.took,
        })
    }

    async fn text_to_matrix(&self, text: &str) -> anyhow::Result<(Crossing, Arrived)> {
        let (person, reader, room) = (self.person(0)?, self.user(), &self.chat.room_id);
        let text = marked(text)?;
        let message = in_chat(self.chat, person, json!({"text": text}));
        let arrived = self.write_to(reader, room, &message, |event| body(event).contains(&text)).await?;
        let read = body(&arrived.event).to_owned();
        let crossing = self.came("text", person, text, read, (reader, room), &arrived).await?;
        Ok((crossing, arrived))
    }

    async fn text_to_dingtalk(&self, text: &str) -> anyhow::Result<(Crossing, Sent)> {
        let text = marked(text)?;
        let content = json!({"msgtype": "m.text", "body": text});
        let (_, sent, took) = self.send_and_wait("the text", &content, |sent| sent.says(&text)).await?;
        Ok((self.to_dingtalk("text", text, sent.text(), took).await?, sent))
    }

    /// A crossing of the user's to DingTalk, where it comes from the bot.
    async fn to_dingtalk(
        &self,
        what: &'static str,
        written: String,
        read: String,
        took: Duration,
    ) -> anyhow::Result<Crossing> {
        let user = self.user();
        let name = user.display_name(user.user_id()).await?;
        Ok(Crossing {
            what,
            way: Way::ToDingTalk,
            from: name.unwrap_or_else(|| user.user_id().to_owned()),
            written,
            shown_as: "the bot".to_owned(),
            read,
            took,
        })
    }
}

/// A message of a person's in a group, with more about it; it mentions the bot, so that the bot hears of it.
fn in_chat(chat: &BridgedChat, person: &PersonInfo, more: Value) -> Value {
    let mut message = json!({"chat_id": chat.chat_id, "staff_id": person.staff_id, "mention_bot": true});
    if let (Some(message), Value::Object(more)) = (message.as_object_mut(), more) {
        message.extend(more);
    }
    message
}

/// A text that occurs once.
fn marked(text: &str) -> anyhow::Result<String> {
    Ok(format!("{text} ({})", files::letters(5)?))
}
