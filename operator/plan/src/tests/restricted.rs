//! The restricted pod profile, rule by rule, for every pod that a test makes.

use serde_json::Value;

use super::World;
use crate::{ChildKind, Plan};

/// What the profile demands and a pod lacks.
pub(crate) fn violations(plan: &Plan) -> Vec<String> {
    let mut violations = Vec::new();
    for change in plan.writes.iter().filter(|change| change.child == ChildKind::Deployment) {
        let pod = &change.wanted.object["spec"]["template"]["spec"];
        let mut demand = |holds: bool, rule: &str| {
            if !holds {
                violations.push(rule.to_owned());
            }
        };
        let security = &pod["securityContext"];
        demand(security["runAsNonRoot"] == true, "runAsNonRoot");
        demand(security["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile");
        demand(security["runAsUser"].as_u64().is_some_and(|user| user > 0), "runAsUser");
        demand(pod["automountServiceAccountToken"] == false, "automountServiceAccountToken");
        demand(pod["enableServiceLinks"] == false, "enableServiceLinks");
        for host in ["hostNetwork", "hostPID", "hostIPC"] {
            demand(pod[host].is_null(), host);
        }
        for container in pod["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            demand(security["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
            demand(security["readOnlyRootFilesystem"] == true, "readOnlyRootFilesystem");
            demand(security["capabilities"]["drop"] == serde_json::json!(["ALL"]), "capabilities.drop");
            demand(security["capabilities"]["add"].is_null(), "capabilities.add");
            demand(security["privileged"].is_null(), "privileged");
        }
        for volume in pod["volumes"].as_array().unwrap() {
            let kinds = ["configMap", "projected", "persistentVolumeClaim"];
            demand(kinds.iter().any(|kind| volume[kind].is_object()), "volumes");
            demand(!has_token(volume), "serviceAccountToken");
        }
    }
    violations
}

fn has_token(volume: &Value) -> bool {
    volume["projected"]["sources"]
        .as_array()
        .is_some_and(|sources| sources.iter().any(|source| !source["serviceAccountToken"].is_null()))
}

#[test]
fn the_smallest_pod_is_restricted() {
    let plan = World::smallest().plan();
    assert!(plan.writes.iter().any(|change| change.child == ChildKind::Deployment));
    assert_eq!(violations(&plan), Vec::<String>::new());
}
