//! The local Kubernetes cluster.

mod down;
mod status;
mod up;
mod within;

use std::{ffi::OsString, path::PathBuf};

use ::cluster::{Description, Init, Unfit};
use anyhow::Context as _;
use clap::{Args, Subcommand};

/// Where clusters that were started by hand have their folders. They are root's, and gone after a restart of the
/// machine, as the clusters are.
const FOLDER: &str = "/run/dingtalk-bridge/clusters";

/// The name of a cluster that nobody has named.
const NAME: &str = "local";

/// The words, after the program's name, under which this program is a part of a cluster.
const PART: [&str; 2] = ["cluster", "part"];

/// Runs a local Kubernetes cluster
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask cluster up                             in the foreground; Ctrl-C ends it
  cargo xtask cluster up --json                      one line of JSON when it is up, for scripts
  cargo xtask cluster kubectl get pods -A            in another terminal
  cargo xtask cluster exec sh                        in the cluster's network, with this machine's files
  cargo xtask cluster up --name second               another one beside it
  cargo xtask cluster down --name second

It is a real one: etcd, API server, controllers, kubelet, containerd, an ingress controller with TLS and \
volumes, in namespaces of its own, without Docker, a virtual machine or the internet. It needs Linux, root and Go.

The first start builds its programs, about 15 minutes on two processors; later ones take about 12 seconds. When \
it ends, for whatever reason, nothing stays: no process, no mount, no interface, no file but the built programs.")]
pub(crate) struct Cluster {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Down(down::Down),
    Status(status::Status),
    Kubectl(within::Kubectl),
    Exec(within::Exec),
}

impl Cluster {
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        match &self.command {
            Command::Up(up) => up.run().await,
            Command::Down(down) => down.run().await,
            Command::Status(status) => status.run(),
            Command::Kubectl(kubectl) => kubectl.run(),
            Command::Exec(exec) => exec.run(),
        }
    }
}

/// The words for a part of a cluster, if this program was started as one.
pub(crate) fn part(words: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut words = words.into_iter().skip(1);
    PART.iter().all(|word| words.next().is_some_and(|given| given == *word)).then(|| words.collect())
}

/// How this program is started as a part of a cluster.
pub(crate) fn init() -> anyhow::Result<Init> {
    Init::this_program(PART)
}

/// Which of the running clusters
#[derive(Debug, Args)]
struct Which {
    /// The cluster's name; needed only where several run
    #[arg(long)]
    name: Option<String>,
}

impl Which {
    fn find(&self) -> anyhow::Result<Description> {
        let mut running = running()?;
        let names = running.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(name) = &self.name {
            let found = running.into_iter().find(|one| one.name == *name);
            return found.with_context(|| match names.as_str() {
                "" => format!("no cluster {name} runs; start it with: cargo xtask cluster up --name {name}"),
                names => format!("no cluster {name} runs, only {names}"),
            });
        }
        anyhow::ensure!(running.len() < 2, "several clusters run; say which with --name: {names}");
        running.pop().context("no cluster runs; start one with: cargo xtask cluster up")
    }
}

/// Clusters that were started by hand and run.
fn running() -> anyhow::Result<Vec<Description>> {
    // Others see their folders only from outside.
    match ::cluster::check() {
        Err(error @ Unfit::NotRoot) => Err(error.into()),
        _ => Ok(::cluster::running(&folder())),
    }
}

fn folder() -> PathBuf {
    PathBuf::from(FOLDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part_of(words: &str) -> Option<Vec<OsString>> {
        part(words.split(' ').map(OsString::from))
    }

    #[test]
    fn a_part_of_a_cluster_is_known_by_its_words() {
        assert_eq!(
            part_of("xtask cluster part join 42 true"),
            Some(["join", "42", "true"].map(OsString::from).into())
        );
        assert_eq!(part_of("xtask cluster up"), None);
        assert_eq!(part_of("xtask"), None);
    }
}
