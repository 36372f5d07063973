//! A fleet that does what the decision says, for every fleet and every setting.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;

const NEW: &str = "new";

/// How long a pod of these fleets takes to start, in seconds.
const START: i64 = 7;

/// A bridge of a fleet: how it was, and what the new release makes of it.
#[derive(Clone, Debug)]
struct Bridge {
    up: bool,
    canary: bool,
    /// Whether the new release can start.
    starts: bool,
}

struct Fleet {
    bridges: Vec<Bridge>,
    members: BTreeMap<usize, Member>,
    now: Timestamp,
    settings: RolloutSettings,
    control: Control,
    /// In which order they went.
    went: Vec<usize>,
    /// Most that were unavailable because of the rollout.
    worst: usize,
}

impl Fleet {
    fn new(bridges: Vec<Bridge>, settings: RolloutSettings) -> Self {
        let now: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
        let members = bridges.iter().enumerate().map(|(at, bridge)| {
            let member = Member {
                rank: (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15),
                canary: bridge.canary,
                waiting: true,
                staged: None,
                health: if bridge.up { Health::Ready(Some(now)) } else { Health::Away },
            };
            (at, member)
        });
        let members = members.collect();
        Self { bridges, members, now, settings, control: Control::default(), went: Vec::new(), worst: 0 }
    }

    fn decide(&self) -> Decision<usize> {
        decide(&self.members, &BTreeSet::new(), &self.settings, &self.control, NEW, self.now)
    }

    /// One second: who may go goes, and pods that were started long enough ago are ready.
    fn second(&mut self) {
        for at in self.decide().go {
            let member = self.members.get_mut(&at).unwrap();
            assert!(member.waiting, "{at} went twice");
            let staged = Staged { at: self.now, release: NEW.to_owned(), was_up: member.health.is_ready() };
            member.waiting = false;
            (member.staged, member.health) = (Some(staged), Health::Away);
            self.went.push(at);
        }
        let down = |(at, member): (&usize, &Member)| self.bridges[*at].up && !member.health.is_ready();
        self.worst = self.worst.max(self.members.iter().filter(|entry| down(*entry)).count());
        self.now += SignedDuration::from_secs(1);
        for (at, member) in &mut self.members {
            let Some(staged) = &member.staged else { continue };
            let started = self.now.duration_since(staged.at).as_secs() >= START;
            if started && !member.health.is_ready() {
                member.health =
                    if self.bridges[*at].starts { Health::Ready(Some(self.now)) } else { Health::Broken };
            }
        }
    }

    /// Runs until nothing is left to do or nobody may go.
    fn run(&mut self) -> Decision<usize> {
        for _ in 0..200_000 {
            let decision = self.decide();
            if decision.halted || decision.counts.waiting + decision.counts.moving == 0 {
                return decision;
            }
            self.second();
        }
        panic!("never ends: {:?}", self.decide());
    }
}

fn share() -> impl Strategy<Value = Share> {
    prop_oneof![(1u32..9).prop_map(Share::Count), (1u32..=100).prop_map(Share::Percent)]
}

fn settings() -> impl Strategy<Value = RolloutSettings> {
    (0u32..4, share(), share(), 0u32..20, 1u32..5).prop_map(
        |(canaries, wave_size, max_unavailable, soak_seconds, stop_after_failures)| RolloutSettings {
            canaries,
            wave_size,
            max_unavailable,
            soak_seconds,
            fail_after_seconds: 30,
            stop_after_failures,
        },
    )
}

