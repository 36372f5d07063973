//! Keys of devices, identities of people, and messages to devices. A restart forgets them.

use crate::error::{ApiError, ApiResult};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Most one-time keys of one algorithm that a device of Synapse has.
const MOST_ONE_TIME_KEYS: usize = 500;
/// Most messages to a device in one answer of Synapse.
const MOST_MESSAGES: usize = 100;

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    by_user: HashMap<String, BTreeMap<String, Device>>,
    identities: HashMap<String, Identity>,
    /// Users whose devices or identity changed, in order.
    changes: Vec<String>,
    /// How many messages to devices there were.
    messages: u64,
    /// Requests to send messages that were carried out.
    done: HashSet<String>,
}

#[derive(Debug, Default)]
struct Device {
    /// As its owner uploaded them.
    keys: Option<Value>,
    /// Signatures of its owner's identity that came later, by the signing key's id.
    signatures: BTreeMap<String, Value>,
    /// The oldest first.
    one_time_keys: VecDeque<OneTimeKey>,
    /// By algorithm.
    fallback_keys: BTreeMap<String, Fallback>,
    /// The oldest first.
    inbox: VecDeque<(u64, Arc<Message>)>,
}

/// A key that is given away once.
#[derive(Debug)]
pub(crate) struct OneTimeKey {
    pub(crate) algorithm: String,
    pub(crate) id: String,
    pub(crate) key: Value,
}

#[derive(Debug)]
struct Fallback {
    id: String,
    key: Value,
    is_used: bool,
}

/// Somebody's cross-signing keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) master: Option<Value>,
    pub(crate) self_signing: Option<Value>,
    pub(crate) user_signing: Option<Value>,
}

/// A message to a device.
#[derive(Debug, Serialize)]
pub(crate) struct Message {
    pub(crate) sender: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) content: Box<RawValue>,
}

impl Devices {
    fn device(&self, user: &str, device: &str) -> Option<&Device> {
        self.by_user.get(user)?.get(device)
    }

    fn device_mut(&mut self, user: &str, device: &str) -> &mut Device {
        self.by_user.entry(user.to_owned()).or_default().entry(device.to_owned()).or_default()
    }

    /// A device is there, without keys.
    pub(crate) fn add(&mut self, user: &str, device: &str) {
        self.device_mut(user, device);
    }

    /// A device is gone, with its keys and what was kept for it.
    pub(crate) fn remove(&mut self, user: &str, device: &str) {
        if let Some(devices) = self.by_user.get_mut(user) {
            devices.remove(device);
        }
    }

    /// Keeps the keys of a device; answers whether they are others than before.
    pub(crate) fn set_keys(&mut self, user: &str, device: &str, keys: &Value) -> bool {
        let device = self.device_mut(user, device);
        let differs = device.keys.as_ref() != Some(keys);
        device.keys = Some(keys.clone());
        differs
    }

    /// Adds one-time keys. The same key may come again; another one under its id may not, and there is a limit.
    pub(crate) fn add_one_time_keys(
        &mut self,
        user: &str,
        device: &str,
        keys: Vec<OneTimeKey>,
    ) -> ApiResult<()> {
        let there = &mut self.device_mut(user, device).one_time_keys;
        let mut fresh: Vec<OneTimeKey> = Vec::new();
        for key in keys {
            match there.iter().find(|old| old.algorithm == key.algorithm && old.id == key.id) {
                None => fresh.push(key),
                Some(old) if is_same_key(&old.key, &key.key) => {}
                Some(_) => {
                    let text = format!("One time key {}:{} already exists.", key.algorithm, key.id);
                    return Err(ApiError::unknown(StatusCode::BAD_REQUEST, text));
                }
            }
        }
        for key in &fresh {
            let count = there.iter().chain(&fresh).filter(|other| other.algorithm == key.algorithm).count();
            if count > MOST_ONE_TIME_KEYS {
                let text = format!("{count} one-time keys, over the limit of {MOST_ONE_TIME_KEYS}");
                return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_TOO_LARGE", text));
            }
        }
        there.extend(fresh);
        Ok(())
    }

    /// Keeps a key for when there is no one-time key of its algorithm. The same once more stays used.
    pub(crate) fn set_fallback_key(&mut self, user: &str, device: &str, key: OneTimeKey) {
        let OneTimeKey { algorithm, id, key } = key;
        let keys = &mut self.device_mut(user, device).fallback_keys;
        if keys.get(&algorithm).is_none_or(|old| old.id != id || old.key != key) {
            keys.insert(algorithm, Fallback { id, key, is_used: false });
        }
    }

