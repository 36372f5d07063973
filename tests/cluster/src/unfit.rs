//! Whether a cluster can run on this machine, and what is in the way if it cannot.

use std::path::Path;

use crate::{go_build, packages};

/// Why no cluster can run here. It is what an error of this crate downcasts to when another machine, or another
/// user, would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Namespaces, control groups and containers are Linux's.
    #[error("the cluster needs Linux, this is {0}; run it in a Linux machine or virtual machine")]
    NotLinux(String),
    /// Mounts, interfaces and control groups are root's.
    #[error(
        "the cluster needs root, for namespaces, mounts and control groups; run the command with sudo -E"
    )]
    NotRoot,
    /// The programs are built from their sources.
    #[error(
        "the cluster's programs are built with Go {needed} or newer, {found}; install it by your distribution or from the \
         Go project and put its bin folder on the PATH"
    )]
    NoGo {
        /// The oldest version that will do.
        needed: &'static str,
        /// What was found instead.
        found: String,
    },
    /// Programs that are neither here nor can be installed by us.
    #[error("the cluster needs programs that are not installed: {programs}. {remedy}")]
    Missing {
        /// What is not there.
        programs: String,
        /// What to do.
        remedy: String,
    },
    /// The kernel lacks something.
    #[error("the kernel of this machine cannot run the cluster: {0}")]
    Kernel(String),
}

/// Says what is in the way of a cluster without changing anything. What [`crate::Programs::ensure`] can install or
/// build is not in the way.
pub fn check() -> Result<(), Unfit> {
    if !cfg!(target_os = "linux") {
        return Err(Unfit::NotLinux(std::env::consts::OS.to_owned()));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Unfit::NotRoot);
    }
    for space in ["net", "mnt", "pid", "uts", "ipc"] {
        if !Path::new("/proc/self/ns").join(space).exists() {
            return Err(Unfit::Kernel(format!("it has no {space} namespaces")));
        }
    }
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.trim_start_matches("nodev").trim() == "cgroup2") {
        return Err(Unfit::Kernel("it has no control groups".to_owned()));
    }
    go_build::version()?;
    packages::check()
}
