//! A program as a child that cannot outlive this process, ended by its own id.

use std::{
    fs::File,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::sync::{oneshot, watch};

/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(12);

/// A program to be started, also more than once.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// For messages.
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Where its standard error goes, and its standard output unless that is read.
    pub(crate) log: PathBuf,
}

impl Recipe {
    /// Starts it.
    pub(crate) async fn start(&self) -> anyhow::Result<Running> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| self.log.display().to_string())?;
        let mut command = guarded(&self.program);
        // A group of its own: Ctrl-C in a terminal is for the one who started the world.
        command.process_group(0);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let (started, pid) = oneshot::channel();
        let (ended, end) = watch::channel(None);
        // Linux kills the child when the thread ends that started it: this thread ends after the child.
        std::thread::Builder::new().name(format!("{} waits", self.name)).spawn(move || {
            match command.spawn() {
                Ok(mut child) => {
                    if started.send(Ok(child.id())).is_err() {
                        // Nobody waits for it any more.
                        let _ = child.kill();
                    }
                    let _ = ended.send(Some(End(child.wait().ok())));
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
        let pid = pid.await.context("the starting thread is gone")?;
        let pid = pid.with_context(|| format!("starting {}", self.program.display()))?;
        Ok(Running { name: self.name, pid, end, log: self.log.clone() })
    }
}

/// The program behind a guard that has Linux kill it when this process dies, whatever the cause.
fn guarded(program: &Path) -> Command {
    let guard = Path::new("/usr/bin/setpriv");
    if !guard.is_file() {
        return Command::new(program);
    }
    let mut command = Command::new(guard);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// That it has ended, and how, if that is known.
#[derive(Clone, Copy, Debug)]
struct End(Option<ExitStatus>);

/// A program that was started; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    name: &'static str,
    pid: u32,
    end: watch::Receiver<Option<End>>,
    log: PathBuf,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.borrow().is_some() || self.end.has_changed().is_err()
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) -> Option<ExitStatus> {
        let mut end = self.end.clone();
        end.wait_for(Option::is_some).await.ok().and_then(|end| *end).and_then(|End(status)| status)
    }

    /// SIGKILL, and waits for the end.
    pub(crate) async fn kill(&self) {
        self.signal("-KILL");
        self.ended().await;
    }

    /// SIGTERM, SIGKILL if that does not help, and waits for the end.
    pub(crate) async fn stop(&self) {
        self.signal("-TERM");
        if tokio::time::timeout(GRACE, self.ended()).await.is_err() {
            self.kill().await;
        }
    }

    fn signal(&self, signal: &str) {
        if !self.has_ended() {
            // The program, since the call itself would need unsafe code.
            let pid = self.pid.to_string();
            let _ = Command::new("kill").args([signal, &pid]).stderr(Stdio::null()).status();
        }
    }

    /// An error that says that it has ended and what it said last, if it has ended.
    pub(crate) fn must_run(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.has_ended(),
            "{} has ended; its log {} ends with:\n{}",
            self.name,
            self.log.display(),
            tail(&self.log)
        );
        Ok(())
    }

    /// SIGKILL, and waits for the end without giving way: for destructors, and short.
    pub(crate) fn kill_now(&self) {
        self.signal("-KILL");
        let began = Instant::now();
        while !self.has_ended() && began.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_now();
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(dir: &Path, script: &str) -> Recipe {
        Recipe {
            name: "a shell",
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            log: dir.join("log"),
        }
    }

    #[tokio::test]
    async fn a_program_that_ended_is_reported_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let running = shell(dir.path(), "echo no more; exit 7").start().await.unwrap();
        assert_eq!(running.ended().await.unwrap().code(), Some(7));
        let error = running.must_run().unwrap_err().to_string();
        assert!(error.contains("no more"), "{error}");
    }

    #[tokio::test]
    async fn a_stopped_program_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let running = shell(dir.path(), "exec sleep 1000").start().await.unwrap();
        let process = PathBuf::from(format!("/proc/{}", running.pid()));
        assert!(process.exists());
        running.stop().await;
        assert!(!process.exists());
    }
}
