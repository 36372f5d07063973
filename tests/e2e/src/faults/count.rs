//! What was sent against what arrived. Knows nothing of the bridge.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// A message as it has to arrive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// Occurs in no other message.
    pub(crate) token: String,
    pub(crate) chat: usize,
    pub(crate) text: String,
    /// Who has to be seen as its sender.
    pub(crate) sender: String,
    /// Its place among the chat's messages is known; without this it may come late.
    pub(crate) in_order: bool,
    /// The room was told that it may have been sent: it may be missing, or come late.
    pub(crate) doubtful: bool,
    /// Whether its writer took it back.
    pub(crate) end: End,
}

/// What has become of a message where it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// It stands there.
    #[default]
    Stands,
    /// It was taken back: it does not arrive, or is taken back there too.
    TakenBack,
    /// The same, but it may stay: the room was told so, or the homeserver delivered one of the two late.
    MayStay,
}

/// A message as it arrived, in the order of arrival within a chat.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) token: String,
    pub(crate) chat: usize,
    pub(crate) text: String,
    pub(crate) sender: String,
    /// It was taken back after it had arrived.
    pub(crate) recalled: bool,
}

/// What is wrong, by token.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Not there.
    pub lost: Vec<String>,
    /// There more than once.
    pub doubled: Vec<String>,
    /// There before one that was written earlier in its chat.
    pub reordered: Vec<String>,
    /// With another text or sender, in another chat, or taken back by nobody.
    pub altered: Vec<String>,
    /// Taken back by its writer, and still there without a word.
    pub standing: Vec<String>,
    /// There, and never written.
    pub unknown: Vec<String>,
    /// Those that may have been sent, as the room was told.
    pub doubtful: usize,
    /// The ones of them that did arrive.
    pub doubtful_arrived: usize,
    /// Those that the homeserver delivered late.
    pub late: usize,
    /// Those that were taken back.
    pub taken_back: usize,
    /// All that were to arrive.
    pub expected: usize,
}

