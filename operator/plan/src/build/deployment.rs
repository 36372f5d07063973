//! The Deployment.

use dingtalk_crds::names;
use serde_json::{Value, json};

use super::{NONE, Plans, pod};
use crate::{ChildKind, Digest, Secret, outcome::Wanted, workspace::DatabaseFrom};

/// How long a rollout may make no progress: a slow pull of the image and a long migration fit in.
const DEADLINE_SECONDS: u32 = 600;

/// The inputs of a Deployment without a pod: they do not matter, so nothing is written when one changes.
const NO_POD: &str = "none";

/// `None` while something that the pod gets is missing or not known.
pub(super) fn build(plans: &Plans<'_>) -> Option<Wanted> {
    let workspace = plans.workspace;
    let inputs = if workspace.suspended { NO_POD.to_owned() } else { inputs(plans)?.short() };
    // Two processes never work on one database: with a file on a claim the old one has to go first. On PostgreSQL the
    // new one stands by until the old one has ended, and is not ready before: so the old one must not wait for that.
    let strategy: Value = match workspace.database {
        DatabaseFrom::Sqlite { .. } => json!({"type": "Recreate"}),
        DatabaseFrom::PostgreSql(_) => {
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}})
        }
    };
    let mut labels: Value = json!(workspace.pod.labels);
    for (key, value) in plans.labels() {
        labels[key] = value.into();
    }
    let mut annotations: Value = json!(workspace.pod.annotations);
    annotations[names::INPUTS] = inputs.into();
    Some(plans.object(
        ChildKind::Deployment,
        NONE,
        json!({"spec": {
            "replicas": u8::from(!workspace.suspended),
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": DEADLINE_SECONDS,
            "strategy": strategy,
            "selector": {"matchLabels": plans.selector()},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": pod::spec(plans),
            },
        }}),
    ))
}

/// Digest of all that the bridge reads at its start.
fn inputs(plans: &Plans<'_>) -> Option<Digest> {
    let mut text = String::new();
    // Of two, either may be the first: the bridge reads both, so an exchange is no change.
    let other = plans.material.pairs.appservice.mounted();
    let mut registrations: Vec<&str> =
        [Some(&plans.material.registration_file), other].into_iter().flatten().map(Secret::expose).collect();
    registrations.sort_unstable();
    for part in [
        plans.workspace.config_text.as_str(),
        &registrations.concat(),
        plans.material.status_token.expose(),
        plans.material.sealing_key.as_ref()?.expose(),
        &plans.old_keys.join(","),
        &plans.references?.short(),
    ] {
        // With its length before it, no part can look like the end of another.
        text.push_str(&part.len().to_string());
        text.push(':');
        text.push_str(part);
    }
    Some(Digest::of_bytes(text.as_bytes()))
}
