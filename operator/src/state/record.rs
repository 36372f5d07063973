//! What is known about one object.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dingtalk_crds::DingTalkBridge;
use operator_plan::{
    AdminFact, ChildKind, Children, Digest, Former, Place, PodSeen, Refusal, ReportFact, Seen, WhoamiFact,
};
use tokio::time::Instant;

use super::{
    asked::{Asked, Turn},
    kept::Kept,
};

/// How long an object that no watch shows is believed to be there.
const OUT_OF_SIGHT: Duration = Duration::from_mins(5);

/// How long what a request was answered is believed without a watch that shows it. A child that is gone before its answer
/// is taken, or between two lists, is told of by no watch any more.
const UNCONFIRMED: Duration = Duration::from_secs(30);

/// A child and the version it was seen in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// What is remembered.
    pub(crate) kept: Kept,
    /// Its version; a later one is newer.
    pub(crate) rv: u64,
    /// Set for an object that the operator's watches do not show, e.g. somebody else's, or have not shown yet: until when
    /// it is believed.
    pub(crate) until: Option<Instant>,
}

impl Known {
    /// Seen by a watch, which will tell of its end.
    pub(crate) fn new(seen: Seen, rv: u64) -> Self {
        Self { kept: seen.into(), rv, until: None }
    }

    /// Seen in the answer to a request; a watch is to show it as well.
    pub(crate) fn answered(seen: Seen, rv: u64, now: Instant) -> Self {
        Self { kept: seen.into(), rv, until: Some(now + UNCONFIRMED) }
    }

    /// Seen by a single look at an object that no watch shows.
    pub(crate) fn out_of_sight(seen: Seen, rv: u64, now: Instant) -> Self {
        Self { kept: seen.into(), rv, until: Some(now + OUT_OF_SIGHT) }
    }
}

/// What is known about one object.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) object: Option<Arc<DingTalkBridge>>,
    pub(crate) object_rv: u64,
    pub(crate) children: Children<Option<Known>>,
    /// Writes that were refused for good, which are few.
    refused: Vec<(ChildKind, Refusal)>,
    pub(crate) pods: BTreeMap<String, (String, PodSeen)>,
    pub(crate) whoami: Asked<WhoamiFact>,
    pub(crate) admin: Asked<AdminFact>,
    /// What came of taking registrations back.
    pub(crate) former: BTreeMap<Place, Asked<AdminFact>>,
    pub(crate) report: Asked<ReportFact>,
    /// How often somebody asked for a look at everything, for which every child is to be read.
    pub(crate) looks_asked: u64,
    /// Up to which of these every child was read.
    pub(crate) looks_made: u64,
    /// Since when a status waits for answers that are on their way.
    pub(crate) status_held: Option<Instant>,
    /// When children were written last.
    pub(crate) wrote_at: Option<Instant>,
    /// Whether this process has written the status or found it right, with all questions answered.
    pub(crate) told: bool,
    /// How many passes in a row could not be finished.
    pub(crate) failures: u32,
    /// What was written last of each child.
    pub(crate) applied: Children<Option<Digest>>,
    /// Contents that the API server spells in its own way: what was wanted, and what came of it.
    spellings: Vec<(ChildKind, Digest, Digest)>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            object: None,
            object_rv: 0,
            children: Children::default(),
            refused: Vec::new(),
            pods: BTreeMap::new(),
            whoami: Asked::new(WhoamiFact::Unknown),
            admin: Asked::new(AdminFact::Unknown),
            former: BTreeMap::new(),
            report: Asked::new(ReportFact::Unknown),
            looks_asked: 0,
            looks_made: 0,
            status_held: None,
            wrote_at: None,
            told: false,
            failures: 0,
            applied: Children::default(),
            spellings: Vec::new(),
        }
    }
}

impl Record {
    /// Whether every child is to be read before anything is decided.
    pub(crate) fn is_unread(&self) -> bool {
        self.looks_made != self.looks_asked
    }

    /// Whether it may be dropped.
    pub(super) fn is_empty(&self) -> bool {
        self.object.is_none()
            && self.pods.is_empty()
            && ChildKind::ALL.iter().all(|child| self.children.get(*child).is_none())
    }

    /// Forgets what the homeserver said: the question may be another one now.
    pub(super) fn ask_anew(&mut self) {
        self.whoami.reset(WhoamiFact::Unknown);
        self.admin.reset(AdminFact::Unknown);
        self.former.retain(|_, asked| {
            asked.reset(AdminFact::Unknown);
            asked.is_under_way()
        });
    }

    /// Asks to order something at the homeserver's admin API, decided by what was `seen` there. When an answer has come
    /// since, that brings the object back in line, and what follows from it is decided anew: an order that was carried out
    /// would go a second time.
    pub(crate) fn order(&mut self, about: Digest, seen: &AdminFact, now: Instant) -> Turn {
        let known = self.admin.current(AdminFact::lasts, &AdminFact::Unknown, now);
        if self.is_ordering() || known != *seen { Turn::UnderWay } else { self.admin.turn(about, now) }
    }

    /// Asks to have a registration taken back.
    pub(crate) fn take_back(&mut self, place: &Place, about: Digest, now: Instant) -> Turn {
        if self.is_ordering() {
            return Turn::UnderWay;
        }
        let asked = self.former.entry(place.clone()).or_insert_with(|| Asked::new(AdminFact::Unknown));
        asked.turn(about, now)
    }

