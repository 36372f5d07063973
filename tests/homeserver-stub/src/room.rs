//! One room: timeline, state, members, and the transaction ids that were used in it.

use crate::event::Event;
use crate::power::PowerLevels;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// A room; everything that changes is behind one lock, so requests to different rooms do not meet.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) inner: Mutex<RoomInner>,
}

/// Membership of one user.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) membership: Membership,
    pub(crate) is_as: bool,
}

impl Member {
    pub(crate) fn is_joined(&self) -> bool {
        self.membership == Membership::Join
    }
}

/// The values of `membership`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Membership {
    /// In the room.
    Join,
    /// Asked in.
    Invite,
    /// Out of the room.
    Leave,
    /// Kept out.
    Ban,
    /// Asking to be let in.
    Knock,
}

/// How far somebody has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Receipt type, for example `m.read`.
    pub kind: String,
    /// The event.
    pub event_id: String,
    /// When it was told, milliseconds since 1970.
    pub ts: u64,
}

impl Membership {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Leave => "leave",
            Self::Ban => "ban",
            Self::Knock => "knock",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct RoomInner {
    pub(crate) timeline: Vec<Arc<Event>>,
    pub(crate) index: HashMap<String, usize>,
    /// State by type, then key.
    pub(crate) state: HashMap<String, HashMap<String, Arc<Event>>>,
    pub(crate) members: HashMap<String, Member>,
    /// Joined users of the bridge: the room interests it while there is one.
    pub(crate) as_joined: usize,
    pub(crate) power: PowerLevels,
    /// Creators stand above every level from version 12 on.
    pub(crate) creators: Vec<String>,
    pub(crate) public: bool,
    /// (requester, path, transaction id) -> event id; gone after a restart.
    pub(crate) requests: HashMap<String, String>,
    /// (user, device, transaction id) -> event id; kept by a restart.
    pub(crate) device_txns: HashMap<String, String>,
    /// sender, target and key of every reaction.
    pub(crate) annotations: HashSet<String>,
    /// Who is typing, until when in microseconds.
    pub(crate) typing: BTreeMap<String, u64>,
    pub(crate) receipts: HashMap<String, Receipt>,
}

/// Whether users are privileged by having created the room (version 12).
pub(crate) fn has_creator_power(version: &str) -> bool {
    version.parse::<u32>().is_ok_and(|v| v >= 12)
}

/// Whether `redacts` lives in the content of a redaction (version 11).
pub(crate) fn redacts_in_content(version: &str) -> bool {
    version.parse::<u32>().is_ok_and(|v| v >= 11)
}

impl RoomInner {
    pub(crate) fn state_event(&self, kind: &str, key: &str) -> Option<&Arc<Event>> {
        self.state.get(kind)?.get(key)
    }

    pub(crate) fn membership(&self, user: &str) -> Option<Membership> {
        self.members.get(user).map(|member| member.membership)
    }

    pub(crate) fn is_joined(&self, user: &str) -> bool {
        self.membership(user) == Some(Membership::Join)
    }

    pub(crate) fn level(&self, user: &str) -> i64 {
        if self.creators.iter().any(|creator| creator == user) { i64::MAX } else { self.power.of(user) }
    }

    pub(crate) fn typing_at(&self, now_us: u64) -> Vec<String> {
        self.typing.iter().filter(|(_, until)| **until > now_us).map(|(user, _)| user.clone()).collect()
    }

    pub(crate) fn event(&self, event_id: &str) -> Option<&Arc<Event>> {
        self.timeline.get(*self.index.get(event_id)?)
    }

    /// Takes an accepted event into timeline and state; also used when the journal is read back.
    pub(crate) fn apply(&mut self, room: &Room, event: &Arc<Event>, target_is_as: bool) {
        self.index.insert(event.event_id.clone(), self.timeline.len());
        self.timeline.push(Arc::clone(event));
        if let Some(key) = &event.state_key {
            self.apply_state(room, event, key, target_is_as);
        } else if event.kind == "m.reaction"
            && let Some(annotation) = annotation(&event.sender, &event.content_value())
        {
            self.annotations.insert(annotation);
        }
        if let Some(target) = &event.redacts {
            self.empty(target, &event.event_id);
        }
    }

    fn apply_state(&mut self, room: &Room, event: &Arc<Event>, key: &str, target_is_as: bool) {
        let content = event.content_value();
        match event.kind.as_str() {
            "m.room.member" => {
                let membership = content.get("membership").cloned().unwrap_or_default();
                if let Ok(membership) = serde_json::from_value::<Membership>(membership) {
                    let was = self.members.insert(key.to_owned(), Member { membership, is_as: target_is_as });
                    if target_is_as {
                        self.as_joined -= usize::from(was.is_some_and(|m| m.membership == Membership::Join));
                        self.as_joined += usize::from(membership == Membership::Join);
                    }
                }
            }
            "m.room.power_levels" => self.power = PowerLevels::parse(&content),
            "m.room.join_rules" => {
                self.public = content.get("join_rule").and_then(Value::as_str) == Some("public");
            }
            "m.room.create" if has_creator_power(&room.version) => {
                let more = content.get("additional_creators").and_then(Value::as_array).into_iter().flatten();
                self.creators = more.filter_map(|user| user.as_str().map(str::to_owned)).collect();
                self.creators.push(event.sender.clone());
            }
            _ => {}
        }
        let keys = self.state.entry(event.kind.clone()).or_default();
        keys.insert(key.to_owned(), Arc::clone(event));
    }

    fn empty(&mut self, target: &str, redaction: &str) {
        let Some(slot) = self.index.get(target).and_then(|at| self.timeline.get_mut(*at)) else { return };
        let old = slot.content_value();
        if let Some(annotation) = annotation(&slot.sender, &old) {
            self.annotations.remove(&annotation);
        }
        let kept = old.get("membership").filter(|_| slot.kind == "m.room.member");
        let kept = kept.map_or_else(|| "{}".to_owned(), |m| format!("{{\"membership\":{m}}}"));
        let mut event = Event::clone(slot);
        if let Ok(content) = serde_json::value::RawValue::from_string(kept) {
            event.content = content;
        }
        event.redacted_by = Some(redaction.to_owned());
        *slot = Arc::new(event);
        let slot = Arc::clone(slot);
        if let Some(key) = &slot.state_key
            && let Some(current) = self.state.get_mut(&slot.kind).and_then(|keys| keys.get_mut(key))
            && current.event_id == slot.event_id
        {
            *current = slot;
        }
    }
}

/// Identity of a reaction: the same sender may not put the same key on the same event twice.
pub(crate) fn annotation(sender: &str, content: &Value) -> Option<String> {
    let relation = content.get("m.relates_to")?;
    if relation.get("rel_type")?.as_str()? != "m.annotation" {
        return None;
    }
    let (target, key) = (relation.get("event_id")?.as_str()?, relation.get("key")?.as_str()?);
    Some(format!("{sender}\n{target}\n{key}"))
}
