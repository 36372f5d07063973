//! Ending a cluster from another terminal.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use clap::Args;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::Which;
use crate::output::say;

/// What an orderly end may take.
const LIMIT: Duration = Duration::from_mins(1);

/// Ends a running cluster
#[derive(Debug, Args)]
pub(super) struct Down {
    #[command(flatten)]
    which: Which,
}

impl Down {
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let cluster = self.which.find()?;
        let owner = cluster.owner.to_string();
        // If it has ended meanwhile, the waiting below is short.
        Command::new("kill").args(["-s", "TERM", "--", &owner]).output().await.context("running kill")?;
        let deadline = Instant::now() + LIMIT;
        // The folder is the last thing that goes.
        while cluster.kubeconfig.parent().is_some_and(Path::exists) {
            anyhow::ensure!(
                Instant::now() < deadline,
                "the cluster {} did not end in {LIMIT:?}; kill -9 {} ends it",
                cluster.name,
                cluster.first_process
            );
            sleep(Duration::from_millis(100)).await;
        }
        say(&format!("The cluster {} has ended.", cluster.name));
        Ok(())
    }
}
