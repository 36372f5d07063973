//! Writes of a pass: children in waves, finalizer, status, events. Every answer is remembered at once.

use std::sync::{Arc, atomic::Ordering};

use dingtalk_crds::{DingTalkBridgeStatus, names};
use operator_cluster::{
    Failure, Key as ObjectKey, Meta,
    apply::{Propagation, steps},
    events::{Note as EventNote, Reference},
    project,
};
use operator_plan::{Change, ChildKind, Deletion, Digest, Note, NoteType, Refusal};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Reconciler;
use crate::{
    key::Key,
    kinds,
    lanes::{Lane, Turn},
    projection,
    state::{Known, Record, Snapshot, version},
};

/// What came of the writes of a plan.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Whether something was written or refused, so that planning anew makes sense.
    pub(super) some: bool,
    /// Whether something was not written, because it was refused or its name is taken.
    pub(super) refused: bool,
}

impl Reconciler {
    /// Writes children, one wave after the other. A wave with a failure is the last, and so is one with a refusal: what
    /// the later ones rely on is not there, and a new plan tells what may be written without it.
    pub(super) async fn write(
        self: &Arc<Self>,
        turn: &Turn,
        snapshot: &Snapshot,
        mut changes: Vec<Change>,
        wrote: &mut bool,
    ) -> Result<Written, Failure> {
        changes.sort_by_key(|change| change.wave);
        let mut written = Written::default();
        let mut changes = changes.into_iter().peekable();
        while let Some(wave) = changes.peek().map(|change| change.wave) {
            let mut running = tokio::task::JoinSet::new();
            while let Some(change) = changes.next_if(|change| change.wave == wave) {
                let (this, key) = (Arc::clone(self), turn.key.clone());
                let version = *snapshot.versions.get(change.child);
                running.spawn(async move { this.write_child(&key, change, version).await });
            }
            let mut failure = None;
            while let Some(ended) = running.join_next().await {
                match ended {
                    Ok(Ok(done)) => {
                        written.refused |= !done;
                        if turn.lane == Lane::Spec && !*wrote {
                            self.metrics.first_write(turn.since.elapsed());
                        }
                        *wrote = true;
                        written.some = true;
                    }
                    Ok(Err(error)) => failure = Some(error),
                    // Only a panic, and a panic ends the process.
                    Err(_) => {}
                }
            }
            if let Some(failure) = failure {
                tracing::debug!(object = %turn.key, uid = ?snapshot.object.metadata.uid, "a wave was not finished");
                return Err(failure);
            }
            if written.refused {
                break;
            }
        }
        Ok(written)
    }

