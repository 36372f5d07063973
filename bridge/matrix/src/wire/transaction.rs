//! What the homeserver pushes (application service API, "Pushing events"): a list of events, each kept as the bytes
//! that came. Nothing in one event can refuse another: the homeserver would repeat, or lose, the whole list.

use std::borrow::Cow;

use bridge_core::clock::Timestamp;
use bridge_core::envelope::{Envelope, Lane, Source};
use ruma::{OwnedServerName, OwnedUserId};

use super::json::{list, members, text};

/// Largest event taken, in bytes: the specification's 65,536, and as much again for what homeservers add.
pub const MAX_EVENT_BYTES: usize = 128 * 1024;

/// Longest identifier taken, in bytes (Matrix specification, appendices, "Common Identifier Format").
pub const MAX_ID_BYTES: usize = 255;

/// The users of our registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnUsers {
    /// The visible bot.
    pub bot: OwnedUserId,
    /// The registration's technical account.
    pub sender: OwnedUserId,
    /// What the localpart of every ghost begins with.
    pub ghost_prefix: String,
    /// The homeserver's name.
    pub server: OwnedServerName,
}

impl OwnUsers {
    /// Whether this is a ghost's user id.
    pub fn is_ghost(&self, user: &str) -> bool {
        self.ghost_code(user).is_some()
    }

    /// The part of a ghost's localpart behind the prefix.
    pub fn ghost_code<'a>(&self, user: &'a str) -> Option<&'a str> {
        let (localpart, server) = user.strip_prefix('@')?.split_once(':')?;
        let code = localpart.strip_prefix(self.ghost_prefix.as_str())?;
        (server == self.server.as_str() && !code.is_empty()).then_some(code)
    }

    /// Whether this is the bot, a ghost or the technical account.
    pub fn contains(&self, user: &str) -> bool {
        self.bot == user || self.sender == user || self.is_ghost(user)
    }
}

/// What a transaction held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// One per event of a room, in the order they came.
    pub envelopes: Vec<Envelope>,
    /// How many events were our own, come back.
    pub echoes: usize,
    /// How many events have no usable id or room, or are too large to be kept.
    pub malformed: usize,
}

/// What one event is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sorted {
    /// To be kept and handled.
    Envelope(Envelope),
    /// Our own, come back.
    Echo,
    /// Without a usable id or room, or too large.
    Malformed,
}

/// Why a body is not a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// It is not a JSON object.
    #[error("the transaction is not a JSON object")]
    NotAnObject,
    /// Its `events` are there, but not a list.
    #[error("the transaction's events are not a list")]
    NotAList,
}

/// Takes a transaction apart. Ephemeral events, to-device messages and unknown keys are left out. Bytes that are not
/// UTF-8 become U+FFFD, so that they spoil the one event they are in.
pub fn envelopes(body: &[u8], own: &OwnUsers, now: Timestamp) -> Result<Transaction, TransactionError> {
    let body = String::from_utf8_lossy(body);
    let [events] = members(&body, ["events"]).map_err(|_| TransactionError::NotAnObject)?;
    let events = match events {
        None => Vec::new(),
        Some(raw) if raw.get() == "null" => Vec::new(),
        some => list(some).ok_or(TransactionError::NotAList)?,
    };
    let mut transaction = Transaction::default();
    for raw in events {
        match sort_text(raw.get(), own, now) {
            Sorted::Envelope(envelope) => transaction.envelopes.push(envelope),
            Sorted::Echo => transaction.echoes += 1,
            Sorted::Malformed => transaction.malformed += 1,
        }
    }
    Ok(transaction)
}

/// Sorts one event in client format, pushed or read from a timeline. Events of our own users are echoes, except those
/// that change the membership of the bot or of a ghost.
pub fn sort(raw: &[u8], own: &OwnUsers, now: Timestamp) -> Sorted {
    std::str::from_utf8(raw).map_or(Sorted::Malformed, |raw| sort_text(raw, own, now))
}

