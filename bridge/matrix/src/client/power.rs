//! Who may do what in a room (Client-Server API, `m.room.power_levels`; room version 12, "Room creators").

use std::collections::{BTreeMap, BTreeSet};

use ruma::UserId;
use serde_json::{Map, Value};

/// Room versions whose creators have no power beyond their level.
const WITHOUT_CREATORS: [&str; 11] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];

/// The levels of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerLevels {
    /// Those above all levels; empty before room version 12.
    creators: BTreeSet<String>,
    users: BTreeMap<String, i64>,
    users_default: i64,
    events: BTreeMap<String, i64>,
    events_default: i64,
    state_default: i64,
    invite: i64,
    kick: i64,
    redact: i64,
    notify_room: i64,
}

impl PowerLevels {
    /// The level of a creator from room version 12 on.
    pub const CREATOR: i64 = i64::MAX;

    /// From the content and sender of `m.room.create` and the content of `m.room.power_levels`, if there is one.
    /// Values of a wrong type count as missing.
    pub fn new(create: &Value, creator: Option<&str>, levels: Option<&Value>) -> Self {
        // A missing version is version 1.
        let version = create.get("room_version").and_then(Value::as_str).unwrap_or("1");
        let mut creators = BTreeSet::new();
        if !WITHOUT_CREATORS.contains(&version) {
            creators.extend(creator.map(str::to_owned));
            let additional = create.get("additional_creators").and_then(Value::as_array);
            creators.extend(additional.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        }
        let nothing = Map::new();
        let map = levels.and_then(Value::as_object).unwrap_or(&nothing);
        let level = |key: &str, default| map.get(key).and_then(number).unwrap_or(default);
        let table = |key: &str| -> BTreeMap<String, i64> {
            let entries = map.get(key).and_then(Value::as_object).unwrap_or(&nothing);
            entries.iter().filter_map(|(key, value)| Some((key.clone(), number(value)?))).collect()
        };
        let mut users = table("users");
        if levels.is_none() && creators.is_empty() {
            users.extend(creator.map(|creator| (creator.to_owned(), 100)));
        }
        Self {
            creators,
            users,
            users_default: level("users_default", 0),
            events: table("events"),
            events_default: level("events_default", 0),
            state_default: level("state_default", if levels.is_some() { 50 } else { 0 }),
            invite: level("invite", 0),
            kick: level("kick", 50),
            redact: level("redact", 50),
            notify_room: map.get("notifications").and_then(|map| number(map.get("room")?)).unwrap_or(50),
        }
    }

    /// A user's level; [`Self::CREATOR`] for a creator from room version 12 on.
    pub fn user(&self, user: &UserId) -> i64 {
        if self.creators.contains(user.as_str()) {
            Self::CREATOR
        } else {
            self.users.get(user.as_str()).copied().unwrap_or(self.users_default)
        }
    }

    /// Whether a user may send events of this type that are not state.
    pub fn can_send(&self, user: &UserId, event_type: &str) -> bool {
        self.user(user) >= self.events.get(event_type).copied().unwrap_or(self.events_default)
    }

    /// Whether a user may set state of this type.
    pub fn can_set_state(&self, user: &UserId, event_type: &str) -> bool {
        self.user(user) >= self.events.get(event_type).copied().unwrap_or(self.state_default)
    }

    /// Whether a user may invite.
    pub fn can_invite(&self, user: &UserId) -> bool {
        self.user(user) >= self.invite
    }

    /// Whether a user may put out `other`.
    pub fn can_kick(&self, user: &UserId, other: &UserId) -> bool {
        self.user(user) >= self.kick && self.user(user) > self.user(other)
    }

    /// Whether a user may take back what others said.
    pub fn can_redact_others(&self, user: &UserId) -> bool {
        self.user(user) >= self.redact && self.can_send(user, "m.room.redaction")
    }

    /// Whether a user may address the whole room.
    pub fn can_notify_room(&self, user: &UserId) -> bool {
        self.user(user) >= self.notify_room
    }
}

/// A level; rooms before version 10 may have it as text or with a fraction.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|level| level as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;
    use serde_json::json;

    use super::*;

    #[test]
    fn creators_are_above_all_from_version_12_on() {
        let (bot, co, guest) = (user_id!("@bot:a.b"), user_id!("@co:a.b"), user_id!("@guest:a.b"));
        let levels = json!({"users": {"@guest:a.b": 100}, "events": {"m.room.message": 150}, "invite": 101});
        for version in ["12", "13", "org.matrix.hydra.11"] {
            let create = json!({"room_version": version, "additional_creators": ["@co:a.b", 7]});
            let power = PowerLevels::new(&create, Some("@bot:a.b"), Some(&levels));
            assert_eq!(power.user(bot), PowerLevels::CREATOR);
            assert_eq!(power.user(co), PowerLevels::CREATOR);
            assert_eq!(power.user(guest), 100);
            assert!(power.can_send(bot, "m.room.message") && !power.can_send(guest, "m.room.message"));
            assert!(power.can_invite(co) && !power.can_invite(guest));
            assert!(power.can_kick(bot, guest) && !power.can_kick(bot, co) && !power.can_kick(guest, bot));
        }
        let old = json!({"room_version": "11", "additional_creators": ["@co:a.b"]});
        let power = PowerLevels::new(&old, Some("@bot:a.b"), Some(&levels));
        assert_eq!((power.user(bot), power.user(co)), (0, 0));
    }

    #[test]
    fn levels_follow_the_specifications_defaults() {
        let (bot, guest) = (user_id!("@bot:a.b"), user_id!("@guest:a.b"));
        let create = json!({"room_version": "11"});
        let with = PowerLevels::new(&create, Some("@bot:a.b"), Some(&json!({"users": {"@bot:a.b": 50}})));
        assert!(with.can_set_state(bot, "m.room.name") && !with.can_set_state(guest, "m.room.name"));
        assert!(with.can_send(guest, "m.room.message") && with.can_invite(guest));
        assert!(with.can_redact_others(bot) && !with.can_redact_others(guest));
        assert!(with.can_notify_room(bot) && !with.can_notify_room(guest));
        let without = PowerLevels::new(&create, Some("@bot:a.b"), None);
        assert_eq!((without.user(bot), without.user(guest)), (100, 0));
        assert!(without.can_set_state(guest, "m.room.name"));
    }

    #[test]
    fn strange_levels_count_as_missing_or_as_numbers() {
        let levels = json!({"users": {"@a:a.b": "75", "@b:a.b": null, "@c:a.b": 10.0, "@d:a.b": {}},
            "users_default": [], "events": 5, "notifications": "x"});
        let power = PowerLevels::new(&json!("?"), None, Some(&levels));
        assert_eq!(power.user(user_id!("@a:a.b")), 75);
        assert_eq!(power.user(user_id!("@b:a.b")), 0);
        assert_eq!(power.user(user_id!("@c:a.b")), 10);
        assert!(power.can_send(user_id!("@d:a.b"), "m.room.message"));
    }
}
