//! Which object next. One pass at a time for each object, and lanes so that a new object or a changed spec never waits
//! behind a restart or a resync.
//!
//! The order is decided by [`Lanes`], a plain value; [`Queue`] adds waiting.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::key::Key;

/// How urgent a look at an object is; the first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The object is new, changed or being deleted.
    Spec,
    /// Something that belongs to it has changed, or an answer has come.
    Child,
    /// Nothing is known to have changed.
    Resync,
}

impl Lane {
    /// All, the most urgent first.
    pub(crate) const ALL: [Self; 3] = [Self::Spec, Self::Child, Self::Resync];

    /// As a metric's label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Child => "child",
            Self::Resync => "resync",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// An object whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Which.
    pub(crate) key: Key,
    /// The lane it came by.
    pub(crate) lane: Lane,
    /// When it got in line.
    pub(crate) since: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Its place in a lane, and since when.
    waits: Option<(Lane, Instant)>,
    /// The lane of the pass under way.
    runs: Option<Lane>,
    /// When it asked to be looked at again.
    later: Option<(Instant, u64)>,
}

/// Who waits, who runs, who comes back when.
#[derive(Debug)]
pub(crate) struct Lanes {
    entries: HashMap<Key, Entry>,
    ready: [VecDeque<Key>; 3],
    later: BTreeMap<(Instant, u64), Key>,
    running: [usize; 3],
    /// Most passes at the same time.
    most: usize,
    ticket: u64,
}

impl Lanes {
    /// No object yet; at most `most` passes at the same time.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            entries: HashMap::new(),
            ready: Default::default(),
            later: BTreeMap::new(),
            running: [0; 3],
            most: most.max(1),
            ticket: 0,
        }
    }

    /// Puts an object in line. One that waits already moves up when this lane is more urgent; one that runs gets in
    /// line again for after its pass.
    pub(crate) fn push(&mut self, key: &Key, lane: Lane, now: Instant) {
        let entry = self.entries.entry(key.clone()).or_default();
        match entry.waits {
            Some((current, _)) if current <= lane => {}
            Some((current, since)) => {
                entry.waits = Some((lane, since));
                self.ready[current.index()].retain(|other| other != key);
                self.ready[lane.index()].push_back(key.clone());
            }
            None => {
                entry.waits = Some((lane, now));
                self.ready[lane.index()].push_back(key.clone());
            }
        }
    }

    /// Puts an object in line at a time, or earlier if it has asked for that before.
    pub(crate) fn push_at(&mut self, key: &Key, at: Instant) {
        let entry = self.entries.entry(key.clone()).or_default();
        if let Some((planned, ticket)) = entry.later {
            if planned <= at {
                return;
            }
            self.later.remove(&(planned, ticket));
        }
        self.ticket += 1;
        entry.later = Some((at, self.ticket));
        self.later.insert((at, self.ticket), key.clone());
    }

    /// The next object, if one may run now.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Turn> {
        self.wake_up(now);
        for lane in Lane::ALL {
            if !self.has_room(lane) {
                continue;
            }
            let queue = &mut self.ready[lane.index()];
            // An object never has two passes at the same time.
            let free =
                queue.iter().position(|key| self.entries.get(key).is_none_or(|entry| entry.runs.is_none()));
            let Some(key) = free.and_then(|at| queue.remove(at)) else { continue };
            let entry = self.entries.entry(key.clone()).or_default();
            let since = entry.waits.take().map_or(now, |(_, since)| since);
            entry.runs = Some(lane);
            self.running[lane.index()] += 1;
            return Some(Turn { key, lane, since });
        }
        None
    }

    /// Whether a further pass of this lane may start: a quarter of the places is kept free for more urgent ones.
    fn has_room(&self, lane: Lane) -> bool {
        let all: usize = self.running.iter().sum();
        let kept = self.most / 4;
        match lane {
            Lane::Spec => all < self.most,
            Lane::Child | Lane::Resync => all < self.most - kept,
        }
    }

    /// The pass of an object has ended.
    pub(crate) fn done(&mut self, key: &Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(lane) = entry.runs.take() {
            self.running[lane.index()] -= 1;
        }
        if entry.waits.is_none() && entry.later.is_none() {
            self.entries.remove(key);
        }
    }

    /// Forgets that an object asked to be looked at again.
    pub(crate) fn forget_later(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key)
            && let Some(planned) = entry.later.take()
        {
            self.later.remove(&planned);
            if entry.waits.is_none() && entry.runs.is_none() {
                self.entries.remove(key);
            }
        }
    }

    /// Nobody waits any more, nor comes back later. Passes under way go on.
    pub(crate) fn clear(&mut self) {
        self.ready.iter_mut().for_each(VecDeque::clear);
        self.later.clear();
        self.entries.retain(|_, entry| {
            (entry.waits, entry.later) = (None, None);
            entry.runs.is_some()
        });
    }

    /// When the next object comes back by itself.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.later.keys().next().map(|(at, _)| *at)
    }

    /// How many wait in a lane.
    pub(crate) fn depth(&self, lane: Lane) -> usize {
        self.ready[lane.index()].len()
    }

    /// Since when the first of those in line waits.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let first =
            |lane: Lane| self.ready[lane.index()].front().and_then(|key| self.entries.get(key)?.waits);
        Lane::ALL.into_iter().filter_map(first).map(|(_, since)| since).min()
    }

    fn wake_up(&mut self, now: Instant) {
        while let Some(first) = self.later.first_entry() {
            if first.key().0 > now {
                return;
            }
            let key = first.remove();
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.later = None;
            }
            self.push(&key, Lane::Resync, now);
        }
    }
}

