//! Which notes are sent, as what: a function of what was told before and what time it is.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use tokio::time::Instant;

use super::Note;

/// How many different events are remembered.
const EVENTS: usize = 4096;

/// How many objects are remembered.
const OBJECTS: usize = 4096;

/// How many events an object may have at once.
const BURST: u32 = 10;

/// How often it may have one more.
const REFILL: Duration = Duration::from_mins(5);

/// An event that nobody repeated for so long is over; what is the same later is a new one. The server forgets events after
/// an hour.
const OVER: Duration = Duration::from_mins(30);

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// A new event, with a number for its name.
    New(u64),
    /// An event that was sent has happened again.
    Again {
        /// The number in its name.
        number: u64,
        /// How often it has happened.
        count: u32,
    },
    /// Nothing, for now.
    Nothing,
}

/// One event.
struct Series {
    number: u64,
    count: u32,
    last: Instant,
    /// Whether it was sent at all.
    is_sent: bool,
}

/// What an object may still send.
struct Bucket {
    tokens: u32,
    filled: Instant,
}

/// What was told before.
pub(super) struct Book {
    hasher: RandomState,
    events: Bounded<Series>,
    objects: Bounded<Bucket>,
    numbers: u64,
}

impl Book {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            events: Bounded::new(EVENTS),
            objects: Bounded::new(OBJECTS),
            numbers: 0,
        }
    }

    /// Takes a note and says what to send.
    pub(super) fn take(&mut self, note: &Note, now: Instant) -> Sending {
        let event = self.hasher.hash_one(note);
        let object = self.hasher.hash_one(&note.regarding.uid);
        let is_over = self.events.get(event).is_some_and(|series| now - series.last > OVER);
        if is_over {
            self.events.remove(event);
        }
        let numbers = &mut self.numbers;
        let series = self.events.get_or_insert(event, || {
            *numbers += 1;
            Series { number: *numbers, count: 0, last: now, is_sent: false }
        });
        series.count = series.count.saturating_add(1);
        series.last = now;
        if !self.objects.get_or_insert(object, || Bucket { tokens: BURST, filled: now }).take(now) {
            return Sending::Nothing;
        }
        if std::mem::replace(&mut series.is_sent, true) {
            Sending::Again { number: series.number, count: series.count }
        } else {
            Sending::New(series.number)
        }
    }

    /// An event could not be sent: the next time, it is a new one.
    pub(super) fn lost(&mut self, note: &Note) {
        let event = self.hasher.hash_one(note);
        self.events.remove(event);
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let more = (now - self.filled).as_secs() / REFILL.as_secs();
        if more > 0 {
            self.tokens = BURST.min(self.tokens.saturating_add(u32::try_from(more).unwrap_or(BURST)));
            self.filled = if self.tokens == BURST { now } else { self.filled + REFILL * more as u32 };
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

/// A map that forgets what came first when it is full.
struct Bounded<V> {
    most: usize,
    values: HashMap<u64, V, RandomState>,
    order: VecDeque<u64>,
}

impl<V> Bounded<V> {
    fn new(most: usize) -> Self {
        Self { most, values: HashMap::default(), order: VecDeque::new() }
    }

    fn get(&self, key: u64) -> Option<&V> {
        self.values.get(&key)
    }

    /// Leaves its place in the order, which is found out when its turn comes.
    fn remove(&mut self, key: u64) {
        self.values.remove(&key);
    }

    fn get_or_insert(&mut self, key: u64, value: impl FnOnce() -> V) -> &mut V {
        if !self.values.contains_key(&key) {
            while self.order.len() >= self.most
                && let Some(first) = self.order.pop_front()
            {
                self.values.remove(&first);
            }
            self.order.push_back(key);
        }
        match self.values.entry(key) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => place.insert(value()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Reference;

    fn note(uid: &str, words: &str) -> Note {
        Note {
            regarding: Reference {
                api_version: "v1".into(),
                kind: "K".into(),
                namespace: "ns".into(),
                name: "n".into(),
                uid: uid.into(),
            },
            is_warning: false,
            reason: "Reason".into(),
            action: "Act".into(),
            note: words.into(),
        }
    }

    #[test]
    fn the_same_is_one_event_and_other_words_are_another() {
        let (mut book, now) = (Book::new(), Instant::now());
        assert_eq!(book.take(&note("1", "a"), now), Sending::New(1));
        assert_eq!(book.take(&note("1", "b"), now), Sending::New(2));
        assert_eq!(book.take(&note("1", "a"), now), Sending::Again { number: 1, count: 2 });
        assert_eq!(book.take(&note("2", "a"), now), Sending::New(3));
        assert_eq!(book.take(&note("1", "a"), now + OVER * 2), Sending::New(4));
    }

    #[test]
    fn an_object_has_ten_and_then_one_each_five_minutes() {
        let (mut book, start) = (Book::new(), Instant::now());
        let mut sent = |at: Duration| book.take(&note("1", "a"), start + at) != Sending::Nothing;
        assert_eq!((0..50).filter(|_| sent(Duration::ZERO)).count(), 10);
        assert!(!sent(Duration::from_secs(299)));
        assert_eq!((0..50).filter(|_| sent(REFILL)).count(), 1);
        // The hours in between do not add up to more than ten.
        assert_eq!((0..50).filter(|_| sent(REFILL * 100)).count(), 10);
    }

    #[test]
    fn what_is_not_sent_is_counted() {
        let (mut book, start) = (Book::new(), Instant::now());
        for _ in 0..30 {
            book.take(&note("1", "a"), start);
        }
        assert_eq!(book.take(&note("1", "a"), start + REFILL), Sending::Again { number: 1, count: 31 });
        assert_eq!(book.take(&note("1", "b"), start + REFILL), Sending::Nothing);
        // It was never sent, so it is new when it can be.
        assert!(matches!(book.take(&note("1", "b"), start + REFILL * 2), Sending::New(_)));
    }

    #[test]
    fn one_object_does_not_silence_another() {
        let (mut book, now) = (Book::new(), Instant::now());
        for number in 0..100 {
            book.take(&note("1", &number.to_string()), now);
        }
        assert!(matches!(book.take(&note("2", "a"), now), Sending::New(_)));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut book, now) = (Book::new(), Instant::now());
        for number in 0..3 * EVENTS {
            let note = note(&number.to_string(), "a");
            book.take(&note, now);
            if number % 3 == 0 {
                book.lost(&note);
            }
        }
        assert!(book.events.values.len() <= EVENTS && book.events.order.len() <= EVENTS);
        assert!(book.objects.values.len() <= OBJECTS && book.objects.order.len() <= OBJECTS);
    }
}
