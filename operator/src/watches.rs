//! The watches: which kinds, in which namespaces, and what their events change.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use dingtalk_crds::{DingTalkBridge, names};
use operator_cluster::{
    Key as ObjectKey,
    client::Clients,
    watch::{self, Progress, WatchEvent, WatchHandle, WatchSpec},
};
use operator_plan::{ChildKind, Platform, PodSeen, RefKey, Seen};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    key::Key,
    kinds,
    lanes::{Lane, Queue},
    projection,
    rollout::{self, Fleet},
    state::{Known, State},
};

/// Events on their way; a full channel slows the watch down, which the API server bears.
const ROOM: usize = 256;

/// How seldom a kind is looked for that the cluster does not have and nobody wants.
const UNWANTED: Duration = Duration::from_hours(12);

/// How often it is looked for while somebody wants it.
const WANTED: Duration = Duration::from_secs(30);

/// What a watch tells.
#[derive(Debug)]
pub(crate) enum Message {
    /// About an object.
    Object(WatchEvent<Box<DingTalkBridge>>),
    /// About a child of this kind.
    Child(ChildKind, WatchEvent<Child>),
    /// About a pod.
    Pod(WatchEvent<Pod>),
    /// About a Secret that is not the operator's.
    Secret(WatchEvent<()>),
    /// About a `ConfigMap` that is not the operator's.
    ConfigMap(WatchEvent<()>),
    /// About the ConfigMap with what a person says of the rollout.
    Rollout(WatchEvent<operator_plan::Control>),
    /// About nothing: all that was told before has been taken when this is answered.
    Mark(oneshot::Sender<()>),
}

/// A child and the instance that its label names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    instance: String,
    seen: Seen,
}

/// A pod, the instance that its label names, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    instance: String,
    created: String,
    seen: PodSeen,
}

/// The ConfigMap with what a person says of the rollout.
pub(crate) struct Control {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The watches of all namespaces.
pub(crate) struct Watches {
    handles: Vec<(String, WatchHandle)>,
    sink: mpsc::WeakSender<Message>,
}

impl Watches {
    /// Starts them. Their events come by the channel.
    pub(crate) fn start(
        clients: &Clients,
        namespaces: &[String],
        control: &Control,
        stop: &CancellationToken,
    ) -> (Self, mpsc::Receiver<Message>) {
        let (sink, events) = mpsc::channel(ROOM);
        let mut handles = Vec::new();
        let managed = format!("{}={}", names::MANAGED_BY.0, names::MANAGED_BY.1);
        let foreign = format!("{}!={}", names::MANAGED_BY.0, names::MANAGED_BY.1);
        for namespace in namespaces {
            let spec = |resource: kube::core::ApiResource, labels: Option<&str>| {
                let mut spec = WatchSpec::new(clients.main.clone(), resource);
                spec.namespace = Some(namespace.clone());
                spec.labels = labels.map(str::to_owned);
                spec
            };
            let mut add = |kind: String, handle| handles.push((kind, handle));

            let bridges = spec(kinds::bridges(), None);
            add(
                bridges.resource.plural.clone(),
                watch::spawn(
                    bridges,
                    |_, object| bridge(object),
                    Message::Object,
                    sink.clone(),
                    stop.clone(),
                ),
            );
            for child in kinds::WATCHED {
                let mut children = spec(kinds::of(child), Some(&managed));
                if child == ChildKind::HttpRoute {
                    children.timing.missing_wait = UNWANTED;
                }
                let kind = children.resource.kind.clone();
                add(
                    children.resource.plural.clone(),
                    watch::spawn(
                        children,
                        move |_, object| child_seen(&kind, object),
                        move |event| Message::Child(child, event),
                        sink.clone(),
                        stop.clone(),
                    ),
                );
            }
            let pods = spec(kinds::pods(), Some(&managed));
            add(
                "pods".to_owned(),
                watch::spawn(pods, |_, object| pod_seen(&object), Message::Pod, sink.clone(), stop.clone()),
            );
            let mut secrets = spec(kinds::secrets(), Some(&foreign));
            secrets.metadata_only = true;
            add(
                "secrets (foreign)".to_owned(),
                watch::spawn(secrets, |_, _| Ok(()), Message::Secret, sink.clone(), stop.clone()),
            );
            let mut config_maps = spec(kinds::config_maps(), Some(&foreign));
            config_maps.metadata_only = true;
            add(
                "configmaps (foreign)".to_owned(),
                watch::spawn(config_maps, |_, _| Ok(()), Message::ConfigMap, sink.clone(), stop.clone()),
            );
        }
        let mut said = WatchSpec::new(clients.main.clone(), kinds::config_maps());
        said.namespace = Some(control.namespace.clone());
        said.fields = Some(format!("metadata.name={}", control.name));
        let read = |_: &_, object: Value| Ok(rollout::read_control(&object["data"]));
        handles.push((
            "configmaps (rollout)".to_owned(),
            watch::spawn(said, read, Message::Rollout, sink.clone(), stop.clone()),
        ));
        (Self { handles, sink: sink.downgrade() }, events)
    }

