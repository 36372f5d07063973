//! What an admin and a few people do until the first chat is bridged, step by step as `docs/admin.md` tells them.

use std::time::Duration;

use anyhow::Context as _;
use dingtalk_sandbox::{ChatKind, WorldInfo};
use test_support::{RoomOptions, wait_until};

use crate::{
    bridge::Bridge,
    description::BridgedChat,
    files::Files,
    sandbox::Sandbox,
    user::{User, body},
};

/// How long one step may take. Synapse on a busy machine needs seconds for a room.
const LIMIT: Duration = Duration::from_mins(1);

/// How long an answer may follow another one.
const SECOND_SENTENCE: Duration = Duration::from_secs(5);

/// Everybody and everything that takes part.
pub(crate) struct Setup<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) bridge: &'a Bridge,
    pub(crate) files: &'a Files,
    pub(crate) info: &'a WorldInfo,
    pub(crate) bot: &'a str,
    pub(crate) admin: &'a User,
    pub(crate) users: &'a [User],
    pub(crate) progress: &'a (dyn Fn(&str) + Sync),
}

impl Setup<'_> {
    /// Logs in and bridges every group; answers with the admin's direct chat and the bridged chats.
    pub(crate) async fn run(&self) -> anyhow::Result<(String, Vec<BridgedChat>)> {
        let log = self.bridge.log().display();
        let direct =
            self.log_in().await.with_context(|| format!("logging in failed; the bridge's log: {log}"))?;
        self.sandbox
            .save_webhook(&self.info.app_key, &self.files.webhook_url, &self.files.token, &self.files.aes_key)
            .await?;
        let mut chats = Vec::new();
        for chat in self.info.chats.iter().filter(|chat| chat.kind == ChatKind::Group) {
            (self.progress)(&format!("Bridging {}.", chat.title));
            let bridged = self.bridge_chat(&direct, &chat.chat_id, &chat.title).await;
            chats.push(
                bridged
                    .with_context(|| format!("bridging {} failed; the bridge's log: {log}", chat.title))?,
            );
        }
        Ok((direct, chats))
    }

    async fn log_in(&self) -> anyhow::Result<String> {
        (self.progress)("Logging in.");
        let direct =
            RoomOptions { is_direct: true, invite: vec![self.bot.to_owned()], ..RoomOptions::default() };
        let room = self.admin.create_room(direct).await?;
        self.wait_for_bot(&room).await?;
        let WorldInfo { app_key, app_secret, agent_id, .. } = self.info;
        self.command(&room, &format!("login {app_key} {app_secret} {agent_id}"), "Logged in: ").await?;
        Ok(room)
    }

    async fn wait_for_bot(&self, room: &str) -> anyhow::Result<()> {
        wait_until(LIMIT, &format!("{} to join {room}", self.bot), async || {
            let members = self.admin.joined_members(room).await.ok()?;
            members.contains_key(self.bot).then_some(())
        })
        .await
    }

    /// Says something to the bot and waits for the answer that means success; the error has what it said instead.
    async fn command(&self, direct: &str, command: &str, success: &str) -> anyhow::Result<()> {
        let word = command.split(' ').next().unwrap_or_default();
        let asked = self.admin.send_text(direct, command).await?;
        let answers = async || {
            let events = self.admin.messages(direct, 100).await.ok()?;
            let after = events.iter().position(|event| event["event_id"] == asked.as_str())?;
            let of_bot = events[after..].iter().filter(|event| event["sender"] == self.bot);
            let said: Vec<String> =
                of_bot.map(|event| body(event).to_owned()).filter(|said| !said.is_empty()).collect();
            (!said.is_empty()).then_some(said)
        };
        let said = wait_until(LIMIT, &format!("the bot's answer to `{word}`"), answers).await?;
        // What was waited for may be its second sentence.
        let good = wait_until(SECOND_SENTENCE, success, async || {
            answers().await?.iter().any(|said| said.starts_with(success)).then_some(())
        });
        good.await.map_err(|_| anyhow::anyhow!("the bot answered `{word}` with: {}", said.join(" / ")))
    }

    async fn bridge_chat(&self, direct: &str, chat_id: &str, title: &str) -> anyhow::Result<BridgedChat> {
        let people = self.users.iter().map(|user| user.user_id()).chain([self.bot]);
        let room = RoomOptions {
            name: Some(title.to_owned()),
            invite: people.map(str::to_owned).collect(),
            ..RoomOptions::default()
        };
        let room = self.admin.create_room(room).await?;
        for user in self.users {
            user.join(&room).await?;
        }
        self.wait_for_bot(&room).await?;
        self.admin.set_power(&room, self.bot, 50).await?;

        let since = self.sandbox.sent(0).await?.len();
        let person = self.info.people.first().context("the sandbox has no people")?;
        self.sandbox.write(chat_id, &person.staff_id, "第一条消息 (first contact)").await?;
        let told = self
            .sandbox
            .wait_sent("the confirmation of the first contact", since, LIMIT, |sent| sent.chat_id == chat_id);
        told.await?;
        self.command(direct, &format!("bridge {room} {chat_id}"), "Bridged: ").await?;
        Ok(BridgedChat { chat_id: chat_id.to_owned(), room_id: room, title: title.to_owned() })
    }
}
