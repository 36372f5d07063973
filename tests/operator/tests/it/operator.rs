//! The operator as a process, with an account of its own, and what that account asked of the API server.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cluster::Cluster;
use dingtalk_crds::rights::{Name, RIGHTS, Right, Scope};
use serde_json::{Value, json};
use test_support::{Metrics, Process, Spawn, wait_until};

use crate::stage::LIMIT;

/// Who runs, where it looks, and what its platform is.
pub(crate) struct Setup<'a> {
    /// Name of the account.
    pub(crate) account: &'a str,
    /// Namespace of the account and of the lease.
    pub(crate) home: &'a str,
    /// Namespaces it looks after.
    pub(crate) namespaces: &'a [&'a str],
    /// Port of the homeservers.
    pub(crate) homeservers: u16,
}

/// One operator.
pub(crate) struct Operator {
    spawn: Spawn,
    process: Option<Process>,
    user: String,
    config: PathBuf,
    log: PathBuf,
    port: u16,
    audit_log: PathBuf,
}

/// A request, from the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) verb: String,
    /// With its subresource behind a slash.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) code: u64,
    pub(crate) user: String,
    pub(crate) at: String,
}

impl Request {
    fn read(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text =
            |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if text("/stage") == "RequestReceived" {
            return None;
        }
        let subresource = text("/objectRef/subresource");
        let resource = text("/objectRef/resource");
        Some(Self {
            verb: text("/verb"),
            resource: if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") },
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
            user: text("/user/username"),
            at: text("/requestReceivedTimestamp"),
        })
    }

    /// Whether it changes an object that is neither a lease nor an event.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
            && !matches!(self.resource.as_str(), "leases" | "events")
    }

    /// Whether it is one that goes on for ever: a lease's or a watch's.
    pub(crate) fn is_steady(&self) -> bool {
        self.resource == "leases" || self.verb == "watch"
    }
}

impl Operator {
    /// Makes namespaces, account and rights, and starts the program; it may not be ready yet.
    pub(crate) async fn start(
        cluster: &Cluster,
        folder: &Path,
        setup: &Setup<'_>,
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let Setup { account, home, namespaces, homeservers } = *setup;
        let objects = rights(account, home, namespaces);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        cluster.apply(&list.to_string()).await.unwrap();
        let token = cluster.kubectl(&["create", "token", account, "-n", home]).await.unwrap();
        let view = cluster.kubectl(&["config", "view", "--raw", "-o", "json"]).await.unwrap();
        let mut kubeconfig: Value = serde_json::from_str(&view).unwrap();
        for user in kubeconfig["users"].as_array_mut().unwrap() {
            user["user"] = json!({"token": token.trim()});
        }
        let port = test_support::free_port().unwrap();
        let (config, access) =
            (folder.join(format!("{account}.yaml")), folder.join(format!("{account}.kubeconfig")));
        std::fs::write(&access, kubeconfig.to_string()).unwrap();
        let mut file = json!({
            "platform": {
                "baseDomain": "demo.localhost",
                "homeserver": {"urlTemplate": format!("http://127.0.0.1:{homeservers}/{{workspace}}")},
                "admins": ["@admin:{serverName}"],
                "route": {"type": "Ingress", "ingress": {"className": "skipper"}},
                "image": {"reference": "docker.io/local/dingtalk-bridge:none", "pullPolicy": "Never"},
                "storage": {"size": "128Mi"},
            },
            "operator": {
                "namespaces": namespaces,
                "log": {"format": "text", "filter": "info,dingtalk_operator=debug"},
                "health": {"listen": format!("127.0.0.1:{port}")},
            },
        });
        change(&mut file);
        std::fs::write(&config, file.to_string()).unwrap();
        let log = folder.join(format!("{account}.log"));
        let spawn = Spawn::new(program())
            .arg("run")
            .arg("--config")
            .arg(&config)
            .arg("--kubeconfig")
            .arg(&access)
            .env("POD_NAMESPACE", home)
            .env("POD_NAME", account)
            .log(&log);
        let process = Some(spawn.start().await.unwrap());
        let user = format!("system:serviceaccount:{home}:{account}");
        Self { spawn, process, user, config, log, port, audit_log: cluster.audit_log() }
    }

