//! What the operator knows: one record per `DingTalkBridge`, made of projections, never of whole children.
//!
//! Watches and passes write here, passes read a snapshot. Nothing here asks the API server.

mod asked;
mod claims;
mod kept;
mod record;
mod references;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dingtalk_crds::{ConditionType, DingTalkBridge, Reason};
use operator_plan::{
    AdminFact, ChildKind, Children, Digest, Former, PodSeen, RefKey, ReferenceFact, References, Refusal,
    ReportFact, Rivals, Seen, WhoamiFact,
};
use tokio::time::Instant;

pub(crate) use self::{
    asked::Turn,
    record::{Known, Record},
};
use self::{claims::Claims, references::Reads};
use crate::key::Key;

/// The number that orders versions of an object; 0 when the API server's is not a number.
pub(crate) fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// All that is known, behind a lock that is never held across a wait.
#[derive(Debug, Default)]
pub(crate) struct State {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    /// In boxes: a table grows by doubling, and a record has some thousand bytes.
    records: HashMap<Key, Box<Record>>,
    workspaces: Claims,
    hosts: Claims,
    reads: Reads,
}

/// What one pass looks at.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) object: Arc<DingTalkBridge>,
    pub(crate) seen: Children<Option<Seen>>,
    /// The versions of the children that were seen.
    pub(crate) versions: Children<u64>,
    pub(crate) refused: Children<Option<Refusal>>,
    pub(crate) applied: Children<Option<Digest>>,
    pub(crate) pod: Option<PodSeen>,
    pub(crate) references: References,
    pub(crate) rivals: Rivals,
    pub(crate) whoami: WhoamiFact,
    pub(crate) admin: AdminFact,
    pub(crate) former: Former,
    pub(crate) report: ReportFact,
    /// When something of this is forgotten, so that it is looked for again.
    pub(crate) expires: Option<Duration>,
    /// Whether somebody has asked for a look at everything that was not made yet.
    pub(crate) is_unread: bool,
}

impl Snapshot {
    /// An object of which the cluster has nothing yet.
    pub(crate) fn of(object: Arc<DingTalkBridge>) -> Self {
        Self {
            object,
            seen: Children::default(),
            versions: Children::default(),
            refused: Children::default(),
            applied: Children::default(),
            pod: None,
            references: References::new(),
            rivals: Rivals::default(),
            whoami: WhoamiFact::Unknown,
            admin: AdminFact::Unknown,
            former: Former::new(),
            report: ReportFact::Unknown,
            expires: None,
            is_unread: false,
        }
    }
}

