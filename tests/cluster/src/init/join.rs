//! Running a program of the host in a box.
//!
//! The program is in the box's process namespace, so that the kernel ends it with the box. It sees the host's file
//! system with the box's processes and name servers.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::{
        fd::AsFd as _,
        unix::{
            ffi::OsStrExt as _,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    process::{Command, ExitCode},
};

use anyhow::Context as _;
use rustix::{
    process::{Pid, Signal, kill_process, set_parent_process_death_signal},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{JOINED, mounts};
use crate::addresses::INSIDE;

/// Signals that are passed on to the program.
const PASSED_ON: [Signal; 6] =
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Enters the box, starts the second half in it, and ends as that ends.
pub(super) fn join(pid: &OsStr, command: &[OsString]) -> anyhow::Result<ExitCode> {
    let of_box = std::path::Path::new("/proc").join(pid);
    let gone = || format!("there is no box {}; has its cluster ended?", pid.display());
    let names = fs::read(of_box.join("root").join(&INSIDE[1..]).join("resolv.conf")).unwrap_or_default();
    let network = fs::File::open(of_box.join("ns/net")).with_context(gone)?;
    let processes = fs::File::open(of_box.join("ns/pid")).with_context(gone)?;
    let this = std::env::current_exe().context("finding this program")?;
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .context("entering the box's network")?;
    // This is about children; the process itself stays where it is.
    move_into_link_name_space(processes.as_fd(), Some(LinkNameSpaceType::ProcessID))
        .context("entering the box's processes")?;
    // One thread only: namespaces belong to threads, and so does the end that the child is told of.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = PASSED_ON
            .iter()
            .map(|passed| signal(SignalKind::from_raw(passed.as_raw())))
            .collect::<Result<Vec<_>, _>>()?;
        let mut child = tokio::process::Command::new("unshare")
            .args(["--mount", "--"])
            .arg(this)
            .args(join_words())
            .arg(OsStr::from_bytes(&names))
            .args(command)
            .spawn()
            .context("running unshare")?;
        let child_pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let child_pid = child_pid.context("the child has no process id")?;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                at = any(&mut signals) => {
                    let _ = kill_process(child_pid, PASSED_ON[at]);
                }
            }
        };
        // As shells do: a program that was ended by a signal has no code.
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        Ok(code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
    })
}

/// What stands between this program and the words of [`joined`]: nothing for `cluster-init`, the hidden command of a
/// program that acts as it.
fn join_words() -> Vec<OsString> {
    let mut words: Vec<OsString> =
        std::env::args_os().skip(1).take_while(|word| word != super::JOIN).collect();
    words.push(JOINED.into());
    words
}

/// Which of the signals has come.
async fn any(signals: &mut [tokio::signal::unix::Signal]) -> usize {
    std::future::poll_fn(|context| {
        let ready = signals.iter_mut().position(|signal| signal.poll_recv(context).is_ready());
        ready.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    })
    .await
}

/// Becomes the program, in a mount namespace that was made for it.
pub(super) fn joined(names: &OsStr, command: &[OsString]) -> anyhow::Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("asking to end with the parent")?;
    mounts::fresh("proc", "/proc", None)?;
    if !names.is_empty() {
        mounts::replace_file("/etc/resolv.conf", names.as_bytes())?;
    }
    let (program, args) = command.split_first().context("no program")?;
    let error = Command::new(program).args(args).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}