fn sort_text(raw: &str, own: &OwnUsers, now: Timestamp) -> Sorted {
    if raw.len() > MAX_EVENT_BYTES {
        return Sorted::Malformed;
    }
    let Ok([event_id, room_id, sender, kind, state_key]) =
        members(raw, ["event_id", "room_id", "sender", "type", "state_key"])
    else {
        return Sorted::Malformed;
    };
    let (Some(event_id), Some(room_id)) = (id(text(event_id), '$'), id(text(room_id), '!')) else {
        return Sorted::Malformed;
    };
    if text(sender).is_some_and(|sender| own.contains(&sender)) {
        let concerns_us = text(kind).is_some_and(|kind| kind == "m.room.member")
            && text(state_key).is_some_and(|user| own.bot == *user || own.is_ghost(&user));
        if !concerns_us {
            return Sorted::Echo;
        }
    }
    Sorted::Envelope(Envelope {
        source: Source::Matrix,
        lane: Lane::from_room(&room_id),
        key: event_id.into_owned(),
        received_at: now,
        body: raw.as_bytes().to_vec(),
    })
}

/// An identifier with its sigil and within its bound.
fn id(text: Option<Cow<'_, str>>, sigil: char) -> Option<Cow<'_, str>> {
    text.filter(|id| {
        id.starts_with(sigil) && (2..=MAX_ID_BYTES).contains(&id.len()) && !id.chars().any(char::is_control)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::{server_name, user_id};

    use super::*;

    fn own() -> OwnUsers {
        OwnUsers {
            bot: user_id!("@dingtalkbot:acme.example").to_owned(),
            sender: user_id!("@_dingtalk_sender:acme.example").to_owned(),
            ghost_prefix: "dingtalk_".to_owned(),
            server: server_name!("acme.example").to_owned(),
        }
    }

    fn take(body: &str) -> Transaction {
        envelopes(body.as_bytes(), &own(), Timestamp(7)).unwrap()
    }

    fn event(id: &str, sender: &str, rest: &str) -> String {
        format!(r#"{{"event_id":"{id}","room_id":"!r:acme.example","sender":"{sender}"{rest}}}"#)
    }

    #[test]
    fn ghosts_are_known_by_prefix_and_server() {
        assert_eq!(own().ghost_code("@dingtalk_=4ci:acme.example"), Some("=4ci"));
        for other in
            ["@dingtalk_:acme.example", "@dingtalk_a:acme.example:1", "@dingtalk_a:evil", "dingtalk_a", "@x"]
        {
            assert!(!own().is_ghost(other), "{other}");
        }
    }

    #[test]
    fn events_are_kept_byte_for_byte() {
        let raw =
            r#"{ "event_id" : "$1", "room_id":"!v12", "sender":"@a:b", "x": 1.50, "y":"\ud800", "z":1e999 }"#;
        let transaction = take(&format!("{{\"events\":[{raw}]}}"));
        let [envelope] = transaction.envelopes.as_slice() else { panic!() };
        assert_eq!(envelope.body, raw.as_bytes());
        assert_eq!((envelope.key.as_str(), envelope.lane.as_str()), ("$1", "m:!v12"));
        assert_eq!((envelope.source, envelope.received_at), (Source::Matrix, Timestamp(7)));
        assert_eq!(sort(raw.as_bytes(), &own(), Timestamp(7)), Sorted::Envelope(envelope.clone()));
        assert_eq!(sort(b"\xff", &own(), Timestamp(7)), Sorted::Malformed);
    }

    #[test]
    fn one_poisoned_event_spoils_no_other() {
        let long = "x".repeat(300);
        let huge = "x".repeat(MAX_EVENT_BYTES);
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let poisons = [
            "null".to_owned(),
            "17".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            deep,
            r#"{"event_id":5,"room_id":"!r"}"#.to_owned(),
            r#"{"event_id":"$p"}"#.to_owned(),
            r#"{"event_id":"p","room_id":"!r"}"#.to_owned(),
            r#"{"event_id":"$p","room_id":{"a":1}}"#.to_owned(),
            r#"{"event_id":"$p\u0000","room_id":"!r"}"#.to_owned(),
            r#"{"event_id":"$\ud800","room_id":"!r"}"#.to_owned(),
            r#"{"event_id":"$","room_id":"!r"}"#.to_owned(),
            event(&format!("${long}"), "@a:b", ""),
            event("$p", "@a:b", &format!(r#","content":{{"body":"{huge}"}}"#)),
        ];
        for poison in poisons {
            let good = [event("$1", "@a:b", ""), event("$2", "@a:b", "")];
            let transaction = take(&format!(r#"{{"events":[{},{poison},{}]}}"#, good[0], good[1]));
            let keys: Vec<_> = transaction.envelopes.iter().map(|envelope| envelope.key.as_str()).collect();
            assert_eq!(
                (keys, transaction.malformed),
                (vec!["$1", "$2"], 1),
                "{}",
                &poison[..poison.len().min(60)]
            );
        }
    }

    #[test]
    fn strange_events_with_an_id_are_kept() {
        for rest in [
            r#","type":7,"content":"x""#,
            r#","content":{"n":1.5,"m":123456789012345678901234567890,"e":1e999}"#,
            r#","sender":null,"origin_server_ts":"soon""#,
            r#","content":{"a":1,"a":2},"content":null"#,
        ] {
            assert_eq!(
                take(&format!(r#"{{"events":[{}]}}"#, event("$1", "@a:b", rest))).envelopes.len(),
                1,
                "{rest}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_spoil_their_own_event_only() {
        let mut body = br#"{"events":[{"event_id":"$1","room_id":"!r","content":{"body":""#.to_vec();
        body.extend([0xff, 0xc3, 0x28]);
        body.extend(br#""}},{"event_id":"$2","room_id":"!r"}]}"#);
        let transaction = envelopes(&body, &own(), Timestamp(0)).unwrap();
        assert_eq!(transaction.envelopes.len(), 2);
        assert_eq!(transaction.envelopes[1].body, br#"{"event_id":"$2","room_id":"!r"}"#);
    }

    #[test]
    fn our_own_events_are_echoes_except_our_memberships() {
        let member = |user: &str| format!(r#","type":"m.room.member","state_key":"{user}""#);
        let (bot, ghost) = ("@dingtalkbot:acme.example", "@dingtalk_u1:acme.example");
        let text = r#","type":"m.room.message""#.to_owned();
        let table = [
            (bot, text.clone(), true),
            (ghost, text.clone(), true),
            ("@_dingtalk_sender:acme.example", text.clone(), true),
            ("@alice:acme.example", text.clone(), false),
            ("@dingtalk_u1:other.example", text, false),
            (bot, member("@alice:acme.example"), true),
            (bot, member(ghost), false),
            (ghost, member(ghost), false),
            (bot, member(bot), false),
            ("@alice:acme.example", member(bot), false),
            (bot, r#","type":"m.room.name","state_key":"""#.to_owned(), true),
        ];
        for (sender, rest, echo) in table {
            let transaction = take(&format!(r#"{{"events":[{}]}}"#, event("$1", sender, &rest)));
            assert_eq!(transaction.echoes == 1, echo, "{sender} {rest}");
            assert_eq!(transaction.envelopes.len(), usize::from(!echo), "{sender} {rest}");
        }
    }

    #[test]
    fn only_a_body_without_a_list_is_refused() {
        let refused = |body: &str| envelopes(body.as_bytes(), &own(), Timestamp(0));
        assert_eq!(refused("[]"), Err(TransactionError::NotAnObject));
        assert_eq!(refused(""), Err(TransactionError::NotAnObject));
        assert_eq!(refused("{} x"), Err(TransactionError::NotAnObject));
        assert_eq!(refused(r#"{"events":{}}"#), Err(TransactionError::NotAList));
        for body in [
            "{}",
            r#"{"events":null}"#,
            r#"{"events":[],"ephemeral":5,"de.sorunome.msc2409.to_device":[{}]}"#,
        ] {
            assert_eq!(refused(body), Ok(Transaction::default()), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200), tail in "\\PC{0,60}") {
            let _ = envelopes(&body, &own(), Timestamp(0));
            let _ = envelopes(format!("{{\"events\":[{tail}]}}").as_bytes(), &own(), Timestamp(0));
        }
    }
}
