//! An account of the operator's with the rights that its chart gives, and no others.

use anyhow::Context as _;
use cluster::Cluster;
use dingtalk_crds::rights::{Name, RIGHTS, Right, Scope};
use serde_json::{Value, json};
use test_support::wait_until;

use crate::LIMIT;

/// An account, and how it reaches the API server.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// The namespace of the account and of the lease.
    pub home: String,
    /// A kubeconfig with a token of it.
    pub kubeconfig: Value,
}

impl Account {
    /// Makes namespaces, account and rights, and asks for a token.
    pub async fn make(
        cluster: &Cluster,
        name: &str,
        home: &str,
        namespaces: &[&str],
    ) -> anyhow::Result<Self> {
        let objects = rights(name, home, namespaces);
        cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()).await?;
        heeded(cluster, name, home, namespaces).await?;
        let token = cluster.kubectl(&["create", "token", name, "-n", home, "--duration=24h"]).await?;
        let view = cluster.kubectl(&["config", "view", "--raw", "-o", "json"]).await?;
        let mut kubeconfig: Value = serde_json::from_str(&view).context("the kubeconfig of the cluster")?;
        for user in kubeconfig["users"].as_array_mut().into_iter().flatten() {
            user["user"] = json!({"token": token.trim()});
        }
        Ok(Self { name: name.to_owned(), home: home.to_owned(), kubeconfig })
    }

    /// The same account by another way to the API server, such as a proxy at `https://127.0.0.1:1234`.
    #[must_use]
    pub fn by(mut self, server: &str) -> Self {
        for cluster in self.kubeconfig["clusters"].as_array_mut().into_iter().flatten() {
            cluster["cluster"]["server"] = server.into();
        }
        self
    }

    /// Who it is in the audit log.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.home, self.name)
    }
}

/// Waits until the API server heeds the rights: it hears of Roles and bindings a moment after it has stored them, in the order
/// in which they were made.
async fn heeded(cluster: &Cluster, name: &str, home: &str, namespaces: &[&str]) -> anyhow::Result<()> {
    let (namespace, scope) = namespaces.last().map_or((home, Scope::Own), |&last| (last, Scope::Watched));
    // The own kind may not be there yet.
    let known = |right: &&Right| {
        right.scope == scope && right.named.is_none() && right.group != dingtalk_crds::names::GROUP
    };
    let right = RIGHTS.iter().find(known).context("no right that can be asked for")?;
    let resource = match right.group {
        "" => right.resource.to_owned(),
        group => format!("{}.{group}", right.resource),
    };
    let user = format!("--as=system:serviceaccount:{home}:{name}");
    let question = ["auth", "can-i", right.verbs[0], &resource, "-n", namespace, &user];
    let heeded = async || cluster.kubectl(&question).await.ok();
    wait_until(LIMIT, &format!("the rights of {name} to be heeded"), heeded).await.map(drop)
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
