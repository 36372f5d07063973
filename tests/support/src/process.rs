//! Other programs, started so that they never outlive the test.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, OpenOptions},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;
use tokio::{sync::oneshot, time::timeout};

use crate::{pipes, waiting::Patience};

/// What SIGKILL and the reaping after it may take.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// A program to be started.
///
/// It is killed when the [`Process`] is dropped, and also when this process dies, even by SIGKILL: it is started
/// through `setpriv --pdeathsig KILL` of util-linux, which replaces itself by the program, so the process id is the
/// program's. On a machine without that `setpriv` the program is started directly and outlives a killed parent.
///
/// What the program itself starts is killed with it by [`Process::kill`] and by dropping the [`Process`], but not when
/// the program ends by itself or this process is killed.
#[derive(Debug, Clone)]
pub struct Spawn {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    folder: Option<PathBuf>,
    log: Option<PathBuf>,
}

impl Spawn {
    /// A program, by its path or by a name on the search path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { program: program.as_ref().into(), args: Vec::new(), env: Vec::new(), folder: None, log: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().into()));
        self
    }

    /// Sets an environment variable; the others are this process's.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().into(), Some(value.as_ref().into())));
        self
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().into(), None));
        self
    }

    /// The folder to run in; otherwise this process's.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// A file that standard output and standard error are appended to.
    /// Without one, standard error is this process's and standard output is thrown away.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Starts the program.
    pub async fn start(&self) -> anyhow::Result<Process> {
        let out = match self.open_log()? {
            Some(log) => log.into(),
            None => Stdio::null(),
        };
        self.launch(out).await
    }

    /// Starts the program and waits for its first line of standard output, which must be JSON.
    /// A program that ends before, is late or says something else is an error with the end of its log.
    pub async fn start_ready(&self, limit: Duration) -> anyhow::Result<(Process, Value)> {
        let process = self.launch(Stdio::piped()).await?;
        let out = process.child().stdout.take().context("no standard output")?;
        let line = pipes::first_line(out, self.open_log()?);
        let line = match timeout(limit, line).await {
            Ok(Ok(line)) => line,
            Ok(Err(_)) => {
                // The output has ended; the program is about to.
                let end = match process.wait(Duration::from_secs(1)).await {
                    Ok(status) => format!("ended with {status}"),
                    Err(_) => "closed its output".to_owned(),
                };
                anyhow::bail!("{} {end} before it was ready{}", process.name, process.last_words());
            }
            Err(_) => anyhow::bail!("{} was not ready in {limit:?}{}", process.name, process.last_words()),
        };
        let ready = serde_json::from_str(&line).with_context(|| {
            format!("{} said `{}` instead of a line of JSON", process.name, line.trim_end())
        })?;
        Ok((process, ready))
    }

    fn open_log(&self) -> anyhow::Result<Option<File>> {
        let open = |path: &PathBuf| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| format!("opening the log {}", path.display()))
        };
        self.log.as_ref().map(open).transpose()
    }

    async fn launch(&self, out: Stdio) -> anyhow::Result<Process> {
        let name =
            Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy().into_owned();
        let mut command = if dies_with_parent() {
            let program = find(&self.program);
            let program =
                program.with_context(|| format!("there is no program {}", self.program.display()))?;
            let mut command = Command::new("setpriv");
            // A group of its own: Ctrl-C in a terminal is for this process, which ends its children as it sees fit.
            command.args(["--pdeathsig", "KILL", "--"]).arg(program).process_group(0);
            command
        } else {
            Command::new(&self.program)
        };
        command.args(&self.args).stdin(Stdio::null()).stdout(out);
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        if let Some(log) = self.open_log()? {
            command.stderr(log);
        }
        let child = launcher(command).await.with_context(|| format!("starting {name}"))?;
        Ok(Process { pid: child.id(), child: Mutex::new(child), name, log: self.log.clone() })
    }
}

/// A program that was started. Dropping it kills the program.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
    name: String,
    log: Option<PathBuf>,
}

