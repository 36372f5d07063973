//! `kubectl dtb rollout`: how a change of the platform's comes to the bridges, by what the cluster tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use clap::Subcommand;
use dingtalk_crds::{ConditionStatus, ConditionType, DingTalkBridge, Reason, names};
use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use operator_cluster::Key as ObjectKey;
use operator_plan::{ChildKind, Control, Decision, Health, Member, SeenMore, decide};
use serde_json::{Value, json};

use super::{
    NAME, Session, fleet,
    fleet::{Of, Operator},
    status::condition,
    table,
};
use crate::{
    cli::print,
    key::Key,
    kinds, projection,
    rollout::{FORGIVEN, HALTED, read_control},
};

#[derive(Debug, Subcommand)]
pub(super) enum Rollout {
    /// Show how far it is, what it waits for, and who failed
    Status {
        #[command(flatten)]
        of: Of,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let no more bridges go
    Halt(Of),
    /// Let it go on, in spite of the failures so far
    Resume(Of),
}

impl Rollout {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<()> {
        let (Self::Status { of, .. } | Self::Halt(of) | Self::Resume(of)) = self;
        let operator = fleet::operator(session, of.operator_namespace.as_deref()).await?;
        match self {
            Self::Status { json, .. } => {
                let standing = Standing::read(session, &operator).await?;
                print(&if *json { standing.to_json()? } else { standing.to_text() })
            }
            Self::Halt(_) => {
                say(session, &operator, &json!({HALTED: "true"})).await?;
                print("The rollout is halted: bridges that are on their way end it, no others go.\n")
            }
            Self::Resume(_) => {
                let standing = Standing::read(session, &operator).await?;
                let mut data = json!({HALTED: "false"});
                if let Some(release) = &standing.release {
                    data[FORGIVEN] = format!("{release} {}", Timestamp::now()).into();
                }
                say(session, &operator, &data).await?;
                print(&format!(
                    "The rollout goes on; {} failures so far do not count any more.\n",
                    standing.decision.failed.len()
                ))
            }
        }
    }
}

fn control_key(operator: &Operator) -> ObjectKey {
    let lease = &operator.config.settings.leader_election.lease_name;
    ObjectKey { namespace: operator.namespace.clone(), name: names::rollout_config_map(lease) }
}

/// Writes what a person says.
async fn say(session: &Session, operator: &Operator, data: &Value) -> anyhow::Result<()> {
    let key = control_key(operator);
    let api: Api<DynamicObject> =
        Api::namespaced_with(session.clients.main.clone(), &key.namespace, &kinds::config_maps());
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": key.name, "namespace": key.namespace},
        "data": data,
    });
    api.patch(&key.name, &PatchParams::apply(NAME).force(), &Patch::Apply(&object)).await?;
    Ok(())
}

/// How the rollout stands.
struct Standing {
    release: Option<String>,
    control: Control,
    decision: Decision<Key>,
    waiting: Vec<Key>,
    operator: String,
}

impl Standing {
    async fn read(session: &Session, operator: &Operator) -> anyhow::Result<Self> {
        let mut members = BTreeMap::new();
        let namespaces = match operator.config.settings.namespaces.as_slice() {
            [] => vec![operator.namespace.clone()],
            named => named.to_vec(),
        };
        for namespace in &namespaces {
            members.extend(members_of(session, namespace).await?);
        }
        // The release that came last to anybody is the one that is under way.
        let newest =
            members.values().filter_map(|member| member.staged.as_ref()).max_by_key(|staged| staged.at);
        let release = newest.map(|staged| staged.release.clone());
        let said = fleet::config_map(session, &control_key(operator)).await?;
        let control = said.map(|map| read_control(&map["data"])).unwrap_or_default();
        let settings = &operator.config.settings.rollout;
        let of = release.clone().unwrap_or_default();
        let decision = decide(&members, &BTreeSet::new(), settings, &control, &of, Timestamp::now());
        let waiting =
            members.iter().filter(|(_, member)| member.waiting).map(|(key, _)| key.clone()).collect();
        Ok(Self {
            release,
            control,
            decision,
            waiting,
            operator: format!("{}/{}", operator.namespace, operator.name),
        })
    }

