//! Which program the first process of a box is.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::Context as _;

use crate::init;

/// How to start the first process of a box: a program and the words after which it calls [`crate::init_main`].
#[derive(Debug, Clone)]
pub struct Init {
    pub(crate) words: Vec<OsString>,
}

impl Init {
    /// Another program, such as `cluster-init`.
    pub fn program(path: impl Into<PathBuf>) -> Self {
        Self { words: vec![path.into().into()] }
    }

    /// This program, which calls [`crate::init_main`] with what follows the given words.
    pub fn this_program<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> anyhow::Result<Self> {
        let this = std::env::current_exe().context("finding this program")?;
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        Ok(Self { words: std::iter::once(this.into()).chain(words).collect() })
    }

    /// `cluster-init` beside this program, or in the folder above, where Cargo puts it for tests.
    pub fn find() -> anyhow::Result<Self> {
        let this = std::env::current_exe().context("finding this program")?;
        let beside = this.ancestors().skip(1).take(2).map(|folder| folder.join("cluster-init"));
        let found = beside.into_iter().find(|program| program.is_file());
        found.map(Self::program).with_context(|| {
            format!("there is no cluster-init beside {}: cargo build -p cluster", this.display())
        })
    }

    /// What stands before the words of a command to run it in the box with this first process, as
    /// [`crate::Cluster::command`] does.
    pub fn command_prefix(&self, pid: i32) -> Vec<OsString> {
        let more = [init::JOIN.to_owned(), pid.to_string()];
        self.words.iter().cloned().chain(more.map(OsString::from)).collect()
    }

    /// Removes what a killed box has left in the kernel.
    pub(crate) fn sweep(&self, control_group: &str) {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--"]).args(&self.words).args([init::SWEEP, control_group]);
        // What cannot be removed now is tried again by the next start.
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