fn bridges(starts: impl Strategy<Value = bool> + Clone) -> impl Strategy<Value = Vec<Bridge>> {
    let one = (prop::bool::weighted(0.9), prop::bool::weighted(0.1), starts);
    proptest::collection::vec(one.prop_map(|(up, canary, starts)| Bridge { up, canary, starts }), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_rollout_in_which_all_succeed_ends_and_keeps_its_budget(bridges in bridges(Just(true)), settings in settings()) {
        let mut fleet = Fleet::new(bridges, settings);
        let end = fleet.run();
        prop_assert!(!end.halted);
        prop_assert_eq!(end.counts.done, fleet.bridges.len());
        prop_assert!(fleet.worst <= fleet.settings.max_unavailable.of(fleet.bridges.len()), "{}", fleet.worst);
    }

    #[test]
    fn a_rollout_with_failures_keeps_its_budget_and_stops(bridges in bridges(any::<bool>()), settings in settings()) {
        let mut fleet = Fleet::new(bridges, settings);
        let end = fleet.run();
        let budget = fleet.settings.max_unavailable.of(fleet.bridges.len());
        prop_assert!(fleet.worst <= budget, "{} of {budget}", fleet.worst);
        let stop = budget.min(fleet.settings.stop_after_failures as usize);
        prop_assert!(end.counts.failed < stop || end.halted || end.counts.waiting == 0);
        // What was on its way when the last failure was noticed may fail as well, but no more than the budget.
        prop_assert!(end.counts.failed <= budget);
    }

    #[test]
    fn canaries_are_proven_before_anybody_else_goes(bridges in bridges(Just(true)), settings in settings()) {
        let mut fleet = Fleet::new(bridges, settings);
        let named: BTreeSet<usize> = (0..fleet.bridges.len()).filter(|at| fleet.bridges[*at].canary).collect();
        fleet.run();
        if !named.is_empty() {
            let first: BTreeSet<usize> = fleet.went.iter().take(named.len()).copied().collect();
            prop_assert_eq!(first, named);
        }
    }
}

fn fleet_of(count: usize, starts: bool) -> Fleet {
    let bridge = Bridge { up: true, canary: false, starts };
    let settings = RolloutSettings {
        canaries: 1,
        wave_size: Share::Count(4),
        max_unavailable: Share::Count(2),
        soak_seconds: 10,
        fail_after_seconds: 60,
        stop_after_failures: 5,
    };
    Fleet::new(vec![bridge; count], settings)
}

#[test]
fn nothing_is_remembered_so_another_operator_goes_on() {
    let mut fleet = fleet_of(12, true);
    while fleet.went.len() < 5 {
        fleet.second();
    }
    // The next operator knows the cluster only, which is all that a decision looks at.
    let mut next = fleet_of(12, true);
    (next.members, next.now) = (fleet.members.clone(), fleet.now);
    assert_eq!(next.decide(), fleet.decide());
    assert_eq!(next.run().counts.done, 12);
}

#[test]
fn a_broken_canary_stops_all_others() {
    let mut fleet = fleet_of(12, false);
    fleet.settings.stop_after_failures = 1;
    let end = fleet.run();
    assert!(end.halted);
    assert_eq!((fleet.went.len(), end.counts.failed, end.counts.waiting), (1, 1, 11));
}

#[test]
fn failures_that_fill_the_budget_stop_it_before_the_limit_does() {
    let mut fleet = fleet_of(12, false);
    fleet.settings.canaries = 0;
    let end = fleet.run();
    assert!(end.halted);
    assert_eq!((end.counts.failed, end.counts.waiting), (2, 10));
}

#[test]
fn a_person_stops_it_and_lets_it_go_on_in_spite_of_failures() {
    let mut fleet = fleet_of(6, true);
    fleet.control.halted = true;
    assert!(fleet.decide().halted && fleet.decide().go.is_empty());
    fleet.control.halted = false;
    fleet.bridges[0].starts = false;
    fleet.settings.canaries = 6;
    fleet.settings.stop_after_failures = 1;
    assert!(fleet.run().halted);
    // Said about another release, it changes nothing.
    fleet.control.forgiven = Some(("other".to_owned(), fleet.now));
    assert!(fleet.decide().halted);
    // Said in the second in which its turn came, it may have been said before.
    let turn = fleet.members[&0].staged.as_ref().unwrap().at;
    fleet.control.forgiven = Some((NEW.to_owned(), turn));
    assert!(fleet.decide().halted);
    fleet.control.forgiven = Some((NEW.to_owned(), fleet.now));
    let end = fleet.run();
    assert!(!end.halted);
    assert_eq!(end.counts.waiting, 0);
}

#[test]
fn what_an_earlier_release_broke_is_repaired_first() {
    let mut fleet = fleet_of(8, true);
    for at in [2, 5] {
        let member = fleet.members.get_mut(&at).unwrap();
        let old = Staged { at: fleet.now, release: "bad".to_owned(), was_up: true };
        (member.staged, member.health) = (Some(old), Health::Broken);
    }
    let first = fleet.decide();
    assert_eq!(first.go.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([2, 5]));
    assert_eq!(first.counts.unavailable, 2, "they fill the budget until they are back");
    assert_eq!(fleet.run().counts.done, 8);
}

#[test]
fn a_pod_that_was_ready_before_proves_nothing() {
    let mut fleet = fleet_of(3, true);
    let before = fleet.now - SignedDuration::from_hours(1);
    let member = fleet.members.get_mut(&0).unwrap();
    let staged = Staged { at: fleet.now, release: NEW.to_owned(), was_up: true };
    (member.waiting, member.staged, member.health) = (false, Some(staged), Health::Ready(Some(before)));
    let decision = fleet.decide();
    assert_eq!((decision.counts.moving, decision.counts.done), (1, 0));
    assert_eq!(decision.again, Some(fleet.now + SignedDuration::from_secs(10)));
}

#[test]
fn who_was_granted_counts_until_the_cluster_tells_of_it() {
    let mut fleet = fleet_of(12, true);
    fleet.settings.canaries = 0;
    let go: BTreeSet<usize> = fleet.decide().go.into_iter().collect();
    assert_eq!(go.len(), 2);
    let again = decide(&fleet.members, &go, &fleet.settings, &fleet.control, NEW, fleet.now);
    assert!(again.go.is_empty());
    assert_eq!(again.counts.unavailable, 2);
}

#[test]
fn a_canary_whose_turn_came_is_one_until_the_cluster_tells_of_it() {
    let mut fleet = fleet_of(4, true);
    let canary = fleet.members.get_mut(&2).unwrap();
    // Its pass says at once that nothing waits, and the last change that the cluster tells of is an older one.
    let old = Staged { at: fleet.now, release: "old".to_owned(), was_up: true };
    (canary.canary, canary.waiting, canary.staged) = (true, false, Some(old));
    let granted = BTreeSet::from([2]);
    let decision = decide(&fleet.members, &granted, &fleet.settings, &fleet.control, NEW, fleet.now);
    assert!(decision.canaries_only && decision.go.is_empty(), "{decision:?}");
}

#[test]
fn settings_are_read_as_numbers_and_shares() {
    let read = |text: &str| serde_saphyr::from_str::<RolloutSettings>(text);
    let settings = read("waveSize: 25%\nmaxUnavailable: 3\n").unwrap();
    assert_eq!((settings.wave_size, settings.max_unavailable), (Share::Percent(25), Share::Count(3)));
    assert_eq!((Share::Percent(25).of(10), Share::Percent(1).of(3), Share::Count(4).of(2)), (3, 1, 4));
    for wrong in ["waveSize: 0", "waveSize: 101%", "maxUnavailable: -1", "maxUnavailable: many", "waves: 2"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    let strange = RolloutSettings { fail_after_seconds: 1, ..RolloutSettings::default() };
    assert!(strange.mistakes()[0].contains("failAfterSeconds"));
}

#[test]
fn marks_are_read_as_they_are_written() {
    let marks = Marks {
        own: Some("a".to_owned()),
        template: Some("b".to_owned()),
        default_image: Some("image:1".to_owned()),
        staged: Some(Staged {
            at: "2026-03-01T08:00:00Z".parse().unwrap(),
            release: "r".to_owned(),
            was_up: true,
        }),
    };
    let annotations = marks.annotations();
    assert_eq!(Marks::read(|name| annotations.get(name).map(String::as_str)), marks);
    assert_eq!(Marks::read(|_| Some("what is this")).staged, None);
}
