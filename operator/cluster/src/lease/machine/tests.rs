use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn seen(holder: &str, version: u64) -> Seen {
    Seen::read(json!({"metadata": {"resourceVersion": version.to_string()},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 14}}))
}

fn machine(now: Instant) -> Machine {
    Machine::new("me".into(), Timing::default(), now)
}

#[test]
fn an_absent_lease_is_created_and_then_renewed() {
    let start = Instant::now();
    let mut machine = machine(start);
    assert_eq!(machine.next(start), Step::Read);
    machine.saw(None, start);
    assert_eq!(machine.next(start), Step::Create);
    machine.wrote(start, seen("me", 1), start + SECOND);
    assert_eq!(machine.leading_until(start + SECOND), Some(start + 10 * SECOND));
    let Step::Wait(until) = machine.next(start + SECOND) else { panic!("no wait") };
    assert!(until >= start + 4 * SECOND && until <= start + 5 * SECOND);
    assert_eq!(machine.next(start + 5 * SECOND), Step::Hold(seen("me", 1)));
    // Nothing comes of it: at the deadline it is over.
    machine.failed(start + 6 * SECOND);
    assert_eq!(machine.leading_until(start + 10 * SECOND), None);
    assert_eq!(machine.next(start + 10 * SECOND), Step::Hold(seen("me", 1)));
}

#[test]
fn a_lease_of_somebody_else_is_taken_when_it_has_not_changed_for_its_duration() {
    let start = Instant::now();
    let mut machine = machine(start);
    machine.saw(Some(seen("other", 1)), start);
    assert_eq!(machine.next(start), Step::Wait(start + 14 * SECOND));
    // The same again is no change, and what is older is none either.
    machine.saw(Some(seen("other", 1)), start + 5 * SECOND);
    assert_eq!(machine.next(start + 5 * SECOND), Step::Wait(start + 14 * SECOND));
    machine.saw(Some(seen("other", 2)), start + 10 * SECOND);
    machine.saw(Some(seen("third", 1)), start + 12 * SECOND);
    assert_eq!(machine.next(start + 12 * SECOND), Step::Wait(start + 24 * SECOND));
    assert_eq!(machine.next(start + 24 * SECOND), Step::Hold(seen("other", 2)));
    machine.lost_race();
    assert_eq!(machine.next(start + 24 * SECOND), Step::Read);
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let start = Instant::now();
    let mut machine = machine(start);
    machine.saw(Some(seen("other", 1)), start);
    machine.saw(Some(seen("", 2)), start + SECOND);
    assert_eq!(machine.next(start + SECOND), Step::Hold(seen("", 2)));
}

#[test]
fn a_lease_that_was_deleted_is_not_free_before_its_holder_is_done() {
    let start = Instant::now();
    let mut other = machine(start);
    other.saw(Some(seen("other", 1)), start);
    other.saw(None, start + SECOND);
    assert_eq!(other.next(start + SECOND), Step::Wait(start + 14 * SECOND));
    assert_eq!(other.next(start + 14 * SECOND), Step::Create);
    let mut holder = machine(start);
    holder.wrote(start, seen("me", 1), start);
    holder.saw(None, start + SECOND);
    assert_eq!(holder.next(start + SECOND), Step::Create);
}

#[test]
fn whoever_stops_gives_the_lease_back() {
    let start = Instant::now();
    let mut holder = machine(start);
    holder.wrote(start, seen("me", 1), start);
    holder.stop();
    assert_eq!((holder.leading_until(start), holder.next(start)), (None, Step::Release(seen("me", 1))));
    holder.wrote(start, seen("", 2), start);
    assert_eq!(holder.next(start), Step::Done);

    let mut standby = machine(start);
    standby.saw(Some(seen("other", 1)), start);
    standby.stop();
    assert_eq!(standby.next(start), Step::Done);

    // A write was on its way: it is looked up whether it came to something.
    let mut unsure = machine(start);
    unsure.saw(None, start);
    unsure.stop_in_flight();
    assert_eq!(unsure.next(start), Step::Read);
    unsure.saw(Some(seen("me", 1)), start);
    assert_eq!(unsure.next(start), Step::Release(seen("me", 1)));
}

