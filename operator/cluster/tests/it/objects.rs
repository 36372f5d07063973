//! One object of each kind that an operator of applications makes, with all that may be hard to compare.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::world::World;

/// Kinds and objects.
pub(crate) fn all(world: &World, owner: &Value) -> Vec<(ApiResource, Value)> {
    let child = |content: Value| {
        let mut object = world.object("app", content);
        object["metadata"]["labels"] = labels();
        object["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap",
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": false}]);
        object
    };
    vec![
        (
            ApiResource::erase::<ConfigMap>(&()),
            child(json!({"data": {"config.toml": "[a]\nb = \"c\"\n", "empty": ""}})),
        ),
        (
            ApiResource::erase::<Secret>(&()),
            child(
                json!({"type": "Opaque", "immutable": false, "data": {"token": "c2VjcmV0", "registration.yaml": "YTogYg=="}}),
            ),
        ),
        (
            ApiResource::erase::<ServiceAccount>(&()),
            child(json!({"automountServiceAccountToken": false, "imagePullSecrets": [{"name": "pull"}]})),
        ),
        (
            ApiResource::erase::<PersistentVolumeClaim>(&()),
            child(
                json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "volumeMode": "Filesystem",
                "resources": {"requests": {"storage": "1Gi"}}}}),
            ),
        ),
        (
            ApiResource::erase::<Service>(&()),
            child(json!({"spec": {"type": "ClusterIP", "selector": labels(), "ports": [
                {"name": "webhook", "port": 80, "protocol": "TCP", "targetPort": "webhook"},
                {"name": "metrics", "port": 9090, "protocol": "TCP", "targetPort": 9090}]}})),
        ),
        (
            ApiResource::erase::<Ingress>(&()),
            child(
                json!({"spec": {"ingressClassName": "web", "tls": [{"hosts": ["a.example"], "secretName": "tls"}],
                "rules": [{"host": "a.example", "http": {"paths": [{"path": "/hook", "pathType": "Exact",
                    "backend": {"service": {"name": "app", "port": {"name": "webhook"}}}}]}}]}}),
            ),
        ),
        (
            ApiResource::erase::<NetworkPolicy>(&()),
            child(
                json!({"spec": {"podSelector": {"matchLabels": labels()}, "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": "webhook", "protocol": "TCP"}]}],
                "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}], "ports": [{"port": 443, "protocol": "TCP"}]},
                    {"ports": [{"port": 53, "protocol": "UDP"}]}]}}),
            ),
        ),
        (
            ApiResource::erase::<PodDisruptionBudget>(&()),
            child(json!({"spec": {"maxUnavailable": "50%", "selector": {"matchLabels": labels()}}})),
        ),
        (ApiResource::erase::<Deployment>(&()), child(deployment())),
    ]
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": "app", "app.kubernetes.io/instance": "one"})
}

fn deployment() -> Value {
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": "health"}, "periodSeconds": 5, "failureThreshold": 3});
    json!({"spec": {
        "replicas": 0,
        "revisionHistoryLimit": 2,
        "progressDeadlineSeconds": 300,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels()},
        "template": {
            "metadata": {"labels": labels(), "annotations": {"test.io/config": "abc"}},
            "spec": {
                "serviceAccountName": "app",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 20,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                "imagePullSecrets": [{"name": "pull"}],
                "nodeSelector": {"kubernetes.io/os": "linux"},
                "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
                "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": labels()}}],
                "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference":
                    {"matchExpressions": [{"key": "x", "operator": "In", "values": ["y"]}]}}]}},
                "containers": [{
                    "name": "bridge",
                    "image": "docker.io/local/app:1",
                    "imagePullPolicy": "IfNotPresent",
                    "args": ["run", "--config", "/etc/app/config.toml"],
                    "env": [{"name": "B", "value": "first"}, {"name": "A", "value": "second"},
                        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "app", "key": "token"}}},
                        {"name": "POD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
                    "ports": [{"name": "webhook", "containerPort": 8080, "protocol": "TCP"}, {"name": "health", "containerPort": 9090, "protocol": "TCP"}],
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
                    "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
                    "livenessProbe": probe("/livez"), "readinessProbe": probe("/readyz"),
                    "volumeMounts": [{"name": "config", "mountPath": "/etc/app", "readOnly": true}, {"name": "data", "mountPath": "/data"},
                        {"name": "tmp", "mountPath": "/tmp"}, {"name": "secrets", "mountPath": "/run/secrets/app", "readOnly": true}],
                }],
                "volumes": [{"name": "config", "configMap": {"name": "app"}}, {"name": "data", "persistentVolumeClaim": {"claimName": "app"}},
                    {"name": "tmp", "emptyDir": {}},
                    {"name": "secrets", "projected": {"sources": [{"secret": {"name": "app", "items": [{"key": "token", "path": "token"}]}}]}}],
            },
        },
    }})
}
