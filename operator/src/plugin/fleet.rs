//! What the plugin reads of the cluster: objects, Deployments, and the operator with its file.

use anyhow::Context as _;
use clap::Args;
use dingtalk_crds::{DingTalkBridge, names};
use operator_cluster::Key as ObjectKey;
use serde_json::Value;

use super::Session;
use crate::{config, kinds};

/// All objects; one that cannot be read is left out with a word.
pub(super) async fn bridges(
    session: &Session,
    namespace: Option<&str>,
) -> anyhow::Result<Vec<DingTalkBridge>> {
    let mut found = Vec::new();
    session
        .reader
        .list(&kinds::bridges(), namespace, None, "plugin", |object| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            match serde_json::from_value(object) {
                Ok(bridge) => found.push(bridge),
                Err(error) => eprintln_line(&format!("dingtalkbridge/{name} cannot be read: {error}")),
            }
        })
        .await?;
    Ok(found)
}

pub(super) fn eprintln_line(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Which operator.
#[derive(Debug, Args)]
pub(super) struct Of {
    /// Namespace of the operator; default: it is looked for
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) operator_namespace: Option<String>,
}

/// The operator that runs in the cluster.
pub(super) struct Operator {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Its file.
    pub(super) config: config::Config,
}

/// Finds the operator: in this namespace, else in any.
pub(super) async fn operator(session: &Session, namespace: Option<&str>) -> anyhow::Result<Operator> {
    let mut found: Vec<(String, String)> = Vec::new();
    let labels = "app.kubernetes.io/name=dingtalk-operator";
    session
        .reader
        .list(&kinds::of(operator_plan::ChildKind::Deployment), namespace, Some(labels), "plugin", |object| {
            let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
            found.push((text("namespace"), text("name")));
        })
        .await
        .context("looking for the operator; name its namespace with --operator-namespace")?;
    let (namespace, name) = match found.as_slice() {
        [one] => one.clone(),
        [] => anyhow::bail!("no operator is found; name its namespace with --operator-namespace"),
        several => anyhow::bail!(
            "there are {} operators; name the namespace of one with --operator-namespace: {}",
            several.len(),
            several.iter().map(|(namespace, _)| namespace.as_str()).collect::<Vec<_>>().join(", ")
        ),
    };
    let key = ObjectKey { namespace: namespace.clone(), name: name.clone() };
    let map = config_map(session, &key)
        .await?
        .with_context(|| format!("the operator's ConfigMap {key} does not exist"))?;
    let text = map["data"]["operator.yaml"].as_str().unwrap_or_default();
    let config = config::parse(text).with_context(|| format!("the operator's ConfigMap {key}"))?;
    Ok(Operator { namespace, name, config })
}

/// A `ConfigMap`, if it is there.
pub(super) async fn config_map(session: &Session, key: &ObjectKey) -> anyhow::Result<Option<Value>> {
    Ok(session.reader.get(&kinds::config_maps(), key, "plugin").await?)
}

/// Selects what operators make.
pub(super) fn managed() -> String {
    format!("{}={}", names::MANAGED_BY.0, names::MANAGED_BY.1)
}
