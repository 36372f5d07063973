//! The homeserver of a world: a real Synapse, or the stub. Both are processes on an address that stays the same.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    process::{Recipe, Running, tail},
    wait,
};

/// Which homeserver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeserverKind {
    /// Synapse from the Python package index.
    Synapse {
        /// Version of new rooms; without it Synapse's own choice.
        room_version: Option<String>,
    },
    /// The stub.
    Stub {
        /// Which homeserver it imitates.
        mode: StubMode,
        /// More flags of the stub's program.
        flags: Vec<String>,
    },
}

/// What the stub imitates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StubMode {
    /// Delivers in order, again until it is answered.
    #[default]
    Synapse,
    /// Delivers once: what was not answered with 200 does not come again.
    Palpo,
}

impl HomeserverKind {
    /// The stub as it is without any flags.
    pub fn stub() -> Self {
        Self::Stub { mode: StubMode::Synapse, flags: Vec::new() }
    }

    /// Synapse as it is without any settings.
    pub fn synapse() -> Self {
        Self::Synapse { room_version: None }
    }
}

/// How the stub is started.
pub(crate) fn stub(
    program: &Path,
    dir: &Path,
    server_name: &str,
    port: u16,
    registration: &Path,
    mode: StubMode,
    flags: &[String],
) -> Recipe {
    let mode = match mode {
        StubMode::Synapse => "synapse",
        StubMode::Palpo => "palpo",
    };
    let mut arguments: Vec<String> = [
        ("--listen", format!("127.0.0.1:{port}")),
        ("--server-name", server_name.to_owned()),
        ("--mode", mode.to_owned()),
        ("--registration", registration.display().to_string()),
        ("--state", dir.join("homeserver-stub.jsonl").display().to_string()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect();
    arguments.extend_from_slice(flags);
    Recipe {
        name: "the homeserver stub",
        program: program.to_owned(),
        arguments,
        log: dir.join("homeserver-stub.log"),
    }
}

/// A homeserver that was started.
#[derive(Debug)]
pub struct Homeserver {
    recipe: Recipe,
    url: String,
    client: reqwest::Client,
    running: Mutex<Option<Running>>,
}

impl Homeserver {
    pub(crate) async fn start(recipe: Recipe, port: u16) -> anyhow::Result<Self> {
        let homeserver = Self {
            recipe,
            url: format!("http://127.0.0.1:{port}"),
            client: crate::http_client()?,
            running: Mutex::default(),
        };
        homeserver.resume().await?;
        Ok(homeserver)
    }

    /// Starts it again after [`Homeserver::stop`] or [`Homeserver::kill`], with all it knew.
    pub async fn resume(&self) -> anyhow::Result<()> {
        let running = self.recipe.start().await?;
        let url = format!("{}/_matrix/client/versions", self.url);
        let answered = wait::until(Duration::from_secs(90), || async {
            let answers = self.client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success());
            (running.has_ended() || answers).then_some(())
        })
        .await;
        running.must_run()?;
        let name = self.recipe.name;
        answered.with_context(|| {
            format!("{name} does not answer; its log ends with:\n{}", tail(&self.recipe.log))
        })?;
        *self.slot() = Some(running);
        Ok(())
    }

    /// Ends it with SIGTERM.
    pub async fn stop(&self) {
        let running = self.slot().take();
        if let Some(running) = running {
            running.stop().await;
        }
    }

    /// `kill -9`.
    pub async fn kill(&self) {
        let running = self.slot().take();
        if let Some(running) = running {
            running.kill().await;
        }
    }

    /// Address of its client-server API.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it logs.
    pub fn log(&self) -> &Path {
        &self.recipe.log
    }

    fn slot(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
