//! From a group of DingTalk into its room.

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dingtalk_sandbox::PersonInfo;
use serde_json::{Value, json};

use super::{Arrived, Crossing, Crossings, in_chat, marked, things};
use crate::{sandbox::Sent, user::body};

impl Crossings<'_> {
    async fn to_matrix(
        &self,
        what: &'static str,
        from: &PersonInfo,
        written: String,
        read: String,
        arrived: &Arrived,
    ) -> anyhow::Result<Crossing> {
        let place = (self.user(), &*self.chat.room_id);
        self.came(what, from, written, read, place, arrived).await
    }

    pub(super) async fn picture_to_matrix(&self) -> anyhow::Result<Crossing> {
        let (person, reader) = (self.person(1)?, self.user());
        let file = json!({"base64": STANDARD.encode(things::PICTURE), "name": things::PICTURE_NAME});
        let message = in_chat(self.chat, person, json!({"kind": "picture", "file": file}));
        let picture = |event: &Value| event["content"]["msgtype"] == "m.image";
        let arrived = self.write_to(reader, &self.chat.room_id, &message, picture).await?;
        let content = &arrived.event["content"];
        let url = content["url"].as_str().context("the picture has no address")?;
        let same = things::same(things::PICTURE, &reader.download(url).await?)?;
        let read = format!("{} × {} pixels, {same}", content["info"]["w"], content["info"]["h"]);
        self.to_matrix("picture", person, things::PICTURE_NAME.to_owned(), read, &arrived).await
    }

    /// A person answers what came from Matrix.
    pub(super) async fn reply_to_matrix(&self, answered: &Sent) -> anyhow::Result<Crossing> {
        let (person, reader, room) = (self.person(0)?, self.user(), &self.chat.room_id);
        let text = marked("收到，谢谢")?;
        let message = in_chat(self.chat, person, json!({"text": text, "quote": answered.msg_id}));
        let arrived = self.write_to(reader, room, &message, |event| body(event).contains(&text)).await?;
        let answers = &arrived.event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"];
        let answers = answers.as_str().context("m.in_reply_to is not there")?;
        let original = reader.event(room, answers).await?;
        anyhow::ensure!(
            !body(&original).is_empty() && answered.text().ends_with(body(&original)),
            "it answers another message: {original}"
        );
        let written = format!("{text} ↩ the bot's text");
        let read = format!("{} ↩ {}", body(&arrived.event), body(&original));
        self.to_matrix("reply", person, written, read, &arrived).await
    }

    /// A person mentions another one, whose ghost is known.
    pub(super) async fn mention_to_matrix(&self) -> anyhow::Result<Crossing> {
        let (person, meant) = (self.person(1)?, self.person(0)?);
        let (reader, room, ghost) = (self.user(), &self.chat.room_id, self.sides.ghost_of(&meant.staff_id));
        let text = marked("请看一下")?;
        let message = in_chat(self.chat, person, json!({"text": text, "mentions": [meant.staff_id]}));
        let arrived = self.write_to(reader, room, &message, |event| body(event).contains(&text)).await?;
        let content = &arrived.event["content"];
        anyhow::ensure!(
            content["m.mentions"]["user_ids"] == json!([ghost]),
            "m.mentions does not name {ghost}: {content}"
        );
        let html = content["formatted_body"].as_str().unwrap_or_default();
        let pill = html.contains("https://matrix.to/#/") && html.contains(&meant.name);
        anyhow::ensure!(pill, "there is no pill: {content}");
        let written = format!("@{} {text}", meant.name);
        let read = format!("{} (a pill of {ghost})", body(&arrived.event));
        self.to_matrix("mention", person, written, read, &arrived).await
    }

    pub(super) async fn card_to_matrix(&self) -> anyhow::Result<Crossing> {
        const BUTTON: &str = "https://example.org/approve?id=2026";
        let (person, reader, room) = (self.person(2)?, self.user(), &self.chat.room_id);
        let title = marked("预算审批")?;
        let content = json!({
            "title": title,
            "text": "**Budget 2026**: please approve it this week.",
            "actionUrlItemList": [{"title": "同意", "actionUrl": BUTTON}],
        });
        let message = in_chat(self.chat, person, json!({"kind": "actionCard", "content": content}));
        let arrived = self.write_to(reader, room, &message, |event| body(event).contains(&title)).await?;
        let html = arrived.event["content"]["formatted_body"].as_str().unwrap_or_default();
        let linked = html.contains(&format!("href=\"{BUTTON}\""));
        anyhow::ensure!(
            linked && html.contains("<strong>Budget 2026</strong>"),
            "the card is not whole: {html}"
        );
        let read = body(&arrived.event).split_whitespace().collect::<Vec<_>>().join(" ");
        let written = format!("{title} [同意]");
        self.to_matrix("card", person, written, read, &arrived).await
    }
}