// Several candidates and a server, with calls that come late, get lost on the way there or back, or come after their
// sender gave them up; with processes that freeze, and clocks that run at their own speed.

/// What happens to one call: ticks until it is there, and until its answer is back. 40 and more: never.
type Fate = (u32, u32);

const TICK: Duration = Duration::from_millis(100);
const NEVER: u32 = 40;

struct Flight {
    step: Step,
    sent: Instant,
    arrives: u32,
    answers: u32,
    answer: Option<Answer>,
    is_given_up: bool,
}

enum Answer {
    Saw(Option<Seen>),
    Wrote(Seen),
    LostRace,
}

struct Candidate {
    machine: Machine,
    name: String,
    /// How fast its clock runs, in percent.
    speed: u32,
    flights: Vec<Flight>,
    frozen_until: u32,
    has_crashed: bool,
}

impl Candidate {
    fn clock(&self, start: Instant, tick: u32) -> Instant {
        start + TICK * tick * self.speed / 100
    }

    fn is_leading(&self, start: Instant, tick: u32) -> bool {
        !self.has_crashed && self.machine.leading_until(self.clock(start, tick)).is_some()
    }
}

#[derive(Default)]
struct Store {
    lease: Option<Seen>,
    version: u64,
}

impl Store {
    fn take(&mut self, step: &Step, who: &str) -> Answer {
        let (before, holder) = match step {
            Step::Read => return Answer::Saw(self.lease.clone()),
            Step::Create => (None, who),
            Step::Hold(seen) => (Some(seen), who),
            Step::Release(seen) => (Some(seen), ""),
            other => panic!("{other:?} is no call"),
        };
        match (&self.lease, before) {
            (None, Some(_)) => return Answer::Saw(None),
            (there, before)
                if there.as_ref().map(|lease| &lease.version) != before.map(|lease| &lease.version) =>
            {
                return Answer::LostRace;
            }
            _ => {}
        }
        self.version += 1;
        self.lease = Some(seen(holder, self.version));
        Answer::Wrote(self.lease.clone().unwrap())
    }
}

#[derive(Clone, Debug)]
enum Event {
    Freeze(u32),
    Stop,
    Crash,
    Observe,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1..200_u32).prop_map(Event::Freeze),
        1 => Just(Event::Stop),
        1 => Just(Event::Crash),
        8 => Just(Event::Observe),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => (0..3_u32, 0..3_u32), 2 => (0..60_u32, 0..60_u32), 1 => (0..250_u32, 0..60_u32)]
}

