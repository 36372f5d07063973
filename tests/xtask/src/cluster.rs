//! The local Kubernetes cluster; it comes with the operator.

use clap::Args;

/// Brings up the local Kubernetes cluster (not there yet)
#[derive(Debug, Args)]
pub(crate) struct Cluster {}

impl Cluster {
    #[expect(clippy::unused_self, reason = "all commands are called alike")]
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        Err(anyhow::anyhow!(
            "the local cluster comes with the operator; until then: cargo xtask demo --no-cluster"
        ))
    }
}

/// The refusal of a command that would need the cluster.
pub(crate) fn not_yet(command: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "`cargo xtask {command}` on a Kubernetes cluster comes with the operator. Without a cluster it works now: \
         cargo xtask {command} --no-cluster"
    )
}
