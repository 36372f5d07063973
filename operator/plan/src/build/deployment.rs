//! The Deployment.

use dingtalk_crds::names;
use serde_json::{Value, json};

use super::{NONE, Plans, pod};
use crate::{ChildKind, Digest, outcome::Wanted, workspace::DatabaseFrom};

/// How long a rollout may make no progress: a slow pull of the image and a long migration fit in.
const DEADLINE_SECONDS: u32 = 600;

/// `None` while the sealing key is missing: a pod could not start.
pub(super) fn build(plans: &Plans<'_>, references: Digest) -> Option<Wanted> {
    let workspace = plans.workspace;
    let sealing_key = plans.material.sealing_key.as_ref()?;
    let mut inputs = String::new();
    for part in [
        workspace.config_text.as_str(),
        plans.material.registration_file.expose(),
        plans.material.status_token.expose(),
        sealing_key.expose(),
        &plans.old_keys.join(","),
        &references.short(),
    ] {
        // With its length before it, no part can look like the end of another.
        inputs.push_str(&format!("{}:{part}", part.len()));
    }
    let inputs = Digest::of_bytes(inputs.as_bytes());
    // Two processes never work on one database: with a file on a claim the old one has to go first.
    let strategy: Value = match workspace.database {
        DatabaseFrom::Sqlite { .. } => json!({"type": "Recreate"}),
        DatabaseFrom::PostgreSql(_) => {
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
        }
    };
    let mut labels: Value = json!(workspace.pod.labels);
    for (key, value) in plans.labels() {
        labels[key] = value.into();
    }
    let mut annotations: Value = json!(workspace.pod.annotations);
    annotations[names::INPUTS] = inputs.short().into();
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
