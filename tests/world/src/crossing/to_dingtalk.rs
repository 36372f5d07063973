//! From a room into its group of DingTalk.

use std::time::Instant;

use anyhow::Context as _;
use serde_json::json;
use test_support::wait_until;

use super::{Arrived, Crossing, Crossings, marked, things};
use crate::user::body;

impl Crossings<'_> {
    pub(super) async fn picture_to_dingtalk(&self) -> anyhow::Result<Crossing> {
        let uri = self.user().upload("image/png", things::PICTURE_NAME, things::PICTURE.to_vec()).await?;
        let caption = marked("The bridge")?;
        let info = json!({"mimetype": "image/png", "w": 320, "h": 180, "size": things::PICTURE.len()});
        let content = json!({"msgtype": "m.image", "body": caption, "filename": things::PICTURE_NAME,
            "url": uri, "info": info});
        let (_, sent, took) =
            self.send_and_wait("the picture", &content, |sent| sent.msg_key == "sampleImageMsg").await?;
        let media = sent.body["photoURL"].as_str().context("the picture has no address")?;
        let same = things::same(things::PICTURE, &self.sides.sandbox().media(media).await?)?;
        let written = format!("{}, “{caption}”", things::PICTURE_NAME);
        self.to_dingtalk("picture", written, format!("a picture, {same}"), took).await
    }

    pub(super) async fn file_to_dingtalk(&self) -> anyhow::Result<Crossing> {
        let name = "plan.pdf";
        let uri = self.user().upload("application/pdf", name, things::DOCUMENT.to_vec()).await?;
        let info = json!({"mimetype": "application/pdf", "size": things::DOCUMENT.len()});
        let content = json!({"msgtype": "m.file", "body": name, "filename": name, "url": uri, "info": info});
        let file = |sent: &crate::Sent| sent.msg_key == "sampleFile";
        let (_, sent, took) = self.send_and_wait("the file", &content, file).await?;
        anyhow::ensure!(sent.body["fileName"] == name, "the file is called {}", sent.body["fileName"]);
        let media = sent.body["mediaId"].as_str().context("the file has no address")?;
        let same = things::same(things::DOCUMENT, &self.sides.sandbox().media(media).await?)?;
        self.to_dingtalk("file", name.to_owned(), format!("{name}, {same}"), took).await
    }

    /// The user answers what a person wrote.
    pub(super) async fn reply_to_dingtalk(&self, answered: &Arrived) -> anyhow::Result<Crossing> {
        let text = marked("Welcome!")?;
        let content = json!({"msgtype": "m.text", "body": text,
            "m.relates_to": {"m.in_reply_to": {"event_id": answered.id()}}});
        let (_, sent, took) = self.send_and_wait("the reply", &content, |sent| sent.says(&text)).await?;
        let (quoted, author) = (body(&answered.event), &self.person(0)?.name);
        let read = sent.text().split_whitespace().collect::<Vec<_>>().join(" ");
        anyhow::ensure!(
            read.starts_with('>') && read.contains(quoted) && read.contains(author.as_str()),
            "nothing is quoted: {read}"
        );
        self.to_dingtalk("reply", format!("{text} ↩ the text of {author}"), read, took).await
    }

    /// The user mentions a person's ghost.
    pub(super) async fn mention_to_dingtalk(&self) -> anyhow::Result<Crossing> {
        let meant = self.person(0)?;
        let ghost = self.sides.ghost_of(&meant.staff_id);
        let text = marked("can you join at five?")?;
        let content = json!({
            "msgtype": "m.text",
            "body": format!("{}: {text}", meant.name),
            "format": "org.matrix.custom.html",
            "formatted_body": format!("<a href=\"https://matrix.to/#/{ghost}\">{}</a>: {text}", meant.name),
            "m.mentions": {"user_ids": [ghost]},
        });
        let (_, sent, took) = self.send_and_wait("the mention", &content, |sent| sent.says(&text)).await?;
        anyhow::ensure!(
            sent.mentions == [meant.staff_id.as_str()],
            "{} is not really mentioned: {:?}",
            meant.name,
            sent.mentions
        );
        let read = format!("{} (at-user {})", sent.text(), meant.staff_id);
        self.to_dingtalk("mention", format!("@{}: {text}", meant.name), read, took).await
    }

    /// The user takes a message back; the time is that of the recall.
    pub(super) async fn recall_to_dingtalk(&self) -> anyhow::Result<Crossing> {
        let text = marked("Oh, not for here")?;
        let content = json!({"msgtype": "m.text", "body": text});
        let (event_id, sent, _) =
            self.send_and_wait("what will be taken back", &content, |sent| sent.says(&text)).await?;
        let began = Instant::now();
        self.user().redact(&self.chat.room_id, &event_id).await?;
        let recalled = wait_until(self.limit, "the message to be taken back in DingTalk", async || {
            let all = self.sides.sandbox().sent(sent.index).await.ok()?;
            all.first().filter(|sent| sent.recalled).map(|_| ())
        });
        recalled.await.with_context(|| self.sides.hint().to_owned())?;
        let took = began.elapsed();
        let read = format!("{} (taken back)", sent.text());
        self.to_dingtalk("recall", format!("{text}, redacted"), read, took).await
    }
}
