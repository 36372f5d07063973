//! Events of one Matrix room on their way into its DingTalk chat.

use std::time::Duration;

use bridge_core::delivery::attempt::{Next, Outcome};

use crate::{
    decide,
    explore::{Protocol, explore},
};

/// A rule of the bridge that is left out, or one that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum But {
    Nothing,
    /// What was accepted is not remembered.
    NoSeenKeys,
    /// The timeline is not read back.
    NoReadingBack,
    /// The watermark is moved before what was read is accepted.
    WatermarkFirst,
    /// An event that is pushed moves the watermark.
    PushMovesWatermark,
    /// A row that was being sent when the process died is sent again.
    RepeatAfterCrash,
    /// A post without an answer is repeated.
    RepeatUnanswered,
}

/// What a homeserver does with a transaction that was not answered 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Homeserver {
    SendsAgain,
    Forgets,
}

struct IntoDingTalk {
    events: u8,
    homeserver: Homeserver,
    crashes: u8,
    /// How often an answer of DingTalk is lost, a post is refused, or DingTalk asks to wait.
    lost_answers: u8,
    refusals: u8,
    delays: u8,
    but: But,
}

impl IntoDingTalk {
    fn of(events: u8, homeserver: Homeserver) -> Self {
        Self { events, homeserver, crashes: 2, lost_answers: 1, refusals: 1, delays: 1, but: But::Nothing }
    }
}

/// Where the homeserver stands with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Push {
    Waiting,
    Answered,
    Forgotten,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    event: u8,
    /// Marked as being sent.
    sending: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// The homeserver: one entry for each event that was written.
    pushes: Vec<Push>,
    /// Durable.
    seen: Vec<u8>,
    inbox: Vec<u8>,
    outbox: Vec<Row>,
    /// How much of the timeline is known to be complete.
    watermark: u8,
    /// Of which events the room was told that they did not arrive, or may not have.
    told: Vec<u8>,
    /// In memory: whether the outbox was looked through since the start.
    recovered: bool,
    /// In memory: the row at the outbox's front is marked by this process and its body may leave.
    gate: bool,
    /// In memory: the front of the outbox was sent, which is not written yet.
    sent: bool,
    /// In memory: what a reading of the timeline has found, and up to where it read.
    reading: Option<(u8, Vec<u8>)>,
    /// The body of a process that was stopped or cut off; it may still leave.
    late: Option<u8>,
    /// DingTalk.
    chat: Vec<u8>,
    accepted: Vec<u8>,
    crashes: u8,
    lost_answers: u8,
    refusals: u8,
    delays: u8,
}

impl State {
    /// How many events the room has.
    fn written(&self) -> u8 {
        u8::try_from(self.pushes.len()).unwrap_or(u8::MAX)
    }
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// Somebody writes in the room.
    Write,
    /// A transaction is committed or not, its answer arrives or not.
    Push { event: u8, committed: bool, answered: bool },
    /// The timeline is read from its end to the watermark.
    Read,
    /// What was found is accepted and the watermark moves, in one commit.
    Take,
    /// Only where that rule is left out: the watermark moves first.
    MoveWatermark,
    /// The first row of the inbox is decided: one commit.
    Decide,
    /// After a start: rows that were being sent are given up and told.
    Recover,
    /// The next row is marked; what became of the one before it is written in the same commit.
    Mark,
    /// The body leaves, and this comes back.
    Post(Answer),
    /// What became of the last row is written.
    Settle,
    /// The process is killed, or replaced while its body is still under way.
    Crash { under_way: bool },
    /// The body of a former process leaves.
    LateLeaves,
}

/// What a post meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    TakenButLost,
    CutBefore,
    Refused,
    Wait,
}

impl IntoDingTalk {
    fn accept(&self, state: &mut State, event: u8) {
        let known = state.seen.contains(&event);
        if !known {
            state.seen.push(event);
            state.accepted.push(event);
        }
        if !known || self.but == But::NoSeenKeys {
            state.inbox.push(event);
        }
    }

    /// The place of the row that is sent next: behind the one whose result is not written yet.
    fn next_to_mark(state: &State) -> Option<usize> {
        let place = usize::from(state.sent);
        (state.recovered && !state.gate && state.outbox.len() > place).then_some(place)
    }

