//! Programs of ours as pods of any cluster, as strict as pods can be.

use serde_json::{Value, json};

/// Where a program may write.
const STATE: &str = "/var/lib/state";

/// A volume of a program.
pub(crate) struct Mount<'a> {
    /// Where it is in the pod.
    pub(crate) path: &'a str,
    /// Its source.
    pub(crate) volume: Value,
}

/// A program to be run.
pub(crate) struct Program<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) image: String,
    pub(crate) pull_policy: &'a str,
    pub(crate) port: u16,
    pub(crate) arguments: Vec<String>,
    pub(crate) mount: Mount<'a>,
}

impl Program<'_> {
    /// Its Deployment and its Service.
    pub(crate) fn objects(&self) -> [Value; 2] {
        let labels = json!({"app": self.name});
        let metadata = json!({"name": self.name, "namespace": self.namespace, "labels": labels});
        let mut arguments = self.arguments.clone();
        arguments.push(format!("--state={STATE}/{}.jsonl", self.name));
        let mut volume = self.mount.volume.clone();
        volume["name"] = "given".into();
        let pod = json!({
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 2,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": self.name,
                "image": self.image,
                "imagePullPolicy": self.pull_policy,
                "args": arguments,
                "ports": [{"containerPort": self.port}],
                "readinessProbe": {"tcpSocket": {"port": self.port}, "periodSeconds": 1},
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "given", "mountPath": self.mount.path, "readOnly": true},
                    {"name": "state", "mountPath": STATE},
                ],
            }],
            "volumes": [volume, {"name": "state", "emptyDir": {}}],
        });
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        });
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": self.port, "protocol": "TCP"}]},
        });
        [deployment, service]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_mounted_and_the_state_has_a_place() {
        let program = Program {
            name: "thing",
            namespace: "there",
            image: "localhost/thing:demo".to_owned(),
            pull_policy: "Never",
            port: 8900,
            arguments: vec!["--listen=0.0.0.0:8900".to_owned()],
            mount: Mount { path: "/etc/given", volume: json!({"secret": {"secretName": "s"}}) },
        };
        let [deployment, service] = program.objects();
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["volumes"][0], json!({"secret": {"secretName": "s"}, "name": "given"}));
        assert_eq!(pod["containers"][0]["args"][1], "--state=/var/lib/state/thing.jsonl");
        assert_eq!(service["spec"]["ports"][0]["port"], 8900);
    }
}
