//! What a transaction brings for one device besides events of rooms (MSC2409, MSC3202, MSC4203), and what events of rooms
//! mean for their encryption.

use std::collections::BTreeMap;

use ruma::{DeviceId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{list, members, text};

/// Largest message to a device that is taken, in bytes; the same bound as for events.
const MAX_MESSAGE_BYTES: usize = super::transaction::MAX_EVENT_BYTES;

/// What came for a device.
#[derive(Debug, Default)]
pub struct ForDevice {
    /// Messages to it, as they came.
    pub to_device: Vec<Box<RawValue>>,
    /// People whose devices changed.
    pub changed: Vec<OwnedUserId>,
    /// How many one-time keys the homeserver has of it, by algorithm; none where it does not say.
    pub one_time_keys: Option<BTreeMap<String, u32>>,
    /// Algorithms of fallback keys that were not used; none where it does not say.
    pub fallback_keys: Option<Vec<String>>,
}

/// Takes what is for a device out of a transaction. What is malformed is left out.
pub fn for_device(body: &[u8], user: &UserId, device: &DeviceId) -> ForDevice {
    const MEMBERS: [&str; 8] = [
        "to_device",
        "de.sorunome.msc2409.to_device",
        "device_lists",
        "org.matrix.msc3202.device_lists",
        "device_one_time_keys_count",
        "org.matrix.msc3202.device_one_time_keys_count",
        "device_unused_fallback_key_types",
        "org.matrix.msc3202.device_unused_fallback_key_types",
    ];
    let body = String::from_utf8_lossy(body);
    let Ok([stable, unstable, lists, lists_unstable, counts, counts_unstable, fallback, fallback_unstable]) =
        members(&body, MEMBERS)
    else {
        return ForDevice::default();
    };
    let ours = |raw: &&RawValue| {
        raw.get().len() <= MAX_MESSAGE_BYTES
            && members(raw.get(), ["to_user_id", "to_device_id"]).is_ok_and(|[to, on]| {
                text(to).is_some_and(|to| to == user.as_str())
                    && text(on).is_some_and(|on| on == device.as_str())
            })
    };
    let to_device = list(stable.or(unstable)).unwrap_or_default();
    ForDevice {
        to_device: to_device.into_iter().filter(ours).map(ToOwned::to_owned).collect(),
        changed: changed(lists.or(lists_unstable)),
        one_time_keys: of_device(counts.or(counts_unstable), user, device),
        fallback_keys: of_device(fallback.or(fallback_unstable), user, device),
    }
}

/// What the homeserver keeps for a device until it is told that it was taken (`/sync`, client-server API).
#[derive(Debug)]
pub struct Kept {
    /// What to ask with the next time: all of this was taken then.
    pub next: String,
    /// What was kept.
    pub what: ForDevice,
}

/// Takes what is for the device out of its own answer to `/sync`; nothing when that is none. What is malformed in it is
/// left out.
pub fn kept(body: &[u8]) -> Option<Kept> {
    const MEMBERS: [&str; 5] = [
        "next_batch",
        "to_device",
        "device_lists",
        "device_one_time_keys_count",
        "device_unused_fallback_key_types",
    ];
    let body = std::str::from_utf8(body).ok()?;
    let [next, to_device, lists, counts, fallback] = members(body, MEMBERS).ok()?;
    let small = |raw: &&RawValue| raw.get().len() <= MAX_MESSAGE_BYTES;
    let to_device = to_device
        .and_then(|to_device| members(to_device.get(), ["events"]).ok())
        .and_then(|[events]| list(events))
        .unwrap_or_default();
    let what = ForDevice {
        to_device: to_device.into_iter().filter(small).map(ToOwned::to_owned).collect(),
        changed: changed(lists),
        one_time_keys: counts.and_then(|counts| serde_json::from_str(counts.get()).ok()),
        fallback_keys: fallback.and_then(|kinds| serde_json::from_str(kinds.get()).ok()),
    };
    Some(Kept { next: text(next)?.into_owned(), what })
}

/// The people whose devices changed.
fn changed(lists: Option<&RawValue>) -> Vec<OwnedUserId> {
    let changed = lists
        .and_then(|lists| members(lists.get(), ["changed"]).ok())
        .and_then(|[changed]| list(changed))
        .unwrap_or_default();
    changed.into_iter().filter_map(|user| UserId::parse(&*text(Some(user))?).ok()).collect()
}

/// `{user: {device: value}}`.
fn of_device<T: for<'de> Deserialize<'de>>(
    raw: Option<&RawValue>,
    user: &UserId,
    device: &DeviceId,
) -> Option<T> {
    let [devices] = members(raw?.get(), [user.as_str()]).ok()?;
    let [value] = members(devices?.get(), [device.as_str()]).ok()?;
    serde_json::from_str(value?.get()).ok()
}

/// The type and number of a message to a device, for recognising our own probe.
pub fn probe<'a>(message: &'a RawValue, kind: &str, own: &UserId) -> Option<std::borrow::Cow<'a, str>> {
    let [found, sender, content] = members(message.get(), ["type", "sender", "content"]).ok()?;
    if text(found)? != kind || text(sender)? != own.as_str() {
        return None;
    }
    let [number] = members(content?.get(), ["number"]).ok()?;
    text(number)
}