    fn post(&self, state: &mut State, answer: Answer) {
        let event = state.outbox[0].event;
        let code = || "x".to_owned();
        if matches!(answer, Answer::Taken | Answer::TakenButLost) {
            state.chat.push(event);
        }
        let outcome = match answer {
            Answer::Taken => Outcome::Sent,
            Answer::TakenButLost | Answer::CutBefore if self.but == But::RepeatUnanswered => {
                Outcome::Failed { code: code() }
            }
            Answer::TakenButLost | Answer::CutBefore => Outcome::Unknown { code: code() },
            Answer::Refused => Outcome::Refused { code: code() },
            Answer::Wait => Outcome::Throttled { after: Duration::from_secs(1), code: code() },
        };
        match answer {
            Answer::Taken => {}
            Answer::TakenButLost | Answer::CutBefore => state.lost_answers -= 1,
            Answer::Refused => state.refusals -= 1,
            Answer::Wait => state.delays -= 1,
        }
        state.gate = false;
        match decide(&outcome) {
            Next::Done => state.sent = true,
            // One commit: it waits for its time.
            Next::Retry(_) => state.outbox[0].sending = false,
            // One commit: it is kept as failed, and the notice for the room is queued.
            Next::Park | Next::MaybeSent => {
                state.outbox.remove(0);
                state.told.push(event);
            }
        }
    }
}

impl Protocol for IntoDingTalk {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        State {
            pushes: Vec::new(),
            seen: Vec::new(),
            inbox: Vec::new(),
            outbox: Vec::new(),
            watermark: 0,
            told: Vec::new(),
            recovered: true,
            gate: false,
            sent: false,
            reading: None,
            late: None,
            chat: Vec::new(),
            accepted: Vec::new(),
            crashes: self.crashes,
            lost_answers: self.lost_answers,
            refusals: self.refusals,
            delays: self.delays,
        }
    }

    fn actions(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        let written = state.written();
        if written < self.events {
            actions.push(Action::Write);
        }
        // A homeserver delivers in order: the first that waits.
        if let Some(event) = (0..written).find(|&event| state.pushes[usize::from(event)] == Push::Waiting) {
            for (committed, answered) in [(true, true), (true, false), (false, false)] {
                actions.push(Action::Push { event, committed, answered });
            }
        }
        if self.but != But::NoReadingBack && state.reading.is_none() && state.watermark < written {
            actions.push(Action::Read);
        }
        if let Some((upto, _)) = &state.reading {
            if self.but == But::WatermarkFirst && state.watermark < *upto {
                actions.push(Action::MoveWatermark);
            } else {
                actions.push(Action::Take);
            }
        }
        if !state.inbox.is_empty() {
            actions.push(Action::Decide);
        }
        if !state.recovered {
            actions.push(Action::Recover);
        }
        if Self::next_to_mark(state).is_some() {
            actions.push(Action::Mark);
        }
        if state.gate {
            actions.push(Action::Post(Answer::Taken));
            if state.lost_answers > 0 {
                actions.extend([Action::Post(Answer::TakenButLost), Action::Post(Answer::CutBefore)]);
            }
            if state.refusals > 0 {
                actions.push(Action::Post(Answer::Refused));
            }
            if state.delays > 0 {
                actions.push(Action::Post(Answer::Wait));
            }
        }
        if state.sent {
            actions.push(Action::Settle);
        }
        if state.crashes > 0 {
            actions.push(Action::Crash { under_way: false });
            if state.gate && state.late.is_none() {
                actions.push(Action::Crash { under_way: true });
            }
        }
        if state.late.is_some() {
            actions.push(Action::LateLeaves);
        }
        actions
    }

    fn apply(&self, state: &State, action: &Action) -> State {
        let mut state = state.clone();
        let written = state.written();
        match *action {
            Action::Write => state.pushes.push(Push::Waiting),
            Action::Push { event, committed, answered } => {
                if committed {
                    self.accept(&mut state, event);
                    if self.but == But::PushMovesWatermark {
                        state.watermark = state.watermark.max(event + 1);
                    }
                }
                state.pushes[usize::from(event)] = match (answered, self.homeserver) {
                    (true, _) => Push::Answered,
                    (false, Homeserver::SendsAgain) => Push::Waiting,
                    (false, Homeserver::Forgets) => Push::Forgotten,
                };
            }
            Action::Read => {
                let found = (state.watermark..written).filter(|event| !state.seen.contains(event)).collect();
                state.reading = Some((written, found));
            }
            Action::MoveWatermark => {
                if let Some((upto, _)) = &state.reading {
                    state.watermark = *upto;
                }
            }
            Action::Take => {
                if let Some((upto, found)) = state.reading.take() {
                    for event in found {
                        self.accept(&mut state, event);
                    }
                    state.watermark = state.watermark.max(upto);
                }
            }
            Action::Decide => {
                let event = state.inbox.remove(0);
                state.outbox.push(Row { event, sending: false });
            }
            Action::Recover => {
                state.recovered = true;
                if self.but == But::RepeatAfterCrash {
                    for row in &mut state.outbox {
                        row.sending = false;
                    }
                }
                state.told.extend(state.outbox.iter().filter(|row| row.sending).map(|row| row.event));
                state.outbox.retain(|row| !row.sending);
            }
            Action::Mark => {
                if state.sent {
                    state.outbox.remove(0);
                    state.sent = false;
                }
                state.outbox[0].sending = true;
                state.gate = true;
            }
            Action::Post(answer) => self.post(&mut state, answer),
            Action::Settle => {
                state.outbox.remove(0);
                state.sent = false;
            }
            Action::Crash { under_way } => {
                state.crashes -= 1;
                if under_way {
                    state.late = Some(state.outbox[0].event);
                }
                state.recovered = false;
                state.gate = false;
                state.sent = false;
                state.reading = None;
            }
            Action::LateLeaves => state.chat.extend(state.late.take()),
        }
        state
    }

    fn broken(&self, state: &State) -> Option<String> {
        for (place, event) in state.chat.iter().enumerate() {
            if state.chat[..place].contains(event) {
                return Some(format!("event {event} is in the chat twice"));
            }
        }
        if let Some(event) = (0..state.watermark)
            .find(|event| !state.seen.contains(event) && state.pushes[usize::from(*event)] == Push::Forgotten)
        {
            return Some(format!("event {event} was lost: the watermark is behind it and nobody knows it"));
        }
        // What the room was told about may come late, or never.
        let certain =
            state.chat.iter().filter(|event| !state.told.contains(event) && state.late != Some(**event));
        let places = certain.map(|event| state.accepted.iter().position(|accepted| accepted == event));
        if !places.is_sorted() {
            return Some("the chat has another order than was accepted".to_owned());
        }
        if self.is_settled(state) {
            for event in 0..self.events {
                if !state.chat.contains(&event) && !state.told.contains(&event) {
                    return Some(format!("event {event} was lost and the room not told"));
                }
            }
        }
        None
    }

    fn is_settled(&self, state: &State) -> bool {
        let read = state.watermark == self.events
            || self.but == But::NoReadingBack && !state.pushes.contains(&Push::Waiting);
        state.pushes.len() == usize::from(self.events)
            && read
            && state.inbox.is_empty()
            && state.outbox.is_empty()
            && state.recovered
            && state.late.is_none()
    }
}