    /// What a page answers, if anybody does.
    pub(crate) async fn page(&self, path: &str) -> Option<(u16, String)> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
        let answer = http.get(format!("http://127.0.0.1:{}{path}", self.port)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        let ready = async || self.page("/readyz").await.filter(|(code, _)| *code == 200);
        if let Err(error) = wait_until(LIMIT, "the operator to be ready", ready).await {
            panic!("{error}: {:?}\n{}", self.page("/readyz").await, self.said());
        }
    }

    /// Whether `/livez` says that all is well.
    pub(crate) async fn lives(&self) -> bool {
        self.page("/livez").await.is_some_and(|(code, _)| code == 200)
    }

    /// A value of its metrics.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let (_, page) = self.page("/metrics").await?;
        Metrics::parse(&page).unwrap().value(name, labels)
    }

    /// Waits until it is the one that works.
    pub(crate) async fn leads(&self) {
        let leads = async || (self.metric("dingtalk_operator_leader", &[]).await? > 0.5).then_some(());
        if let Err(error) = wait_until(LIMIT, "the operator to lead", leads).await {
            panic!("{error}\n{}", self.said());
        }
    }

    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    /// Ends it in good order.
    pub(crate) async fn stop(&mut self) {
        let status = self.process.take().unwrap().terminate(LIMIT).await.unwrap();
        assert!(status.success(), "{status}\n{}", self.said());
    }

    /// Starts it again.
    pub(crate) async fn start_again(&mut self) {
        self.process = Some(self.spawn.start().await.unwrap());
    }

    /// Its file.
    pub(crate) fn file(&self) -> String {
        std::fs::read_to_string(&self.config).unwrap()
    }

    /// Changes its file; it is read at the next start.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Value)) {
        let mut file: Value = serde_json::from_str(&self.file()).unwrap();
        change(&mut file);
        std::fs::write(&self.config, file.to_string()).unwrap();
    }

    /// Its log.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// All its requests that are answered, in the order of the answers.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let text = std::fs::read_to_string(&self.audit_log).unwrap();
        let mine = format!("\"{}\"", self.user);
        text.lines()
            .filter(|line| line.contains(&mine))
            .filter_map(Request::read)
            .filter(|request| request.user == self.user)
            .collect()
    }

    /// What it wrote in a namespace of objects with these names, children and statuses.
    pub(crate) fn writes(&self, namespace: &str, bridge: &str) -> Vec<String> {
        let child = format!("dingtalk-{bridge}");
        let of = |name: &str| {
            let rest = name.strip_prefix(&child);
            name == bridge
                || rest.is_some_and(|rest| {
                    ["", "-registration", "-tokens", "-sealing-key", "-data"].contains(&rest)
                })
        };
        self.requests()
            .into_iter()
            .filter(|request| request.is_write() && request.namespace == namespace && of(&request.name))
            .map(|Request { verb, resource, name, code, .. }| format!("{verb} {resource} {name} {code}"))
            .collect()
    }
}

/// The operator's program, which Cargo puts in the folder above the one of tests.
pub(crate) fn program() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let beside = this.ancestors().skip(1).take(2).map(|folder| folder.join("dingtalk-operator"));
    let found = beside.into_iter().find(|program| program.is_file());
    found.expect("the operator is not built: cargo build -p cluster -p dingtalk-operator")
}

/// Namespaces, account, Roles and bindings, as the chart makes them.
fn rights(account: &str, home: &str, namespaces: &[&str]) -> Vec<Value> {
    let rule = |right: &Right| {
        let mut rule =
            json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": right.verbs});
        match right.named {
            Some(Name::Lease) => rule["resourceNames"] = json!(["dingtalk-operator"]),
            Some(Name::Rollout) => rule["resourceNames"] = json!(["dingtalk-operator-rollout"]),
            None => {}
        }
        rule
    };
    let mut all: Vec<&str> = namespaces.iter().copied().chain([home]).collect();
    all.sort_unstable();
    all.dedup();
    let mut objects: Vec<Value> = all
        .iter()
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect();
    objects.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": home}}));
    let mut grant = |namespace: &str, scope: Scope, name: String| {
        let rules: Vec<Value> = RIGHTS.iter().filter(|right| right.scope == scope).map(rule).collect();
        let metadata = json!({"name": name, "namespace": namespace});
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules,
        }));
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": home}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        }));
    };
    grant(home, Scope::Own, format!("{account}-own"));
    for namespace in namespaces {
        grant(namespace, Scope::Watched, format!("{account}-watched"));
    }
    objects
}
