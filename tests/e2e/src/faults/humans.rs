//! The people on the Matrix side: with plain clients, or with clients that encrypt.

use std::{collections::HashMap, path::PathBuf};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{EncryptingClient, Package, Software};
use world::{User, World};

use super::PATIENCE;

/// A picture that somebody sends.
pub(crate) struct Picture {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// What is said of it.
    pub(crate) caption: String,
}

/// How people read and write. Whatever is written twice under the same name is one event: the homeserver recognises it.
pub(crate) enum Humans {
    /// As it is.
    Plain,
    /// With a client for each of the world's users; every room is encrypted.
    Encrypting {
        /// In the order of the world's users.
        clients: Vec<EncryptingClient>,
        /// For the pictures that they send.
        folder: PathBuf,
    },
}

impl Humans {
    /// Everybody gets a client that encrypts, and all bridged rooms become encrypted.
    pub(crate) async fn encrypt(world: &World) -> anyhow::Result<Self> {
        let nio = world::install_python(Package::NIO, &|_| {}).await?;
        let (nio, url) = (Software::Nio(&nio), world.homeserver().url());
        let start = |user: &User| {
            let (id, password) = (user.user_id().to_owned(), user.password().to_owned());
            let folder = world.dir().join("clients").join(id.trim_start_matches('@').replace(':', "-"));
            async move { EncryptingClient::start(nio, &folder, url, &id, &password).await }
        };
        let clients = try_join_all(world.users().iter().map(start)).await?;
        let algorithm = json!({"algorithm": "m.megolm.v1.aes-sha2"});
        for chat in world.chats() {
            world.admin().put_state(&chat.room_id, "m.room.encryption", "", &algorithm).await?;
            for client in &clients {
                client.wait_encrypted(&chat.room_id, PATIENCE).await?;
            }
        }
        let folder = world.dir().join("pictures");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self::Encrypting { clients, folder })
    }

    /// Sends a message; the event's id.
    pub(crate) async fn say(
        &self,
        world: &World,
        writer: usize,
        room: &str,
        name: &str,
        content: &Value,
    ) -> anyhow::Result<String> {
        if let Self::Encrypting { clients, .. } = self {
            return clients[writer].send(room, content, name).await;
        }
        let path = ["v3", "rooms", room, "send", "m.room.message", name];
        let answer = world.users()[writer].request(Method::PUT, &path, &[], Some(content)).await?;
        Ok(answer["event_id"].as_str().unwrap_or_default().to_owned())
    }

    /// Sends a picture; the event's id.
    pub(crate) async fn show(
        &self,
        world: &World,
        writer: usize,
        room: &str,
        name: &str,
        picture: Picture,
    ) -> anyhow::Result<String> {
        let Picture { bytes, caption } = picture;
        let Self::Encrypting { clients, folder } = self else {
            let uri = world.users()[writer].upload("image/png", "a.png", bytes).await?;
            let content = json!({"msgtype": "m.image", "body": caption, "filename": "a.png", "url": uri});
            return self.say(world, writer, room, name, &content).await;
        };
        let path = folder.join(name);
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        let command = json!({"do": "send_file", "room": room, "path": path, "name": "a.png", "caption": caption,
            "mime": "image/png", "kind": "m.image", "txn": name});
        clients[writer].write(command).await
    }

    /// What somebody reads in a room, the oldest first.
    pub(crate) async fn read(&self, world: &World, room: &str) -> anyhow::Result<Vec<Value>> {
        match self {
            Self::Plain => world.admin().messages(room, 100_000).await,
            Self::Encrypting { clients, .. } => clients[0].events(room).await,
        }
    }

    /// The bytes of a picture that somebody sees.
    pub(crate) async fn look_at(&self, world: &World, content: &Value) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Plain => world.admin().download(content["url"].as_str().unwrap_or_default()).await,
            Self::Encrypting { clients, .. } => clients[0].fetch(content).await,
        }
    }

    /// What is wrong with how the bridge's messages of a room are encrypted: one that is not, or a step of a key that was
    /// used for two of them.
    pub(crate) async fn misused(
        &self,
        world: &World,
        room: &str,
        people: &[&str],
    ) -> anyhow::Result<Vec<String>> {
        if matches!(self, Self::Plain) {
            return Ok(Vec::new());
        }
        let events = world.admin().messages(room, 100_000).await?;
        let on = events.iter().position(|event| event["type"] == "m.room.encryption");
        let since = on.context("the room is not encrypted")?;
        Ok(misused(&events[since..], people))
    }
}

/// The same of some events.
fn misused(events: &[Value], people: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut used: HashMap<(&str, u64), &str> = HashMap::new();
    for event in events {
        let text = |name: &str| event["content"][name].as_str().unwrap_or_default();
        let id = event["event_id"].as_str().unwrap_or_default();
        match event["type"].as_str() {
            Some("m.room.message") => wrong.push(format!("{id} is not encrypted")),
            Some("m.room.encrypted") if !people.iter().any(|user| event["sender"] == *user) => {
                // What was taken back has no content any more.
                if text("ciphertext").is_empty() {
                    continue;
                }
                let session = text("session_id");
                match step(text("ciphertext")) {
                    None => wrong.push(format!("{id} has no step of a key")),
                    Some(step) => {
                        if let Some(other) = used.insert((session, step), id) {
                            wrong.push(format!("{id} uses step {step} of {session}, as {other} does"));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    wrong
}

/// Which step of its key a Megolm message uses: version 3, then field 1 as a number in groups of 7 bits.
fn step(ciphertext: &str) -> Option<u64> {
    let bytes = STANDARD_NO_PAD.decode(ciphertext).ok()?;
    let number = bytes.strip_prefix(&[3, 8])?;
    let mut step = 0;
    for (place, byte) in number.iter().take(9).enumerate() {
        step |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(step);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, session: &str, step: &[u8]) -> Value {
        let ciphertext = STANDARD_NO_PAD.encode([&[3, 8], step, &[0x12, 1, 0]].concat());
        json!({"type": "m.room.encrypted", "sender": "@dingtalk_a:x", "event_id": id,
            "content": {"session_id": session, "ciphertext": ciphertext}})
    }

    #[test]
    fn a_step_that_is_used_twice_and_a_message_in_the_clear_are_found() {
        let fine = [event("$1", "a", &[0]), event("$2", "a", &[0x80, 1]), event("$3", "b", &[0])];
        assert!(misused(&fine, &[]).is_empty());
        let mut events = fine.to_vec();
        events.push(event("$4", "a", &[0x80, 1]));
        events.push(json!({"type": "m.room.message", "event_id": "$5"}));
        assert_eq!(misused(&events, &[]), ["$4 uses step 128 of a, as $2 does", "$5 is not encrypted"]);
        assert_eq!(misused(&events, &["@dingtalk_a:x"]), ["$5 is not encrypted"]);
        assert_eq!(step("AwgA"), Some(0));
        assert_eq!(step("no"), None);
    }
}
