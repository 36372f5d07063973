//! The world without a cluster: everything is a process of this machine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use test_support::{Postgres, PostgresOptions, Spawn, free_port};

use crate::{
    Progress,
    bridge::Bridge,
    description::Description,
    files::{self, Files},
    homeserver::{self, Homeserver, HomeserverKind},
    options::{DatabaseChoice, WorldOptions},
    place::Place,
    programs::Programs,
    sandbox::Sandbox,
    sides::{Cast, Goal, Sides},
};

/// How long the bridge may take until it is ready.
const READY: Duration = Duration::from_mins(1);

/// Name of the database on its server, and of the role.
const DATABASE: &str = "bridge";

/// Sandbox, homeserver and bridge, running. Whatever the [`Sides`] can do, the world can.
#[derive(Debug)]
pub struct World {
    // Dropped in this order: the bridge first, then those it talks to.
    bridge: Bridge,
    sides: Sides,
    postgres: Option<Postgres>,
    dir: PathBuf,
    files: Files,
}

impl World {
    /// Brings everything up. An error says what did not happen and where the logs are.
    pub async fn start(options: WorldOptions, progress: Progress<'_>) -> anyhow::Result<Self> {
        // Kept apart so that it does not count into the size of every caller.
        Box::pin(Self::bring_up(options, progress)).await
    }

    async fn bring_up(options: WorldOptions, progress: Progress<'_>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.dir).with_context(|| options.dir.display().to_string())?;
        let dir = options.dir.canonicalize().with_context(|| options.dir.display().to_string())?;
        let programs = match options.programs {
            Some(programs) => programs,
            None => Programs::build(options.profile, progress).await?,
        };
        let (port, health_port) = (free_port()?, free_port()?);
        let here = |port: u16| Place::here(&dir, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let sandbox_port = options.sandbox_port.map_or_else(free_port, Ok)?;
        let (of_homeserver, of_sandbox) = (here(free_port()?), here(sandbox_port));

        progress("Starting the DingTalk sandbox.");
        let program = Spawn::new(&programs.sandbox);
        let sandbox = Sandbox::start(program, of_sandbox, options.time_scale, &options.sandbox_flags).await?;

        let postgres = match options.database {
            DatabaseChoice::Sqlite => None,
            DatabaseChoice::PostgreSql => {
                progress("Starting PostgreSQL.");
                Some(Postgres::start(PostgresOptions::default(), &progress).await?)
            }
        };
        let address = match &postgres {
            Some(postgres) => Some(postgres.database(DATABASE).await?),
            None => None,
        };

        let server_name = options.server_name;
        let files = Files::write(
            &dir,
            &files::Names {
                server_name: &server_name,
                homeserver_url: &of_homeserver.url,
                sandbox_url: sandbox.url(),
                port,
                health_port,
                admin: &format!("@{}:{server_name}", options.admin),
                log_filter: &options.log_filter,
                webhook: options.webhook_from_files,
                postgresql: address.as_deref(),
                stream: options.stream,
                encryption: options.encryption,
                more: &options.bridge_settings,
            },
        )?;
        let config = files.config.display().to_string();
        Bridge::command(&programs.bridge, &["registration", "generate", "--config", &config]).await?;

        let names = homeserver::Names { server_name: &server_name, registration: &files.registration };
        let homeserver = match options.homeserver {
            HomeserverKind::Synapse { room_version } => {
                let installation = crate::install_synapse(progress).await?;
                progress("Starting Synapse.");
                let python = Spawn::new(installation.python());
                Homeserver::synapse(python, room_version, options.encryption, &names, of_homeserver).await?
            }
            HomeserverKind::Stub { mode, flags } => {
                progress("Starting the homeserver stub.");
                let program = Spawn::new(&programs.stub);
                Homeserver::stub(program, mode, &flags, &names, of_homeserver).await?
            }
        };

        progress("Starting the bridge.");
        let bridge = Bridge::start(&programs.bridge, &dir, &files.config, health_port).await?;
        bridge.wait_ready(READY).await?;

        let cast = Cast { server_name: &server_name, admin: &options.admin, users: &options.users };
        let hint = format!("log of the bridge: {}", bridge.log().display());
        let mut sides = Sides::gather(homeserver, sandbox, &cast, hint).await?;
        let goal = Goal { bare: options.bare, stream: options.stream, room_versions: &options.room_versions };
        sides.set_up(goal, progress).await?;
        Ok(Self { bridge, sides, postgres, dir, files })
    }

    /// Ends everything, the bridge first.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.bridge.stop().await?;
        self.sides.stop().await?;
        match &self.postgres {
            Some(postgres) => postgres.stop().await,
            None => Ok(()),
        }
    }

    /// The database server, where there is one.
    pub fn postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    /// The bridge.
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// Where everything is kept, logs too.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bridge's configuration file.
    pub fn config(&self) -> &Path {
        &self.files.config
    }

    /// All that a script has to know.
    pub fn description(&self) -> Description {
        Description {
            registration: self.files.registration.clone(),
            database: self.files.database.clone(),
            metrics_url: self.bridge.metrics_url(),
            bridge_pid_file: Some(self.bridge.pid_file().to_owned()),
            ..self.sides.describe()
        }
    }
}

impl Deref for World {
    type Target = Sides;

    fn deref(&self) -> &Sides {
        &self.sides
    }
}
