//! The kind in a cluster.

use cluster::Cluster;
use dingtalk_crds::names;
use test_support::wait_until;

use crate::LIMIT;

/// Installs the kind and waits until it is served. A definition has no condition at all at first, which is an error to
/// `kubectl wait`, and is served a moment after it calls itself established.
pub async fn install_kind(cluster: &Cluster) -> anyhow::Result<()> {
    let definition = dingtalk_crds::definition_yaml().map_err(|error| anyhow::anyhow!("{error}"))?;
    cluster.apply(&definition).await?;
    let objects = format!("/apis/{}/{}/{}", names::GROUP, names::VERSION, names::PLURAL);
    let served = async || cluster.kubectl(&["get", "--raw", &objects]).await.ok();
    wait_until(LIMIT, "the kind to be served", served).await.map(drop)
}