    fn state(&self) -> &'static str {
        let counts = self.decision.counts;
        match () {
            () if self.decision.halted && self.control.halted => "halted by a person",
            () if self.decision.halted => "halted by failures",
            () if self.decision.canaries_only => "canaries",
            () if counts.waiting > 0 => "waves",
            () if counts.moving > 0 => "the last bridges",
            () => "nothing to do",
        }
    }

    fn to_json(&self) -> anyhow::Result<String> {
        let names = |keys: &[Key]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let counts = self.decision.counts;
        let value = json!({
            "operator": self.operator,
            "state": self.state(),
            "halted": self.decision.halted,
            "release": self.release,
            "done": counts.done, "moving": counts.moving, "waiting": counts.waiting,
            "failed": names(&self.decision.failed),
            "waitingBridges": names(&self.waiting),
        });
        Ok(format!("{}\n", serde_json::to_string_pretty(&value)?))
    }

    fn to_text(&self) -> String {
        let counts = self.decision.counts;
        let number = |count: usize| count.to_string();
        let mut text = table(
            &["STATE", "DONE", "MOVING", "WAITING", "FAILED"],
            &[vec![
                self.state().to_owned(),
                number(counts.done),
                number(counts.moving),
                number(counts.waiting),
                number(counts.failed),
            ]],
        );
        for key in &self.decision.failed {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "failed: {key}; see kubectl dtb status {} --namespace {}",
                key.name(),
                key.namespace()
            );
        }
        if self.decision.halted {
            text.push_str("Set the change back, or go on with: kubectl dtb rollout resume\n");
        }
        text
    }
}

/// The bridges of a namespace as the rollout sees them.
async fn members_of(session: &Session, namespace: &str) -> anyhow::Result<BTreeMap<Key, Member>> {
    let bridges = fleet::bridges(session, Some(namespace)).await?;
    let mut deployments: BTreeMap<String, SeenMore> = BTreeMap::new();
    let kind = kinds::of(ChildKind::Deployment);
    session
        .reader
        .list(&kind, Some(namespace), Some(&fleet::managed()), "plugin", |object| {
            if let Some(instance) = projection::label(&object, names::INSTANCE) {
                let instance = instance.to_owned();
                deployments.insert(instance, projection::seen(&kind.kind, object).more);
            }
        })
        .await?;
    let members = bridges.iter().filter_map(|bridge| {
        let name = bridge.metadata.name.clone()?;
        let member = member(bridge, deployments.get(&name)?)?;
        Some((Key::new(namespace, name), member))
    });
    Ok(members.collect())
}

/// By the status of the object, which the operator keeps.
fn member(bridge: &DingTalkBridge, deployment: &SeenMore) -> Option<Member> {
    let SeenMore::Deployment { marks, .. } = deployment else {
        return None;
    };
    let progressing = condition(bridge, ConditionType::Progressing);
    let workload = condition(bridge, ConditionType::WorkloadAvailable)?;
    let is_broken = [Reason::ImagePullFailed, Reason::CrashLooping, Reason::DeadlineExceeded]
        .iter()
        .any(|reason| reason.as_str() == workload.reason);
    let health = match deployment.has_followed() {
        true if workload.status == ConditionStatus::True => {
            Health::Ready(workload.last_transition_time.parse().ok())
        }
        false if is_broken => Health::Broken,
        _ => Health::Away,
    };
    Some(Member {
        rank: 0,
        canary: bridge
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(names::CANARY))
            .is_some_and(|value| value == "true"),
        waiting: progressing.is_some_and(|condition| condition.reason == Reason::WaitingForWave.as_str()),
        staged: marks.staged.clone(),
        health,
    })
}
