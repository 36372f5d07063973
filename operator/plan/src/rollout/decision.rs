//! Who may go now, from what is known of all.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Health, Member, RolloutSettings};

/// What a person has said about the rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Nobody goes.
    pub halted: bool,
    /// The release whose failures until then do not count, and when that was said; turns of the same second count.
    pub forgiven: Option<(String, Timestamp)>,
}

/// How the rollout stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bridges that have what the platform wants and are not being watched any more.
    pub done: usize,
    /// Bridges that got it and are not done: they start, or have not been ready for long enough.
    pub moving: usize,
    /// Bridges that wait for their turn.
    pub waiting: usize,
    /// Bridges that were available before and did not become ready.
    pub failed: usize,
    /// Bridges that are unavailable because of the rollout.
    pub unavailable: usize,
}

/// What is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<K: Ord> {
    /// Whose turn comes now.
    pub go: Vec<K>,
    /// How it stands, without those.
    pub counts: Counts,
    /// Who failed.
    pub failed: Vec<K>,
    /// Whether some wait and nobody may go because of failures or because a person said so.
    pub halted: bool,
    /// Whether only canaries may go.
    pub canaries_only: bool,
    /// When to decide again although nothing has changed.
    pub again: Option<Timestamp>,
}

/// How far a bridge is that got the change.
#[derive(Clone, Copy, PartialEq)]
enum Progress {
    /// It was ready for long enough, or nothing can be learned from it.
    Done,
    /// It is ready, or not late yet.
    Moving,
    /// It was available before and is not ready.
    Failed,
}

/// Decides. `granted` are those whose turn came and of whom the cluster does not tell it yet.
pub fn decide<K: Ord + Clone>(
    members: &BTreeMap<K, Member>,
    granted: &BTreeSet<K>,
    settings: &RolloutSettings,
    control: &Control,
    release: &str,
    now: Timestamp,
) -> Decision<K> {
    let view = View { settings, control, release, now };
    let mut decision = Decision::nobody();
    let mut again = Soonest::default();
    // Bridges in motion, whether or not they were available: they hold places of the wave.
    let mut in_wave = 0;
    for (key, member) in members {
        let is_granted = granted.contains(key);
        if is_granted {
            decision.counts.moving += 1;
            decision.counts.unavailable += 1;
            in_wave += 1;
            continue;
        }
        if view.unavailable(member) {
            decision.counts.unavailable += 1;
        }
        if member.waiting {
            decision.counts.waiting += 1;
        } else {
            match view.progress(member) {
                Progress::Done => decision.counts.done += 1,
                Progress::Moving => {
                    decision.counts.moving += 1;
                    in_wave += 1;
                }
                Progress::Failed => {
                    decision.counts.failed += 1;
                    decision.failed.push(key.clone());
                }
            }
        }
        again.consider(view.wake(member));
    }
    decision.again = again.0;
    if decision.counts.waiting == 0 {
        return decision;
    }
    // A bridge whose turn came is concerned, although its pod may not tell of it yet.
    let concerned: Vec<(&K, &Member)> = members
        .iter()
        .filter(|(key, member)| member.waiting || granted.contains(*key) || view.is_of_release(member))
        .collect();
    let wave = settings.wave_size.of(concerned.len());
    let budget = settings.max_unavailable.of(concerned.len());
    let stop = budget.min(settings.stop_after_failures as usize);
    if control.halted || decision.counts.failed >= stop {
        decision.halted = true;
        return decision;
    }
    let canaries = canaries(concerned, settings);
    let unproven = |key: &&K| {
        granted.contains(*key)
            || members
                .get(*key)
                .is_some_and(|member| member.waiting || view.progress(member) == Progress::Moving)
    };
    decision.canaries_only = canaries.iter().any(|key| unproven(&key));
    let mut waiting: Vec<(&K, &Member)> =
        members.iter().filter(|(key, member)| member.waiting && !granted.contains(*key)).collect();
    waiting.sort_by_key(|(_, member)| (member.health != Health::Broken, member.rank));
    let mut places = wave.saturating_sub(in_wave);
    let mut budget_left = budget.saturating_sub(decision.counts.unavailable);
    for (key, member) in waiting {
        if places == 0 {
            break;
        }
        // A bridge whose pod cannot start has nothing to lose: what replaces it is its repair.
        if member.health == Health::Broken {
            places -= 1;
            decision.go.push(key.clone());
        } else if budget_left > 0 && (!decision.canaries_only || canaries.contains(key)) {
            places -= 1;
            budget_left -= 1;
            decision.go.push(key.clone());
        }
    }
    decision
}

