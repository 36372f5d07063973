//! What `/sync` says of devices: messages to the client's own, whose others changed, and how many keys are left.

use super::timeline;
use crate::auth::Requester;
use crate::error::{ApiError, ApiResult};
use crate::server::Server;
use crate::sync::lock;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// How far a client has read.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Events of rooms.
    pub(crate) log: u64,
    /// Messages to its device.
    pub(crate) messages: u64,
    /// Changes of devices.
    pub(crate) changes: u64,
}

impl Place {
    /// Everything is read.
    pub(crate) fn now(server: &Server) -> Self {
        let log = lock(&server.log).len() as u64;
        let (messages, changes) = lock(&server.devices).ends();
        Self { log, messages, changes }
    }

    /// Of a token of `/sync` or of a room's timeline, which knows no more than its place in the timeline.
    pub(crate) fn parse(text: &str) -> ApiResult<Self> {
        let log = timeline::parse_token(text)?;
        let mut rest = text.split('_').skip(1).map(|part| {
            let wrong = |_| ApiError::invalid_param(format!("Invalid stream token '{text}'"));
            part.parse().map_err(wrong)
        });
        let mut next = || rest.next().transpose().map(Option::unwrap_or_default);
        Ok(Self { log, messages: next()?, changes: next()? })
    }

    pub(crate) fn token(self) -> String {
        let Self { log, messages, changes } = self;
        format!("{}_{messages}_{changes}", timeline::token(log))
    }
}

/// The client has what came before this place.
pub(crate) fn acknowledge(server: &Server, requester: &Requester, place: Place) {
    if let Some(device) = &requester.device {
        lock(&server.devices).acknowledge(requester.id(), device, place.messages);
    }
}

/// What an answer has of devices since a place, and the place after it. `met` are people whose devices are new to the client.
pub(crate) fn news(
    server: &Server,
    requester: &Requester,
    since: Place,
    met: BTreeSet<String>,
) -> (Place, Map<String, Value>) {
    let mut next = since;
    let mut body = Map::new();
    let user = requester.id();
    let others = {
        let devices = lock(&server.devices);
        if let Some(device) = &requester.device {
            let (messages, place) = devices.inbox(user, device, since.messages);
            next.messages = place;
            if !messages.is_empty() {
                let messages: Vec<_> = messages.iter().map(|message| json!(**message)).collect();
                body.insert("to_device".to_owned(), json!({"events": messages}));
            }
            let mut counts = devices.counts(user, device);
            counts.entry("signed_curve25519").or_insert_with(|| 0.into());
            body.insert("device_one_time_keys_count".to_owned(), counts.into());
            let unused = devices.unused_fallbacks(user, device);
            body.insert("device_unused_fallback_key_types".to_owned(), json!(unused));
        }
        let (changes, place) = devices.changes_since(since.changes);
        next.changes = place;
        changes.iter().cloned().collect::<BTreeSet<_>>()
    };
    let joined = lock(&requester.user.inner).joined.clone();
    let meets = |other: &String| {
        other == user
            || server.user(other).is_some_and(|other| !lock(&other.inner).joined.is_disjoint(&joined))
    };
    let mut changed: BTreeSet<String> = others.into_iter().filter(meets).collect();
    changed.extend(met);
    if !changed.is_empty() {
        body.insert("device_lists".to_owned(), json!({"changed": changed, "left": []}));
    }
    (next, body)
}

/// Whether a client that waits is to be answered for it.
pub(crate) fn is_worth_an_answer(body: &Map<String, Value>) -> bool {
    body.contains_key("to_device") || body.contains_key("device_lists")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_both_kinds_are_read() {
        let place = Place { log: 7, messages: 3, changes: 9 };
        let read = Place::parse(&place.token()).unwrap();
        assert_eq!((read.log, read.messages, read.changes), (7, 3, 9));
        assert_eq!(timeline::parse_token(&place.token()).ok(), Some(7));
        let short = Place::parse("s5").unwrap();
        assert_eq!((short.log, short.messages, short.changes), (5, 0, 0));
        assert!(["5", "s5_x", "s_1"].iter().all(|text| Place::parse(text).is_err()));
    }
}
