//! The pod: one container under the restricted profile, with its secrets as files.

use dingtalk_crds::{Toleration, names, names::keys};
use serde_json::{Value, json};

use super::Plans;
use crate::{
    ChildKind, files,
    workspace::{CredentialsFrom, DatabaseFrom, KeyOf, Workspace},
};

/// User and group of the image.
const USER: u32 = 65532;

/// Files are for the owner and the group: 0440.
const FILE_MODE: u32 = 0o440;

/// The bridge ends within ten seconds; the rest is for a slow node.
const GRACE_SECONDS: u32 = 30;

pub(super) fn spec(plans: &Plans<'_>) -> Value {
    let workspace = plans.workspace;
    let pod = &workspace.pod;
    let mut spec = json!({
        "serviceAccountName": names::child(&workspace.name),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(workspace)],
        "volumes": volumes(plans),
    });
    if !pod.pull_secrets.is_empty() {
        spec["imagePullSecrets"] = pod.pull_secrets.iter().map(|name| json!({"name": name})).collect();
    }
    if !pod.node_selector.is_empty() {
        spec["nodeSelector"] = json!(pod.node_selector);
    }
    if !pod.tolerations.is_empty() {
        spec["tolerations"] = pod.tolerations.iter().map(toleration).collect();
    }
    if let Some(class) = &pod.priority_class {
        spec["priorityClassName"] = class.as_str().into();
    }
    spec
}