    /// How many one-time keys a device has, by algorithm.
    pub(crate) fn counts(&self, user: &str, device: &str) -> Map<String, Value> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for key in self.device(user, device).into_iter().flat_map(|device| &device.one_time_keys) {
            *counts.entry(&key.algorithm).or_default() += 1;
        }
        counts.into_iter().map(|(algorithm, count)| (algorithm.to_owned(), count.into())).collect()
    }

    /// Algorithms of a device's fallback keys that nobody was given.
    pub(crate) fn unused_fallbacks(&self, user: &str, device: &str) -> Vec<&str> {
        let keys = self.device(user, device).into_iter().flat_map(|device| &device.fallback_keys);
        keys.filter(|(_, key)| !key.is_used).map(|(algorithm, _)| algorithm.as_str()).collect()
    }

    /// Counts and unused fallback keys of these users' devices, in the form of MSC3202; also of devices without keys.
    pub(crate) fn of_users<'a>(&self, users: impl Iterator<Item = &'a str>) -> (Value, Value) {
        let (mut counts, mut fallbacks) = (Map::new(), Map::new());
        for user in users {
            let Some(devices) = self.by_user.get(user).filter(|devices| !devices.is_empty()) else {
                continue;
            };
            let count = devices.keys().map(|id| (id.clone(), self.counts(user, id).into()));
            counts.insert(user.to_owned(), Value::Object(count.collect()));
            let unused = devices.keys().map(|id| (id.clone(), json!(self.unused_fallbacks(user, id))));
            fallbacks.insert(user.to_owned(), Value::Object(unused.collect()));
        }
        (counts.into(), fallbacks.into())
    }

    /// Gives away the oldest one-time key, or the fallback key: its full name and the key.
    pub(crate) fn claim(&mut self, user: &str, device: &str, algorithm: &str) -> Option<(String, Value)> {
        let device = self.by_user.get_mut(user)?.get_mut(device)?;
        let place = device.one_time_keys.iter().position(|key| key.algorithm == algorithm);
        if let Some(OneTimeKey { id, key, .. }) = place.and_then(|place| device.one_time_keys.remove(place)) {
            return Some((format!("{algorithm}:{id}"), key));
        }
        let fallback = device.fallback_keys.get_mut(algorithm)?;
        fallback.is_used = true;
        Some((format!("{algorithm}:{}", fallback.id), fallback.key.clone()))
    }

    /// The keys of a user's devices, with all signatures; devices without keys are left out.
    pub(crate) fn keys(&self, user: &str) -> BTreeMap<&str, Value> {
        let devices = self.by_user.get(user).into_iter().flatten();
        let keys = devices.filter_map(|(id, device)| {
            let mut keys = device.keys.clone()?;
            for (key, signature) in &device.signatures {
                sign(&mut keys, user, key, signature);
            }
            Some((id.as_str(), keys))
        });
        keys.collect()
    }

    /// Keeps a signature of a device.
    pub(crate) fn sign_device(&mut self, user: &str, device: &str, key: &str, signature: &Value) {
        self.device_mut(user, device).signatures.insert(key.to_owned(), signature.clone());
    }

    /// Somebody's cross-signing keys, where there are some.
    pub(crate) fn identity(&self, user: &str) -> Option<&Identity> {
        self.identities.get(user)
    }

    pub(crate) fn identity_mut(&mut self, user: &str) -> &mut Identity {
        self.identities.entry(user.to_owned()).or_default()
    }

    /// Notes that somebody's devices or identity changed.
    pub(crate) fn changed(&mut self, user: &str) {
        self.changes.push(user.to_owned());
    }

    /// Who changed devices or identity from a place on, and the place after that.
    pub(crate) fn changes_since(&self, place: u64) -> (&[String], u64) {
        let from = usize::try_from(place).unwrap_or(usize::MAX).min(self.changes.len());
        (&self.changes[from..], self.changes.len() as u64)
    }

    /// The places after all messages to devices and after all changes.
    pub(crate) fn ends(&self) -> (u64, u64) {
        (self.messages, self.changes.len() as u64)
    }

    /// Whether a request is new; it is not the next time.
    pub(crate) fn begin(&mut self, request: String) -> bool {
        self.done.insert(request)
    }

    /// Whether a request was carried out.
    pub(crate) fn is_done(&self, request: &str) -> bool {
        self.done.contains(request)
    }

    /// Keeps a message for a device.
    pub(crate) fn deliver(&mut self, user: &str, device: &str, message: Arc<Message>) {
        self.messages += 1;
        let number = self.messages;
        self.device_mut(user, device).inbox.push_back((number, message));
    }

    /// Messages to a device after a place, as many as one answer has, and the place after them.
    pub(crate) fn inbox(&self, user: &str, device: &str, after: u64) -> (Vec<Arc<Message>>, u64) {
        let inbox = self.device(user, device).into_iter().flat_map(|device| &device.inbox);
        let mut left = inbox.filter(|(number, _)| *number > after);
        let some: Vec<_> = left.by_ref().take(MOST_MESSAGES).cloned().collect();
        let is_all = left.next().is_none();
        let last = some.last().map(|(number, _)| *number).filter(|_| !is_all).unwrap_or(self.messages);
        (some.into_iter().map(|(_, message)| message).collect(), last)
    }

    /// A device has messages up to a place, which are forgotten.
    pub(crate) fn acknowledge(&mut self, user: &str, device: &str, place: u64) {
        if let Some(device) = self.by_user.get_mut(user).and_then(|devices| devices.get_mut(device)) {
            device.inbox.retain(|(number, _)| *number > place);
        }
    }
}

