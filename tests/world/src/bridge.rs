//! The bridge as a supervised process: one that dies is started again, as in a cluster.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    process::{Recipe, Running, tail},
    wait,
};

/// Pause before a bridge that died is started again; longer when it keeps dying at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The bridge.
#[derive(Debug)]
pub struct Bridge {
    shared: Arc<Shared>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    recipe: Recipe,
    pid_file: PathBuf,
    health: String,
    client: reqwest::Client,
    running: Mutex<Option<Arc<Running>>>,
    starts: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

impl Shared {
    fn running(&self) -> Option<Arc<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn start(&self) -> anyhow::Result<Arc<Running>> {
        let running = Arc::new(self.recipe.start().await?);
        write_pid(&self.pid_file, running.pid())?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&running));
        self.starts.send_modify(|starts| *starts += 1);
        Ok(running)
    }

    /// Starts the bridge again whenever it ends, until it is asked to stop.
    async fn supervise(&self, mut running: Arc<Running>) {
        let mut stop = self.stop.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = running.ended() => {}
            }
            pause = if began.elapsed() > Duration::from_secs(5) {
                FIRST_PAUSE
            } else {
                (pause * 2).min(FIRST_PAUSE * 16)
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
            // A start that fails (no memory, say) is tried again after the pause: the old one has ended still.
            if let Ok(started) = self.start().await {
                running = started;
            }
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
    /// Runs a command of the bridge to its end.
    pub(crate) async fn command(program: &Path, arguments: &[&str]) -> anyhow::Result<()> {
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
        Ok(())
    }

    /// Starts it under supervision.
    pub(crate) async fn start(
        program: &Path,
        dir: &Path,
        config: &Path,
        health_port: u16,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            recipe: Recipe {
                name: "the bridge",
                program: program.to_owned(),
                arguments: vec!["run".to_owned(), "--config".to_owned(), config.display().to_string()],
                log: dir.join("bridge.log"),
            },
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
        let running = self.shared.start().await?;
        let shared = Arc::clone(&self.shared);
        let supervisor = tokio::spawn(async move { shared.supervise(running).await });
        *self.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = Some(supervisor);
        Ok(())
    }

    /// Ends it with SIGTERM; it is not started again.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(supervisor) = supervisor {
            let _ = supervisor.await;
        }
        if let Some(running) = self.shared.running() {
            running.stop().await;
        }
    }

    /// `kill -9`; the supervisor starts it again. Returns when the new process has started.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let mut starts = self.shared.starts.subscribe();
        let before = *starts.borrow_and_update();
        if let Some(running) = self.shared.running() {
            running.kill().await;
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
        self.shared.running().map(|running| running.pid())
    }

    /// The file with that id.
    pub fn pid_file(&self) -> &Path {
        &self.shared.pid_file
    }

    /// What it logs.
    pub fn log(&self) -> &Path {
        &self.shared.recipe.log
    }

    /// Address of the metrics.
    pub fn metrics_url(&self) -> String {
        format!("{}/metrics", self.shared.health)
    }

    /// Waits until it says that it is ready.
    pub async fn wait_ready(&self, limit: Duration) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.shared.health);
        let last = Mutex::new(String::from("no answer"));
        let ready = wait::until(limit, || async {
            let (status, body) = match self.shared.client.get(&url).send().await {
                Ok(answer) => (answer.status(), answer.text().await.unwrap_or_default()),
                Err(error) => {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = format!("no answer ({error})");
                    return None;
                }
            };
            *last.lock().unwrap_or_else(PoisonError::into_inner) = format!("{status}: {}", body.trim());
            status.is_success().then_some(())
        })
        .await;
        ready.with_context(|| {
            let last = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
            format!(
                "the bridge is not ready after {} s; /readyz says: {last}; its log {} ends with:\n{}",
                limit.as_secs(),
                self.log().display(),
                tail(self.log())
            )
        })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(supervisor) = supervisor {
            supervisor.abort();
        }
        if let Some(running) = self.shared.running() {
            running.kill_now();
        }
    }
}