#[test]
fn every_event_arrives_at_most_once_and_in_order_or_the_room_is_told() {
    for homeserver in [Homeserver::SendsAgain, Homeserver::Forgets] {
        let explored = explore(&IntoDingTalk::of(2, homeserver)).unwrap();
        assert!(explored.states > 10_000 && explored.settled > 0, "{homeserver:?}: {explored:?}");
    }
}

#[test]
fn three_events_keep_their_order_across_a_crash() {
    let of_three = IntoDingTalk::of(3, Homeserver::Forgets);
    let explored = explore(&IntoDingTalk { crashes: 1, refusals: 0, delays: 0, ..of_three });
    assert!(explored.unwrap().settled > 0);
}

#[test]
fn each_rule_is_needed() {
    for (but, promise) in [
        (But::NoSeenKeys, "twice"),
        (But::NoReadingBack, "was lost"),
        (But::WatermarkFirst, "was lost"),
        (But::PushMovesWatermark, "was lost"),
        (But::RepeatAfterCrash, "twice"),
        (But::RepeatUnanswered, "twice"),
    ] {
        let found = explore(&IntoDingTalk { but, ..IntoDingTalk::of(2, Homeserver::Forgets) });
        let found = found.expect_err("a rule that is left out does harm");
        assert!(found.promise().contains(promise), "{but:?}: {found:?}");
    }
}