    /// Looks for the kind `HTTPRoute` from the moment somebody wants it until the cluster has it.
    pub(crate) async fn look_for_http_routes(&self, wanted: &Notify, has: &AtomicBool) {
        let plural = kinds::http_routes().plural;
        loop {
            wanted.notified().await;
            while !has.load(Ordering::Relaxed) {
                for (_, handle) in self.handles.iter().filter(|(kind, _)| *kind == plural) {
                    handle.retry_now();
                }
                tokio::time::sleep(WANTED).await;
            }
        }
    }

    /// Waits until every watch has had its first list and the listener has taken it. Before that a child that is there
    /// would look like one that is missing.
    pub(crate) async fn synced(&self) {
        for (_, handle) in &self.handles {
            handle.synced().await;
        }
        let (taken, is_taken) = oneshot::channel();
        // An error says that nobody listens any more, which is the end of the process.
        if let Some(sink) = self.sink.upgrade()
            && sink.send(Message::Mark(taken)).await.is_ok()
        {
            let _ = is_taken.await;
        }
    }

    /// How each stands; those of one kind in several namespaces one after another.
    pub(crate) fn progress(&self) -> impl Iterator<Item = (&str, Progress)> {
        self.handles.iter().map(|(kind, handle)| (kind.as_str(), handle.progress()))
    }
}

/// Reads an object; what it is not needed for is dropped at once.
fn bridge(object: Value) -> Result<Box<DingTalkBridge>, String> {
    let mut object: Box<DingTalkBridge> =
        serde_json::from_value(object).map_err(|error| error.to_string())?;
    object.metadata.managed_fields = None;
    Ok(object)
}

fn child_seen(kind: &str, object: Value) -> Result<Child, String> {
    let instance = projection::label(&object, names::INSTANCE).ok_or("it has no instance label")?.to_owned();
    Ok(Child { instance, seen: projection::seen(kind, object) })
}

fn pod_seen(object: &Value) -> Result<Pod, String> {
    let instance = projection::label(object, names::INSTANCE).ok_or("it has no instance label")?.to_owned();
    let (created, seen) = projection::pod(object);
    Ok(Pod { instance, created, seen })
}

/// Which child of an instance a name is; `None` for a name that is no child's.
pub(crate) fn child_of(kind: &str, name: &str, instance: &str) -> Option<ChildKind> {
    ChildKind::ALL.into_iter().find(|child| child.kind() == kind && child.name(instance) == name)
}

/// Applies events to the state and puts in line what they concern.
pub(crate) struct Listener<'a> {
    pub(crate) state: &'a State,
    pub(crate) queue: &'a Queue,
    pub(crate) platform: &'a Platform,
    /// Objects that are gone.
    pub(crate) gone: &'a (dyn Fn(&Key) + Sync),
    /// Whether the cluster has `HTTPRoute`s.
    pub(crate) http_routes: &'a AtomicBool,
    pub(crate) fleet: &'a Fleet,
}

