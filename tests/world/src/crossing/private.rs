//! A person's 1:1 chat with the bot, which becomes a room with whoever logged in.

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dingtalk_sandbox::PersonInfo;
use serde_json::{Value, json};

use super::{Arrived, Crossing, Crossings, marked, things};
use crate::{
    sides::Sides,
    user::{User, body},
};

/// Name of the file that is sent.
const DOCUMENT_NAME: &str = "计划.pdf";

/// Sends in a 1:1 chat that has its room.
pub(super) struct Private<'a> {
    crossings: &'a Crossings<'a>,
    person: &'a PersonInfo,
    room: String,
}

impl<'a> Private<'a> {
    /// The person writes for the first time, and the admin accepts the ghost's invitation.
    pub(super) async fn open(crossings: &'a Crossings<'a>) -> anyhow::Result<(Crossing, Self)> {
        let person = crossings.person(0)?;
        let (sides, admin) = (crossings.sides, crossings.sides.admin());
        let text = marked("在吗？")?;
        let began = std::time::Instant::now();
        sides.sandbox().write("", &person.staff_id, &text).await?;
        let ghost = sides.ghost_of(&person.staff_id);
        let room = match room_with(sides, &ghost).await? {
            Some(room) => room,
            None => admin
                .accept_invitation_of(&ghost, crossings.limit)
                .await
                .with_context(|| sides.hint().to_owned())?,
        };
        let event = admin.wait_for_event(&room, crossings.limit, |event| body(event).contains(&text)).await?;
        let took = began.elapsed();
        let private = Self { crossings, person, room };
        let arrived = Arrived { event, took };
        let read = format!("{} (in a room of its own)", body(&arrived.event));
        Ok((private.crossing("1:1 chat", text, read, &arrived).await?, private))
    }

    fn reader(&self) -> &User {
        self.crossings.sides.admin()
    }

    async fn crossing(
        &self,
        what: &'static str,
        written: String,
        read: String,
        arrived: &Arrived,
    ) -> anyhow::Result<Crossing> {
        let place = (self.reader(), &*self.room);
        self.crossings.came(what, self.person, written, read, place, arrived).await
    }

    /// Sends something with a file; answers what came and that its bytes are the same.
    async fn send(
        &self,
        kind: &str,
        file: (&str, &[u8]),
        text: &str,
        msgtype: &str,
    ) -> anyhow::Result<(Arrived, String)> {
        let (name, bytes) = file;
        let file = json!({"base64": STANDARD.encode(bytes), "name": name});
        let message = json!({"chat_id": "", "staff_id": self.person.staff_id, "kind": kind, "text": text, "file": file});
        let fits = |event: &Value| event["content"]["msgtype"] == msgtype;
        let arrived = self.crossings.write_to(self.reader(), &self.room, &message, fits).await?;
        let url = arrived.event["content"]["url"].as_str().context("the file has no address")?;
        let same = things::same(bytes, &self.reader().download(url).await?)?;
        Ok((arrived, same))
    }

    pub(super) async fn file(&self) -> anyhow::Result<Crossing> {
        let (arrived, same) = self.send("file", (DOCUMENT_NAME, things::DOCUMENT), "", "m.file").await?;
        let name = arrived.event["content"]["filename"].as_str().unwrap_or(body(&arrived.event));
        anyhow::ensure!(name == DOCUMENT_NAME, "the file is called {name}");
        let read = format!("{name}, {same}");
        self.crossing("file", DOCUMENT_NAME.to_owned(), read, &arrived).await
    }

    pub(super) async fn voice(&self) -> anyhow::Result<Crossing> {
        let heard = marked("我五点到")?;
        let (arrived, same) = self.send("audio", ("", &things::voice()), &heard, "m.audio").await?;
        let content = &arrived.event["content"];
        anyhow::ensure!(content["org.matrix.msc3245.voice"].is_object(), "it is no voice message: {content}");
        anyhow::ensure!(content["info"]["duration"] == things::VOICE_MS, "its length is lost: {content}");
        let recognised =
            |event: &Value| event["content"]["msgtype"] != "m.audio" && body(event).contains(&heard);
        let words = self.reader().wait_for_event(&self.room, self.crossings.limit, recognised).await?;
        let seconds = things::VOICE_MS / 1000;
        let written = format!("{seconds} s of voice, “{heard}”");
        let read = format!("voice of {seconds} s, {same}; {}", body(&words));
        self.crossing("voice", written, read, &arrived).await
    }
}

/// The room that the admin and a ghost have with nobody but the bot, if they have one.
async fn room_with(sides: &Sides, ghost: &str) -> anyhow::Result<Option<String>> {
    let admin = sides.admin();
    let (own, bot) = (admin.user_id(), sides.bot_user_id());
    for room in admin.joined_rooms().await? {
        let members = admin.joined_members(&room).await?;
        let alone = members.keys().all(|member| member == own || *member == bot || member == ghost);
        if alone && members.contains_key(ghost) {
            return Ok(Some(room));
        }
    }
    Ok(None)
}