/// [`Lanes`] that can be waited for, while this process is the one that works. Before and after that nobody gets in line:
/// who begins to work looks at all objects, each in the lane that is right by then.
#[derive(Debug)]
pub(crate) struct Queue {
    line: Mutex<Line>,
    changed: Notify,
}

#[derive(Debug)]
struct Line {
    lanes: Lanes,
    is_open: bool,
}

impl Queue {
    /// An empty queue that takes nobody yet.
    pub(crate) fn new(most: usize) -> Self {
        let lanes = Lanes::new(most);
        Self { line: Mutex::new(Line { lanes, is_open: false }), changed: Notify::new() }
    }

    /// This process begins to work.
    pub(crate) fn open(&self) {
        self.line().is_open = true;
    }

    /// This process does not work any more: nobody waits. Passes under way end by themselves.
    pub(crate) fn close(&self) {
        let mut line = self.line();
        line.is_open = false;
        line.lanes.clear();
    }

    /// Puts an object in line.
    pub(crate) fn push(&self, key: &Key, lane: Lane) {
        let mut waiting = self.line();
        if waiting.is_open {
            waiting.lanes.push(key, lane, Instant::now());
            self.changed.notify_one();
        }
    }

    /// Puts an object in line after a pause.
    pub(crate) fn push_after(&self, key: &Key, pause: Duration) {
        let mut line = self.line();
        if line.is_open {
            line.lanes.push_at(key, Instant::now() + pause);
            self.changed.notify_one();
        }
    }

    /// Forgets that an object asked to be looked at again.
    pub(crate) fn forget_later(&self, key: &Key) {
        self.line().lanes.forget_later(key);
    }