impl Process {
    /// The process id; it may belong to another program once this one has ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the program has not ended yet.
    pub fn is_running(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Waits for the program's end, however it comes about.
    pub async fn wait(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let mut patience = Patience::new(limit);
        let what = format!("the end of {}", self.name);
        loop {
            let status = self.child().try_wait().with_context(|| what.clone())?;
            match status {
                Some(status) => return Ok(status),
                None => patience.pause(&what).await?,
            }
        }
    }

    /// Waits until `ready` answers; an early end of the program is an error with the end of its log.
    pub async fn wait_ready<T>(
        &self,
        limit: Duration,
        what: &str,
        mut ready: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut patience = Patience::new(limit);
        loop {
            if let Some(answer) = patience.hear(ready()).await {
                return Ok(answer);
            }
            self.wait_on(&mut patience, what).await?;
        }
    }

    /// A pause in the waiting for something that the program is to do.
    pub(crate) async fn wait_on(&self, patience: &mut Patience, what: &str) -> anyhow::Result<()> {
        let paused = if self.is_running() {
            patience.pause(what).await
        } else {
            Err(anyhow::anyhow!("{} has ended, waiting for {what}", self.name))
        };
        paused.map_err(|error| anyhow::anyhow!("{error}{}", self.last_words()))
    }

    /// Asks the program to end (SIGTERM) and kills it after `limit`. Its status tells which of the two it was.
    pub async fn terminate(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        if self.is_running() {
            self.signal("TERM").await?;
        }
        match self.wait(limit).await {
            Ok(status) => Ok(status),
            Err(_) => self.kill().await,
        }
    }

    /// Kills the program and what it has started (SIGKILL), and waits until the program is gone.
    pub async fn kill(&self) -> anyhow::Result<ExitStatus> {
        self.kill_group().with_context(|| format!("killing {}", self.name))?;
        self.wait(AFTER_KILL).await
    }

    /// Sends a signal by its name without SIG, such as `STOP` or `HUP`, through the program `kill`.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        anyhow::ensure!(self.is_running(), "{} has ended: no SIG{name}", self.name);
        let mut command = tokio::process::Command::new("kill");
        let status =
            command.args(["-s", name, "--", &self.pid.to_string()]).status().await.context("running kill")?;
        anyhow::ensure!(status.success() || !self.is_running(), "kill -s {name} on {}: {status}", self.name);
        Ok(())
    }

    /// What the program uses of the machine.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        usage(self.pid)
    }

    /// The end of the log, to be added to an error.
    fn last_words(&self) -> String {
        const LINES: usize = 20;
        let Some(log) = &self.log else { return String::new() };
        let text =
            std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        format!("; the end of {}:\n{last}", log.display())
    }

    /// SIGKILL for the program's group, if the program has not ended before.
    fn kill_group(&self) -> io::Result<()> {
        let mut child = self.child();
        // While the end of the program has not been asked for, no other process gets its id.
        if child.try_wait()?.is_none() && dies_with_parent() {
            let mut command = Command::new("kill");
            command.args(["-s", "KILL", "--", &format!("-{}", self.pid)]).stderr(Stdio::null());
            // The program itself is killed below in any case.
            let _ = command.status();
        }
        child.kill()
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to be told of an error.
        let _ = self.kill_group();
        let _ = self.child().wait();
    }
}

/// What a process uses of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Memory in use, in KiB.
    pub resident_kib: u64,
    /// The most memory that was ever in use, in KiB.
    pub peak_kib: u64,
    /// Processor time, its own and the kernel's for it, in seconds since its start.
    pub cpu_seconds: f64,
}

/// Reads from `/proc` what a process uses of the machine.
pub fn usage(pid: u32) -> anyhow::Result<Usage> {
    let read = |file: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{file}"))
            .with_context(|| format!("process {pid} is not there"))
    };
    let status = read("status")?;
    let stat = read("stat")?;
    Ok(Usage {
        resident_kib: kib(&status, "VmRSS:")?,
        peak_kib: kib(&status, "VmHWM:")?,
        cpu_seconds: cpu_seconds(&stat).context("/proc/…/stat is of an unknown form")?,
    })
}

fn kib(status: &str, key: &str) -> anyhow::Result<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key));
    let value = value.with_context(|| format!("no {key} of a process that has ended"))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // Linux shows ticks of 1/100 s to programs on every architecture.
    const TICKS_PER_SECOND: f64 = 100.0;
    // The second field is the name in parentheses, which may itself have spaces and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11);
    let (user, system): (u32, u32) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

/// Finds a program by its path or on the search path. `setpriv` would report a missing one in its own name only.
fn find(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        // A relative path is relative to this process's folder, not to the one the program runs in.
        let file = std::fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?);
        return file.is_file().then_some(file);
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(path)).find(|file| file.is_file())
}

/// Whether there is a `setpriv` that knows `--pdeathsig`.
fn dies_with_parent() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

type Launch = (Command, oneshot::Sender<io::Result<Child>>);

/// Starts a command on a thread that lives as long as this process. The kernel's "parent has died" means the
/// thread that started the child, and the threads of a runtime or of a test end long before the process does.
async fn launcher(command: Command) -> anyhow::Result<Child> {
    static THREAD: OnceLock<mpsc::Sender<Launch>> = OnceLock::new();
    let thread = THREAD.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Launch>();
        thread::spawn(move || {
            for (mut command, answer) in receiver {
                // Nobody waits for the answer any more: the child must not stay behind.
                if let Err(Ok(mut child)) = answer.send(command.spawn()) {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        });
        sender
    });
    let (answer, answered) = oneshot::channel();
    thread.send((command, answer)).ok().context("the launching thread has ended")?;
    Ok(answered.await.context("the launching thread has ended")??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_times() {
        let stat = "42 (a) S (b) S 1 42 42 0 -1 4194304 1 2 3 4 250 50 0 0 20 0 1 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("42 (a"), None);
    }

    #[test]
    fn the_usage_of_this_process_is_known() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_kib > 100 && usage.peak_kib >= usage.resident_kib, "{usage:?}");
        assert!(super::usage(u32::MAX).is_err());
    }
}
