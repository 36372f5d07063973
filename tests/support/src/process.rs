//! Child processes that never outlive the test.
//!
//! Three nets: [`Process::stop`] (SIGTERM, then SIGKILL), `Drop` (SIGKILL), and the kernel: where `setpriv` of
//! util-linux exists, children run under `setpriv --pdeathsig KILL`, so they die even when the parent is killed
//! with -9. The kernel ties that signal to the *thread* that forked; therefore one thread that lives as long as the
//! program starts all children. (Left open: the parent dies in the instant before `setpriv` has set the signal.)
//! Signals go to the child's own pid only, never to names or groups.

use crate::wait::wait_for;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

/// What to start. Output goes to a file, standard input is empty unless [`Launch::piped_stdin`] is used.
#[derive(Clone, Debug)]
pub struct Launch {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    dir: Option<PathBuf>,
    log: PathBuf,
    piped_stdin: bool,
}

impl Launch {
    /// A program, and the file its output is appended to.
    pub fn new(program: impl AsRef<OsStr>, log: impl Into<PathBuf>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            log: log.into(),
            piped_stdin: false,
        }
    }

    /// One argument more.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Several arguments more.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Takes a variable out of the environment.
    #[must_use]
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), None));
        self
    }

    /// Working directory.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Keeps standard input open; see [`Process::take_stdin`].
    #[must_use]
    pub fn piped_stdin(mut self) -> Self {
        self.piped_stdin = true;
        self
    }

    fn command(&self, log: &File) -> Result<Command> {
        let mut command = if setpriv_works() {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command.args(&self.args).stdout(log.try_clone()?).stderr(log.try_clone()?);
        command.stdin(if self.piped_stdin { Stdio::piped() } else { Stdio::null() });
        for (key, value) in &self.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        Ok(command)
    }

    /// Starts it.
    pub fn start(&self) -> Result<Process> {
        let name = Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy().into_owned();
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("log file {}", self.log.display()))?;
        let log_start = log.metadata()?.len();
        let command = self.command(&log)?;
        let child = spawn(command).with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(Process { name, child, log: self.log.clone(), log_start, status: None })
    }
}

/// Whether `setpriv --pdeathsig` can be used here (asked once).
fn setpriv_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let mut probe = Command::new("setpriv");
        probe.args(["--pdeathsig", "KILL", "--", "true"]);
        probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    })
}

/// Starts a child from the one thread that lives as long as the program.
fn spawn(command: Command) -> Result<Child> {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                // Nobody left to take it: the handle is dropped, as after a failed start.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, result) = mpsc::channel();
    spawner.send((command, answer)).map_err(|_| anyhow!("the thread that starts children is gone"))?;
    Ok(result.recv()??)
}

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    log_start: u64,
    status: Option<ExitStatus>,
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file its output goes to.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Its end of standard input, once, if it was asked for; dropping it closes the pipe.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// What it has written since this start.
    pub fn output(&self) -> Result<String> {
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.log_start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The exit status, if it has ended.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Waits for `condition`, and fails at once, with the end of the log, when the process ends before.
    pub async fn wait_ready(
        &mut self,
        deadline: Duration,
        what: &str,
        mut condition: impl AsyncFnMut() -> bool,
    ) -> Result<()> {
        self.wait_value(deadline, what, async |_| condition().await.then_some(())).await
    }

    /// Waits until it has written a line that is a JSON object with the given key.
    pub async fn wait_json_line(&mut self, deadline: Duration, key: &str) -> Result<Value> {
        let what = format!("a line of JSON with \"{key}\"");
        self.wait_value(deadline, &what, async |process| {
            let output = process.output().ok()?;
            let complete = output.get(..output.rfind('\n')?)?;
            let lines = complete.lines().filter(|line| line.starts_with('{'));
            let mut values = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            values.find(|value| value.get(key).is_some())
        })
        .await
    }

    async fn wait_value<T>(
        &mut self,
        deadline: Duration,
        what: &str,
        mut question: impl AsyncFnMut(&Process) -> Option<T>,
    ) -> Result<T> {
        let answer = wait_for(deadline, what, async || {
            // Asked before the question: what was written right before the end still counts.
            let ended = self.exit_status()?;
            if let Some(value) = question(self).await {
                return Ok(Some(Ok(value)));
            }
            Ok(ended.map(Err))
        });
        match answer.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(status)) => bail!("{} ended ({status}) before: {what}\n{}", self.name, self.tail()),
            Err(error) => Err(error.context(format!("{} (pid {})\n{}", self.name, self.pid(), self.tail()))),
        }
    }

    fn tail(&self) -> String {
        let output = self.output().unwrap_or_default();
        let lines: Vec<_> = output.lines().rev().take(20).collect();
        let lines: Vec<_> = lines.into_iter().rev().collect();
        format!("last lines of {}:\n{}", self.log.display(), lines.join("\n"))
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`, …). Does nothing once it has ended.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        if self.exit_status()?.is_some() {
            return Ok(());
        }
        // The shell's built-in needs no package; the pid is ours as long as nobody has waited for it.
        let status = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", signal]).arg(self.pid().to_string());
        let status = { status }.stdin(Stdio::null()).stderr(Stdio::null()).status()?;
        if !status.success() && self.exit_status()?.is_none() {
            bail!("kill -s {signal} {} failed", self.pid());
        }
        Ok(())
    }

    /// Waits for its end.
    pub async fn wait_exit(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {} (pid {})", self.name, self.pid());
        wait_for(deadline, &what, async || self.exit_status()).await
    }

    /// SIGTERM, and SIGKILL when it has not ended within `deadline`; the status tells which it was.
    pub async fn stop(mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal("TERM")?;
        if let Ok(status) = self.wait_exit(deadline).await {
            return Ok(status);
        }
        self.kill()
    }

    /// SIGKILL, as `kill -9`; returns once it is gone.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.exit_status()? {
            return Ok(status);
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    /// Its present memory and CPU time.
    pub fn usage(&self) -> Result<Usage> {
        usage(self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Memory and CPU time of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Resident now, in bytes.
    pub rss: u64,
    /// Highest so far, in bytes.
    pub peak_rss: u64,
    /// User and system time together.
    pub cpu: Duration,
}

/// Reads `/proc/<pid>`. CPU time comes in hundredths of a second (`USER_HZ` is 100 on all Linux machines in use).
pub fn usage(pid: u32) -> Result<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let line = line.with_context(|| format!("no {name} of process {pid}: has it ended?"))?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold blanks; the fields begin behind it with number 3.
    let fields = stat.rsplit_once(')').context("unreadable /proc stat")?.1;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Usage { rss: field("VmRSS")?, peak_rss: field("VmHWM")?, cpu: Duration::from_millis(ticks * 10) })
}
