//! Sending events, reading them and waiting for them.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use super::{AFTER_FAILURE, MatrixClient, text};

/// How long the homeserver holds a request that has no news.
const HOLD: Duration = Duration::from_secs(5);

/// How far back a waiting starts.
const REMEMBERED: usize = 100;

impl MatrixClient {
    /// Sends a text and returns the event's id.
    pub async fn send_text(&self, room: &str, body: &str) -> anyhow::Result<String> {
        self.send_content(room, "m.room.message", &json!({"msgtype": "m.text", "body": body})).await
    }

    /// Sends an event of any type and returns its id.
    pub async fn send_content(&self, room: &str, kind: &str, content: &Value) -> anyhow::Result<String> {
        self.put_event(&["v3", "rooms", room, "send", kind, &self.transaction()], content).await
    }

    /// Redacts an event and returns the redaction's id.
    pub async fn redact(&self, room: &str, event_id: &str) -> anyhow::Result<String> {
        self.put_event(&["v3", "rooms", room, "redact", event_id, &self.transaction()], &json!({})).await
    }

    async fn put_event(&self, path: &[&str], content: &Value) -> anyhow::Result<String> {
        text(&self.request(Method::PUT, path, &[], Some(content)).await?, "event_id")
    }

    /// One event.
    pub async fn event(&self, room: &str, event_id: &str) -> anyhow::Result<Value> {
        self.request(Method::GET, &["v3", "rooms", room, "event", event_id], &[], None).await
    }

    /// The last `limit` events of a room, state events too, the newest last.
    pub async fn messages(&self, room: &str, limit: usize) -> anyhow::Result<Vec<Value>> {
        // More than a homeserver gives at once is asked for in pages.
        const PAGE: usize = 500;
        let mut events = Vec::new();
        let mut from: Option<String> = None;
        while events.len() < limit {
            let count = (limit - events.len()).min(PAGE).to_string();
            let mut query = vec![("dir", "b"), ("limit", &count)];
            if let Some(from) = &from {
                query.push(("from", from));
            }
            let mut page =
                self.request(Method::GET, &["v3", "rooms", room, "messages"], &query, None).await?;
            let chunk = page["chunk"].as_array_mut().context("the homeserver's answer has no chunk")?;
            let last = chunk.is_empty();
            events.append(chunk);
            match text(&page, "end") {
                Ok(end) if !last => from = Some(end),
                _ => break,
            }
        }
        events.reverse();
        Ok(events)
    }

    /// Waits for an event that `matches`, among the last hundred and those to come.
    ///
    /// The room may be one that this person has not joined yet, and the homeserver may be away for a while.
    /// The error after `limit` tells what came instead.
    pub async fn wait_for_event(
        &self,
        room: &str,
        limit: Duration,
        matches: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let end = Instant::now() + limit;
        let mut since = None;
        let mut seen: Vec<String> = Vec::new();
        let mut failure = None;
        loop {
            let hold = if since.is_some() {
                HOLD.min(end.saturating_duration_since(Instant::now()))
            } else {
                Duration::ZERO
            };
            match timeout_at(end, self.news(room, since.as_deref(), hold)).await {
                Ok(Ok((events, next))) => {
                    for event in events {
                        if matches(&event) {
                            return Ok(event);
                        }
                        seen.push(summary(&event));
                    }
                    since = Some(next);
                    failure = None;
                }
                Ok(Err(error)) => {
                    // The homeserver may have lost what the mark stands for: look at the last events again.
                    since = None;
                    failure = Some(error);
                    sleep(AFTER_FAILURE).await;
                }
                Err(_) => {}
            }
            if Instant::now() >= end {
                let last = seen[seen.len().saturating_sub(10)..].join("\n  ");
                let problem = format!(
                    "{} waited {limit:?} in {room} in vain; the last events:\n  {last}",
                    self.user_id
                );
                return Err(failure
                    .map_or_else(|| anyhow::anyhow!("{problem}"), |error| error.context(problem.clone())));
            }
        }
    }

    /// The last events of a room, or those since a mark, and the next mark.
    async fn news(
        &self,
        room: &str,
        since: Option<&str>,
        hold: Duration,
    ) -> anyhow::Result<(Vec<Value>, String)> {
        let filter = json!({
            "presence": {"types": []},
            "account_data": {"types": []},
            "room": {
                "rooms": [room],
                "include_leave": true,
                "timeline": {"limit": REMEMBERED},
                "state": {"types": []},
                "ephemeral": {"types": []},
                "account_data": {"types": []},
            },
        });
        let (filter, hold) = (filter.to_string(), hold.as_millis().to_string());
        let mut query = vec![("filter", filter.as_str()), ("timeout", &hold)];
        if let Some(since) = since {
            query.push(("since", since));
        }
        let mut answer = self.request(Method::GET, &["v3", "sync"], &query, None).await?;
        let next = text(&answer, "next_batch")?;
        let mut events = Vec::new();
        for membership in ["join", "leave"] {
            let rooms = answer.get_mut("rooms").and_then(|rooms| rooms.get_mut(membership)?.get_mut(room));
            let Some(timeline) = rooms.and_then(|room| room.get_mut("timeline")) else { continue };
            if timeline["limited"] == true {
                // Some were left out, be it by a homeserver that has a limit of its own.
                return Ok((self.messages(room, REMEMBERED).await?, next));
            }
            if let Some(all) = timeline.get_mut("events").and_then(Value::as_array_mut) {
                events.append(all);
            }
        }
        Ok((events, next))
    }
}

/// One line about an event.
fn summary(event: &Value) -> String {
    let word = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    format!("{} from {}: {}", word("type"), word("sender"), event.get("content").unwrap_or(&Value::Null))
}
