//! A small Matrix client for a human: what a tenant's user or admin does in tests. No encryption.

use crate::http::http_client;
use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A path segment, percent-encoded.
pub fn encode(part: &str) -> String {
    utf8_percent_encode(part, PART).to_string()
}

/// An answer that is not 2xx; get it with `error.downcast_ref::<MatrixError>()`.
#[derive(Clone, Debug)]
pub struct MatrixError {
    /// HTTP status.
    pub status: u16,
    /// `errcode`, empty when the body has none.
    pub errcode: String,
    /// The whole body.
    pub body: String,
}

impl fmt::Display for MatrixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.body)
    }
}

impl std::error::Error for MatrixError {}

/// What a new room is to be.
#[derive(Clone, Debug, Default)]
pub struct RoomOptions {
    /// `m.room.name`
    pub name: Option<String>,
    /// Localpart of an alias.
    pub alias: Option<String>,
    /// User ids to invite.
    pub invite: Vec<String>,
    /// Turns encryption on (the state event only).
    pub encrypted: bool,
    /// A direct chat.
    pub direct: bool,
    /// Anybody may join.
    pub public: bool,
    /// Room version; the server's default when absent.
    pub version: Option<String>,
    /// `power_level_content_override`
    pub power_levels: Option<Value>,
}

/// A logged-in user.
#[derive(Debug)]
pub struct MatrixClient {
    /// `@name:server`
    pub user_id: String,
    /// For calls this client has no method for.
    pub access_token: String,
    base: String,
    http: reqwest::Client,
    next_txn: AtomicU64,
    txn_prefix: String,
}