/// What a change of the object means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObjectChange {
    /// Whether it is to be looked at.
    pub(crate) look: bool,
    /// Whether it is new, its spec is another one or it is being deleted.
    pub(crate) urgent: bool,
    /// Others that may have what this one has given up.
    pub(crate) others: Vec<Key>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a version of an object, from a watch or from the answer to a write. An older one than is known is left.
    pub(crate) fn put_object(&self, key: &Key, object: DingTalkBridge, host: Option<&str>) -> ObjectChange {
        let mut inner = self.lock();
        let rv = version(object.metadata.resource_version.as_deref());
        let record = inner.records.entry(key.clone()).or_default();
        let before = record.object.as_ref();
        if before.is_some_and(|before| before.metadata.uid == object.metadata.uid && record.object_rv >= rv) {
            return ObjectChange::default();
        }
        let recreated = before.is_some_and(|before| before.metadata.uid != object.metadata.uid);
        let urgent = before.is_none_or(|before| {
            recreated
                || before.metadata.generation != object.metadata.generation
                || before.metadata.deletion_timestamp != object.metadata.deletion_timestamp
                || before.metadata.annotations != object.metadata.annotations
        });
        let asked_anew = before.is_some_and(|before| force(before) != force(&object));
        if recreated {
            record.forget_answers();
        } else if asked_anew {
            record.look_anew();
            record.looks_asked += 1;
        } else if urgent {
            record.ask_anew();
        }
        let owner = claims::Owner::of(key, &object);
        let object = Arc::new(object);
        record.object = Some(Arc::clone(&object));
        record.object_rv = rv;
        let mut others = inner.workspaces.put(owner.clone(), Some(&object.spec.workspace));
        others.extend(inner.hosts.put(owner, host));
        others.retain(|other| other != key);
        ObjectChange { look: true, urgent, others }
    }

    /// An object is gone. Answers who else may be concerned.
    pub(crate) fn remove_object(&self, key: &Key) -> Vec<Key> {
        let mut inner = self.lock();
        let mut others = inner.workspaces.remove(key);
        others.extend(inner.hosts.remove(key));
        inner.reads.forget(key);
        if let Some(record) = inner.records.get_mut(key) {
            record.object = None;
            record.forget_answers();
            if record.is_empty() {
                inner.records.remove(key);
            }
        }
        others.retain(|other| other != key);
        others
    }

    /// Takes what a watch saw of a child. Answers whether its owner is to look.
    pub(crate) fn put_child(&self, key: &Key, child: ChildKind, known: Known) -> bool {
        let mut inner = self.lock();
        let record = inner.records.entry(key.clone()).or_default();
        record.put_child(child, known) && record.object.is_some()
    }

    /// A child is gone, or has left the operator's sight. Answers whether its owner is to look.
    pub(crate) fn remove_child(&self, key: &Key, child: ChildKind, uid: &str) -> bool {
        let mut inner = self.lock();
        let Some(record) = inner.records.get_mut(key) else { return false };
        let look = record.remove_child(child, uid) && record.object.is_some();
        if record.is_empty() {
            inner.records.remove(key);
        }
        look
    }

    /// Remembers a write that was refused, or that it no longer is.
    pub(crate) fn put_refusal(&self, key: &Key, child: ChildKind, refusal: Option<Refusal>) {
        if let Some(record) = self.lock().records.get_mut(key) {
            record.put_refusal(child, refusal);
        }
    }

    /// Takes what a watch saw of a pod. Answers whether the owner is to look.
    pub(crate) fn put_pod(&self, key: &Key, pod: &str, created: String, seen: PodSeen) -> bool {
        let mut inner = self.lock();
        let record = inner.records.entry(key.clone()).or_default();
        let new = (created, seen);
        let changed = record.pods.get(pod) != Some(&new);
        record.pods.insert(pod.to_owned(), new);
        changed && record.object.is_some()
    }

    /// A pod is gone.
    pub(crate) fn remove_pod(&self, key: &Key, pod: &str) -> bool {
        let mut inner = self.lock();
        let Some(record) = inner.records.get_mut(key) else { return false };
        let changed = record.pods.remove(pod).is_some() && record.object.is_some();
        if record.is_empty() {
            inner.records.remove(key);
        }
        changed
    }

    /// A copy of all that a pass may look at; `None` when there is no such object.
    pub(crate) fn snapshot(&self, key: &Key) -> Option<Snapshot> {
        let mut inner = self.lock();
        let rivals = Rivals { workspace: inner.workspaces.older(key), host: inner.hosts.older(key) };
        let now = Instant::now();
        let references = inner.reads.facts(key, now);
        let record = inner.records.get_mut(key)?;
        let object = record.object.clone()?;
        record.forget_expired(now);
        Some(Snapshot {
            object,
            seen: record.seen(),
            versions: record.versions(),
            refused: record.refused(),
            applied: record.applied.clone(),
            pod: record.newest_pod(),
            references,
            rivals,
            whoami: record.whoami.current(WhoamiFact::lasts, &WhoamiFact::Unknown, now),
            admin: record.admin.current(AdminFact::lasts, &AdminFact::Unknown, now),
            former: record.former(now),
            report: record.report.current(|_| false, &ReportFact::Unknown, now),
            expires: record.expires(now),
            is_unread: record.is_unread(),
        })
    }

    /// Lets a change be made to the answers of one object.
    pub(crate) fn with_record<T>(&self, key: &Key, change: impl FnOnce(&mut Record) -> T) -> Option<T> {
        self.lock().records.get_mut(key).map(|record| change(record))
    }

    /// Remembers what was read of an object that `key` names.
    pub(crate) fn put_reference(&self, key: &Key, reference: &RefKey, rv: u64, fact: ReferenceFact) {
        self.lock().reads.put(key, reference, rv, fact);
    }

    /// A watch saw a version of a Secret or `ConfigMap` that may be named by somebody. Answers whom it concerns; what
    /// was read of it before is forgotten.
    pub(crate) fn touch_reference(&self, namespace: &str, reference: &RefKey, rv: Option<u64>) -> Vec<Key> {
        self.lock().reads.touch(namespace, reference, rv)
    }

    /// All objects, and whether their statuses are about their specs as they are, with nothing to be taken apart.
    pub(crate) fn standing(&self) -> Vec<(Key, bool)> {
        let inner = self.lock();
        let objects = inner.records.iter().filter_map(|(key, record)| Some((key, record.object.as_ref()?)));
        objects.map(|(key, object)| (key.clone(), is_told(object))).collect()
    }

    /// How many objects there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().records.values().filter(|record| record.object.is_some()).count()
    }

    /// All objects.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let inner = self.lock();
        inner
            .records
            .iter()
            .filter(|(_, record)| record.object.is_some())
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// How many objects the operator keeps its hands off, and since when from the first of them.
    pub(crate) fn paused(&self) -> (usize, Option<jiff::Timestamp>) {
        let inner = self.lock();
        let objects = inner.records.values().filter_map(|record| record.object.as_ref());
        let paused = objects.filter_map(|object| object.status.as_ref()).filter_map(|status| {
            status.conditions.iter().find(|condition| {
                condition.type_ == ConditionType::Paused.as_str()
                    && condition.reason == Reason::HandsOff.as_str()
            })
        });
        let times: Vec<_> = paused.map(|condition| condition.last_transition_time.parse().ok()).collect();
        (times.len(), times.into_iter().flatten().min())
    }

    /// How many objects have each condition in each status.
    pub(crate) fn conditions(&self) -> BTreeMap<(String, &'static str), i64> {
        let inner = self.lock();
        let mut counts = BTreeMap::new();
        let objects = inner.records.values().filter_map(|record| record.object.as_ref());
        for condition in
            objects.filter_map(|object| object.status.as_ref()).flat_map(|status| &status.conditions)
        {
            let status = match condition.status {
                dingtalk_crds::ConditionStatus::True => "true",
                dingtalk_crds::ConditionStatus::False => "false",
                dingtalk_crds::ConditionStatus::Unknown => "unknown",
            };
            *counts.entry((condition.type_.clone(), status)).or_default() += 1;
        }
        counts
    }
}

/// Whether the status is about the spec as it is, with nothing to be taken apart.
pub(crate) fn is_told(object: &DingTalkBridge) -> bool {
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    observed == object.metadata.generation && object.metadata.deletion_timestamp.is_none()
}

/// The annotation by which somebody asks for a look at everything.
fn force(object: &DingTalkBridge) -> Option<&String> {
    object.metadata.annotations.as_ref()?.get(dingtalk_crds::names::RECONCILE)
}

/// The digest of a text, to tell questions apart.
pub(crate) fn digest_of(parts: &[&str]) -> Digest {
    use sha2::{Digest as _, Sha256};
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    Digest(hasher.finalize().into())
}

#[cfg(test)]
mod tests;
