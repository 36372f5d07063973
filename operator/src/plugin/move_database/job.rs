//! The Job that copies: the Deployment's own pod, with the old volume and the old configuration beside it.

use dingtalk_crds::names;
use serde_json::{Value, json};

use super::step::Job;

/// Where the old configuration is in the pod.
const FROM: &str = "/from";

/// Name of the Job.
pub(super) fn name(of: &str) -> String {
    format!("{}-move", names::child(of))
}

/// Name of the ConfigMap with the configuration of before.
pub(super) fn kept(of: &str) -> String {
    format!("{}-from", names::child(of))
}

/// How it stands.
pub(super) fn standing(job: &Value) -> Job {
    let conditions = job["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is = |type_: &str| conditions.iter().any(|one| one["type"] == type_ && one["status"] == "True");
    match () {
        () if is("Complete") => Job::Done,
        () if is("Failed") => Job::Failed,
        () => Job::Running,
    }
}

/// The Job for a Deployment that is configured for the new database; it tries once, for so many seconds. It goes with the
/// object, whatever becomes of the move. Its pods have none of the bridge's labels, so no Service leads to them.
pub(super) fn of(name_of: &str, uid: &str, deployment: &Value, seconds: u64) -> Value {
    let mut pod = deployment["spec"]["template"]["spec"].clone();
    pod["restartPolicy"] = "Never".into();
    push(
        &mut pod["volumes"],
        json!({"name": "data", "persistentVolumeClaim": {"claimName": names::data_claim(name_of)}}),
    );
    push(&mut pod["volumes"], json!({"name": "from", "configMap": {"name": kept(name_of)}}));
    let container = &mut pod["containers"][0];
    for of_a_server in ["ports", "startupProbe", "livenessProbe", "readinessProbe"] {
        container.as_object_mut().and_then(|container| container.remove(of_a_server));
    }
    let from = format!("{FROM}/{}", names::keys::CONFIG);
    let to = container["args"].as_array().and_then(|args| args.last()).cloned().unwrap_or_default();
    container["args"] = json!(["db", "copy", "--from", from, "--to", to]);
    push(&mut container["volumeMounts"], json!({"name": "data", "mountPath": operator_plan::DATA_FOLDER}));
    push(&mut container["volumeMounts"], json!({"name": "from", "mountPath": FROM, "readOnly": true}));
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name(name_of),
            "namespace": deployment["metadata"]["namespace"],
            "ownerReferences": [{
                "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
                "kind": names::KIND, "name": name_of, "uid": uid,
            }],
        },
        "spec": {"backoffLimit": 0, "activeDeadlineSeconds": seconds, "template": {"spec": pod}},
    })
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_is_the_bridges_own_with_both_databases_and_serves_nothing() {
        let deployment = json!({"metadata": {"namespace": "acme"}, "spec": {"template": {
            "metadata": {"labels": {"app.kubernetes.io/instance": "acme"}},
            "spec": {
                "serviceAccountName": "dingtalk-acme",
                "volumes": [{"name": "config"}],
                "containers": [{
                    "name": "bridge", "image": "i", "args": ["run", "--config", "/etc/c.toml"],
                    "ports": [], "livenessProbe": {}, "volumeMounts": [{"name": "config"}],
                }],
            },
        }}});
        let job = of("acme", "u", &deployment, 60);
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(
            pod["containers"][0]["args"],
            json!(["db", "copy", "--from", "/from/config.toml", "--to", "/etc/c.toml"])
        );
        assert!(pod["containers"][0]["livenessProbe"].is_null() && pod["containers"][0]["ports"].is_null());
        assert_eq!(pod["volumes"].as_array().unwrap().len(), 3);
        assert_eq!(pod["serviceAccountName"], "dingtalk-acme");
        assert!(job["spec"]["template"]["metadata"].is_null());
        assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], "u");
    }

    #[test]
    fn a_job_has_ended_when_it_says_so() {
        let with = |type_: &str| json!({"status": {"conditions": [{"type": type_, "status": "True"}]}});
        assert_eq!(standing(&with("Complete")), Job::Done);
        assert_eq!(standing(&with("Failed")), Job::Failed);
        assert_eq!(standing(&with("FailureTarget")), Job::Running);
        assert_eq!(standing(&json!({})), Job::Running);
    }
}