impl MatrixClient {
    /// Logs in with a password.
    pub async fn login(base_url: &str, user: &str, password: &str) -> Result<Self> {
        let body = json!({
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user},
            "password": password,
        });
        let url = format!("{}/_matrix/client/v3/login", base_url.trim_end_matches('/'));
        let answer = send(http_client()?.post(url).json(&body)).await.context("login")?;
        Self::with_token(base_url, text(&answer, "user_id")?, text(&answer, "access_token")?)
    }

    /// Uses a token that exists.
    pub fn with_token(base_url: &str, user_id: &str, access_token: &str) -> Result<Self> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        Ok(Self {
            user_id: user_id.to_owned(),
            access_token: access_token.to_owned(),
            base: base_url.trim_end_matches('/').to_owned(),
            http: http_client()?,
            next_txn: AtomicU64::new(0),
            txn_prefix: format!("t{}", now.as_nanos()),
        })
    }

    /// Any call below `/_matrix/client/v3`.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}/_matrix/client/v3{path}", self.base);
        let mut request = self.http.request(method.clone(), url).bearer_auth(&self.access_token);
        if let Some(body) = body {
            request = request.json(body);
        }
        send(request).await.with_context(|| format!("{method} {path} as {}", self.user_id))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::PUT, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await
    }

    fn txn(&self) -> String {
        format!("{}.{}", self.txn_prefix, self.next_txn.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a room and returns its id.
    pub async fn create_room(&self, options: &RoomOptions) -> Result<String> {
        let mut body = json!({
            "preset": match (options.direct, options.public) {
                (true, _) => "trusted_private_chat",
                (_, true) => "public_chat",
                _ => "private_chat",
            },
            "invite": options.invite,
            "is_direct": options.direct,
        });
        if options.encrypted {
            let content = json!({"algorithm": "m.megolm.v1.aes-sha2"});
            body["initial_state"] = json!([{"type": "m.room.encryption", "state_key": "", "content": content}]);
        }
        let optional = [("name", &options.name), ("room_alias_name", &options.alias), ("room_version", &options.version)];
        for (key, value) in optional {
            if let Some(value) = value {
                body[key] = value.as_str().into();
            }
        }
        if let Some(levels) = &options.power_levels {
            body["power_level_content_override"] = levels.clone();
        }
        Ok(text(&self.post("/createRoom", &body).await?, "room_id")?.to_owned())
    }

    /// A direct chat with one other user.
    pub async fn create_dm(&self, other: &str) -> Result<String> {
        let invite = vec![other.to_owned()];
        self.create_room(&RoomOptions { invite, direct: true, ..RoomOptions::default() }).await
    }

    /// Joins a room by id or alias and returns its id.
    pub async fn join(&self, room: &str) -> Result<String> {
        let answer = self.post(&format!("/join/{}", encode(room)), &json!({})).await?;
        Ok(text(&answer, "room_id")?.to_owned())
    }

    /// Leaves a room or refuses an invitation.
    pub async fn leave(&self, room: &str) -> Result<()> {
        self.post(&format!("/rooms/{}/leave", encode(room)), &json!({})).await.map(drop)
    }

    /// Invites somebody.
    pub async fn invite(&self, room: &str, user: &str) -> Result<()> {
        self.post(&format!("/rooms/{}/invite", encode(room)), &json!({"user_id": user})).await.map(drop)
    }

    /// Puts somebody out.
    pub async fn kick(&self, room: &str, user: &str) -> Result<()> {
        self.post(&format!("/rooms/{}/kick", encode(room)), &json!({"user_id": user})).await.map(drop)
    }

    /// Sends a text and returns the event id.
    pub async fn send_text(&self, room: &str, body: &str) -> Result<String> {
        self.send_content(room, "m.room.message", &json!({"msgtype": "m.text", "body": body})).await
    }

    /// Sends any event and returns its id.
    pub async fn send_content(&self, room: &str, kind: &str, content: &Value) -> Result<String> {
        let path = format!("/rooms/{}/send/{}/{}", encode(room), encode(kind), self.txn());
        Ok(text(&self.put(&path, content).await?, "event_id")?.to_owned())
    }

    /// Answers an event.
    pub async fn reply(&self, room: &str, to: &str, body: &str) -> Result<String> {
        let relation = json!({"m.in_reply_to": {"event_id": to}});
        let content = json!({"msgtype": "m.text", "body": body, "m.relates_to": relation});
        self.send_content(room, "m.room.message", &content).await
    }

    /// Replaces the text of an event of one's own.
    pub async fn edit(&self, room: &str, event: &str, body: &str) -> Result<String> {
        let content = json!({
            "msgtype": "m.text",
            "body": format!("* {body}"),
            "m.new_content": {"msgtype": "m.text", "body": body},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event},
        });
        self.send_content(room, "m.room.message", &content).await
    }

    /// Puts a reaction on an event.
    pub async fn react(&self, room: &str, event: &str, key: &str) -> Result<String> {
        let relation = json!({"rel_type": "m.annotation", "event_id": event, "key": key});
        self.send_content(room, "m.reaction", &json!({"m.relates_to": relation})).await
    }

    /// Redacts an event and returns the id of the redaction.
    pub async fn redact(&self, room: &str, event: &str, reason: &str) -> Result<String> {
        let path = format!("/rooms/{}/redact/{}/{}", encode(room), encode(event), self.txn());
        Ok(text(&self.put(&path, &json!({"reason": reason})).await?, "event_id")?.to_owned())
    }

    /// The newest events of a room, newest first.
    pub async fn messages(&self, room: &str, limit: usize) -> Result<Vec<Value>> {
        let (mut events, mut from) = (Vec::new(), String::new());
        while events.len() < limit {
            let path = format!("/rooms/{}/messages?dir=b&limit={}{from}", encode(room), limit - events.len());
            let mut answer = self.get(&path).await?;
            let Some(Value::Array(chunk)) = answer.get_mut("chunk").map(Value::take) else {
                bail!("no chunk in {answer}");
            };
            let empty = chunk.is_empty();
            events.extend(chunk);
            match answer.get("end").and_then(Value::as_str) {
                Some(end) if !empty => from = format!("&from={}", encode(end)),
                _ => break,
            }
        }
        Ok(events)
    }

    /// One event.
    pub async fn event(&self, room: &str, event: &str) -> Result<Value> {
        self.get(&format!("/rooms/{}/event/{}", encode(room), encode(event))).await
    }

    /// Content of a state event.
    pub async fn state(&self, room: &str, kind: &str, key: &str) -> Result<Value> {
        self.get(&format!("/rooms/{}/state/{}/{}", encode(room), encode(kind), encode(key))).await
    }

    /// Writes a state event and returns its id.
    pub async fn set_state(&self, room: &str, kind: &str, key: &str, content: &Value) -> Result<String> {
        let path = format!("/rooms/{}/state/{}/{}", encode(room), encode(kind), encode(key));
        Ok(text(&self.put(&path, content).await?, "event_id")?.to_owned())
    }

    /// Sets the power level of one user and keeps all others.
    pub async fn set_power_level(&self, room: &str, user: &str, level: i64) -> Result<()> {
        let mut levels = self.state(room, "m.room.power_levels", "").await?;
        levels["users"][user] = level.into();
        self.set_state(room, "m.room.power_levels", "", &levels).await.map(drop)
    }

    /// User ids and display names of who is in a room.
    pub async fn joined_members(&self, room: &str) -> Result<Vec<(String, Option<String>)>> {
        let answer = self.get(&format!("/rooms/{}/joined_members", encode(room))).await?;
        let joined = answer.get("joined").and_then(Value::as_object).context("no 'joined'")?;
        let name = |entry: &Value| entry.get("display_name").and_then(Value::as_str).map(str::to_owned);
        Ok(joined.iter().map(|(user, entry)| (user.clone(), name(entry))).collect())
    }

    /// The room an alias points to.
    pub async fn resolve_alias(&self, alias: &str) -> Result<String> {
        let answer = self.get(&format!("/directory/room/{}", encode(alias))).await?;
        Ok(text(&answer, "room_id")?.to_owned())
    }

    /// Uploads a file and returns its `mxc://` address.
    pub async fn upload(&self, bytes: impl Into<Bytes>, content_type: &str, name: &str) -> Result<String> {
        let url = format!("{}/_matrix/media/v3/upload?filename={}", self.base, encode(name));
        let request = self.http.post(url).bearer_auth(&self.access_token).header("content-type", content_type);
        let answer = send(request.body(bytes.into())).await.context("upload")?;
        Ok(text(&answer, "content_uri")?.to_owned())
    }

    /// Downloads a file.
    pub async fn download(&self, mxc: &str) -> Result<Bytes> {
        let path = mxc.strip_prefix("mxc://").with_context(|| format!("not an mxc address: {mxc}"))?;
        let url = format!("{}/_matrix/client/v1/media/download/{path}", self.base);
        let answer = self.http.get(url).bearer_auth(&self.access_token).send().await?;
        Ok(answer.error_for_status()?.bytes().await?)
    }

    /// Begins to watch all rooms from now on.
    pub async fn watch(&self) -> Result<Watch<'_>> {
        self.watch_with(0).await
    }

    async fn watch_with(&self, history: usize) -> Result<Watch<'_>> {
        let filter = |limit: usize| {
            let room = json!({"timeline": {"limit": limit}, "state": {"lazy_load_members": true}});
            encode(&json!({"room": room, "presence": {"types": []}}).to_string())
        };
        let first = self.get(&format!("/sync?timeout=0&filter={}", filter(history.max(1)))).await?;
        let mut watch = Watch { client: self, since: String::new(), filter: filter(1000), seen: VecDeque::new() };
        watch.take(&first)?;
        if history == 0 {
            watch.seen.clear();
        }
        Ok(watch)
    }

    /// Waits for an event of a room; one of the last 50 counts as well.
    pub async fn wait_for_event(
        &self,
        room: &str,
        what: &str,
        deadline: Duration,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        let mut watch = self.watch_with(50).await?;
        watch.wait_for(what, deadline, |event| event["room_id"] == room && wanted(event)).await
    }

    /// Waits for an invitation (also one that is there already) and returns the room's id.
    pub async fn wait_for_invite(
        &self,
        what: &str,
        deadline: Duration,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Result<String> {
        let mut watch = self.watch_with(1).await?;
        let own = |event: &Value| {
            event["invited"] == true && event["type"] == "m.room.member" && event["state_key"] == self.user_id.as_str()
        };
        let event = watch.wait_for(what, deadline, |event| own(event) && wanted(event)).await?;
        Ok(text(&event, "room_id")?.to_owned())
    }
}

