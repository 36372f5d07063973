//! The bridge, started again at once whenever it was killed.
//!
//! The world's supervisor waits longer and longer, as a cluster does; two hundred kills would take too long.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use test_support::{Process, Spawn};
use world::World;

pub(crate) struct Victim {
    spawn: Spawn,
    log: PathBuf,
    process: Option<Process>,
    pub(crate) kills: usize,
}

impl Victim {
    /// Takes the place of the world's own bridge.
    pub(crate) async fn replace(world: &World, program: &Path) -> anyhow::Result<Self> {
        world.bridge().stop().await?;
        let log = world.bridge().log().to_owned();
        let spawn = Spawn::new(program).args(["run", "--config"]).arg(world.config()).log(&log);
        let mut victim = Self { spawn, log, process: None, kills: 0 };
        victim.start().await?;
        Ok(victim)
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        self.process = Some(self.spawn.start().await?);
        Ok(())
    }

    /// `kill -9` and a new start.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        let process = self.process.take().context("the bridge was not started")?;
        anyhow::ensure!(process.is_running(), "the bridge ended by itself; its log: {}", self.log.display());
        process.kill().await?;
        self.kills += 1;
        self.start().await
    }
}
