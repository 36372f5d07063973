//! The programs of a box.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::process::{self as kernel, Pid, WaitOptions, kill_process};

use super::FIRST;
use crate::{
    addresses::INSIDE,
    protocol::{End, News, Run, Signal},
};

/// How long the ends of killed programs are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Programs that run, by process id.
#[derive(Debug, Default)]
pub(super) struct Processes {
    runs: HashMap<Pid, u64>,
}

impl Processes {
    /// Starts a program with an environment of its own.
    pub(super) fn start(&mut self, run: &Run, input: Option<OwnedFd>) -> anyhow::Result<()> {
        let log = || -> std::io::Result<_> {
            if let Some(folder) = run.log.parent() {
                fs::create_dir_all(folder)?;
            }
            OpenOptions::new().create(true).append(true).open(&run.log)
        };
        let log = log().with_context(|| format!("opening {}", run.log.display()))?;
        let child = Command::new(&run.program)
            .args(&run.args)
            .env_clear()
            // containerd and the network plugins look for their helpers there.
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", INSIDE)
            .envs(run.env.iter().map(|(name, value)| (name, value)))
            .current_dir(INSIDE)
            .stdin(input.map_or_else(Stdio::null, Stdio::from))
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", run.program.display()))?;
        // The child itself is waited for below, like every orphan.
        self.runs.insert(Pid::from_child(&child), run.id);
        Ok(())
    }

    /// Sends a signal, if the program still runs.
    pub(super) fn signal(&self, run: u64, signal: Signal) {
        let signal = match signal {
            Signal::Terminate => kernel::Signal::TERM,
            Signal::Kill => kernel::Signal::KILL,
            Signal::Freeze => kernel::Signal::STOP,
            Signal::Thaw => kernel::Signal::CONT,
        };
        if let Some((pid, _)) = self.runs.iter().find(|(_, id)| **id == run) {
            let _ = kill_process(*pid, signal);
        }
    }

    /// Takes note of every process that has ended: programs, and what containers left to the first process.
    pub(super) fn bury(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        while let Ok(Some((pid, status))) = kernel::wait(WaitOptions::NOHANG) {
            let end = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => End::Code(code),
                (None, Some(signal)) => End::Signal(signal),
                (None, None) => continue,
            };
            if let Some(run) = self.runs.remove(&pid) {
                news.push(News::Ended { run, end });
            }
        }
        news
    }
}

/// Kills every process of the box but the first, and waits until they are gone.
pub(super) fn end_all() {
    let deadline = Instant::now() + PATIENCE;
    // Again and again: one that was just being started may have been missed.
    while kill_others() && Instant::now() < deadline {
        while let Ok(Some(_)) = kernel::wait(WaitOptions::NOHANG) {}
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether there were any.
fn kill_others() -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut others = false;
    for pid in names.filter_map(Pid::from_raw).filter(|pid| *pid != FIRST) {
        others = true;
        let _ = kill_process(pid, kernel::Signal::KILL);
    }
    others
}
