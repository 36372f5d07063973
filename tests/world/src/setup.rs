//! What an admin and a few people do until the first chat is bridged, step by step as `docs/admin.md` tells them.

use std::time::Duration;

use anyhow::Context as _;
use dingtalk_sandbox::{ChatKind, WorldInfo};
use serde_json::json;

use crate::{bridge::Bridge, description::BridgedChat, files::Files, matrix::MatrixUser, sandbox::Sandbox};

/// How long one step may take. Synapse on a busy machine needs seconds for a room.
const LIMIT: Duration = Duration::from_mins(1);

/// Everybody and everything that takes part.
pub(crate) struct Setup<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) bridge: &'a Bridge,
    pub(crate) files: &'a Files,
    pub(crate) info: &'a WorldInfo,
    pub(crate) bot: &'a str,
    pub(crate) admin: &'a MatrixUser,
    pub(crate) users: &'a [MatrixUser],
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
        let direct = json!({"preset": "trusted_private_chat", "is_direct": true, "invite": [self.bot]});
        let room = self.admin.create_room(&direct).await?;
        self.admin.wait_joined(&room, self.bot, LIMIT).await?;
        let WorldInfo { app_key, app_secret, agent_id, .. } = self.info;
        self.command(&room, &format!("login {app_key} {app_secret} {agent_id}"), "Logged in: ").await?;
        Ok(room)
    }

    /// Says something to the bot and waits for the answer that means success; another answer is the error.
    async fn command(&self, direct: &str, command: &str, success: &str) -> anyhow::Result<()> {
        let word = command.split(' ').next().unwrap_or_default();
        let before = self.said_by_bot(direct).await?;
        self.admin.send_text(direct, command).await?;
        let answers = tokio::time::timeout(LIMIT, async {
            loop {
                let answers = self.said_by_bot(direct).await?;
                let fresh = answers[..answers.len().saturating_sub(before.len())].to_vec();
                if !fresh.is_empty() {
                    return anyhow::Ok(fresh);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let answers = answers.await.with_context(|| format!("the bot did not answer `{word}`"))??;
        if answers.iter().any(|answer| answer.starts_with(success)) {
            return Ok(());
        }
        // A second sentence may hold what was waited for.
        let wait = self.admin.wait_message(success, direct, Duration::from_secs(5), |sender, body| {
            sender == self.bot && body.starts_with(success) && !before.iter().any(|old| old == body)
        });
        wait.await.with_context(|| format!("the bot answered `{word}` with: {}", answers.join(" / ")))?;
        Ok(())
    }

    /// What the bot has said, newest first.
    async fn said_by_bot(&self, room: &str) -> anyhow::Result<Vec<String>> {
        let events = self.admin.newest(room, 100).await?;
        let said = events.iter().filter(|event| event["sender"] == self.bot);
        Ok(said.filter_map(|event| event["content"]["body"].as_str().map(str::to_owned)).collect())
    }

    async fn bridge_chat(&self, direct: &str, chat_id: &str, title: &str) -> anyhow::Result<BridgedChat> {
        let people: Vec<&str> = self.users.iter().map(MatrixUser::user_id).chain([self.bot]).collect();
        let room = json!({"preset": "private_chat", "name": title, "invite": people});
        let room = self.admin.create_room(&room).await?;
        for user in self.users {
            user.join(&room).await?;
        }
        self.admin.wait_joined(&room, self.bot, LIMIT).await?;
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
