//! `kubectl dtb diff`: what other values, or this version of the operator, would change for whom. By the same decisions as
//! the operator's, and without any write.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use dingtalk_crds::{ConditionStatus, ConditionType, names};
use jiff::Timestamp;
use operator_cluster::{Failure, Meta};
use operator_plan::{Ask, ChildKind, OperatorInfo, Plan, Platform, SeenMore, Turn, host, plan};
use serde_json::{Value, json};

use super::{Session, fleet, table};
use crate::{
    cli::{print, read_text, stand_in},
    config,
    key::Key,
    kinds, projection,
    reconcile::{facts, read_reference},
    state::{Known, Snapshot, State},
    watches::child_of,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  helm template dingtalk-operator charts/dingtalk-operator -f values.yaml | kubectl dtb diff -A -f -
  kubectl dtb diff -f operator.yaml --json

Nothing is written. The user needs to read the objects of the bridges, Secrets among them; no secret is printed.")]
pub(super) struct Diff {
    /// The operator's file as it would be, or manifests that have its ConfigMap, e.g. of helm template; `-` reads standard
    /// input
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    of: fleet::Of,
    /// Of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What would change for one object.
struct Change {
    key: Key,
    /// Kinds that are written or deleted.
    kinds: Vec<String>,
    /// What becomes of the pod.
    pod: &'static str,
    /// Why nothing can be made for it.
    problem: Option<String>,
}

impl Diff {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<()> {
        let text = read_text(&self.file)?;
        let platform = platform(&text).with_context(|| self.file.display().to_string())?;
        let scope = session.scope(self.all_namespaces);
        let operator = fleet::operator(session, self.of.operator_namespace.as_deref()).await?;
        let world = World::read(session, scope, &platform, operator.namespace).await?;
        let mut changes = Vec::new();
        for key in world.state.keys() {
            changes.extend(world.change(session, &platform, key).await?);
        }
        changes.sort_by(|one, other| one.key.cmp(&other.key));
        print(&if self.json { to_json(&changes)? } else { to_text(&changes, world.state.count()) })
    }
}

/// The platform of a file, or of the `ConfigMap` among manifests.
fn platform(text: &str) -> anyhow::Result<Platform> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    let file = documents.iter().find_map(|document| document["data"]["operator.yaml"].as_str());
    Ok(config::parse(file.unwrap_or(text))?.platform)
}

/// The cluster as it is.
struct World {
    state: State,
    has_http_routes: bool,
    /// The operator's, which the network's rules name.
    namespace: String,
}

impl World {
    async fn read(
        session: &Session,
        scope: Option<&str>,
        platform: &Platform,
        namespace: String,
    ) -> anyhow::Result<Self> {
        let state = State::default();
        for bridge in fleet::bridges(session, scope).await? {
            let of = |text: &Option<String>| text.clone().unwrap_or_default();
            let key = Key::new(of(&bridge.metadata.namespace), of(&bridge.metadata.name));
            let host = host(&bridge, platform);
            state.put_object(&key, bridge, host.as_deref());
        }
        let mut has_http_routes = true;
        for child in kinds::WATCHED {
            let resource = kinds::of(child);
            let take = |object: Value| {
                let (Some(meta), Some(instance)) =
                    (Meta::of(&object), projection::label(&object, names::INSTANCE).map(str::to_owned))
                else {
                    return;
                };
                if let Some(kind) = child_of(&resource.kind, &meta.key.name, &instance) {
                    let seen = projection::seen(&resource.kind, object);
                    state.put_child(
                        &Key::new(meta.key.namespace, instance),
                        kind,
                        Known::new(seen, meta.version),
                    );
                }
            };
            match session.reader.list(&resource, scope, Some(&fleet::managed()), "plugin", take).await {
                Err(Failure::Gone { .. }) if child == ChildKind::HttpRoute => has_http_routes = false,
                listed => listed.with_context(|| format!("listing {}", resource.plural))?,
            }
        }
        Ok(Self { state, has_http_routes, namespace })
    }

    /// What would change for an object; `None` when nothing would.
    async fn change(
        &self,
        session: &Session,
        platform: &Platform,
        key: Key,
    ) -> anyhow::Result<Option<Change>> {
        // What the object names is read first, as the operator does it.
        const MOST_ROUNDS: usize = 4;
        let Some(mut snapshot) = self.state.snapshot(&key) else { return Ok(None) };
        for _ in 0..MOST_ROUNDS {
            let plan = self.plan(&snapshot, platform, Turn::Waits);
            let mut has_read = false;
            for ask in &plan.asks {
                if let Ask::Read { key: reference, values } = ask {
                    let (rv, fact) =
                        read_reference(&session.reader, key.namespace(), reference, values).await?;
                    self.state.put_reference(&key, reference, rv, fact);
                    has_read = true;
                }
            }
            let Some(anew) = self.state.snapshot(&key).filter(|_| has_read) else { break };
            snapshot = anew;
        }
        let at_once = self.plan(&snapshot, platform, Turn::Waits);
        let in_the_end = self.plan(&snapshot, platform, Turn::Came(Timestamp::now()));
        Ok(described(key, &snapshot, &at_once, &in_the_end))
    }

    fn plan(&self, snapshot: &Snapshot, platform: &Platform, turn: Turn) -> Plan {
        let operator = OperatorInfo {
            namespace: self.namespace.clone(),
            has_http_routes: self.has_http_routes,
            definition: Arc::default(),
        };
        plan(&facts(snapshot, platform, &operator, turn, &stand_in(), Timestamp::now()))
    }
}

fn described(key: Key, snapshot: &Snapshot, at_once: &Plan, in_the_end: &Plan) -> Option<Change> {
    let problem = in_the_end
        .status
        .as_ref()
        .and_then(|status| {
            status.conditions.iter().find(|condition| condition.type_ == ConditionType::ConfigValid.as_str())
        })
        .filter(|condition| condition.status == ConditionStatus::False)
        .map(|condition| format!("{}: {}", condition.reason, condition.message));
    let mut kinds: Vec<String> =
        in_the_end.writes.iter().map(|change| change.child.kind().to_owned()).collect();
    kinds.extend(in_the_end.deletions.iter().map(|deletion| format!("-{}", deletion.child.kind())));
    kinds.dedup();
    if kinds.is_empty() && problem.is_none() {
        return None;
    }
    let there = snapshot.seen.deployment.as_ref().map(|seen| &seen.more);
    let wanted = in_the_end.writes.iter().find(|change| change.child == ChildKind::Deployment);
    let restarts = match (there, wanted) {
        (Some(SeenMore::Deployment { template, .. }), Some(change)) => *template != change.wanted.template(),
        _ => false,
    };
    let waits = at_once.member.as_ref().is_some_and(|member| member.waiting);
    let pod = match (there.is_some(), restarts, waits) {
        (false, ..) if wanted.is_some() => "is made",
        (_, true, true) => "restarts in its wave",
        (_, true, false) => "restarts at once",
        _ => "stays",
    };
    Some(Change { key, kinds, pod, problem })
}

fn to_json(changes: &[Change]) -> anyhow::Result<String> {
    let list: Vec<Value> = changes
        .iter()
        .map(|change| {
            json!({
                "namespace": change.key.namespace(), "name": change.key.name(), "changes": change.kinds,
                "pod": change.pod, "problem": change.problem,
            })
        })
        .collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&list)?))
}

