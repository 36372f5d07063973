//! Texts that can be told apart, and what became of them.

use serde::{Deserialize, Serialize};

/// One message of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) run: u32,
    pub(crate) chat: u32,
    /// Counts from 0 in each chat.
    pub(crate) number: u32,
}

/// Where a marked message was seen, and when, in microseconds since 1970.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Arrival {
    pub(crate) mark: Mark,
    pub(crate) at: u64,
}

const PREFIX: &str = "mark";

impl Mark {
    /// About 60 bytes, as people write.
    pub(crate) fn text(self) -> String {
        let Self { run, chat, number } = self;
        format!("周五之前 {PREFIX}{run}c{chat}n{number}x please review, 谢谢大家")
    }

    /// The mark in a text or in JSON around it.
    pub(crate) fn find(text: &[u8]) -> Option<Self> {
        let at = text.windows(PREFIX.len()).position(|window| window == PREFIX.as_bytes())?;
        let mut rest = &text[at + PREFIX.len()..];
        let mut number = |end: u8| {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let value = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
            rest = rest[digits..].strip_prefix(&[end])?;
            Some(value)
        };
        Some(Self { run: number(b'c')?, chat: number(b'n')?, number: number(b'x')? })
    }
}

/// How many messages each of `chats` gets of `messages`.
pub(crate) fn per_chat(messages: u32, chats: u32) -> u32 {
    messages.div_ceil(chats.max(1))
}

/// What did not cross as it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Faults {
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    pub(crate) out_of_order: u32,
}

impl Faults {
    /// How many there are in all.
    pub(crate) fn sum(self) -> u32 {
        self.lost + self.doubled + self.out_of_order
    }

    /// Counts those of others, too.
    pub(crate) fn add(&mut self, others: Self) {
        self.lost += others.lost;
        self.doubled += others.doubled;
        self.out_of_order += others.out_of_order;
    }

    /// Looks at the arrivals of one run, in the order they came.
    pub(crate) fn of(arrivals: &[Arrival], chats: u32, each: u32) -> Self {
        Self::of_sent(arrivals, &vec![each; chats as usize])
    }

    /// As [`Self::of`], where each chat had as many messages as this says.
    pub(crate) fn of_sent(arrivals: &[Arrival], sent: &[u32]) -> Self {
        let mut faults = Self::default();
        let mut seen: Vec<_> = sent.iter().map(|each| vec![false; *each as usize]).collect();
        let mut newest = vec![None; sent.len()];
        for Arrival { mark, .. } in arrivals {
            let (chat, number) = (mark.chat as usize, mark.number as usize);
            match seen.get_mut(chat).and_then(|numbers| numbers.get_mut(number)) {
                None | Some(true) => faults.doubled += 1,
                Some(first) => {
                    *first = true;
                    if newest[chat].is_some_and(|newest| newest > number) {
                        faults.out_of_order += 1;
                    }
                    newest[chat] = newest[chat].max(Some(number));
                }
            }
        }
        let lost = seen.iter().flatten().filter(|seen| !**seen).count();
        faults.lost = u32::try_from(lost).unwrap_or(u32::MAX);
        faults
    }

    pub(crate) fn none(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_again() {
        let mark = Mark { run: 3, chat: 12, number: 4567 };
        let text = mark.text();
        assert!((55..75).contains(&text.len()), "{} bytes", text.len());
        assert_eq!(Mark::find(format!("{{\"text\":\"[@Alice] {text}\"}}").as_bytes()), Some(mark));
        assert_eq!(Mark::find(b"a remarkable text"), None);
    }

    #[test]
    fn every_fault_is_counted() {
        let arrivals = [(0, 0), (0, 2), (0, 1), (0, 1), (1, 0)];
        let arrivals = arrivals.map(|(chat, number)| Arrival { mark: Mark { run: 1, chat, number }, at: 0 });
        let faults = Faults::of(&arrivals, 2, 3);
        assert_eq!(faults, Faults { lost: 2, doubled: 1, out_of_order: 1 });
        assert!(!faults.none() && Faults::of(&[], 0, 0).none());
        assert_eq!(Faults::of_sent(&arrivals, &[3, 1, 2]), Faults { lost: 2, doubled: 1, out_of_order: 1 });
    }
}