impl<K: Ord> Decision<K> {
    /// Nobody goes, and nothing is known.
    pub fn nobody() -> Self {
        Self {
            go: Vec::new(),
            counts: Counts::default(),
            failed: Vec::new(),
            halted: false,
            canaries_only: false,
            again: None,
        }
    }
}

/// The canaries among those that the change concerns: those with the label, else the first ones.
fn canaries<K: Ord + Clone>(mut concerned: Vec<(&K, &Member)>, settings: &RolloutSettings) -> BTreeSet<K> {
    if concerned.iter().any(|(_, member)| member.canary) {
        concerned.retain(|(_, member)| member.canary);
    } else {
        concerned.sort_by_key(|(_, member)| member.rank);
        concerned.truncate(settings.canaries as usize);
    }
    concerned.into_iter().map(|(key, _)| key.clone()).collect()
}

#[derive(Clone, Copy)]
struct View<'a> {
    settings: &'a RolloutSettings,
    control: &'a Control,
    release: &'a str,
    now: Timestamp,
}

impl View<'_> {
    fn is_of_release(&self, member: &Member) -> bool {
        member.staged.as_ref().is_some_and(|staged| staged.release == self.release)
    }

    fn is_forgiven(&self, member: &Member) -> bool {
        let Some((release, at)) = &self.control.forgiven else { return false };
        // Turns are kept in whole seconds: one of the same second may have come after the words.
        let before = |turn: Timestamp| turn.as_second() < at.as_second();
        release == self.release && member.staged.as_ref().is_some_and(|staged| before(staged.at))
    }

    fn is_late(&self, member: &Member) -> bool {
        let limit = SignedDuration::from_secs(i64::from(self.settings.fail_after_seconds));
        member.staged.as_ref().is_none_or(|staged| self.now.duration_since(staged.at) >= limit)
    }

    fn progress(&self, member: &Member) -> Progress {
        let Some(staged) = member.staged.as_ref().filter(|staged| staged.release == self.release) else {
            return Progress::Done;
        };
        if let Health::Ready(since) = member.health {
            let soak = SignedDuration::from_secs(i64::from(self.settings.soak_seconds));
            // A pod that was ready before is the old one, of which the news has not come yet that it is gone.
            let soaked =
                since.is_some_and(|since| self.now.duration_since(self.from(since, staged.at)) >= soak);
            return if soaked { Progress::Done } else { Progress::Moving };
        }
        match (
            member.health == Health::Broken || self.is_late(member),
            staged.was_up && !self.is_forgiven(member),
        ) {
            (false, _) => Progress::Moving,
            (true, true) => Progress::Failed,
            (true, false) => Progress::Done,
        }
    }

    /// From when a bridge counts as ready. A turn that seems to come later than now came by a clock that was wrong.
    fn from(&self, ready: Timestamp, staged: Timestamp) -> Timestamp {
        if staged > self.now { ready } else { ready.max(staged) }
    }

    /// Whether it is unavailable because of this rollout, or of the one before that this one overtook.
    fn unavailable(&self, member: &Member) -> bool {
        let Some(staged) = &member.staged else { return false };
        staged.was_up
            && !member.health.is_ready()
            && !self.is_forgiven(member)
            && (staged.release == self.release || !self.is_late(member))
    }

    /// When its standing changes by itself.
    fn wake(&self, member: &Member) -> Option<Timestamp> {
        let staged = member.staged.as_ref()?;
        let after = |from: Timestamp, seconds: u32| {
            let at = from.checked_add(SignedDuration::from_secs(i64::from(seconds))).ok()?;
            (at > self.now).then_some(at)
        };
        if let Health::Ready(since) = member.health {
            return after(self.from(since?, staged.at), self.settings.soak_seconds);
        }
        after(staged.at, self.settings.fail_after_seconds)
    }
}

/// The first of several times.
#[derive(Default)]
struct Soonest(Option<Timestamp>);

impl Soonest {
    fn consider(&mut self, at: Option<Timestamp>) {
        self.0 = match (self.0, at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}
