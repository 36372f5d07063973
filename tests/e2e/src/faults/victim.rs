//! The bridge, started again at once whenever it was killed.
//!
//! The world's supervisor waits longer and longer, as a cluster does; hundreds of kills would take too long.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use test_support::{Process, Spawn};

/// The process, and how it is started.
#[derive(Debug)]
pub struct Victim {
    /// How it is started; two processes beside each other cannot listen at the same place for their probes.
    spawns: [Spawn; 2],
    current: usize,
    log: PathBuf,
    process: Option<Process>,
    standby: Option<Process>,
    kills: usize,
    takeovers: usize,
}

impl Victim {
    /// Starts it; nobody else may work for the workspace. `command` is what stands before the program's name.
    pub async fn start(
        command: &[String],
        program: &Path,
        configs: [&Path; 2],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let program = program.display().to_string();
        let words: Vec<&String> = command.iter().chain([&program]).collect();
        let (first, rest) = words.split_first().context("no program")?;
        let spawns =
            configs.map(|config| Spawn::new(first).args(rest).args(["run", "--config"]).arg(config).log(log));
        let mut victim = Self {
            spawns,
            current: 0,
            log: log.to_owned(),
            process: None,
            standby: None,
            kills: 0,
            takeovers: 0,
        };
        victim.resume().await?;
        Ok(victim)
    }

    /// How often it was killed.
    pub fn kills(&self) -> usize {
        self.kills
    }

    /// How often a process that stood by took over.
    pub fn takeovers(&self) -> usize {
        self.takeovers
    }

    /// Whether the last one was started with the first configuration.
    pub fn is_first(&self) -> bool {
        self.current == 0
    }

    /// Starts it again.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        self.process = Some(self.spawns[self.current].start().await?);
        Ok(())
    }

    /// Starts it again if it has ended by itself, as a cluster would; whether it had.
    pub async fn revive(&mut self) -> anyhow::Result<bool> {
        let ended = self.process.as_ref().is_none_or(|process| !process.is_running());
        if ended {
            self.resume().await?;
        }
        Ok(ended)
    }

    /// Starts another one, which waits for the database.
    pub async fn stand_by(&mut self) -> anyhow::Result<()> {
        self.standby = Some(self.spawns[1 - self.current].start().await?);
        Ok(())
    }

    /// `kill -9`, of one that runs, and a new start, or the turn of the one that stands by.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.strike().await?;
        match self.standby.take() {
            Some(standby) => {
                self.process = Some(standby);
                self.current = 1 - self.current;
                self.takeovers += 1;
                Ok(())
            }
            None => self.resume().await,
        }
    }

    /// `kill -9` of one that runs.
    pub async fn strike(&mut self) -> anyhow::Result<()> {
        let process = self.process.take().context("the bridge was not started")?;
        anyhow::ensure!(process.is_running(), "the bridge ended by itself; its log: {}", self.log.display());
        process.kill().await?;
        self.kills += 1;
        Ok(())
    }
}
