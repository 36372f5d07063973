//! A small DingTalk: it answers what the bridge asks as DingTalk does, and remembers when each message came.
//!
//! The sandbox would be quick enough (70,000 sends a second, 14 µs each, where this takes 5 to 10), but it tells times
//! in milliseconds only and keeps 1.3 KiB of every message. What this one leaves of the machine makes the bare
//! forwarder quicker, so the ratio to it is the harder one.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    announce,
    app::{AGENT_ID, APP_KEY, APP_SECRET, TOKEN},
    marks::{Arrival, Mark},
    numbers::now_us,
    wire::{Message, Wire},
};

#[derive(Default)]
struct Sink {
    arrivals: Mutex<Vec<Arrival>>,
    /// Messages without a mark: what the bridge itself says.
    others: AtomicU64,
    sent: AtomicU64,
    throttle: Mutex<Throttle>,
}

/// How many messages are taken in a minute, when that is limited.
#[derive(Default)]
struct Throttle {
    per_minute: Option<usize>,
    taken: VecDeque<Instant>,
    refused: u64,
}

impl Throttle {
    fn allows(&mut self, now: Instant) -> bool {
        let Some(most) = self.per_minute else { return true };
        while self.taken.front().is_some_and(|taken| now - *taken >= Duration::from_mins(1)) {
            self.taken.pop_front();
        }
        let allowed = self.taken.len() < most;
        if allowed {
            self.taken.push_back(now);
        } else {
            self.refused += 1;
        }
        allowed
    }
}

/// Serves until it is killed.
pub(crate) async fn run() -> anyhow::Result<bool> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(&json!({"url": format!("http://{}", listener.local_addr()?)}))?;
    let sink = Arc::new(Sink::default());
    loop {
        let (stream, _) = listener.accept().await?;
        let sink = Arc::clone(&sink);
        tokio::spawn(async move {
            // A connection that breaks is the caller's business.
            let Ok(mut wire) = Wire::new(stream) else { return };
            while let Ok(Some(request)) = wire.next().await {
                if wire.write(&sink.answer(&request)).await.is_err() {
                    return;
                }
            }
        });
    }
}

impl Sink {
    fn answer(&self, request: &Message) -> Vec<u8> {
        match request.target() {
            ("POST", "/v1.0/robot/groupMessages/send") => self.take(request),
            ("POST", "/v1.0/oauth2/accessToken") => {
                let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap_or_default();
                if body["appKey"] == APP_KEY && body["appSecret"] == APP_SECRET {
                    http(200, &json!({"accessToken": TOKEN, "expireIn": 7200}).to_string())
                } else {
                    refuse(400, "invalidClientIdOrSecret")
                }
            }
            ("GET", "/v1.0/contact/organizations/authInfos") => {
                http(200, r#"{"orgName":"Bench","authLevel":0}"#)
            }
            ("GET", "/v1.0/microApp/allInnerApps") => {
                let app = json!({"agentId": AGENT_ID, "robotInfo": {"robotCode": APP_KEY}});
                http(200, &json!({"appList": [app]}).to_string())
            }
            ("GET", "/counts") => {
                let marked = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).len();
                http(
                    200,
                    &json!({"marked": marked, "others": self.others.load(Ordering::Relaxed)}).to_string(),
                )
            }
            ("POST", "/take") => {
                let taken =
                    std::mem::take(&mut *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner));
                http(200, &serde_json::to_string(&taken).unwrap_or_default())
            }
            ("POST", "/throttle") => {
                let wish: serde_json::Value = serde_json::from_slice(request.body()).unwrap_or_default();
                let per_minute = wish["per_minute"].as_u64().and_then(|most| usize::try_from(most).ok());
                let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
                let before =
                    std::mem::replace(&mut *throttle, Throttle { per_minute, ..Throttle::default() });
                http(200, &json!({"refused": before.refused}).to_string())
            }
            _ => refuse(404, "resource.not.found"),
        }
    }

    fn take(&self, request: &Message) -> Vec<u8> {
        if !request.head().contains(TOKEN) {
            return refuse(400, "InvalidAuthentication");
        }
        if !self.throttle.lock().unwrap_or_else(PoisonError::into_inner).allows(Instant::now()) {
            return refuse(403, "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi");
        }
        let at = now_us();
        match Mark::find(request.body()) {
            Some(mark) => {
                self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(Arrival { mark, at });
            }
            None => {
                self.others.fetch_add(1, Ordering::Relaxed);
            }
        }
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        http(200, &format!(r#"{{"processQueryKey":"bench{number:016}="}}"#))
    }
}

fn refuse(status: u16, code: &str) -> Vec<u8> {
    http(status, &json!({"requestid": "00000000", "code": code, "message": code}).to_string())
}

fn http(status: u16, body: &str) -> Vec<u8> {
    let reason = if status == 200 { "OK" } else { "Refused" };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json;charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_taken_in_a_minute() {
        let now = Instant::now();
        let mut throttle = Throttle { per_minute: Some(2), ..Throttle::default() };
        let at = [0, 1, 2, 60, 61].map(|seconds| throttle.allows(now + Duration::from_secs(seconds)));
        assert_eq!((at, throttle.refused), ([true, true, false, true, true], 1));
        assert!(Throttle::default().allows(now));
    }
}
