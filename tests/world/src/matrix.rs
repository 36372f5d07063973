//! A person on the Matrix side: a user with a token, and the calls that people's clients make.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::wait;

/// A logged-in user.
#[derive(Debug)]
pub struct MatrixUser {
    homeserver_url: String,
    client: reqwest::Client,
    user_id: String,
    password: String,
    access_token: String,
    /// Transactions of this process so far; their ids hold the token's user and this number.
    sent: AtomicU64,
}

impl MatrixUser {
    /// Makes an account and logs in.
    pub(crate) async fn register(homeserver_url: &str, name: &str, password: &str) -> anyhow::Result<Self> {
        let mut user = Self {
            homeserver_url: homeserver_url.trim_end_matches('/').to_owned(),
            client: crate::http_client()?,
            user_id: String::new(),
            password: password.to_owned(),
            access_token: String::new(),
            sent: AtomicU64::new(0),
        };
        let account = json!({"username": name, "password": password, "auth": {"type": "m.login.dummy"}});
        let answer = user.call(Method::POST, "/register", Some(&account)).await;
        let answer = answer.with_context(|| format!("registering {name} at the homeserver"))?;
        let text = |key: &str| answer[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
        user.user_id = text("user_id")?;
        user.access_token = text("access_token")?;
        user.set_display_name(&capitalised(name)).await?;
        Ok(user)
    }

    /// Full user id.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Password for any client.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Token of this login.
    pub fn access_token(&self) -> &str {
        &self.access_token
    }

    /// Asks the client-server API; `path` is what follows `/_matrix/client/v3`.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        loop {
            let url = format!("{}/_matrix/client/v3{path}", self.homeserver_url);
            let mut request = self.client.request(method.clone(), url);
            if !self.access_token.is_empty() {
                request = request.bearer_auth(&self.access_token);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.with_context(|| format!("calling {path}"))?;
            let status = answer.status();
            let text = answer.text().await.with_context(|| format!("the answer to {path}"))?;
            let json = serde_json::from_str::<Value>(&text);
            let json = json.with_context(|| format!("the answer to {path} is no JSON ({status}): {text}"))?;
            if let (StatusCode::TOO_MANY_REQUESTS, Some(pause)) = (status, json["retry_after_ms"].as_u64()) {
                // People's clients wait as they are told.
                tokio::time::sleep(Duration::from_millis(pause)).await;
                continue;
            }
            anyhow::ensure!(status.is_success(), "the homeserver answers {path} with {status}: {text}");
            return Ok(json);
        }
    }

    async fn set_display_name(&self, name: &str) -> anyhow::Result<()> {
        let path = format!("/profile/{}/displayname", encode(&self.user_id));
        self.call(Method::PUT, &path, Some(&json!({"displayname": name}))).await?;
        Ok(())
    }

    /// Makes an unencrypted room.
    pub async fn create_room(&self, settings: &Value) -> anyhow::Result<String> {
        let answer = self.call(Method::POST, "/createRoom", Some(settings)).await?;
        answer["room_id"].as_str().map(str::to_owned).context("the new room has no id")
    }

    /// Joins a room.
    pub async fn join(&self, room_id: &str) -> anyhow::Result<()> {
        self.call(Method::POST, &format!("/rooms/{}/join", encode(room_id)), Some(&json!({}))).await?;
        Ok(())
    }

    /// Writes into a room; answers with the event's id.
    pub async fn send_text(&self, room_id: &str, text: &str) -> anyhow::Result<String> {
        self.send(room_id, &json!({"msgtype": "m.text", "body": text})).await
    }

    /// Sends the content of a message; answers with the event's id.
    pub async fn send(&self, room_id: &str, content: &Value) -> anyhow::Result<String> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let transaction = format!("world-{}-{number}", std::process::id());
        let path = format!("/rooms/{}/send/m.room.message/{transaction}", encode(room_id));
        let answer = self.call(Method::PUT, &path, Some(content)).await?;
        answer["event_id"].as_str().map(str::to_owned).context("the sent event has no id")
    }

    /// Gives a user a power level.
    pub async fn set_power(&self, room_id: &str, user_id: &str, power: i64) -> anyhow::Result<()> {
        let path = format!("/rooms/{}/state/m.room.power_levels/", encode(room_id));
        let mut levels = self.call(Method::GET, &path, None).await?;
        levels["users"][user_id] = power.into();
        self.call(Method::PUT, &path, Some(&levels)).await?;
        Ok(())
    }

    /// Waits until a user is in a room.
    pub async fn wait_joined(&self, room_id: &str, user_id: &str, limit: Duration) -> anyhow::Result<()> {
        let path = format!("/rooms/{}/joined_members", encode(room_id));
        let joined = wait::until(limit, || async {
            let members = self.call(Method::GET, &path, None).await.ok()?;
            members["joined"].get(user_id).map(|_| ())
        });
        joined.await.with_context(|| format!("{user_id} did not join {room_id} within {} s", limit.as_secs()))
    }

    /// The newest messages of a room, newest first.
    pub async fn newest(&self, room_id: &str, most: u32) -> anyhow::Result<Vec<Value>> {
        let path = format!("/rooms/{}/messages?dir=b&limit={most}", encode(room_id));
        let mut page = self.call(Method::GET, &path, None).await?;
        match page["chunk"].take() {
            Value::Array(events) => Ok(events),
            _ => anyhow::bail!("the page of messages has no chunk"),
        }
    }

    /// Waits for a message among the newest of a room; `fits` gets sender and body.
    pub async fn wait_message(
        &self,
        what: &str,
        room_id: &str,
        limit: Duration,
        fits: impl Fn(&str, &str) -> bool,
    ) -> anyhow::Result<Value> {
        let found = wait::until(limit, || async {
            let events = self.newest(room_id, 50).await.ok()?;
            events.into_iter().find(|event| {
                let sender = event["sender"].as_str().unwrap_or_default();
                event["content"]["body"].as_str().is_some_and(|body| fits(sender, body))
            })
        });
        found.await.with_context(|| format!("{what} did not come to Matrix within {} s", limit.as_secs()))
    }

    /// What a user is called in a room.
    pub async fn name_of(&self, room_id: &str, user_id: &str) -> Option<String> {
        let path = format!("/rooms/{}/state/m.room.member/{}", encode(room_id), encode(user_id));
        let member = self.call(Method::GET, &path, None).await.ok()?;
        member["displayname"].as_str().map(str::to_owned)
    }
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// An id as a part of a path.
pub(crate) fn encode(id: &str) -> String {
    let mut encoded = String::with_capacity(id.len() + 8);
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_encoded_for_paths() {
        assert_eq!(encode("!a/b:demo.localhost"), "%21a%2Fb%3Ademo.localhost");
        assert_eq!(capitalised("alice"), "Alice");
    }
}
