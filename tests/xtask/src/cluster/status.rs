//! Which clusters run.

use clap::Args;

use crate::output::answer;

/// Lists the clusters that run
#[derive(Debug, Args)]
pub(super) struct Status {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let running = super::running()?;
        if self.json {
            answer(&serde_json::to_string(&running)?);
        } else if running.is_empty() {
            answer("No cluster runs. To start one: cargo xtask cluster up");
        }
        for cluster in running.iter().filter(|_| !self.json) {
            answer(&format!("{} (process {})", cluster.name, cluster.owner));
            answer(&format!("  KUBECONFIG={}", cluster.kubeconfig.display()));
            answer(&format!("  API server {}, ingress https://{}", cluster.api, cluster.ingress));
        }
        Ok(())
    }
}