fn to_text(changes: &[Change], all: usize) -> String {
    let row = |change: &Change| {
        vec![
            change.key.namespace().to_owned(),
            change.key.name().to_owned(),
            change.pod.to_owned(),
            change.problem.clone().unwrap_or_else(|| change.kinds.join(", ")),
        ]
    };
    let rows: Vec<_> = changes.iter().map(row).collect();
    let restarts = changes.iter().filter(|change| change.pod.starts_with("restarts")).count();
    let summary =
        format!("{} of {all} bridges would change, {restarts} pods would restart.\n", changes.len());
    if rows.is_empty() { summary } else { table(&["NAMESPACE", "NAME", "POD", "CHANGES"], &rows) + &summary }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_manifests_with_it_are_read() {
        let file = "platform: {baseDomain: chat.example, image: {reference: 'i:1'}}\n";
        let map = json!({"kind": "ConfigMap", "data": {"operator.yaml": file}});
        let manifests = format!("---\nkind: Role\n---\n{}\n", serde_saphyr::to_string(&map).unwrap());
        for text in [file, manifests.as_str()] {
            assert_eq!(platform(text).unwrap().base_domain.as_deref(), Some("chat.example"));
        }
        assert!(platform("platform: {baseDomian: x}").unwrap_err().to_string().contains("baseDomain"));
    }
}
