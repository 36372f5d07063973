//! The homeserver of a world: a real Synapse, or the stub. Both are processes on an address that stays the same.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use reqwest::Method;
use test_support::{MatrixClient, Process, Spawn, Synapse, SynapseOptions, UserSession};
use tokio::sync::Mutex;

use crate::{place::Place, user};

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

/// Whom the homeserver serves.
pub(crate) struct Names<'a> {
    pub(crate) server_name: &'a str,
    pub(crate) registration: &'a Path,
}

/// A homeserver that was started.
#[derive(Debug)]
pub struct Homeserver {
    url: String,
    control: Option<String>,
    log: PathBuf,
    program: Mutex<Program>,
}

#[derive(Debug)]
enum Program {
    Synapse(Synapse),
    Stub {
        spawn: Spawn,
        process: Process,
    },
    /// No process of this machine.
    Elsewhere,
}

/// How long the stub may take to start and to end.
const STUB: Duration = Duration::from_secs(20);

impl Homeserver {
    pub(crate) async fn synapse(
        python: Spawn,
        room_version: Option<String>,
        encryption_extensions: bool,
        names: &Names<'_>,
        place: Place<'_>,
    ) -> anyhow::Result<Self> {
        let options = SynapseOptions {
            dir: place.dir.join("synapse"),
            server_name: names.server_name.to_owned(),
            port: place.listen.port(),
            registrations: vec![names.registration.to_owned()],
            room_version,
            encryption_extensions,
        };
        let log = options.dir.join("synapse.log");
        let synapse = Synapse::start_at(python, options, place.listen.ip(), place.url).await?;
        let (url, control) = (synapse.base_url().to_owned(), None);
        Ok(Self { url, control, log, program: Mutex::new(Program::Synapse(synapse)) })
    }

    pub(crate) async fn stub(
        program: Spawn,
        mode: StubMode,
        flags: &[String],
        names: &Names<'_>,
        place: Place<'_>,
    ) -> anyhow::Result<Self> {
        let url = place.url;
        let log = place.dir.join("homeserver-stub.log");
        let mode = match mode {
            StubMode::Synapse => "synapse",
            StubMode::Palpo => "palpo",
        };
        let spawn = program
            .args(["--listen", &place.listen.to_string(), "--server-name", names.server_name])
            .args(["--mode", mode, "--registration"])
            .arg(names.registration)
            .arg("--state")
            .arg(place.dir.join("homeserver-stub.jsonl"))
            .args(flags)
            .log(&log);
        let process = start_stub(&spawn, &url).await?;
        let control = Some(format!("{url}/_stub"));
        Ok(Self { url, control, log, program: Mutex::new(Program::Stub { spawn, process }) })
    }

    /// One that runs elsewhere and lets everybody register; the log is a sentence that says where.
    pub(crate) fn elsewhere(url: String, log: String) -> Self {
        Self { url, control: None, log: log.into(), program: Mutex::new(Program::Elsewhere) }
    }

    /// Starts it again after [`Homeserver::stop`] or [`Homeserver::kill`], with all it knew.
    pub async fn resume(&self) -> anyhow::Result<()> {
        match &mut *self.program.lock().await {
            Program::Synapse(synapse) => synapse.restart().await,
            Program::Stub { spawn, process } => {
                *process = start_stub(spawn, &self.url).await?;
                Ok(())
            }
            Program::Elsewhere => Err(elsewhere()),
        }
    }

    /// Ends it with SIGTERM.
    pub async fn stop(&self) -> anyhow::Result<()> {
        match &*self.program.lock().await {
            Program::Synapse(synapse) => synapse.stop().await,
            Program::Stub { process, .. } => process.terminate(STUB).await.map(drop),
            Program::Elsewhere => Ok(()),
        }
    }

    /// `kill -9`.
    pub async fn kill(&self) -> anyhow::Result<()> {
        match &*self.program.lock().await {
            Program::Synapse(synapse) => synapse.kill().await,
            Program::Stub { process, .. } => process.kill().await.map(drop),
            Program::Elsewhere => Err(elsewhere()),
        }
    }

    /// Makes an account and logs it in.
    pub(crate) async fn register(&self, name: &str, password: &str) -> anyhow::Result<UserSession> {
        match &*self.program.lock().await {
            Program::Synapse(synapse) => synapse.register_user(name, password, false).await,
            Program::Stub { .. } | Program::Elsewhere => user::register(&self.url, name, password).await,
        }
    }

    /// Address of its client-server API.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Base address of the stub's control API; a real homeserver has none.
    pub fn control(&self) -> Option<&str> {
        self.control.as_deref()
    }

    /// What it logs.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

fn elsewhere() -> anyhow::Error {
    anyhow::anyhow!("the homeserver is no process of this machine")
}

async fn start_stub(spawn: &Spawn, url: &str) -> anyhow::Result<Process> {
    let process = spawn.start().await?;
    let client = MatrixClient::from_token(url, "", "")?;
    let answer = async || client.request(Method::GET, &["versions"], &[], None).await.ok();
    let ready = process.wait_ready(STUB, "the homeserver stub's first answer", answer).await;
    ready.context("starting the homeserver stub")?;
    Ok(process)
}
