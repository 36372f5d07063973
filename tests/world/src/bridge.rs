//! The bridge as a supervised process: one that dies is started again, as in a cluster.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use test_support::{Process, Spawn, Usage, wait_until};
use tokio::{sync::watch, task::JoinHandle};

/// Pause before a bridge that died is started again; longer when it keeps dying at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How often the supervisor looks.
const LOOK: Duration = Duration::from_millis(20);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A bridge that ran this long did not die at once.
const LASTED: Duration = Duration::from_secs(5);
/// How long it may take to end when asked to; it promises 10 s.
const END: Duration = Duration::from_secs(12);

/// The bridge.
#[derive(Debug)]
pub struct Bridge {
    shared: Arc<Shared>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    program: PathBuf,
    spawn: Spawn,
    log: PathBuf,
    pid_file: PathBuf,
    health: String,
    client: reqwest::Client,
    running: Mutex<Option<Arc<Process>>>,
    starts: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Option<Arc<Process>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Option<Arc<Process>> {
        self.slot().clone()
    }

    async fn start(&self) -> anyhow::Result<()> {
        let process = Arc::new(self.spawn.start().await?);
        write_pid(&self.pid_file, process.pid())?;
        *self.slot() = Some(process);
        self.starts.send_modify(|starts| *starts += 1);
        Ok(())
    }

    /// Starts the bridge again whenever it ends, until it is asked to stop.
    async fn supervise(&self) {
        let mut stop = self.stop.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.ended() => {}
            }
            pause = if began.elapsed() > LASTED { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
            // A start that fails (no memory, say) is tried again after the pause: the old one has ended still.
            let _ = self.start().await;
        }
    }

    /// Waits, however long it takes. The process is not held meanwhile, so that a dropped bridge is a dead one.
    async fn ended(&self) {
        while self.slot().as_ref().is_some_and(|process| process.is_running()) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Replaces the file at once, so that nobody reads half a number.
fn write_pid(file: &Path, pid: u32) -> anyhow::Result<()> {
    let fresh = file.with_extension("pid.new");
    std::fs::write(&fresh, format!("{pid}\n")).with_context(|| fresh.display().to_string())?;
    std::fs::rename(&fresh, file).with_context(|| file.display().to_string())
}

impl Bridge {
    /// Runs a command of the bridge to its end; answers what it printed.
    pub(crate) async fn command(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let output = tokio::process::Command::new(program)
            .args(arguments)
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("starting {}", program.display()))?;
        anyhow::ensure!(
            output.status.success(),
            "`dingtalk-bridge {}` failed ({}): {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command of the same program beside it, or instead of it; answers what it printed.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        Self::command(&self.shared.program, arguments).await
    }

    /// Starts it under supervision.
    pub(crate) async fn start(
        program: &Path,
        dir: &Path,
        config: &Path,
        health_port: u16,
    ) -> anyhow::Result<Self> {
        let log = dir.join("bridge.log");
        let shared = Arc::new(Shared {
            program: program.to_owned(),
            spawn: Spawn::new(program).args(["run", "--config"]).arg(config).log(&log),
            log,
            pid_file: dir.join("bridge.pid"),
            health: format!("http://127.0.0.1:{health_port}"),
            client: crate::http_client()?,
            running: Mutex::default(),
            starts: watch::channel(0).0,
            stop: watch::channel(false).0,
        });
        let bridge = Self { shared, supervisor: Mutex::default() };
        bridge.resume().await?;
        Ok(bridge)
    }

    /// Starts it again after [`Bridge::stop`]; supervision goes on.
    pub async fn resume(&self) -> anyhow::Result<()> {
        self.shared.stop.send_replace(false);
        self.shared.start().await?;
        let shared = Arc::clone(&self.shared);
        let supervisor = tokio::spawn(async move { shared.supervise().await });
        *self.supervisor() = Some(supervisor);
        Ok(())
    }

    /// Ends it with SIGTERM; it is not started again. One that needs longer than it promises is killed.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.shared.stop.send_replace(true);
        let supervisor = self.supervisor().take();
        if let Some(supervisor) = supervisor {
            let _ = supervisor.await;
        }
        if let Some(process) = self.shared.running() {
            process.terminate(END).await?;
        }
        Ok(())
    }

    /// `kill -9`; the supervisor starts it again. Returns when the new process has started.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let mut starts = self.shared.starts.subscribe();
        let before = *starts.borrow_and_update();
        if let Some(process) = self.shared.running() {
            process.kill().await?;
        }
        let again = starts.wait_for(|starts| *starts > before);
        tokio::time::timeout(Duration::from_secs(30), again)
            .await
            .with_context(|| format!("the bridge was not started again; log: {}", self.log().display()))??;
        Ok(())
    }

    /// How often it was started.
    pub fn starts(&self) -> u64 {
        *self.shared.starts.borrow()
    }

    /// Id of the process that runs now, or ran last.
    pub fn pid(&self) -> Option<u32> {
        self.shared.running().map(|process| process.pid())
    }

    /// The file with that id.
    pub fn pid_file(&self) -> &Path {
        &self.shared.pid_file
    }

    /// What it uses of the machine.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        self.shared.running().context("the bridge was never started")?.usage()
    }

    /// What it logs.
    pub fn log(&self) -> &Path {
        &self.shared.log
    }

    /// Address of the metrics.
    pub fn metrics_url(&self) -> String {
        format!("{}/metrics", self.shared.health)
    }

    /// Waits until it says that it is ready.
    pub async fn wait_ready(&self, limit: Duration) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.shared.health);
        let mut last = String::from("nothing");
        let ready = wait_until(limit, "the bridge to be ready", async || {
            let (status, body) = match self.shared.client.get(&url).send().await {
                Ok(answer) => (answer.status(), answer.text().await.unwrap_or_default()),
                Err(error) => {
                    last = format!("nothing ({error})");
                    return None;
                }
            };
            last = format!("{status}: {}", body.trim());
            status.is_success().then_some(())
        })
        .await;
        ready.with_context(|| format!("/readyz says {last}; {}", crate::tail(self.log())))
    }

    fn supervisor(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
        let supervisor = self.supervisor().take();
        if let Some(supervisor) = supervisor {
            supervisor.abort();
        }
        // Dropping it kills it; the supervisor holds none.
        self.shared.slot().take();
    }
}