/// Whether it is the same key, whoever signed it.
fn is_same_key(old: &Value, new: &Value) -> bool {
    let bare = |key: &Value| {
        let mut key = key.clone();
        if let Value::Object(key) = &mut key {
            key.remove("signatures");
        }
        key
    };
    bare(old) == bare(new)
}

/// Adds a signature, where there is a place for it.
pub(crate) fn sign(object: &mut Value, user: &str, key: &str, signature: &Value) {
    let Value::Object(object) = object else { return };
    let place = object.entry("signatures");
    if let serde_json::map::Entry::Occupied(found) = &place
        && !found.get().is_object()
    {
        return;
    }
    let Value::Object(all) = place.or_insert_with(|| json!({})) else { return };
    if let Value::Object(own) = all.entry(user).or_insert_with(|| json!({})) {
        own.insert(key.to_owned(), signature.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, key: &str) -> OneTimeKey {
        OneTimeKey { algorithm: "signed_curve25519".to_owned(), id: id.to_owned(), key: json!({"key": key}) }
    }

    #[test]
    fn a_message_stays_until_it_is_acknowledged_and_an_answer_has_a_hundred() {
        let mut devices = Devices::default();
        for number in 0..150 {
            let content = RawValue::from_string(format!("{{\"n\":{number}}}")).unwrap();
            let message = Message { sender: "@a:b".to_owned(), kind: "t".to_owned(), content };
            devices.deliver("@c:d", "D", Arc::new(message));
        }
        let (first, place) = devices.inbox("@c:d", "D", 0);
        assert_eq!((first.len(), place), (100, 100));
        assert_eq!(devices.inbox("@c:d", "D", 0).0.len(), 100, "asking again changes nothing");
        devices.acknowledge("@c:d", "D", place);
        let (rest, place) = devices.inbox("@c:d", "D", 0);
        assert_eq!((rest.len(), place), (50, 150));
        devices.acknowledge("@c:d", "D", place);
        assert!(devices.inbox("@c:d", "D", 0).0.is_empty());
    }

    #[test]
    fn a_signature_is_added_only_where_there_is_a_place_for_it() {
        let mut keys = json!({});
        sign(&mut keys, "@a:b", "ed25519:x", &json!("s"));
        assert_eq!(keys, json!({"signatures": {"@a:b": {"ed25519:x": "s"}}}));
        let mut strange = json!({"signatures": 5});
        sign(&mut strange, "@a:b", "ed25519:x", &json!("s"));
        assert_eq!(strange, json!({"signatures": 5}));
    }

    #[test]
    fn a_one_time_key_goes_once_and_the_fallback_key_as_often_as_needed() {
        let mut devices = Devices::default();
        devices.add_one_time_keys("@a:b", "D", vec![key("1", "k1"), key("2", "k2")]).unwrap();
        devices.set_fallback_key("@a:b", "D", key("f", "kf"));
        let mut claim = || devices.claim("@a:b", "D", "signed_curve25519").map(|(name, _)| name);
        let names = [claim(), claim(), claim(), claim()].map(Option::unwrap);
        let expected = ["1", "2", "f", "f"].map(|id| format!("signed_curve25519:{id}"));
        assert_eq!(names, expected);
        assert!(devices.unused_fallbacks("@a:b", "D").is_empty());
        devices.set_fallback_key("@a:b", "D", key("f", "kf"));
        assert!(devices.unused_fallbacks("@a:b", "D").is_empty(), "the same is used already");
        devices.set_fallback_key("@a:b", "D", key("g", "kg"));
        assert_eq!(devices.unused_fallbacks("@a:b", "D"), ["signed_curve25519"]);
        assert!(devices.claim("@a:b", "none", "signed_curve25519").is_none());
    }
}