    /// Waits for the next object.
    pub(crate) async fn next(&self) -> Turn {
        loop {
            let changed = self.changed.notified();
            let wake = {
                let waiting = &mut self.line().lanes;
                if let Some(turn) = waiting.pop(Instant::now()) {
                    return turn;
                }
                waiting.next_wake()
            };
            match wake {
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// The pass of an object has ended.
    pub(crate) fn done(&self, key: &Key) {
        self.line().lanes.done(key);
        self.changed.notify_one();
    }

    /// How many wait in a lane.
    pub(crate) fn depth(&self, lane: Lane) -> usize {
        self.line().lanes.depth(lane)
    }

    /// How long the first of those in line has waited.
    pub(crate) fn oldest_wait(&self) -> Option<Duration> {
        self.line().lanes.oldest().map(|since| since.elapsed())
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("ns", name)
    }

    fn popped(lanes: &mut Lanes) -> Option<String> {
        lanes.pop(Instant::now()).map(|turn| turn.key.name().to_owned())
    }

    #[tokio::test]
    async fn a_changed_spec_overtakes_a_resync() {
        let (mut lanes, now) = (Lanes::new(8), Instant::now());
        for name in ["a", "b", "c"] {
            lanes.push(&key(name), Lane::Resync, now);
        }
        lanes.push(&key("new"), Lane::Spec, now);
        lanes.push(&key("c"), Lane::Child, now);
        let order: Vec<_> = std::iter::from_fn(|| popped(&mut lanes)).collect();
        assert_eq!(order, ["new", "c", "a", "b"]);
    }

    #[tokio::test]
    async fn an_object_has_one_pass_at_a_time_and_is_looked_at_again_after_it() {
        let (mut lanes, now) = (Lanes::new(8), Instant::now());
        lanes.push(&key("a"), Lane::Spec, now);
        assert_eq!(popped(&mut lanes).as_deref(), Some("a"));
        lanes.push(&key("a"), Lane::Child, now);
        lanes.push(&key("a"), Lane::Child, now);
        assert_eq!(popped(&mut lanes), None);
        lanes.done(&key("a"));
        assert_eq!(popped(&mut lanes).as_deref(), Some("a"));
        lanes.done(&key("a"));
        assert_eq!(popped(&mut lanes), None);
        assert!(lanes.entries.is_empty(), "nothing is remembered of settled objects");
    }

    #[tokio::test]
    async fn places_are_kept_for_urgent_objects() {
        let (mut lanes, now) = (Lanes::new(4), Instant::now());
        for name in ["a", "b", "c", "d", "e"] {
            lanes.push(&key(name), Lane::Resync, now);
        }
        assert_eq!(std::iter::from_fn(|| popped(&mut lanes)).count(), 3);
        lanes.push(&key("new"), Lane::Spec, now);
        assert_eq!(popped(&mut lanes).as_deref(), Some("new"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asked_for_later_comes_back_once_at_the_earliest_time() {
        let queue = Queue::new(2);
        queue.open();
        queue.push_after(&key("a"), Duration::from_mins(1));
        queue.push_after(&key("a"), Duration::from_secs(10));
        queue.push_after(&key("a"), Duration::from_secs(90));
        let before = Instant::now();
        assert_eq!(queue.next().await.key, key("a"));
        assert_eq!(before.elapsed().as_secs(), 10);
        queue.done(&key("a"));
        assert_eq!(queue.line().lanes.next_wake(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_where_nobody_works() {
        let queue = Queue::new(2);
        queue.push(&key("a"), Lane::Spec);
        queue.push_after(&key("a"), Duration::from_secs(1));
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!((queue.oldest_wait(), queue.line().lanes.next_wake()), (None, None));

        // One that is under way when the work ends, and what it asks for afterwards.
        queue.open();
        for name in ["a", "b"] {
            queue.push(&key(name), Lane::Spec);
        }
        queue.push_after(&key("c"), Duration::from_secs(1));
        let turn = queue.next().await;
        queue.close();
        queue.push_after(&turn.key, Duration::from_secs(1));
        queue.done(&turn.key);
        assert_eq!((queue.oldest_wait(), queue.line().lanes.next_wake()), (None, None));
        assert!(queue.line().lanes.entries.is_empty());
        queue.open();
        queue.push(&key("d"), Lane::Resync);
        assert_eq!(queue.next().await.key, key("d"));
    }

    #[tokio::test]
    async fn a_new_object_never_waits_behind_a_restart_or_a_resync_however_many_there_are() {
        let (mut lanes, now) = (Lanes::new(8), Instant::now());
        for number in 0..5_000 {
            lanes.push(&key(&format!("settled-{number}")), Lane::Resync, now);
        }
        for number in 0..1_000 {
            lanes.push(&key(&format!("settled-{number}")), Lane::Child, now);
        }
        let busy: Vec<_> = std::iter::from_fn(|| popped(&mut lanes)).collect();
        assert_eq!(busy.len(), 6, "a quarter of the places is free");
        for name in ["new", "settled-0", "settled-4999"] {
            lanes.push(&key(name), Lane::Spec, now);
        }
        assert_eq!(popped(&mut lanes).as_deref(), Some("new"));
        // The one that runs keeps its place until its pass has ended; the other one moves up.
        assert_eq!(popped(&mut lanes).as_deref(), Some("settled-4999"));
        assert_eq!(popped(&mut lanes), None);
        assert_eq!(busy[0], "settled-0");
        lanes.done(&key("settled-0"));
        assert_eq!(popped(&mut lanes).as_deref(), Some("settled-0"));
    }
}