    /// Writes one child and answers whether it was written. A refusal that is for good is a result as well: it is
    /// remembered and shown.
    async fn write_child(&self, key: &Key, mut change: Change, version: u64) -> Result<bool, Failure> {
        let resource = kinds::of(change.child);
        let why = match (&change.uid, change.repair) {
            (None, _) => "create",
            (Some(_), true) => "drift",
            (Some(_), false) => "change",
        };
        if change.uid.is_some() && change.child.is_secret() && version != 0 {
            // Tokens and keys follow from those that are there. Another operator may have replaced them since: what was
            // decided from older ones would bring these back.
            change.wanted.object["metadata"]["resourceVersion"] = version.to_string().into();
        }
        let wanted = &change.wanted;
        let answer = match &change.uid {
            None => self.writer.create(&resource, &wanted.object, why).await,
            Some(uid) => self.writer.apply(&resource, &wanted.object, uid, true, why).await,
        };
        match answer {
            Ok(live) => {
                if change.repair {
                    self.metrics.repaired(&resource.kind);
                    let managers = project::managers(&live, names::FIELD_MANAGER);
                    tracing::info!(object = %key, child = %resource.kind, by = ?managers, "a child was changed by somebody else and is repaired");
                }
                self.remember(key, change.child, live, wanted.digest);
                self.state.put_refusal(key, change.child, None);
                Ok(true)
            }
            Err(Failure::Taken { message }) => {
                // Somebody else's, or ours without our label: one look tells, and the plan decides.
                tracing::debug!(object = %key, child = %resource.kind, message, "the name is taken");
                self.look_at(key, change.child, &wanted.object).await?;
                Ok(false)
            }
            Err(Failure::Refused { denied, message }) => {
                tracing::warn!(object = %key, child = %resource.kind, message, "the cluster refused a child");
                self.refuse(key, &change, denied, false, message);
                Ok(false)
            }
            Err(Failure::Conflict { managers, message }) => {
                tracing::warn!(object = %key, child = %resource.kind, ?managers, message, "others own fields of a child");
                self.refuse(key, &change, false, true, message);
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    fn refuse(&self, key: &Key, change: &Change, denied: bool, conflict: bool, message: String) {
        let refusal =
            Refusal { digest: change.wanted.digest, denied, conflict, message, at: self.clock.now() };
        self.state.put_refusal(key, change.child, Some(refusal));
    }

    /// Remembers a child from the answer to a write.
    fn remember(&self, key: &Key, child: ChildKind, live: Value, wanted: Digest) {
        let Some(meta) = Meta::of(&live) else { return };
        let seen = projection::seen(&kinds::of(child).kind, live);
        if wanted != seen.digest {
            tracing::debug!(object = %key, ?child, ?wanted, live = ?seen.digest, "the API server spells a child in its own way");
        }
        self.state.with_record(key, |record| record.wrote(child, wanted, seen.digest));
        self.state.put_child(key, child, Known::answered(seen, meta.version, Instant::now()));
    }

    /// Looks at an object that no watch shows.
    async fn look_at(&self, key: &Key, child: ChildKind, wanted: &Value) -> Result<(), Failure> {
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
        self.read_child(key, child, name, "conflict").await.map(drop)
    }

    /// Reads a child, and answers whether it is there.
    async fn read_child(
        &self,
        key: &Key,
        child: ChildKind,
        name: &str,
        why: &'static str,
    ) -> Result<bool, Failure> {
        let resource = kinds::of(child);
        let object = ObjectKey { namespace: key.namespace().to_owned(), name: name.to_owned() };
        let Some(live) = self.reader.get(&resource, &object, why).await? else { return Ok(false) };
        let Some(meta) = Meta::of(&live) else { return Ok(false) };
        let seen = projection::seen(&resource.kind, live);
        let known = if seen.labelled { Known::answered } else { Known::out_of_sight }(
            seen,
            meta.version,
            Instant::now(),
        );
        self.state.put_child(key, child, known);
        Ok(true)
    }

    /// Reads every child when somebody has asked for that, whatever the watches say. A read that fails leaves the
    /// request open.
    pub(super) async fn read_all(&self, key: &Key) -> Result<(), Failure> {
        let asked = |record: &mut Record| record.is_unread().then_some(record.looks_asked);
        let Some(asked) = self.state.with_record(key, asked).flatten() else { return Ok(()) };
        for child in ChildKind::ALL {
            if child == ChildKind::HttpRoute && !self.http_routes.load(Ordering::Relaxed) {
                continue;
            }
            let seen = self.state.snapshot(key).and_then(|snapshot| snapshot.seen.get(child).clone());
            match (self.read_child(key, child, &child.name(key.name()), "asked").await, seen) {
                (Ok(false), Some(seen)) => {
                    self.state.remove_child(key, child, &seen.uid);
                }
                // What may not be read stays as its watch tells; a write would say so.
                (Ok(_) | Err(Failure::Refused { .. }), _) => {}
                (Err(failure), _) => return Err(failure),
            }
        }
        self.state.with_record(key, |record| record.looks_made = asked);
        Ok(())
    }

    /// Deletes children; answers whether there were any. A refusal is remembered and shown.
    pub(super) async fn delete(&self, key: &Key, deletions: Vec<Deletion>) -> Result<bool, Failure> {
        let some = !deletions.is_empty();
        for Deletion { child, uid } in deletions {
            let resource = kinds::of(child);
            let object = ObjectKey { namespace: key.namespace().to_owned(), name: child.name(key.name()) };
            match self.writer.delete(&resource, &object, &uid, Propagation::Background, "delete").await {
                Ok(()) => {
                    // An object with a finalizer of somebody's goes later; its watch tells.
                    self.state.remove_child(key, child, &uid);
                    self.state.put_refusal(key, child, None);
                }
                Err(Failure::Refused { denied, message }) => {
                    tracing::warn!(object = %key, child = %resource.kind, message, "the cluster refused to delete a child");
                    let (digest, at) = (Refusal::DELETION, self.clock.now());
                    let refusal = Refusal { digest, denied, conflict: false, message, at };
                    self.state.put_refusal(key, child, Some(refusal));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(some)
    }

    /// Makes the finalizer be there, and the annotation about registrations with it.
    pub(super) async fn set_finalizer(
        &self,
        key: &Key,
        snapshot: &Snapshot,
        registered: Option<&str>,
    ) -> Result<(), Failure> {
        let metadata = &snapshot.object.metadata;
        let mut steps = steps::add_finalizer(&finalizers(snapshot), names::FINALIZER);
        steps.extend(steps::annotate(metadata.annotations.as_ref(), names::REGISTERED, registered));
        let live = self.amend(key, snapshot, steps).await?;
        self.put_object(key, live);
        Ok(())
    }

    /// Takes both away.
    pub(super) async fn remove_finalizer(&self, key: &Key, snapshot: &Snapshot) -> Result<(), Failure> {
        let metadata = &snapshot.object.metadata;
        let mut steps = steps::remove_finalizer(&finalizers(snapshot), names::FINALIZER);
        steps.extend(steps::annotate(metadata.annotations.as_ref(), names::REGISTERED, None));
        match self.amend(key, snapshot, steps).await {
            Ok(_) | Err(Failure::Gone { .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn amend(&self, key: &Key, snapshot: &Snapshot, steps: Vec<Value>) -> Result<Value, Failure> {
        let uid = snapshot.object.metadata.uid.clone().unwrap_or_default();
        self.writer.amend(&kinds::bridges(), &object_key(key), &uid, steps, "finalizer").await
    }

    pub(super) async fn write_status(
        &self,
        key: &Key,
        snapshot: &Snapshot,
        status: &DingTalkBridgeStatus,
    ) -> Result<(), Failure> {
        let metadata = &snapshot.object.metadata;
        let of = Meta {
            key: object_key(key),
            uid: metadata.uid.clone().unwrap_or_default(),
            version: version(metadata.resource_version.as_deref()),
        };
        let object = json!({
            "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
            "kind": names::KIND,
            "metadata": {"name": key.name(), "namespace": key.namespace()},
            "status": status,
        });
        let live = self.writer.apply_status(&kinds::bridges(), &object, &of, "status").await?;
        self.put_object(key, live);
        self.state.with_record(key, |record| {
            record.status_held = None;
            record.told = true;
        });
        Ok(())
    }

    /// Takes the answer to a write of the object itself, so that the watch's event is no news.
    fn put_object(&self, key: &Key, live: Value) {
        match serde_json::from_value::<dingtalk_crds::DingTalkBridge>(live) {
            Ok(mut object) => {
                object.metadata.managed_fields = None;
                let host = operator_plan::host(&object, &self.platform);
                self.state.put_object(key, object, host.as_deref());
            }
            Err(error) => tracing::debug!(object = %key, %error, "the answer to a write cannot be read"),
        }
    }

    pub(crate) fn publish(&self, snapshot: &Snapshot, notes: Vec<Note>) {
        let metadata = &snapshot.object.metadata;
        for note in notes {
            self.recorder.publish(EventNote {
                regarding: Reference {
                    api_version: format!("{}/{}", names::GROUP, names::VERSION),
                    kind: names::KIND.to_owned(),
                    namespace: metadata.namespace.clone().unwrap_or_default(),
                    name: metadata.name.clone().unwrap_or_default(),
                    uid: metadata.uid.clone().unwrap_or_default(),
                },
                is_warning: note.type_ == NoteType::Warning,
                reason: note.reason.as_str().to_owned(),
                action: note.action.to_owned(),
                note: note.note,
            });
        }
    }
}

fn finalizers(snapshot: &Snapshot) -> Vec<String> {
    snapshot.object.metadata.finalizers.clone().unwrap_or_default()
}

fn object_key(key: &Key) -> ObjectKey {
    ObjectKey { namespace: key.namespace().to_owned(), name: key.name().to_owned() }
}
