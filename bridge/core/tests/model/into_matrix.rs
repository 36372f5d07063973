//! Messages of one DingTalk chat on their way into its Matrix room.

use bridge_core::delivery::{
    attempt::{Next, Outcome},
    key::{KeySeed, OpKey, Purpose},
};

use crate::{
    decide,
    explore::{Protocol, explore},
};

/// A rule of the bridge that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// DingTalk is answered before the commit.
    AnswerAfterCommit,
    /// What was accepted is not remembered.
    SeenKeys,
    /// Each attempt makes a transaction id of its own.
    StableKeys,
    /// The homeserver forgets transaction ids when it restarts, as it does for users without a device.
    Devices,
    /// What is to be sent is settled before it is sent.
    SettleAfterSend,
}

/// What can go wrong how often, and what is sent.
struct IntoMatrix {
    messages: u8,
    /// This one is refused by the homeserver for good.
    refused: Option<u8>,
    crashes: u8,
    restarts: u8,
    lost_answers: u8,
    without: Without,
}

impl IntoMatrix {
    fn of(messages: u8) -> Self {
        Self { messages, refused: None, crashes: 2, restarts: 1, lost_answers: 2, without: Without::Nothing }
    }
}

/// What is to be said in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Said {
    Message(u8),
    /// That a message could not be shown.
    NoticeOf(u8),
}

