//! A chat whose room is encrypted: a person with a client that encrypts talks to it, and the homeserver reads nothing.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use dingtalk_sandbox::PersonInfo;
use serde_json::{Value, json};
use test_support::{EncryptingClient, Package, Software};

use super::{Crossing, Way, marked};
use crate::{Progress, sides::Sides};

impl Sides {
    /// The admin's second client, which encrypts, makes an encrypted room and has a group bridged to it; a text crosses
    /// each way. `folder` keeps the client's keys.
    pub async fn show_encrypted_crossings(
        &self,
        folder: &Path,
        limit: Duration,
        progress: Progress<'_>,
        tell: &mut (dyn FnMut(&Crossing) + Send),
    ) -> anyhow::Result<Vec<Crossing>> {
        let nio = crate::install_python(Package::NIO, progress).await?;
        let (user, url) = (self.admin(), self.homeserver().url());
        let client =
            EncryptingClient::start(Software::Nio(&nio), folder, url, user.user_id(), user.password())
                .await?;
        let person = self.info().people.first().context("the sandbox has no people")?;
        let bridged = Encrypted::bridge(self, &client, limit).await;
        let encrypted = bridged.context("bridging a group to an encrypted room failed")?;
        let mut all = Vec::new();
        for way in [Way::ToMatrix, Way::ToDingTalk] {
            let crossed = match way {
                Way::ToMatrix => encrypted.to_matrix(person).await,
                Way::ToDingTalk => encrypted.to_dingtalk().await,
            };
            let crossing = crossed.with_context(|| format!("did not cross: encrypted text {way}"))?;
            tell(&crossing);
            all.push(crossing);
        }
        Ok(all)
    }
}

/// A group that is bridged to an encrypted room.
struct Encrypted<'a> {
    sides: &'a Sides,
    client: &'a EncryptingClient,
    chat: String,
    room: String,
    limit: Duration,
}

impl<'a> Encrypted<'a> {
    async fn bridge(sides: &'a Sides, client: &'a EncryptingClient, limit: Duration) -> anyhow::Result<Self> {
        let bot = sides.bot_user_id();
        let name = marked("加密群 (encrypted)")?;
        let group: Value = sides.sandbox().post("groups", &json!({"name": name})).await?;
        let chat = group["chat_id"].as_str().context("the sandbox made no group")?.to_owned();
        let since = sides.sandbox().sent(0).await?.len();
        let person = sides.info().people.first().context("the sandbox has no people")?;
        sides.sandbox().write(&chat, &person.staff_id, &name).await?;
        let told = sides.sandbox().wait_sent("the confirmation", since, limit, |sent| sent.chat_id == chat);
        told.await?;
        let direct = client.create(&[&bot], true, true).await?;
        let room = client.create(&[&bot], false, true).await?;
        for room in [&direct, &room] {
            client.wait_member(room, &bot, limit).await?;
        }
        client.say(&direct, &format!("bridge {room} {chat}")).await?;
        let encrypted = Self { sides, client, chat, room, limit };
        encrypted.hears(&direct, &bot, "Bridged: ").await?;
        encrypted.hears(&encrypted.room, &sides.ghost_of(&person.staff_id), &name).await?;
        Ok(encrypted)
    }

    /// Waits for an encrypted message that the client could read.
    async fn hears(&self, room: &str, sender: &str, text: &str) -> anyhow::Result<Value> {
        let said = |event: &Value| {
            event["decrypted"] == true
                && event["sender"] == sender
                && event["content"]["body"].as_str().is_some_and(|body| body.contains(text))
        };
        let heard = self.client.wait_event(room, self.limit, said).await;
        heard.with_context(|| self.sides.hint().to_owned())
    }

    async fn to_matrix(&self, person: &PersonInfo) -> anyhow::Result<Crossing> {
        let text = marked("加密了吗？")?;
        let ghost = self.sides.ghost_of(&person.staff_id);
        let began = Instant::now();
        self.sides.sandbox().write(&self.chat, &person.staff_id, &text).await?;
        let event = self.hears(&self.room, &ghost, &text).await?;
        let took = began.elapsed();
        let id = event["event_id"].as_str().unwrap_or_default();
        let stored = self.sides.admin().event(&self.room, id).await?;
        anyhow::ensure!(stored["type"] == "m.room.encrypted", "the homeserver reads it: {stored}");
        let name = self.sides.admin().name_of(&self.room, &ghost).await?;
        let body = event["content"]["body"].as_str().unwrap_or_default();
        Ok(Crossing {
            what: "encrypted",
            way: Way::ToMatrix,
            from: person.name.clone(),
            read: format!("{body} (m.room.encrypted at the homeserver)"),
            written: text,
            shown_as: name.unwrap_or(ghost),
            took,
        })
    }

    async fn to_dingtalk(&self) -> anyhow::Result<Crossing> {
        let (text, user) = (marked("Yes, end to bridge")?, self.sides.admin());
        let since = self.sides.sandbox().sent(0).await?.len();
        let began = Instant::now();
        self.client.say(&self.room, &text).await?;
        let here = |sent: &crate::Sent| sent.chat_id == self.chat && sent.says(&text);
        let sent = self.sides.sandbox().wait_sent("the encrypted text", since, self.limit, here).await;
        let sent = sent.with_context(|| self.sides.hint().to_owned())?;
        let took = began.elapsed();
        let name = user.display_name(user.user_id()).await?;
        Ok(Crossing {
            what: "encrypted",
            way: Way::ToDingTalk,
            from: name.unwrap_or_else(|| user.user_id().to_owned()),
            written: text,
            shown_as: "the bot".to_owned(),
            read: sent.text(),
            took,
        })
    }
}