/// What an event means for the encryption of its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touch {
    /// Somebody came or went: keys go to others from now on.
    Members(OwnedRoomId),
    /// It is encrypted from now on.
    Encrypted(OwnedRoomId, Encryption),
}

/// What `m.room.encryption` says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Encryption {
    /// The algorithm.
    #[serde(default)]
    pub algorithm: String,
    /// After how many milliseconds a key is used no more.
    #[serde(default)]
    pub rotation_period_ms: Option<u64>,
    /// After how many messages.
    #[serde(default)]
    pub rotation_period_msgs: Option<u64>,
}

/// Looks at an event in client format.
pub fn touch(raw: &[u8]) -> Option<Touch> {
    let raw = std::str::from_utf8(raw).ok()?;
    let [kind, state_key, room, content] = members(raw, ["type", "state_key", "room_id", "content"]).ok()?;
    let kind = text(kind)?;
    let state_key = text(state_key)?;
    let room = || RoomId::parse(&*text(room)?).ok();
    match &*kind {
        "m.room.member" => Some(Touch::Members(room()?)),
        "m.room.encryption" if state_key.is_empty() => {
            let content = content.map_or("{}", RawValue::get);
            // Whatever is strange in it: the room is to be encrypted.
            Some(Touch::Encrypted(room()?, serde_json::from_str(content).unwrap_or_default()))
        }
        _ => None,
    }
}

/// Whose event this is and with which key it was encrypted, for asking for that key.
pub fn key_of(raw: &str) -> Option<(OwnedUserId, String)> {
    let [sender, content] = members(raw, ["sender", "content"]).ok()?;
    let sender = UserId::parse(&*text(sender)?).ok()?;
    let [session] = members(content?.get(), ["session_id"]).ok()?;
    Some((sender, text(session)?.into_owned()))
}

#[cfg(test)]
mod tests {
    use ruma::{device_id, room_id, user_id};

    use super::*;

    fn take(body: &str) -> ForDevice {
        for_device(body.as_bytes(), user_id!("@bot:a"), device_id!("DEV"))
    }