impl Said {
    fn key(self) -> OpKey {
        let (purpose, number) = match self {
            Self::Message(number) => (Purpose::Relay, number),
            Self::NoticeOf(number) => (Purpose::Notice, number),
        };
        KeySeed::new(purpose, &format!("msg:{number}")).part(0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// DingTalk: how often each message was pushed, and whether that was answered.
    pushed: Vec<u8>,
    answered: Vec<bool>,
    /// Durable: keys that were accepted, rows of the inbox and of the outbox.
    seen: Vec<u8>,
    inbox: Vec<u8>,
    outbox: Vec<Said>,
    parked: Vec<u8>,
    /// In memory: how many rows of the outbox were sent and are not settled yet.
    unsettled: usize,
    /// In memory: a row that was settled and is not sent yet. Only where that rule is left out.
    ahead: Option<Said>,
    /// Requests of a process that was stopped or cut off; they may still arrive.
    late: Option<Said>,
    /// The homeserver.
    room: Vec<Said>,
    transactions: Vec<OpKey>,
    /// In which order messages were accepted.
    accepted: Vec<u8>,
    crashes: u8,
    restarts: u8,
    lost_answers: u8,
    attempts: u8,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// A push is committed, and its answer arrives or not.
    Accept { message: u8, answered: bool },
    /// A push is answered before it is committed, and the commit does not happen.
    AnswerOnly { message: u8 },
    /// The first row of the inbox is decided: one commit.
    Decide,
    /// Where that rule is left out: a row is settled first.
    SettleAhead,
    /// The next row of the outbox arrives at the homeserver.
    Send { answered: bool },
    /// What became of sent rows is committed.
    Settle,
    /// The process is killed, or replaced while its last request is still under way.
    Crash { under_way: bool },
    /// The request of a former process arrives.
    LateArrives,
    /// The homeserver restarts.
    Restart,
}

impl IntoMatrix {
    fn next_to_send(state: &State) -> Option<Said> {
        state.ahead.or_else(|| state.outbox.get(state.unsettled).copied())
    }

    /// A request arrives at the homeserver.
    fn arrive(&self, state: &mut State, said: Said) -> Outcome {
        if let Said::Message(number) = said
            && self.refused == Some(number)
        {
            return Outcome::Refused { code: "refused".to_owned() };
        }
        let key = if self.without == Without::StableKeys {
            state.attempts += 1;
            KeySeed::new(Purpose::Relay, &format!("{said:?} {}", state.attempts)).part(0)
        } else {
            said.key()
        };
        if !state.transactions.contains(&key) {
            state.transactions.push(key);
            state.room.push(said);
        }
        Outcome::Sent
    }

    fn send(&self, state: &mut State, answered: bool) {
        let Some(said) = Self::next_to_send(state) else { return };
        let mut outcome = self.arrive(state, said);
        if !answered {
            state.lost_answers -= 1;
            outcome = Outcome::Failed { code: "no_answer".to_owned() };
        }
        match decide(&outcome) {
            Next::Done if state.ahead.is_some() => state.ahead = None,
            Next::Done => state.unsettled += 1,
            // The row stays where it is and is sent again.
            Next::Retry(_) => {}
            // One commit: the row is kept as failed, the notice is queued in front of what follows.
            Next::Park => {
                let place = state.unsettled;
                state.outbox.remove(place);
                if let Said::Message(number) = said {
                    state.parked.push(number);
                    state.outbox.insert(place, Said::NoticeOf(number));
                }
            }
            Next::MaybeSent => unreachable!("a homeserver recognises repetitions"),
        }
    }
}

impl Protocol for IntoMatrix {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        State {
            pushed: vec![0; usize::from(self.messages)],
            answered: vec![false; usize::from(self.messages)],
            seen: Vec::new(),
            inbox: Vec::new(),
            outbox: Vec::new(),
            parked: Vec::new(),
            unsettled: 0,
            ahead: None,
            late: None,
            room: Vec::new(),
            transactions: Vec::new(),
            accepted: Vec::new(),
            crashes: self.crashes,
            restarts: self.restarts,
            lost_answers: self.lost_answers,
            attempts: 0,
        }
    }

    fn actions(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        for message in 0..self.messages {
            let place = usize::from(message);
            // DingTalk pushes again what was not answered, and sometimes what was.
            let repeated = state.pushed[place] == 1 && state.answered[place];
            if !state.answered[place] || repeated {
                actions.push(Action::Accept { message, answered: true });
                if state.pushed[place] < 2 {
                    actions.push(Action::Accept { message, answered: false });
                }
            }
            if self.without == Without::AnswerAfterCommit && !state.answered[place] {
                actions.push(Action::AnswerOnly { message });
            }
        }
        if !state.inbox.is_empty() {
            actions.push(Action::Decide);
        }
        if Self::next_to_send(state).is_some() {
            if self.without == Without::SettleAfterSend && state.ahead.is_none() {
                actions.push(Action::SettleAhead);
            } else {
                actions.push(Action::Send { answered: true });
                if state.lost_answers > 0 {
                    actions.push(Action::Send { answered: false });
                }
            }
        }
        if state.unsettled > 0 {
            actions.push(Action::Settle);
        }
        if state.crashes > 0 {
            actions.push(Action::Crash { under_way: false });
            if Self::next_to_send(state).is_some() && state.late.is_none() {
                actions.push(Action::Crash { under_way: true });
            }
        }
        if state.late.is_some() {
            actions.push(Action::LateArrives);
        }
        if state.restarts > 0 {
            actions.push(Action::Restart);
        }
        actions
    }

    fn apply(&self, state: &State, action: &Action) -> State {
        let mut state = state.clone();
        match *action {
            Action::Accept { message, answered } => {
                let place = usize::from(message);
                state.pushed[place] = (state.pushed[place] + 1).min(2);
                state.answered[place] |= answered;
                if !state.seen.contains(&message) {
                    if self.without != Without::SeenKeys {
                        state.seen.push(message);
                    }
                    if !state.accepted.contains(&message) {
                        state.accepted.push(message);
                    }
                    state.inbox.push(message);
                }
            }
            Action::AnswerOnly { message } => {
                state.pushed[usize::from(message)] = 2;
                state.answered[usize::from(message)] = true;
            }
            Action::Decide => {
                let message = state.inbox.remove(0);
                state.outbox.push(Said::Message(message));
            }
            Action::SettleAhead => state.ahead = Some(state.outbox.remove(0)),
            Action::Send { answered } => self.send(&mut state, answered),
            Action::Settle => {
                state.outbox.drain(..state.unsettled);
                state.unsettled = 0;
            }
            Action::Crash { under_way } => {
                state.crashes -= 1;
                if under_way {
                    state.late = Self::next_to_send(&state);
                }
                state.unsettled = 0;
                state.ahead = None;
            }
            Action::LateArrives => {
                if let Some(said) = state.late.take() {
                    self.arrive(&mut state, said);
                }
            }
            Action::Restart => {
                state.restarts -= 1;
                if self.without == Without::Devices {
                    state.transactions.clear();
                }
            }
        }
        state
    }

    fn broken(&self, state: &State) -> Option<String> {
        for (place, said) in state.room.iter().enumerate() {
            if state.room[..place].contains(said) {
                return Some(format!("{said:?} is in the room twice"));
            }
        }
        let shown = state.room.iter().filter_map(|said| match said {
            Said::Message(number) => state.accepted.iter().position(|accepted| accepted == number),
            Said::NoticeOf(_) => None,
        });
        if !shown.is_sorted() {
            return Some("the room has another order than was accepted".to_owned());
        }
        if self.is_settled(state) {
            for message in 0..self.messages {
                let wanted = if self.refused == Some(message) {
                    Said::NoticeOf(message)
                } else {
                    Said::Message(message)
                };
                if !state.room.contains(&wanted) {
                    return Some(format!("{wanted:?} was lost"));
                }
            }
        }
        None
    }

    fn is_settled(&self, state: &State) -> bool {
        state.answered.iter().all(|answered| *answered)
            && state.inbox.is_empty()
            && state.outbox.is_empty()
            && state.ahead.is_none()
            && state.late.is_none()
    }
}

#[test]
fn every_message_is_in_the_room_once_and_in_order_whatever_dies_when() {
    let explored = explore(&IntoMatrix::of(2)).unwrap();
    assert!(explored.states > 10_000 && explored.settled > 0, "{explored:?}");
}

#[test]
fn three_messages_keep_their_order_across_a_crash() {
    let explored = explore(&IntoMatrix { crashes: 1, restarts: 0, lost_answers: 1, ..IntoMatrix::of(3) });
    assert!(explored.unwrap().settled > 0);
}

#[test]
fn one_that_is_refused_is_told_and_the_others_go_on() {
    let explored = explore(&IntoMatrix { refused: Some(0), crashes: 1, ..IntoMatrix::of(2) });
    assert!(explored.unwrap().settled > 0);
}

#[test]
fn the_transaction_id_is_a_second_net_when_a_key_is_no_longer_remembered() {
    let explored =
        explore(&IntoMatrix { without: Without::SeenKeys, crashes: 1, restarts: 0, ..IntoMatrix::of(2) });
    assert!(explored.unwrap().settled > 0);
}

#[test]
fn each_rule_is_needed() {
    for (without, promise) in [
        (Without::AnswerAfterCommit, "was lost"),
        (Without::StableKeys, "twice"),
        (Without::Devices, "twice"),
        (Without::SettleAfterSend, "was lost"),
    ] {
        let found = explore(&IntoMatrix { without, ..IntoMatrix::of(1) });
        let found = found.expect_err("a rule that is left out does harm");
        assert!(found.promise().contains(promise), "{without:?}: {found:?}");
    }
}
