//! A person whose Matrix client encrypts: matrix-nio, which shares no code with the bridge, or matrix-js-sdk, which Element
//! Web is built on.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{Installation, JsSdk, Process, Spawn, waiting::wait_until};

/// What logging in and synchronising once may take, on a busy machine.
const START: Duration = Duration::from_mins(2);

/// What a client is made of.
#[derive(Debug, Clone, Copy)]
pub enum Software<'a> {
    /// matrix-nio. Its folder keeps its keys.
    Nio(&'a Installation),
    /// matrix-js-sdk. Its keys end with it.
    Js(&'a JsSdk),
}

/// A logged-in client. Dropping it ends it; its device stays with the homeserver.
#[derive(Debug)]
pub struct EncryptingClient {
    _process: Process,
    http: reqwest::Client,
    address: String,
}

impl EncryptingClient {
    /// Logs in with a device of its own. `folder` gets its log and what it keeps.
    pub async fn start(
        software: Software<'_>,
        folder: &Path,
        homeserver: &str,
        user: &str,
        password: &str,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let spawn = match software {
            Software::Nio(installation) => {
                let script = folder.join("client.py");
                std::fs::write(&script, include_str!("client.py"))?;
                Spawn::new(installation.python()).arg(script)
            }
            Software::Js(modules) => Spawn::new("node").arg(modules.script()),
        };
        let spawn = spawn.args([homeserver, user, password]).arg(folder).log(folder.join("client.log"));
        let (process, ready) = spawn.start_ready(START).await?;
        let port = ready["port"].as_u64().context("the client told no port")?;
        Ok(Self {
            _process: process,
            http: crate::http_client()?,
            address: format!("http://127.0.0.1:{port}/"),
        })
    }

    /// Has it do something; what that answers.
    pub async fn call(&self, command: Value) -> anyhow::Result<Value> {
        let answer = self.http.post(&self.address).json(&command).send().await?;
        let (status, answer) = (answer.status(), answer.json::<Value>().await?);
        anyhow::ensure!(status.is_success(), "{command}: {answer}");
        Ok(answer)
    }

    /// Makes a room, encrypted or not; its id. Who is in a room that is no direct chat may do what a moderator may.
    pub async fn create(&self, invite: &[&str], direct: bool, encrypted: bool) -> anyhow::Result<String> {
        let command = json!({"do": "create", "invite": invite, "direct": direct, "encrypted": encrypted});
        let answer = self.call(command).await?;
        answer["room"].as_str().map(str::to_owned).context("no room")
    }

    /// Waits until somebody is in a room, as this client sees it.
    pub async fn wait_member(&self, room: &str, user: &str, limit: Duration) -> anyhow::Result<()> {
        let inside = async || {
            let members = self.call(json!({"do": "members", "room": room})).await.ok()?;
            members["members"].as_array()?.iter().any(|member| member == user).then_some(())
        };
        wait_until(limit, "somebody to be in the room", inside).await
    }

    /// Has it write something; the event's id.
    pub async fn write(&self, command: Value) -> anyhow::Result<String> {
        let answer = self.call(command).await?;
        answer["event"].as_str().map(str::to_owned).context("no event")
    }

    /// Says a text; the event's id.
    pub async fn say(&self, room: &str, text: &str) -> anyhow::Result<String> {
        let content = json!({"msgtype": "m.text", "body": text});
        self.write(json!({"do": "say", "room": room, "content": content})).await
    }

    /// Sends a message; sent again under the same transaction id it is one event, whose id is answered.
    pub async fn send(&self, room: &str, content: &Value, txn: &str) -> anyhow::Result<String> {
        self.write(json!({"do": "say", "room": room, "content": content, "txn": txn})).await
    }

    /// Waits until it knows that a room is encrypted.
    pub async fn wait_encrypted(&self, room: &str, limit: Duration) -> anyhow::Result<()> {
        let encrypted = async || {
            let answer = self.call(json!({"do": "encrypted", "room": room})).await.ok()?;
            (answer["encrypted"] == true).then_some(())
        };
        wait_until(limit, "the room to be known as encrypted", encrypted).await
    }

    /// The plaintext of an encrypted file, by the content of its message.
    pub async fn fetch(&self, content: &Value) -> anyhow::Result<Vec<u8>> {
        let answer = self.call(json!({"do": "fetch", "content": content})).await?;
        let digits = answer["hex"].as_str().context("no bytes")?;
        let pairs = digits.as_bytes().chunks(2).map(std::str::from_utf8);
        pairs.map(|pair| Ok(u8::from_str_radix(pair?, 16)?)).collect()
    }

    /// What it has seen in a room, the oldest first: `{type, event_id, sender, decrypted, unreadable, content}`.
    pub async fn events(&self, room: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self.call(json!({"do": "events", "room": room})).await?;
        Ok(answer["events"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until it sees a message.
    pub async fn wait_event(
        &self,
        room: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let found = async || self.events(room).await.ok()?.into_iter().find(|event| wanted(event));
        wait_until(limit, "a message in the encrypted room", found).await
    }
}