    /// Whether an order is on its way. One goes at a time: what is registered and what is taken back may be the same.
    fn is_ordering(&self) -> bool {
        self.admin.is_under_way() || self.former.values().any(Asked::is_under_way)
    }

    /// What is known of registrations that were to be taken back.
    pub(super) fn former(&self, now: Instant) -> Former {
        let known = |(place, asked): (&Place, &Asked<AdminFact>)| {
            let fact = asked.current(AdminFact::lasts, &AdminFact::Unknown, now);
            (fact != AdminFact::Unknown).then(|| (place.clone(), fact))
        };
        self.former.iter().filter_map(known).collect()
    }

    /// Forgets everything that no watch keeps true.
    pub(super) fn look_anew(&mut self) {
        self.refused = Vec::new();
        self.ask_anew();
        self.report.reset(ReportFact::Unknown);
        for child in ChildKind::ALL {
            let place = self.children.get_mut(child);
            if place.as_ref().is_some_and(|known| known.until.is_some()) {
                *place = None;
            }
        }
    }

    /// Forgets what was asked about a former object of this name.
    pub(super) fn forget_answers(&mut self) {
        self.refused = Vec::new();
        self.applied = Children::default();
        self.spellings.clear();
        self.status_held = None;
        self.wrote_at = None;
        self.told = false;
        self.ask_anew();
        self.report.reset(ReportFact::Unknown);
    }

    /// Takes a version of a child; answers whether something has changed.
    pub(super) fn put_child(&mut self, child: ChildKind, mut known: Known) -> bool {
        for other in ChildKind::ALL {
            if let Some(other) = self.children.get(other) {
                known.kept.share(&other.kept);
            }
        }
        let place = self.children.get_mut(child);
        if let Some(before) = place
            && before.kept.uid() == known.kept.uid()
            && (before.rv > known.rv || (before.rv == known.rv && before.until.is_none()))
        {
            return false;
        }
        let changed = place.as_ref().is_none_or(|before| before.kept != known.kept);
        *place = Some(known);
        if changed && child == ChildKind::RegistrationSecret {
            self.ask_anew();
        }
        changed
    }

    /// A child is gone; answers whether it was known.
    pub(super) fn remove_child(&mut self, child: ChildKind, uid: &str) -> bool {
        let place = self.children.get_mut(child);
        if place.as_ref().is_some_and(|known| known.kept.uid() == uid) {
            *place = None;
            return true;
        }
        false
    }

    /// Remembers what was written and what the API server made of it, so that this is not taken for a change of somebody
    /// else.
    pub(crate) fn wrote(&mut self, child: ChildKind, wanted: Digest, live: Digest) {
        *self.applied.get_mut(child) = Some(wanted);
        self.spellings.retain(|(other, _, _)| *other != child);
        if wanted != live {
            self.spellings.push((child, wanted, live));
        }
    }

    /// Forgets what was seen once only and long ago.
    pub(super) fn forget_expired(&mut self, now: Instant) {
        for child in ChildKind::ALL {
            let place = self.children.get_mut(child);
            if place.as_ref().and_then(|known| known.until).is_some_and(|until| until <= now) {
                *place = None;
            }
        }
    }

    /// When the next one is forgotten that was seen once only.
    pub(super) fn expires(&self, now: Instant) -> Option<Duration> {
        let untils = ChildKind::ALL.iter().filter_map(|child| self.children.get(*child).as_ref()?.until);
        untils.min().map(|until| until.saturating_duration_since(now))
    }

    /// The children as a decision sees them.
    pub(super) fn seen(&self) -> Children<Option<Seen>> {
        let mut seen = Children::default();
        for child in ChildKind::ALL {
            *seen.get_mut(child) = self.children.get(child).as_ref().map(|known| known.kept.seen());
        }
        for (child, wanted, live) in &self.spellings {
            if let Some(seen) = seen.get_mut(*child)
                && seen.digest == *live
            {
                seen.digest = *wanted;
            }
        }
        seen
    }

    /// A write was refused, or no longer is.
    pub(super) fn put_refusal(&mut self, child: ChildKind, refusal: Option<Refusal>) {
        self.refused.retain(|(other, _)| *other != child);
        self.refused.extend(refusal.map(|refusal| (child, refusal)));
    }

    /// The refusals as a decision sees them.
    pub(super) fn refused(&self) -> Children<Option<Refusal>> {
        let mut refused = Children::default();
        for (child, refusal) in &self.refused {
            *refused.get_mut(*child) = Some(refusal.clone());
        }
        refused
    }

    /// The versions of the children; 0 for what is not there.
    pub(super) fn versions(&self) -> Children<u64> {
        let mut versions = Children::default();
        for child in ChildKind::ALL {
            *versions.get_mut(child) = self.children.get(child).as_ref().map_or(0, |known| known.rv);
        }
        versions
    }

    /// The pod that was made last.
    pub(super) fn newest_pod(&self) -> Option<PodSeen> {
        self.pods.values().max_by(|a, b| a.0.cmp(&b.0)).map(|(_, pod)| pod.clone())
    }
}
