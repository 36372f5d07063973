//! Measurements; the crate `bench` makes them, from a release build.

use clap::Args;

use crate::{
    output::{answer, say},
    process::{self, Output},
    repo,
};

/// Measures speed and size in a release build
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bench relay          messages per second each way, beside a bare forwarder
  cargo xtask bench relay --json   the same for scripts
  cargo xtask bench relay --encryption
                                   the same, then with encrypted rooms beside it
  cargo xtask bench peers          the bridge beside small ones with other frameworks, kills included
  cargo xtask bench media          memory while a file of 500 MiB goes through, each way
  cargo xtask bench operator       requests, speed, memory and failover with 5,000 objects (root)
  cargo xtask bench faults         10,000 messages and 1,000 kills: what is lost or doubled (about 40 min)
  cargo xtask bench growth         more chats, writers and earlier messages, on both databases (about 40 min)
  cargo xtask bench overload       more than can be handled, and peers that take less or nothing
  cargo xtask bench endurance      half an hour under load: does anything grow
  cargo xtask bench                the figures of relay, media and operator")]
pub(crate) struct Bench {
    /// Name of the measurement and its flags
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "NAME")]
    arguments: Vec<String>,
}

impl Bench {
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let cargo = repo::cargo().to_string_lossy().into_owned();
        say("Building the release binaries that are measured; the first time takes some minutes.");
        let mut build = vec!["build", "--release", "--bins"];
        build.extend(world::PACKAGES.iter().flat_map(|package| ["-p", package]));
        build.extend(["-p", "cluster", "-p", "dingtalk-operator"]);
        let measure = ["run", "--release", "--quiet", "-p", "bench", "--"];
        let words = |words: &[&str]| -> Vec<String> {
            std::iter::once(cargo.clone()).chain(words.iter().map(ToString::to_string)).collect()
        };
        let mut measure = words(&measure);
        measure.extend(self.arguments.iter().cloned());
        for command in [words(&build), measure] {
            let status = process::run(&command, &repo::root(), &[], Output::Standard(&mut answer)).await?;
            anyhow::ensure!(status.success(), "`{}` failed: {status}", command.join(" "));
        }
        Ok(())
    }
}
