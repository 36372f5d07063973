//! A message from one side to the other, with the time it took.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use crate::{description::BridgedChat, files, sides::Sides, user::body};

/// A message that has crossed.
#[derive(Clone, Debug)]
pub struct Crossing {
    /// Who wrote it, as people see the name there.
    pub from: String,
    /// What was written.
    pub written: String,
    /// As whom it came on the other side.
    pub shown_as: String,
    /// What is read on the other side.
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
        let reader = self.users().first().unwrap_or(self.admin());
        let person = self.info().people.first().context("the sandbox has no people")?;
        let text = marked(text)?;
        let began = Instant::now();
        self.sandbox().write(&chat.chat_id, &person.staff_id, &text).await?;
        let bot = self.bot_user_id();
        let came = |event: &Value| event["sender"] != bot.as_str() && body(event).contains(&text);
        let event = reader
            .wait_for_event(&chat.room_id, limit, came)
            .await
            .with_context(|| self.hint().to_owned())?;
        let took = began.elapsed();
        let ghost = event["sender"].as_str().unwrap_or_default();
        let name = reader.name_of(&chat.room_id, ghost).await?.unwrap_or_default();
        Ok(Crossing {
            from: person.name.clone(),
            written: text,
            shown_as: format!("{name} ({ghost})"),
            read: body(&event).to_owned(),
            took,
        })
    }

    /// A user writes in a Matrix room; waits until it is in the chat of DingTalk.
    pub async fn cross_to_dingtalk(
        &self,
        chat: &BridgedChat,
        text: &str,
        limit: Duration,
    ) -> anyhow::Result<Crossing> {
        let writer = self.users().first().unwrap_or(self.admin());
        let text = marked(text)?;
        let since = self.sandbox().sent(0).await?.len();
        let began = Instant::now();
        writer.send_text(&chat.room_id, &text).await?;
        let sent = self
            .sandbox()
            .wait_sent("the message from Matrix", since, limit, |sent| {
                sent.chat_id == chat.chat_id && sent.says(&text)
            })
            .await
            .with_context(|| self.hint().to_owned())?;
        let took = began.elapsed();
        Ok(Crossing {
            from: writer.user_id().to_owned(),
            written: text,
            shown_as: "the bot".to_owned(),
            read: sent.text(),
            took,
        })
    }
}

/// A text that occurs once.
fn marked(text: &str) -> anyhow::Result<String> {
    Ok(format!("{text} ({})", files::letters(5)?))
}
