//! What an admin and a few people do until the first chat is bridged, step by step as `docs/admin.md` tells them.

use std::time::Duration;

use anyhow::Context as _;
use dingtalk_sandbox::{ChatKind, WorldInfo};
use test_support::{RoomOptions, wait_until};

use crate::{Progress, description::BridgedChat, sides::Sides, user::body};

/// How long one step may take. Synapse on a busy machine needs seconds for a room.
const LIMIT: Duration = Duration::from_mins(1);

/// What is written in a chat before it is bridged.
const FIRST: &str = "第一条消息 (first contact)";

/// How long an answer may follow another one.
const SECOND_SENTENCE: Duration = Duration::from_secs(30);

/// The admin at work.
pub(crate) struct Setup<'a> {
    pub(crate) sides: &'a Sides,
    /// Messages come over Stream.
    pub(crate) stream: bool,
    /// Versions of the chats' rooms, in turn.
    pub(crate) room_versions: &'a [String],
    pub(crate) progress: Progress<'a>,
}

/// What came of it.
pub(crate) struct Linked {
    /// The admin's room with the bot.
    pub(crate) direct: String,
    /// The bridged chats.
    pub(crate) chats: Vec<BridgedChat>,
    /// What the bot showed for DingTalk's console.
    pub(crate) shown: Shown,
}

/// What the bot shows for DingTalk's console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) aes_key: String,
}

impl Shown {
    /// Reads the answer to `webhook` as a person would.
    fn read(answer: &str) -> Option<Self> {
        let line = |name: &str| {
            let value = answer.lines().find_map(|line| line.trim().strip_prefix(name))?.trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        Some(Self { url: line("URL:")?, token: line("Token:")?, aes_key: line("AES key:")? })
    }
}

impl Setup<'_> {
    /// Logs in, saves the webhook in DingTalk's console and bridges every group.
    pub(crate) async fn run(&self) -> anyhow::Result<Linked> {
        let info = self.sides.info();
        let direct = self.log_in().await.context("logging in failed")?;
        let shown = if self.stream {
            (self.progress)("Choosing Stream mode in DingTalk's console.");
            self.sides.sandbox().choose_stream(&info.app_key).await?;
            Shown::default()
        } else {
            (self.progress)("Saving the webhook that the bot shows in DingTalk's console.");
            let shown = self.ask_webhook(&direct).await?;
            let Shown { url, token, aes_key } = &shown;
            self.sides.sandbox().save_webhook(&info.app_key, url, token, aes_key).await?;
            shown
        };
        let mut chats = Vec::new();
        let mut versions = self.room_versions.iter().cycle();
        for chat in info.chats.iter().filter(|chat| chat.kind == ChatKind::Group) {
            (self.progress)(&format!("Bridging {}.", chat.title));
            let room = RoomOptions {
                name: Some(chat.title.clone()),
                room_version: versions.next().cloned(),
                ..RoomOptions::default()
            };
            let bridged = self.bridge_chat(&direct, &chat.chat_id, room).await;
            chats.push(bridged.with_context(|| format!("bridging {} failed", chat.title))?);
        }
        Ok(Linked { direct, chats, shown })
    }

    /// Has the webhook shown and leaves no room behind; nothing is linked.
    pub(crate) async fn look_at_webhook(&self) -> anyhow::Result<Shown> {
        (self.progress)("Asking the bot for the webhook.");
        let direct = self.open_direct().await?;
        let shown = self.ask_webhook(&direct).await?;
        self.sides.admin().leave(&direct).await?;
        Ok(shown)
    }

    async fn open_direct(&self) -> anyhow::Result<String> {
        let bot = self.sides.bot_user_id();
        let direct = RoomOptions { is_direct: true, invite: vec![bot], ..RoomOptions::default() };
        let room = self.sides.admin().create_room(direct).await?;
        self.wait_for_bot(&room).await?;
        Ok(room)
    }