impl Listener<'_> {
    /// Takes one event.
    pub(crate) fn take(&self, message: Message) {
        match message {
            Message::Object(event) => self.object(event),
            Message::Child(child, event) => self.child(child, event),
            Message::Pod(event) => self.pod(event),
            Message::Secret(event) => self.reference(event, RefKey::Secret),
            Message::ConfigMap(event) => self.reference(event, RefKey::ConfigMap),
            Message::Rollout(WatchEvent::Applied { value, .. }) => self.fleet.control(value),
            Message::Rollout(WatchEvent::Deleted { .. } | WatchEvent::Missing) => {
                self.fleet.control(operator_plan::Control::default());
            }
            Message::Rollout(WatchEvent::Malformed { .. } | WatchEvent::Synced) => {}
            Message::Mark(taken) => {
                // Who asked may have gone.
                let _ = taken.send(());
            }
        }
    }

    fn object(&self, event: WatchEvent<Box<DingTalkBridge>>) {
        match event {
            WatchEvent::Applied { meta, value } => {
                let key = Key::new(meta.key.namespace, meta.key.name);
                let host = operator_plan::host(&value, self.platform);
                let change = self.state.put_object(&key, *value, host.as_deref());
                if change.look {
                    self.queue.push(&key, if change.urgent { Lane::Spec } else { Lane::Child });
                }
                self.look(&change.others, Lane::Child);
            }
            WatchEvent::Deleted { key, .. } => {
                let key = Key::new(key.namespace, key.name);
                let others = self.state.remove_object(&key);
                (self.gone)(&key);
                self.queue.forget_later(&key);
                self.look(&others, Lane::Spec);
            }
            WatchEvent::Malformed { meta, error } => {
                let object = meta.map(|meta| meta.key.to_string()).unwrap_or_default();
                tracing::warn!(object, error, "an object cannot be read and is left alone");
            }
            WatchEvent::Synced => {}
            WatchEvent::Missing => tracing::error!(
                "the cluster has no DingTalkBridge kind: install the chart dingtalk-operator-crds"
            ),
        }
    }

    fn child(&self, kind: ChildKind, event: WatchEvent<Child>) {
        match event {
            WatchEvent::Applied { meta, value } => {
                let resource = kinds::of(kind);
                let Some(child) = child_of(&resource.kind, &meta.key.name, &value.instance) else { return };
                if kind == ChildKind::HttpRoute {
                    self.has_http_routes(true);
                }
                let key = Key::new(meta.key.namespace, value.instance);
                if self.state.put_child(&key, child, Known::new(value.seen, meta.version)) {
                    self.queue.push(&key, Lane::Child);
                }
            }
            WatchEvent::Deleted { key, uid } => self.child_gone(kind, &key, &uid),
            WatchEvent::Malformed { meta, error } => {
                let object = meta.map(|meta| meta.key.to_string()).unwrap_or_default();
                tracing::debug!(object, error, kind = ?kind, "an object with the operator's label is not one of its children");
            }
            WatchEvent::Synced => {
                if kind == ChildKind::HttpRoute {
                    self.has_http_routes(true);
                }
            }
            WatchEvent::Missing => {
                if kind == ChildKind::HttpRoute {
                    self.has_http_routes(false);
                }
            }
        }
    }

    fn has_http_routes(&self, has: bool) {
        if self.http_routes.swap(has, Ordering::Relaxed) != has {
            self.look(&self.state.keys(), Lane::Resync);
        }
    }

    /// The label is gone with the object, so the owner is found by the name.
    fn child_gone(&self, kind: ChildKind, object: &ObjectKey, uid: &str) {
        let resource = kinds::of(kind);
        for instance in instances(&object.name) {
            if let Some(child) = child_of(&resource.kind, &object.name, instance) {
                let key = Key::new(object.namespace.clone(), instance);
                if self.state.remove_child(&key, child, uid) {
                    self.queue.push(&key, Lane::Child);
                }
            }
        }
    }

    fn pod(&self, event: WatchEvent<Pod>) {
        match event {
            WatchEvent::Applied { meta, value } => {
                let key = Key::new(meta.key.namespace, value.instance);
                if self.state.put_pod(&key, &meta.key.name, value.created, value.seen) {
                    self.queue.push(&key, Lane::Child);
                }
            }
            WatchEvent::Deleted { key: object, .. } => {
                // `<deployment>-<hash>-<hash>`
                let deployment = object.name.rsplitn(3, '-').nth(2).unwrap_or_default();
                if let Some(instance) = deployment.strip_prefix("dingtalk-") {
                    let key = Key::new(object.namespace.clone(), instance);
                    if self.state.remove_pod(&key, &object.name) {
                        self.queue.push(&key, Lane::Child);
                    }
                }
            }
            WatchEvent::Malformed { .. } | WatchEvent::Synced | WatchEvent::Missing => {}
        }
    }

    fn reference(&self, event: WatchEvent<()>, kind: impl Fn(String) -> RefKey) {
        let (key, version) = match event {
            WatchEvent::Applied { meta, .. } => (meta.key, Some(meta.version)),
            WatchEvent::Deleted { key, .. } => (key, None),
            WatchEvent::Malformed { .. } | WatchEvent::Synced | WatchEvent::Missing => return,
        };
        let readers = self.state.touch_reference(&key.namespace, &kind(key.name), version);
        self.look(&readers, Lane::Spec);
    }

    fn look(&self, keys: &[Key], lane: Lane) {
        for key in keys {
            self.queue.push(key, lane);
        }
    }
}

/// The instances that a child of this name may belong to: its name without the prefix, with and without an ending.
fn instances(name: &str) -> impl Iterator<Item = &str> {
    let rest = name.strip_prefix("dingtalk-");
    let endings = ["", "-registration", "-tokens", "-sealing-key", "-data"];
    endings.into_iter().filter_map(move |ending| rest?.strip_suffix(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_an_instance_are_its_children() {
        assert_eq!(child_of("Secret", "dingtalk-acme-tokens", "acme"), Some(ChildKind::TokensSecret));
        assert_eq!(child_of("Secret", "dingtalk-acme", "acme"), None);
        assert_eq!(child_of("Deployment", "dingtalk-acme", "acme"), Some(ChildKind::Deployment));
        assert_eq!(child_of("Deployment", "dingtalk-acme-2", "acme"), None);
        assert_eq!(child_of("Pod", "dingtalk-acme", "acme"), None);
    }

    #[test]
    fn a_deleted_child_is_found_by_its_name() {
        let owners = |kind: &str, name: &str| -> Vec<String> {
            instances(name)
                .filter(|instance| child_of(kind, name, instance).is_some())
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(owners("Secret", "dingtalk-acme-registration"), ["acme"]);
        assert_eq!(owners("Deployment", "dingtalk-acme-data"), ["acme-data"]);
        assert_eq!(owners("PersistentVolumeClaim", "dingtalk-acme-data"), ["acme"]);
        assert!(owners("Secret", "someone-elses").is_empty());
    }
}
