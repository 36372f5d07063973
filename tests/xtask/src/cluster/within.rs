//! Commands that act on a running cluster. They become the program that they run.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::Context as _;
use clap::Args;

use super::Which;

/// Runs kubectl as the administrator of a running cluster
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask cluster kubectl get pods -A
  cargo xtask cluster kubectl --name second logs -n ingress deploy/skipper")]
pub(super) struct Kubectl {
    #[command(flatten)]
    which: Which,
    /// What kubectl is to do
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<OsString>,
}

impl Kubectl {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let cluster = self.which.find()?;
        let mut kubectl = Command::new(&cluster.kubectl);
        kubectl.args(&self.words).env("KUBECONFIG", &cluster.kubeconfig);
        // What it keeps goes with the cluster.
        kubectl.env("KUBECACHEDIR", cluster.kubeconfig.with_file_name("kubectl"));
        Err(kubectl.exec()).with_context(|| format!("starting {}", cluster.kubectl.display()))
    }
}

/// Runs a program of this machine in the network of a running cluster
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask cluster exec curl -k https://kubernetes.default.svc/version
  cargo xtask cluster exec sh                        to look around; exit leaves

Its files are this machine's; addresses, names and processes are the cluster's. It ends with the cluster.")]
pub(super) struct Exec {
    #[command(flatten)]
    which: Which,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<OsString>,
}

impl Exec {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let cluster = self.which.find()?;
        let prefix = super::init()?.command_prefix(cluster.first_process);
        let mut words = prefix.into_iter().chain(self.words.iter().cloned());
        let program = words.next().context("no program")?;
        Err(Command::new(&program).args(words).exec())
            .with_context(|| format!("starting {}", program.display()))
    }
}
