//! `kubectl dtb`: the fleet for people. The same program under the name `kubectl-dtb`; it uses nothing but the user's
//! kubeconfig, so it may do what its user may.

mod change;
mod diff;
mod fleet;
mod move_database;
mod rollout;
mod status;

use std::{os::unix::process::CommandExt as _, path::PathBuf, process::Command as Program, time::Duration};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use dingtalk_crds::names;
use operator_cluster::{
    Reader,
    client::{self, Clients, RequestCounts},
};

/// The name under which kubectl finds it.
pub(crate) const NAME: &str = "kubectl-dtb";

/// DingTalk bridges: status, operations and rollouts
#[derive(Debug, Parser)]
#[command(
    name = "kubectl dtb",
    version,
    after_help = "Examples:\n  kubectl dtb status -A\n  kubectl dtb suspend acme\n  kubectl dtb rollout status\n  \
                  helm template dingtalk-operator charts/dingtalk-operator -f values.yaml | kubectl dtb diff -A -f -"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where to look.
#[derive(Debug, Args)]
struct Place {
    /// Namespace of the objects; default: the kubeconfig's
    #[arg(long, short, global = true, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Context of the kubeconfig; default: the current one
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig; default: the usual places
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show bridges and what is wrong with them
    Status(status::Status),
    /// Show the log of a bridge
    #[command(after_help = "Example:\n  kubectl dtb logs acme -- --follow --tail=100")]
    Logs {
        /// The object
        name: String,
        /// Further arguments for kubectl logs, after --
        #[arg(last = true)]
        more: Vec<String>,
    },
    /// Take the operator's hands off the bridge's objects
    Pause(change::Named),
    /// Let the operator go on with the bridge's objects
    Resume(change::Named),
    /// Stop the bridge; its data stays
    Suspend(change::Named),
    /// Start the bridge again
    Unsuspend(change::Named),
    /// Ask for new tokens or keys
    Rotate {
        /// The object
        name: String,
        /// What is made anew: appservice, status, sealing, webhook, or several with commas between them
        what: String,
    },
    /// Move the database from SQLite to PostgreSQL
    MoveDatabase(move_database::MoveDatabase),
    /// Make the operator look at everything again
    Reconcile(change::Named),
    /// The rollout of a change of the platform's
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    /// Show what other values, or this version of the operator, would change
    Diff(diff::Diff),
}

impl Cli {
    /// Does what was asked for.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if let Command::Logs { name, more } = &self.command {
            return self.place.logs(name, more);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let session = Session::open(&self.place).await?;
            match self.command {
                Command::Status(status) => status.run(&session).await,
                Command::Pause(named) => named.pause(&session, true).await,
                Command::Resume(named) => named.pause(&session, false).await,
                Command::Suspend(named) => named.suspend(&session, true).await,
                Command::Unsuspend(named) => named.suspend(&session, false).await,
                Command::Rotate { name, what } => change::rotate(&session, &name, &what).await,
                Command::MoveDatabase(work) => work.run(&session, &self.place).await,
                Command::Reconcile(named) => named.reconcile(&session).await,
                Command::Rollout(rollout) => rollout.run(&session).await,
                Command::Diff(diff) => diff.run(&session).await,
                Command::Logs { .. } => Ok(()),
            }
        })
    }
}

impl Place {
    /// kubectl knows how to follow a log, so it takes over this process.
    fn logs(&self, name: &str, more: &[String]) -> anyhow::Result<()> {
        let mut kubectl = self.kubectl();
        kubectl.args([
            "logs",
            &format!("deployment/{}", names::child(name)),
            "--container",
            names::CONTAINER,
        ]);
        let error = kubectl.args(more).exec();
        Err(error).context("kubectl cannot be started: install it, or put it into PATH")
    }

    /// kubectl at the same place.
    fn kubectl(&self) -> Program {
        let mut kubectl = Program::new("kubectl");
        for (flag, value) in [("--namespace", &self.namespace), ("--context", &self.context)] {
            if let Some(value) = value {
                kubectl.args([flag, value]);
            }
        }
        if let Some(file) = &self.kubeconfig {
            kubectl.arg("--kubeconfig").arg(file);
        }
        kubectl
    }
}

/// A way to the cluster.
struct Session {
    clients: Clients,
    reader: Reader,
    /// Namespace of objects that are named without one.
    namespace: String,
}

impl Session {
    async fn open(place: &Place) -> anyhow::Result<Self> {
        let clients = client::connect(client::Options {
            source: client::Source::Kubeconfig {
                path: place.kubeconfig.clone(),
                context: place.context.clone(),
            },
            user_agent: concat!("kubectl-dtb/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: Duration::from_secs(30),
            counts: RequestCounts::default(),
        })
        .await
        .context("connecting to the cluster; see --kubeconfig and --context")?;
        let namespace = place.namespace.clone().unwrap_or_else(|| clients.namespace.clone());
        Ok(Self { reader: Reader::new(clients.main.clone()), clients, namespace })
    }

    /// The namespace to list, or all.
    fn scope(&self, all: bool) -> Option<&str> {
        (!all).then_some(self.namespace.as_str())
    }
}

/// Lines of equal columns, as kubectl prints them.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("   ").trim_end())
    };
    let mut text = line(head.to_vec());
    text.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["acme".to_owned(), "ü".to_owned()], vec!["a".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "X"], &rows), "NAME   X\nacme   ü\na\n");
    }
}
