//! Starting a cluster and staying with it.

use std::{path::PathBuf, time::Duration};

use ::cluster::{Cluster, ClusterOptions, Programs};
use clap::Args;

use crate::{
    output::{answer, say},
    process,
};

/// How often it is looked whether all parts still run.
const LOOK: Duration = Duration::from_secs(2);

/// Starts a cluster and stays in the foreground until Ctrl-C, SIGTERM or `cluster down`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask cluster up
  cargo xtask cluster up --json | jq -r .kubeconfig
  cargo xtask cluster up --audit --logs /tmp/logs    requests are noted, logs are kept")]
pub(super) struct Up {
    /// Its name
    #[arg(long, default_value = super::NAME)]
    name: String,
    /// Let the API server note every request
    #[arg(long)]
    audit: bool,
    /// A folder that the logs are copied to at the end
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
    /// Print its addresses and paths as one line of JSON when it is up
    #[arg(long)]
    json: bool,
}

impl Up {
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let options = ClusterOptions {
            audit: self.audit,
            keep_logs: self.logs.clone(),
            init: Some(super::init()?),
            ..ClusterOptions::new(&self.name, super::folder())
        };
        let cluster = process::or_interrupted(async {
            let programs = Programs::ensure(&say).await?;
            Cluster::start(options, &programs, &say).await
        })
        .await?;
        let outcome = self.stay(&cluster).await;
        say("Stopping.");
        let stopped = cluster.stop().await;
        if let Some(folder) = &self.logs {
            say(&format!("The logs are in {}.", folder.display()));
        }
        outcome.and(stopped)
    }

    async fn stay(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let description = cluster.description();
        if self.json {
            answer(&serde_json::to_string(description)?);
        } else {
            let name =
                if self.name == super::NAME { String::new() } else { format!(" --name {}", self.name) };
            answer(&format!("\nexport KUBECONFIG={}", description.kubeconfig.display()));
            answer(&format!("  {:<12}{}", "API server", description.api));
            answer(&format!(
                "  {:<12}https://{} (by the certificates of Ingress resources)",
                "ingress", description.ingress
            ));
            answer(&format!("  {:<12}{}", "kubectl", description.kubectl.display()));
            answer(&format!("  {:<12}{}", "helm", description.helm.display()));
            answer(&format!("  {:<12}{}", "logs", description.logs.display()));
            if let Some(log) = &description.audit_log {
                answer(&format!("  {:<12}{}", "requests", log.display()));
            }
            answer(&format!(
                "\nIn another terminal: cargo xtask cluster kubectl{name} get pods -A\nCtrl-C ends it."
            ));
        }
        tokio::select! {
            asked = process::asked_to_stop() => asked,
            () = cluster.ended() => Err(anyhow::anyhow!("the cluster has ended: its first process was killed")),
            never = tell_of_broken(cluster) => match never {},
        }
    }
}

/// A person may have killed a part on purpose, so it is told and not repaired.
async fn tell_of_broken(cluster: &Cluster) -> std::convert::Infallible {
    let mut told = Vec::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let broken = cluster.broken().await;
        for one in broken.iter().filter(|one| !told.contains(*one)) {
            say(one);
        }
        told = broken;
    }
}