/// Events from one moment on. What one wait passes over stays there for the next.
#[derive(Debug)]
pub struct Watch<'a> {
    client: &'a MatrixClient,
    since: String,
    filter: String,
    seen: VecDeque<Value>,
}

impl Watch<'_> {
    /// Waits for an event; each has its `room_id`, and those of rooms one is only invited to have `invited: true`.
    pub async fn wait_for(
        &mut self,
        what: &str,
        deadline: Duration,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        let until = Instant::now() + deadline;
        let mut checked = 0;
        loop {
            if let Some(at) = self.seen.iter().skip(checked).position(&mut wanted) {
                return self.seen.remove(checked + at).context("event gone");
            }
            checked = self.seen.len();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let last: Vec<_> = self.seen.iter().rev().take(5).map(brief).collect();
                let (user, secs, count) = (&self.client.user_id, deadline.as_secs_f64(), self.seen.len());
                bail!("{user} waited {secs:.1} s for: {what}; {count} other events, newest first: {last:?}");
            }
            let timeout = left.as_millis().min(5_000);
            let path = format!("/sync?timeout={timeout}&since={}&filter={}", encode(&self.since), self.filter);
            // The homeserver may be restarting: that is part of some tests.
            match self.client.get(&path).await {
                Ok(answer) => self.take(&answer)?,
                Err(error) if error.downcast_ref::<MatrixError>().is_some_and(|e| e.status < 500) => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(100).min(left)).await,
            }
        }
    }

    fn take(&mut self, answer: &Value) -> Result<()> {
        text(answer, "next_batch")?.clone_into(&mut self.since);
        let sections = [("join", "timeline"), ("leave", "timeline"), ("invite", "invite_state")];
        for (section, list) in sections {
            let rooms = answer.get("rooms").and_then(|rooms| rooms.get(section)).and_then(Value::as_object);
            for (room, content) in rooms.into_iter().flatten() {
                let events = content.get(list).and_then(|list| list.get("events")).and_then(Value::as_array);
                for event in events.into_iter().flatten() {
                    let mut event = event.clone();
                    event["room_id"] = room.as_str().into();
                    if section == "invite" {
                        event["invited"] = true.into();
                    }
                    self.seen.push_back(event);
                }
            }
        }
        Ok(())
    }
}

fn brief(event: &Value) -> String {
    let body = event["content"]["body"].as_str().unwrap_or_default();
    let body: String = body.chars().take(60).collect();
    format!("{} from {}: {body}", event["type"].as_str().unwrap_or("?"), event["sender"].as_str().unwrap_or("?"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value.get(key).and_then(Value::as_str).ok_or_else(|| anyhow!("no \"{key}\" in {value}"))
}

pub(crate) async fn send(request: RequestBuilder) -> Result<Value> {
    let answer = request.send().await?;
    let status = answer.status();
    let body = answer.text().await?;
    if !status.is_success() {
        let parsed: Value = serde_json::from_str(&body).unwrap_or_default();
        let errcode = parsed.get("errcode").and_then(Value::as_str).unwrap_or_default().to_owned();
        return Err(MatrixError { status: status.as_u16(), errcode, body }.into());
    }
    serde_json::from_str(&body).with_context(|| format!("answer is not JSON: {body}"))
}