/// Runs it; the candidates that led, in order. Panics when two lead at once.
fn simulate(
    speeds: &[u32],
    fates: &[Fate],
    events: &BTreeMap<u32, (usize, Event)>,
    ticks: u32,
) -> Vec<(u32, usize)> {
    let start = Instant::now();
    let (mut store, mut led) = (Store::default(), Vec::new());
    let mut fates = fates.iter().copied().cycle();
    let mut candidates: Vec<Candidate> = (speeds.iter().enumerate())
        .map(|(number, speed)| {
            let name = format!("c{number}");
            Candidate {
                machine: Machine::new(name.clone(), Timing::default(), start),
                name,
                speed: *speed,
                flights: Vec::new(),
                frozen_until: 0,
                has_crashed: false,
            }
        })
        .collect();
    for tick in 0..ticks {
        if let Some((who, event)) = events.get(&tick) {
            let candidate = &mut candidates[who % speeds.len()];
            match event {
                Event::Freeze(ticks) => candidate.frozen_until = tick + ticks,
                Event::Stop if candidate.flights.iter().any(|flight| !flight.is_given_up) => {
                    candidate.flights.iter_mut().for_each(|flight| flight.is_given_up = true);
                    candidate.machine.stop_in_flight();
                }
                Event::Stop => candidate.machine.stop(),
                Event::Crash => candidate.has_crashed = true,
                Event::Observe => candidate.machine.saw(store.lease.clone(), candidate.clock(start, tick)),
            }
        }
        for candidate in &mut candidates {
            let now = candidate.clock(start, tick);
            // Calls arrive, also those that their sender has given up.
            for flight in &mut candidate.flights {
                if flight.arrives == tick {
                    flight.answer = Some(store.take(&flight.step, &candidate.name));
                }
            }
            if candidate.has_crashed || tick < candidate.frozen_until {
                continue;
            }
            let machine = &mut candidate.machine;
            for flight in &mut candidate.flights {
                let bound = flight.sent + Timing::default().call;
                if flight.is_given_up {
                } else if tick >= flight.answers
                    && let Some(answer) = flight.answer.take()
                {
                    flight.is_given_up = true;
                    match answer {
                        Answer::Saw(lease) => machine.saw(lease, now),
                        Answer::Wrote(lease) => machine.wrote(flight.sent, lease, now),
                        Answer::LostRace => machine.lost_race(),
                    }
                } else if now >= bound {
                    flight.is_given_up = true;
                    machine.failed(now);
                }
            }
            candidate.flights.retain(|flight| !flight.is_given_up || flight.arrives > tick);
            if candidate.flights.iter().all(|flight| flight.is_given_up) {
                let step = machine.next(now);
                if !matches!(step, Step::Wait(_) | Step::Done) {
                    let (there, back) = fates.next().unwrap();
                    let arrives = tick + 1 + there;
                    let answers = if back >= NEVER { u32::MAX } else { arrives + back };
                    candidate.flights.push(Flight {
                        step,
                        sent: now,
                        arrives,
                        answers,
                        answer: None,
                        is_given_up: false,
                    });
                }
            }
        }
        let leading: Vec<usize> =
            (0..candidates.len()).filter(|number| candidates[*number].is_leading(start, tick)).collect();
        assert!(leading.len() <= 1, "{leading:?} at {tick}");
        if let Some(leader) = leading.first()
            && led.last().is_none_or(|(_, last)| last != leader)
        {
            led.push((tick, *leader));
        }
    }
    led
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn two_are_never_in_charge_at_once(
        speeds in prop::collection::vec(90..110_u32, 1..4),
        fates in prop::collection::vec(fate(), 1..60),
        events in prop::collection::btree_map(0..1500_u32, (0..4_usize, event()), 0..25),
    ) {
        simulate(&speeds, &fates, &events, 1500);
    }

    #[test]
    fn after_a_crash_another_one_is_in_charge_within_the_duration(at in 100..200_u32) {
        let crash = BTreeMap::from([(at, (0, Event::Crash))]);
        // The second sees the first renewal of each second or so, as by a watch.
        let mut events: BTreeMap<u32, (usize, Event)> = (0..600).filter(|tick| tick % 5 == 1).map(|tick| (tick, (1, Event::Observe))).collect();
        events.extend(crash);
        let led = simulate(&[100, 100], &[(0, 0)], &events, 600);
        prop_assert_eq!(led.len(), 2);
        prop_assert_eq!((led[0].1, led[1].1), (0, 1));
        prop_assert!(led[1].0 - at <= 150, "{} after {}", led[1].0, at);
    }
}

#[test]
fn after_a_clean_stop_another_one_is_in_charge_within_a_second() {
    let mut events: BTreeMap<u32, (usize, Event)> =
        (0..300).filter(|tick| tick % 2 == 1).map(|tick| (tick, (1, Event::Observe))).collect();
    events.insert(200, (0, Event::Stop));
    let led = simulate(&[100, 100], &[(0, 0)], &events, 300);
    assert_eq!((led.len(), led[1].1), (2, 1));
    assert!(led[1].0 - 200 <= 10, "{led:?}");
}