fn container(workspace: &Workspace) -> Value {
    let pod = &workspace.pod;
    let mut container = json!({
        "name": names::CONTAINER,
        "image": pod.image,
        "args": ["run", "--config", files::CONFIG],
        "ports": [
            {"name": "http", "containerPort": names::HTTP_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": names::HEALTH_PORT, "protocol": "TCP"},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "capabilities": {"drop": ["ALL"]},
        },
        // The first start may have to bring a large database up to date: five minutes.
        "startupProbe": probe("/livez", 2, 150),
        "livenessProbe": probe("/livez", 10, 6),
        "readinessProbe": probe("/readyz", 5, 3),
        "volumeMounts": mounts(workspace),
    });
    if let Some(policy) = pod.pull_policy {
        container["imagePullPolicy"] = policy.as_str().into();
    }
    let resources = json!(pod.resources);
    if resources.as_object().is_some_and(|lists| !lists.is_empty()) {
        container["resources"] = without_empty(resources);
    }
    if !pod.env.is_empty() {
        container["env"] = pod
            .env
            .iter()
            .map(|variable| {
                let from = &variable.secret_key_ref;
                json!({"name": variable.name, "valueFrom": {"secretKeyRef": {"name": from.name, "key": from.key}}})
            })
            .collect();
    }
    container
}

fn probe(path: &str, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": path, "port": "health", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    })
}

/// A list of amounts without an amount is left out: nobody would own it.
fn without_empty(mut lists: Value) -> Value {
    if let Some(lists) = lists.as_object_mut() {
        lists.retain(|_, list| list.as_object().is_some_and(|list| !list.is_empty()));
    }
    lists
}

fn toleration(toleration: &Toleration) -> Value {
    // The list is replaced as a whole, so the default is written. Without a key, only one of the two is possible.
    let mut value = json!(toleration);
    if value["operator"].is_null() {
        value["operator"] = if toleration.key.is_some() { "Equal" } else { "Exists" }.into();
    }
    value
}

fn mounts(workspace: &Workspace) -> Vec<Value> {
    let mut mounts = vec![
        json!({"name": "config", "mountPath": files::CONFIG_FOLDER, "readOnly": true}),
        json!({"name": "secrets", "mountPath": files::SECRETS_FOLDER, "readOnly": true}),
    ];
    if has_ca(workspace) {
        mounts.push(json!({"name": "ca", "mountPath": files::CA_FOLDER, "readOnly": true}));
    }
    if matches!(workspace.database, DatabaseFrom::Sqlite { .. }) {
        mounts.push(json!({"name": "data", "mountPath": files::DATA_FOLDER}));
    }
    mounts
}

fn volumes(plans: &Plans<'_>) -> Vec<Value> {
    let workspace = plans.workspace;
    let name = |child: ChildKind| child.name(&workspace.name);
    let mut volumes = vec![
        json!({"name": "config", "configMap": {
            "name": name(ChildKind::ConfigMap),
            "defaultMode": FILE_MODE,
            "items": [{"key": keys::CONFIG, "path": keys::CONFIG}],
        }}),
        json!({"name": "secrets", "projected": {"defaultMode": FILE_MODE, "sources": secrets(plans)}}),
    ];
    if has_ca(workspace) {
        let bundles =
            [(&workspace.homeserver.ca, files::HOMESERVER_CA), (&workspace.dingtalk_ca, files::DINGTALK_CA)];
        let sources: Vec<Value> = bundles
            .into_iter()
            .filter_map(|(ca, path)| ca.as_ref().map(|ca| source("configMap", &ca.name, &[(&ca.key, path)])))
            .collect();
        volumes.push(json!({"name": "ca", "projected": {"defaultMode": FILE_MODE, "sources": sources}}));
    }
    if matches!(workspace.database, DatabaseFrom::Sqlite { .. }) {
        volumes.push(json!({"name": "data", "persistentVolumeClaim": {"claimName": name(ChildKind::Claim)}}));
    }
    volumes
}

fn has_ca(workspace: &Workspace) -> bool {
    workspace.homeserver.ca.is_some() || workspace.dingtalk_ca.is_some()
}

/// All secrets, under the names that the configuration gives them.
fn secrets(plans: &Plans<'_>) -> Vec<Value> {
    let workspace = plans.workspace;
    let own =
        |child: ChildKind, items: &[(&str, &str)]| source("secret", &child.name(&workspace.name), items);
    let mut sealing = vec![(keys::SEALING_KEY, files::SEALING_KEY)];
    sealing.extend(plans.old_keys.iter().map(|key| (key.as_str(), key.as_str())));
    let mut registrations = vec![(keys::REGISTRATION, files::REGISTRATION)];
    if plans.material.pairs.appservice.mounted().is_some() {
        registrations.push((keys::OTHER_REGISTRATION, files::OTHER_REGISTRATION));
    }
    let mut sources = vec![
        own(ChildKind::RegistrationSecret, &registrations),
        own(ChildKind::TokensSecret, &[(keys::STATUS_TOKEN, files::STATUS_TOKEN)]),
        own(ChildKind::SealingSecret, &sealing),
    ];
    let key_of = |from: &KeyOf, path: &str| source("secret", &from.name, &[(&from.key, path)]);
    match &workspace.credentials {
        Some(CredentialsFrom::Secret(name)) => sources.push(source(
            "secret",
            name,
            &[
                (keys::APP_KEY, files::APP_KEY),
                (keys::APP_SECRET, files::APP_SECRET),
                (keys::AGENT_ID, files::AGENT_ID),
            ],
        )),
        Some(CredentialsFrom::Parts { app_secret, .. }) => {
            sources.push(key_of(app_secret, files::APP_SECRET));
        }
        None => {}
    }
    if let Some(name) = &workspace.webhook_secret {
        let items =
            [(keys::WEBHOOK_TOKEN, files::WEBHOOK_TOKEN), (keys::WEBHOOK_AES_KEY, files::WEBHOOK_AES_KEY)];
        sources.push(source("secret", name, &items));
    }
    if let DatabaseFrom::PostgreSql(address) = &workspace.database {
        sources.push(key_of(address, files::DATABASE_URL));
    }
    sources
}

fn source(kind: &str, name: &str, items: &[(&str, &str)]) -> Value {
    let items: Vec<Value> = items.iter().map(|(key, path)| json!({"key": key, "path": path})).collect();
    json!({kind: {"name": name, "items": items}})
}
