//! The fleet in a rollout: what every pass tells of its object, whose turn has come, and what a person says.
//!
//! Nothing is kept that the cluster does not tell: after a start or a change of the leader the first passes over all
//! objects bring it together, and before that nobody's turn comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use operator_plan::{Control, Counts, Decision, Member, RolloutSettings, Turn, decide, halted_note};
use tokio::sync::Notify;

use crate::{key::Key, lanes::Lane, reconcile::Reconciler};

/// What comes in this time is decided upon at once.
const QUIET: Duration = Duration::from_millis(200);

/// The longest wait for a time at which something changes by itself.
const LONGEST: Duration = Duration::from_hours(1);

/// All objects as the rollout sees them.
#[derive(Debug)]
pub(crate) struct Fleet {
    settings: RolloutSettings,
    release: String,
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Every object that a pass has looked at; `None` for one that takes no part.
    members: BTreeMap<Key, Option<Member>>,
    /// Whose turn has come, and when, until the cluster tells of it.
    granted: BTreeMap<Key, Timestamp>,
    control: Control,
    standing: Standing,
}

/// How the rollout stands, for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) counts: Counts,
    pub(crate) halted: bool,
}

impl Fleet {
    pub(crate) fn new(settings: RolloutSettings, release: String) -> Self {
        Self { settings, release, inner: Mutex::default(), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the platform's change may come to an object.
    pub(crate) fn turn(&self, key: &Key) -> Turn {
        self.lock().granted.get(key).map_or(Turn::Waits, |at| Turn::Came(*at))
    }

    /// Takes what a pass found out about its object; `written` says that its plan has nothing to write any more.
    pub(crate) fn tell(&self, key: &Key, member: Option<Member>, written: bool) {
        let mut inner = self.lock();
        // A plan that has its turn says at once that nothing waits; its turn is over when that was written.
        if written && member.as_ref().is_none_or(|member| !member.waiting) {
            inner.granted.remove(key);
        }
        let changed = inner.members.get(key) != Some(&member);
        if changed {
            inner.members.insert(key.clone(), member);
            self.changed.notify_one();
        }
    }

    /// An object is gone.
    pub(crate) fn forget(&self, key: &Key) {
        let mut inner = self.lock();
        inner.granted.remove(key);
        if inner.members.remove(key).is_some() {
            self.changed.notify_one();
        }
    }

    /// Takes what a person says.
    pub(crate) fn control(&self, control: Control) {
        let mut inner = self.lock();
        if inner.control != control {
            tracing::info!(halted = control.halted, forgiven = ?control.forgiven, "what is said about the rollout");
            inner.control = control;
            self.changed.notify_one();
        }
    }

    /// Forgets all turns and all that passes told, since another process works now.
    pub(crate) fn stand_by(&self) {
        let mut inner = self.lock();
        inner.members.clear();
        inner.granted.clear();
        inner.standing = Standing::default();
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        self.lock().standing
    }

    /// Decides and grants; `objects` is how many there are. `None` while not all of them are known.
    fn decide(&self, objects: usize, now: Timestamp) -> Option<Decision<Key>> {
        let mut inner = self.lock();
        if inner.members.len() < objects {
            return None;
        }
        let members: BTreeMap<Key, Member> =
            inner.members.iter().filter_map(|(key, member)| Some((key.clone(), member.clone()?))).collect();
        let granted: BTreeSet<Key> = inner.granted.keys().cloned().collect();
        let decision = decide(&members, &granted, &self.settings, &inner.control, &self.release, now);
        inner.granted.extend(decision.go.iter().map(|key| (key.clone(), now)));
        inner.standing = Standing { counts: decision.counts, halted: decision.halted };
        Some(decision)
    }
}

/// Decides whenever something has changed or is due; runs as long as the process.
pub(crate) async fn run(reconciler: Arc<Reconciler>) {
    let fleet = &reconciler.fleet;
    let (mut wait, mut halted) = (LONGEST, false);
    loop {
        let _ = tokio::time::timeout(wait, fleet.changed.notified()).await;
        tokio::time::sleep(QUIET).await;
        wait = LONGEST;
        if !reconciler.fence.is_open() {
            continue;
        }
        let now = reconciler.clock.now();
        let Some(decision) = fleet.decide(reconciler.state.count(), now) else { continue };
        for key in &decision.go {
            tracing::info!(object = %key, "its turn in the rollout has come");
            reconciler.queue.push(key, Lane::Child);
        }
        if decision.halted && !halted {
            tracing::warn!(failed = ?decision.failed.iter().map(ToString::to_string).collect::<Vec<_>>(), "the rollout is halted");
            for key in &decision.failed {
                reconciler.tell_of_halt(key);
            }
        }
        halted = decision.halted;
        if let Some(at) = decision.again {
            let rest = u64::try_from(at.duration_since(now).as_secs()).unwrap_or_default();
            wait = Duration::from_secs(rest + 1).min(LONGEST);
        }
    }
}

impl Reconciler {
    fn tell_of_halt(&self, key: &Key) {
        let Some(snapshot) = self.state.snapshot(key) else { return };
        self.publish(&snapshot, vec![halted_note()]);
    }
}

/// Reads what a person says from the ConfigMap's data.
pub(crate) fn read_control(data: &serde_json::Value) -> Control {
    let forgiven = data[FORGIVEN].as_str().and_then(|text| {
        let (release, at) = text.split_once(' ')?;
        Some((release.to_owned(), at.parse().ok()?))
    });
    Control { halted: data[HALTED] == "true", forgiven }
}

/// Key of the ConfigMap: `"true"` halts every rollout.
pub(crate) const HALTED: &str = "halted";

/// Key of the ConfigMap: a release and a time; bridges that failed with it until then do not count.
pub(crate) const FORGIVEN: &str = "forgiven";

#[cfg(test)]
mod tests {
    use operator_plan::Share;
    use serde_json::json;

    use super::*;

    fn fleet() -> Fleet {
        let settings =
            RolloutSettings { canaries: 0, wave_size: Share::Count(1), ..RolloutSettings::default() };
        Fleet::new(settings, "r".to_owned())
    }

    fn member(waiting: bool) -> Member {
        Member { rank: 1, canary: false, waiting, staged: None, health: operator_plan::Health::Ready(None) }
    }

    fn now() -> Timestamp {
        "2026-03-01T08:00:00Z".parse().unwrap()
    }

    #[test]
    fn nobody_goes_before_all_are_known() {
        let (fleet, a, b) = (fleet(), Key::new("ns", "a"), Key::new("ns", "b"));
        fleet.tell(&a, Some(member(true)), true);
        assert!(fleet.decide(2, now()).is_none());
        assert_eq!(fleet.turn(&a), Turn::Waits);
        fleet.tell(&b, None, true);
        assert_eq!(fleet.decide(2, now()).unwrap().go, std::slice::from_ref(&a));
        assert_eq!(fleet.turn(&a), Turn::Came(now()));
        assert_eq!(fleet.turn(&b), Turn::Waits);
    }

    #[test]
    fn a_turn_lasts_until_it_was_written() {
        let (fleet, a) = (fleet(), Key::new("ns", "a"));
        fleet.tell(&a, Some(member(true)), true);
        fleet.decide(1, now()).unwrap();
        fleet.tell(&a, Some(member(false)), false);
        assert_eq!(fleet.turn(&a), Turn::Came(now()), "planned, but not written");
        fleet.tell(&a, Some(member(false)), true);
        assert_eq!(fleet.turn(&a), Turn::Waits);
    }

    #[test]
    fn what_a_person_says_is_read_and_nonsense_is_nothing() {
        let control = read_control(&json!({"halted": "true", "forgiven": "abc 2026-03-01T08:00:00Z"}));
        assert!(control.halted);
        assert_eq!(control.forgiven, Some(("abc".to_owned(), now())));
        assert_eq!(read_control(&json!({"halted": true, "forgiven": "abc"})), Control::default());
        assert_eq!(read_control(&serde_json::Value::Null), Control::default());
    }
}