    async fn log_in(&self) -> anyhow::Result<String> {
        (self.progress)("Logging in: the admin writes to the bot.");
        let room = self.open_direct().await?;
        let WorldInfo { app_key, app_secret, agent_id, .. } = self.sides.info();
        let command = format!("login {app_key} {app_secret} {agent_id}");
        self.command(&room, &command, |said| said.starts_with("Logged in: ").then_some(())).await?;
        Ok(room)
    }

    async fn ask_webhook(&self, direct: &str) -> anyhow::Result<Shown> {
        self.command(direct, "webhook", Shown::read).await
    }

    async fn wait_for_bot(&self, room: &str) -> anyhow::Result<()> {
        let bot = self.sides.bot_user_id();
        wait_until(LIMIT, &format!("{bot} to join {room}"), async || {
            let members = self.sides.admin().joined_members(room).await.ok()?;
            members.contains_key(&bot).then_some(())
        })
        .await
    }

    /// Says something to the bot and waits for the answer that means success; the error has what it said instead.
    async fn command<T>(
        &self,
        direct: &str,
        command: &str,
        success: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let (admin, bot) = (self.sides.admin(), self.sides.bot_user_id());
        let word = command.split(' ').next().unwrap_or_default();
        let asked = admin.send_text(direct, command).await?;
        let answers = async || {
            let events = admin.messages(direct, 100).await.ok()?;
            let after = events.iter().position(|event| event["event_id"] == asked.as_str())?;
            let of_bot = events[after..].iter().filter(|event| event["sender"] == bot.as_str());
            let said: Vec<String> =
                of_bot.map(|event| body(event).to_owned()).filter(|said| !said.is_empty()).collect();
            (!said.is_empty()).then_some(said)
        };
        let said = wait_until(LIMIT, &format!("the bot's answer to `{word}`"), answers).await?;
        // What was waited for may be its second sentence.
        let good = wait_until(SECOND_SENTENCE, "success", async || {
            answers().await?.iter().find_map(|said| success(said))
        });
        good.await.map_err(|_| anyhow::anyhow!("the bot answered `{word}` with: {}", said.join(" / ")))
    }

    async fn bridge_chat(
        &self,
        direct: &str,
        chat_id: &str,
        room: RoomOptions,
    ) -> anyhow::Result<BridgedChat> {
        let (admin, sandbox, bot) = (self.sides.admin(), self.sides.sandbox(), self.sides.bot_user_id());
        let people = self.sides.users().iter().map(|user| user.user_id()).chain([bot.as_str()]);
        let title = room.name.clone().unwrap_or_default();
        let room = RoomOptions { invite: people.map(str::to_owned).collect(), ..room };
        let room = admin.create_room(room).await?;
        for user in self.sides.users() {
            user.join(&room).await?;
        }
        self.wait_for_bot(&room).await?;
        admin.set_power(&room, &bot, 50).await?;

        let since = sandbox.sent(0).await?.len();
        let person = self.sides.info().people.first().context("the sandbox has no people")?;
        sandbox.write(chat_id, &person.staff_id, FIRST).await?;
        let told = sandbox
            .wait_sent("the confirmation of the first contact", since, LIMIT, |sent| sent.chat_id == chat_id);
        told.await?;
        let bridge = format!("bridge {room} {chat_id}");
        self.command(direct, &bridge, |said| said.starts_with("Bridged: ").then_some(())).await?;
        // What was held comes after the answer; whoever looks at the room from now on has it behind them.
        admin.wait_for_event(&room, LIMIT, |event| body(event) == FIRST).await?;
        Ok(BridgedChat { chat_id: chat_id.to_owned(), room_id: room, title })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bots_answer_is_read_as_it_is_written() {
        let answer = "In DingTalk's console paste:\nURL: https://acme.example/bridges/dingtalk/webhook\n\
                      Token: abc\nAES key: 0123\n(The address is checked.)";
        let shown = Shown::read(answer).unwrap();
        assert_eq!(shown.url, "https://acme.example/bridges/dingtalk/webhook");
        assert_eq!((shown.token.as_str(), shown.aes_key.as_str()), ("abc", "0123"));
        assert_eq!(Shown::read("URL: x\nToken:\nAES key: y"), None);
        assert_eq!(Shown::read("You may not use webhook."), None);
    }
}