    #[test]
    fn what_is_kept_for_a_device_is_read_from_its_sync() {
        let body = br#"{"next_batch": "s1_2", "account_data": {"events": []},
            "to_device": {"events": [{"type": "t", "sender": "@a:b.c", "content": {}}]},
            "device_lists": {"changed": ["@a:b.c", "nobody"], "left": []},
            "device_one_time_keys_count": {"signed_curve25519": 49},
            "device_unused_fallback_key_types": ["signed_curve25519"], "rooms": {}}"#;
        let Kept { next, what } = kept(body).unwrap();
        assert_eq!((next.as_str(), what.to_device.len()), ("s1_2", 1));
        assert_eq!(what.changed, [user_id!("@a:b.c")]);
        assert_eq!(what.one_time_keys.unwrap()["signed_curve25519"], 49);
        assert_eq!(what.fallback_keys.unwrap(), ["signed_curve25519"]);
        assert!(kept(br#"{"to_device": {}}"#).is_none());
        assert!(kept(br#"{"next_batch": "x"}"#).unwrap().what.to_device.is_empty());
    }

    #[test]
    fn what_is_for_the_device_is_found_under_both_names_and_nothing_else_is() {
        for (to_device, lists, counts, fallback) in [
            (
                "de.sorunome.msc2409.to_device",
                "org.matrix.msc3202.device_lists",
                "org.matrix.msc3202.device_one_time_keys_count",
                "org.matrix.msc3202.device_unused_fallback_key_types",
            ),
            ("to_device", "device_lists", "device_one_time_keys_count", "device_unused_fallback_key_types"),
        ] {
            let mine =
                r#"{"type":"m.room.encrypted","to_user_id":"@bot:a","to_device_id":"DEV","content":{}}"#;
            let other =
                r#"{"type":"m.room.encrypted","to_user_id":"@bot:a","to_device_id":"X","content":{}}"#;
            let found = take(&format!(
                r#"{{"{to_device}":[{other},{mine},7],"{lists}":{{"changed":["@a:b",5]}},
                "{counts}":{{"@bot:a":{{"DEV":{{"signed_curve25519":3}},"X":{{"signed_curve25519":9}}}}}},
                "{fallback}":{{"@bot:a":{{"DEV":["signed_curve25519"]}}}}}}"#
            ));
            let messages: Vec<&str> = found.to_device.iter().map(|raw| raw.get()).collect();
            assert_eq!(messages, [mine]);
            assert_eq!(found.changed, [user_id!("@a:b")]);
            assert_eq!(found.one_time_keys.unwrap()["signed_curve25519"], 3);
            assert_eq!(found.fallback_keys.unwrap(), ["signed_curve25519"]);
        }
        let none = take(r#"{"events":[],"org.matrix.msc3202.device_one_time_keys_count":{"@bot:a":5}}"#);
        assert!(none.one_time_keys.is_none() && none.to_device.is_empty() && none.fallback_keys.is_none());
        assert!(take("[]").to_device.is_empty());
    }

    #[test]
    fn a_strange_switch_still_turns_encryption_on() {
        let event = |content: &str, key: &str| {
            format!(r#"{{"type":"m.room.encryption"{key},"room_id":"!r:a","content":{content}}}"#)
        };
        let on = |encryption| Some(Touch::Encrypted(room_id!("!r:a").to_owned(), encryption));
        let key = r#","state_key":"""#;
        let plain = Encryption {
            algorithm: "m.megolm.v1.aes-sha2".to_owned(),
            rotation_period_msgs: Some(5),
            ..Encryption::default()
        };
        let content = r#"{"algorithm":"m.megolm.v1.aes-sha2","rotation_period_msgs":5}"#;
        assert_eq!(touch(event(content, key).as_bytes()), on(plain));
        assert_eq!(touch(event(r#"{"algorithm":5}"#, key).as_bytes()), on(Encryption::default()));
        assert_eq!(touch(event(content, "").as_bytes()), None, "is no state");
        assert_eq!(touch(event(content, r#","state_key":"x""#).as_bytes()), None);
        let member = r#"{"type":"m.room.member","state_key":"@a:b","room_id":"!r:a","content":{}}"#;
        assert_eq!(touch(member.as_bytes()), Some(Touch::Members(room_id!("!r:a").to_owned())));
    }

    #[test]
    fn only_the_bots_own_probe_counts() {
        let message = |sender: &str| {
            let json = format!(r#"{{"type":"p","sender":"{sender}","content":{{"number":"7"}}}}"#);
            RawValue::from_string(json).unwrap()
        };
        assert_eq!(probe(&message("@bot:a"), "p", user_id!("@bot:a")).as_deref(), Some("7"));
        assert_eq!(probe(&message("@eve:a"), "p", user_id!("@bot:a")), None);
        assert_eq!(probe(&message("@bot:a"), "q", user_id!("@bot:a")), None);
    }
}
