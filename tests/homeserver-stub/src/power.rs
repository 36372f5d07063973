//! Power levels of a room.

use serde_json::Value;
use std::collections::HashMap;

/// `m.room.power_levels`, read leniently.
#[derive(Debug)]
pub(crate) struct PowerLevels {
    users: HashMap<String, i64>,
    events: HashMap<String, i64>,
    users_default: i64,
    events_default: i64,
    state_default: i64,
    pub(crate) invite: i64,
    pub(crate) kick: i64,
    pub(crate) ban: i64,
    pub(crate) redact: i64,
}

impl Default for PowerLevels {
    fn default() -> Self {
        Self::parse(&Value::Null)
    }
}

impl PowerLevels {
    pub(crate) fn parse(content: &Value) -> Self {
        let level = |key: &str, default: i64| content.get(key).and_then(Value::as_i64).unwrap_or(default);
        let map = |key: &str| {
            let entries = content.get(key).and_then(Value::as_object).into_iter().flatten();
            entries.filter_map(|(name, value)| Some((name.clone(), value.as_i64()?))).collect()
        };
        Self {
            users: map("users"),
            events: map("events"),
            users_default: level("users_default", 0),
            events_default: level("events_default", 0),
            state_default: level("state_default", 50),
            invite: level("invite", 0),
            kick: level("kick", 50),
            ban: level("ban", 50),
            redact: level("redact", 50),
        }
    }

    pub(crate) fn of(&self, user: &str) -> i64 {
        self.users.get(user).copied().unwrap_or(self.users_default)
    }

    pub(crate) fn needed(&self, kind: &str, is_state: bool) -> i64 {
        let default = if is_state { self.state_default } else { self.events_default };
        self.events.get(kind).copied().unwrap_or(default)
    }
}