impl Count {
    fn lists(&self) -> [(&'static str, &Vec<String>); 6] {
        [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("reordered", &self.reordered),
            ("altered", &self.altered),
            ("still standing", &self.standing),
            ("unknown", &self.unknown),
        ]
    }

    /// Whether nothing is wrong.
    pub fn is_perfect(&self) -> bool {
        self.lists().iter().all(|(_, list)| list.is_empty())
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent", self.expected)?;
        for (name, list) in self.lists() {
            write!(f, ", {} {name}", list.len())?;
        }
        write!(
            f,
            "; {} may have been sent ({} were), {} taken back, {} delivered late by the homeserver",
            self.doubtful, self.doubtful_arrived, self.taken_back, self.late,
        )?;
        for (name, list) in self.lists().into_iter().filter(|(_, list)| !list.is_empty()) {
            write!(f, "\n  {name}: {}", list.iter().take(20).cloned().collect::<Vec<_>>().join("\n    "))?;
        }
        Ok(())
    }
}

/// Counts. `expected` is in the order of sending within each chat.
pub(crate) fn count(expected: &[Expected], arrived: &[Arrived]) -> Count {
    let mut count = Count { expected: expected.len(), ..Count::default() };
    let places: HashMap<&str, (usize, &Expected)> = expected
        .iter()
        .enumerate()
        .map(|(place, message)| (message.token.as_str(), (place, message)))
        .collect();
    let mut seen = HashSet::new();
    let mut furthest: BTreeMap<usize, usize> = BTreeMap::new();
    for message in arrived {
        let Some((place, wanted)) = places.get(message.token.as_str()) else {
            count.unknown.push(format!("{message:?}"));
            continue;
        };
        if !seen.insert(message.token.as_str()) {
            count.doubled.push(message.token.clone());
            continue;
        }
        if (message.chat, &message.text, &message.sender) != (wanted.chat, &wanted.text, &wanted.sender) {
            count.altered.push(format!("{message:?} instead of {wanted:?}"));
        } else if message.recalled && wanted.end == End::Stands {
            count.altered.push(format!("{} was taken back, by nobody", message.token));
        } else if wanted.end == End::TakenBack && !message.recalled {
            count.standing.push(message.token.clone());
        }
        // What was on its way when the bridge died can be overtaken by what follows; nobody can know, and the room was told.
        if !wanted.in_order || wanted.doubtful {
            count.late += usize::from(!wanted.in_order);
            continue;
        }
        let furthest = furthest.entry(wanted.chat).or_default();
        if *place < *furthest {
            count.reordered.push(format!("{} after {}", message.token, expected[*furthest].token));
        }
        *furthest = (*furthest).max(*place);
    }
    for message in expected {
        let here = seen.contains(message.token.as_str());
        count.doubtful += usize::from(message.doubtful);
        count.doubtful_arrived += usize::from(message.doubtful && here);
        count.taken_back += usize::from(message.end != End::Stands);
        if !here && !message.doubtful && message.end == End::Stands {
            count.lost.push(message.token.clone());
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(number: usize) -> Expected {
        Expected {
            token: format!("t{number}"),
            chat: number % 2,
            text: format!("text {number}"),
            sender: "ada".to_owned(),
            in_order: true,
            ..Expected::default()
        }
    }

    fn arrived(number: usize) -> Arrived {
        let Expected { token, chat, text, sender, .. } = expected(number);
        Arrived { token, chat, text, sender, recalled: false }
    }

    #[test]
    fn every_fault_is_counted_and_nothing_else() {
        let all: Vec<Expected> = (0..6).map(expected).collect();
        let came = |numbers: &[usize]| numbers.iter().map(|number| arrived(*number)).collect::<Vec<_>>();
        // Chats are independent of each other.
        assert!(count(&all, &came(&[1, 3, 5, 0, 2, 4])).is_perfect());
        assert_eq!(count(&all, &came(&[0, 1, 2, 4, 5])).lost, ["t3"]);
        assert_eq!(count(&all, &came(&[0, 1, 2, 3, 4, 5, 0])).doubled, ["t0"]);
        assert_eq!(count(&all, &came(&[2, 1, 0, 3, 4, 5])).reordered, ["t0 after t2"]);
        let mut wrong = came(&[0, 1, 2, 3, 4, 5]);
        wrong[1].sender = "eve".to_owned();
        wrong[2].text.push('!');
        wrong[3].chat = 0;
        assert_eq!(count(&all, &wrong).altered.len(), 3);
        wrong.push(Arrived { token: "t9".to_owned(), ..arrived(0) });
        assert_eq!(count(&all, &wrong).unknown.len(), 1);
    }

    #[test]
    fn what_may_have_been_sent_may_be_missing_or_late_but_not_doubled() {
        let mut all: Vec<Expected> = (0..4).map(expected).collect();
        all[0].doubtful = true;
        let late = count(&all, &[arrived(2), arrived(0), arrived(1), arrived(3)]);
        assert!(late.is_perfect() && late.doubtful_arrived == 1 && late.late == 0, "{late}");
        let mut all: Vec<Expected> = (0..2).map(expected).collect();
        all[0].doubtful = true;
        let missing = count(&all, &[arrived(1)]);
        assert!(missing.is_perfect() && missing.doubtful == 1 && missing.doubtful_arrived == 0);
        assert_eq!(count(&all, &[arrived(0), arrived(1), arrived(0)]).doubled, ["t0"]);
    }

    #[test]
    fn what_was_taken_back_may_be_missing_and_must_not_stand_there_untold() {
        let mut all: Vec<Expected> = (0..2).map(expected).collect();
        all[0].end = End::TakenBack;
        assert!(count(&all, &[arrived(1)]).is_perfect());
        assert_eq!(count(&all, &[arrived(0), arrived(1)]).standing, ["t0"]);
        let recalled = |number| Arrived { recalled: true, ..arrived(number) };
        assert!(count(&all, &[recalled(0), arrived(1)]).is_perfect());
        assert_eq!(count(&all, &[recalled(0), recalled(1)]).altered.len(), 1);
        all[0].end = End::MayStay;
        assert!(count(&all, &[arrived(0), arrived(1)]).is_perfect());
    }

    #[test]
    fn what_the_homeserver_delivers_late_may_come_late() {
        let mut all: Vec<Expected> = (0..5).map(expected).collect();
        all[0].in_order = false;
        let numbers = [2, 0, 4, 1, 3];
        let late = count(&all, &numbers.map(arrived));
        assert!(late.is_perfect() && late.late == 1, "{late}");
    }
}
