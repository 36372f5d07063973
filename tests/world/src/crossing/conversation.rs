//! One of everything that crosses, as a conversation.

use std::time::Duration;

use anyhow::Context as _;

use super::{Crossing, Crossings, Way, private};
use crate::{BridgedChat, sides::Sides};

impl Sides {
    /// Has people of both sides send one of everything that crosses, in a chat and in a 1:1 chat, and looks at each
    /// where it arrives. Each is told as soon as it is there; the error names what did not cross.
    pub async fn show_crossings(
        &self,
        chat: &BridgedChat,
        limit: Duration,
        tell: &mut (dyn FnMut(&Crossing) + Send),
    ) -> anyhow::Result<Vec<Crossing>> {
        let mut all = Vec::new();
        let mut shown = |crossing: Crossing| {
            tell(&crossing);
            all.push(crossing);
        };
        let group = Crossings { sides: self, chat, limit };

        let hello = group.text_to_matrix("大家好 (hello from DingTalk)").await;
        let (crossing, hello) = crossed("text", Way::ToMatrix, hello)?;
        shown(crossing);
        let answer = group.text_to_dingtalk("Hello from Matrix").await;
        let (crossing, answer) = crossed("text", Way::ToDingTalk, answer)?;
        shown(crossing);

        shown(crossed("reply", Way::ToMatrix, group.reply_to_matrix(&answer).await)?);
        shown(crossed("reply", Way::ToDingTalk, group.reply_to_dingtalk(&hello).await)?);
        shown(crossed("mention", Way::ToMatrix, group.mention_to_matrix().await)?);
        shown(crossed("mention", Way::ToDingTalk, group.mention_to_dingtalk().await)?);
        shown(crossed("card", Way::ToMatrix, group.card_to_matrix().await)?);
        shown(crossed("file", Way::ToDingTalk, group.file_to_dingtalk().await)?);
        shown(crossed("recall", Way::ToDingTalk, group.recall_to_dingtalk().await)?);
        shown(crossed("picture", Way::ToMatrix, group.picture_to_matrix().await)?);
        shown(crossed("picture", Way::ToDingTalk, group.picture_to_dingtalk().await)?);

        // A bot gets files and voices from 1:1 chats alone.
        let opened = private::Private::open(&group).await;
        let (crossing, private) = crossed("1:1 chat", Way::ToMatrix, opened)?;
        shown(crossing);
        shown(crossed("file", Way::ToMatrix, private.file().await)?);
        shown(crossed("voice", Way::ToMatrix, private.voice().await)?);
        Ok(all)
    }
}

/// The outcome, with what it was about in its error.
fn crossed<T>(what: &str, way: Way, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
    outcome.with_context(|| format!("did not cross: {what} {way}"))
}
