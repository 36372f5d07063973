//! The whole product on one machine as plain processes: DingTalk sandbox, homeserver, bridge.
//!
//! [`World::start`] brings it up to the point where chats are bridged and messages cross; `cargo xtask demo` and `up`
//! and the end-to-end tests stand on it. Everything lives below one folder, listens on the loopback interface only
//! and ends with this process, also when that is killed. What the product needs is done as its documentation says:
//! the registration comes from the bridge's own command, the rest from an admin who talks to the bot.

mod bridge;
mod crossing;
mod description;
mod files;
mod homeserver;
mod options;
mod page;
mod programs;
mod sandbox;
mod setup;
mod user;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use dingtalk_sandbox::WorldInfo;
use test_support::{Installation, free_port};

pub use crate::{
    bridge::Bridge,
    crossing::Crossing,
    description::{Account, BridgedChat, Description, DingTalkApp, DingTalkPerson, WebhookKeys},
    homeserver::{Homeserver, HomeserverKind, StubMode},
    options::WorldOptions,
    page::{Page, PageRoom, PageSettings},
    programs::{PACKAGES, Profile, Programs},
    sandbox::{Sandbox, Sent},
    user::User,
};

/// When this is set to anything, suites leave out what takes long. `cargo xtask test --quick` sets it.
pub const QUICK_VARIABLE: &str = "DINGTALK_TEST_QUICK";

/// Path of the browser for tests of pages. `cargo xtask test` sets it.
pub const BROWSER_VARIABLE: &str = "DINGTALK_TEST_BROWSER";

/// Whether what takes long is to be left out.
pub fn quick() -> bool {
    std::env::var_os(QUICK_VARIABLE).is_some()
}

/// A part that is told in a line what goes on.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// How long the bridge may take until it is ready.
const READY: Duration = Duration::from_mins(1);

/// Sandbox, homeserver and bridge, running.
#[derive(Debug)]
pub struct World {
    // Dropped in this order: the bridge first, then those it talks to.
    bridge: Bridge,
    homeserver: Homeserver,
    sandbox: Sandbox,
    dir: PathBuf,
    server_name: String,
    files: files::Files,
    info: WorldInfo,
    admin: User,
    users: Vec<User>,
    direct: Option<String>,
    chats: Vec<BridgedChat>,
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
        let (homeserver_port, sandbox_port) = (free_port()?, free_port()?);

        progress("Starting the DingTalk sandbox.");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, sandbox_port));
        let sandbox =
            Sandbox::start(&programs.sandbox, &dir, address, options.time_scale, &options.sandbox_flags)
                .await?;
        let info = sandbox.world().await?;

        let server_name = options.server_name;
        let homeserver_url = format!("http://127.0.0.1:{homeserver_port}");
        let files = files::Files::write(
            &dir,
            &files::Names {
                server_name: &server_name,
                homeserver_url: &homeserver_url,
                sandbox_url: sandbox.url(),
                port,
                health_port,
                admin: &format!("@{}:{server_name}", options.admin),
                log_filter: &options.log_filter,
                more: &options.bridge_settings,
            },
        )?;
        let config = files.config.display().to_string();
        Bridge::command(&programs.bridge, &["registration", "generate", "--config", &config]).await?;

        let place = homeserver::Place {
            dir: &dir,
            server_name: &server_name,
            port: homeserver_port,
            registration: &files.registration,
        };
        let homeserver = match options.homeserver {
            HomeserverKind::Synapse { room_version } => {
                let installation = install_synapse(progress).await?;
                progress("Starting Synapse.");
                Homeserver::synapse(&installation, room_version, place).await?
            }
            HomeserverKind::Stub { mode, flags } => {
                progress("Starting the homeserver stub.");
                Homeserver::stub(&programs.stub, mode, &flags, place).await?
            }
        };

        progress("Starting the bridge.");
        let bridge = Bridge::start(&programs.bridge, &dir, &files.config, health_port).await?;
        bridge.wait_ready(READY).await?;

        let account = async |name: &str| {
            let session = homeserver.register(name, &files::letters(12)?).await?;
            User::new(homeserver.url(), session).await
        };
        let admin = account(&options.admin).await?;
        let mut users = Vec::new();
        for name in &options.users {
            users.push(account(name).await?);
        }
        let mut world = Self {
            bridge,
            homeserver,
            sandbox,
            dir,
            server_name,
            files,
            info,
            admin,
            users,
            direct: None,
            chats: Vec::new(),
        };
        if !options.bare {
            let bot = world.bot_user_id();
            let setup = setup::Setup {
                sandbox: &world.sandbox,
                bridge: &world.bridge,
                files: &world.files,
                info: &world.info,
                bot: &bot,
                admin: &world.admin,
                users: &world.users,
                progress,
            };
            let (direct, chats) = setup.run().await?;
            (world.direct, world.chats) = (Some(direct), chats);
        }
        Ok(world)
    }

    /// Ends everything, the bridge first.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.bridge.stop().await?;
        self.homeserver.stop().await?;
        self.sandbox.stop().await
    }

    /// The bridge.
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// The homeserver.
    pub fn homeserver(&self) -> &Homeserver {
        &self.homeserver
    }

    /// DingTalk.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Where everything is kept, logs too.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// App, people and chats of the sandbox as they were at the start.
    pub fn info(&self) -> &WorldInfo {
        &self.info
    }

    /// Who may give the bot commands.
    pub fn admin(&self) -> &User {
        &self.admin
    }

    /// The other people on the Matrix side, members of all bridged rooms.
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// The admin's room with the bot; none in a bare world.
    pub fn direct_room(&self) -> Option<&str> {
        self.direct.as_deref()
    }

    /// Bridged chats; none in a bare world.
    pub fn chats(&self) -> &[BridgedChat] {
        &self.chats
    }

    /// The bridge's configuration file.
    pub fn config(&self) -> &Path {
        &self.files.config
    }

    /// The visible bot.
    pub fn bot_user_id(&self) -> String {
        format!("@dingtalkbot:{}", self.server_name)
    }

    /// All that a script has to know.
    pub fn description(&self) -> Description {
        let account = |user: &User| Account {
            user_id: user.user_id().to_owned(),
            password: user.password().to_owned(),
            access_token: user.access_token().to_owned(),
        };
        let person = |person: &dingtalk_sandbox::PersonInfo| DingTalkPerson {
            staff_id: person.staff_id.clone(),
            union_id: person.union_id.clone(),
            name: person.name.clone(),
        };
        Description {
            homeserver_url: self.homeserver.url().to_owned(),
            server_name: self.server_name.clone(),
            registration: self.files.registration.clone(),
            admin: account(&self.admin),
            users: self.users.iter().map(account).collect(),
            bot_user_id: self.bot_user_id(),
            webhook_url: self.files.webhook_url.clone(),
            webhook: WebhookKeys {
                token: self.files.token.clone(),
                aes_key: self.files.aes_key.clone(),
                receive_id: self.info.app_key.clone(),
            },
            sandbox_url: self.sandbox.url().to_owned(),
            dingtalk: DingTalkApp {
                app_key: self.info.app_key.clone(),
                app_secret: self.info.app_secret.clone(),
                agent_id: self.info.agent_id,
                robot_code: self.info.robot_code.clone(),
                corp_id: self.info.corp_id.clone(),
            },
            people: self.info.people.iter().map(person).collect(),
            chats: self.chats.clone(),
            database: self.files.database.clone(),
            metrics_url: self.bridge.metrics_url(),
            resolve: BTreeMap::new(),
            ca: None,
            bridge_pid_file: self.bridge.pid_file().to_owned(),
        }
    }

    /// Serves the page for the first user.
    pub async fn serve_page(&self) -> anyhow::Result<Page> {
        let user = self.users.first().unwrap_or(&self.admin);
        let room = |chat: &BridgedChat| PageRoom { room_id: chat.room_id.clone(), title: chat.title.clone() };
        Page::serve(PageSettings {
            homeserver_url: self.homeserver.url().to_owned(),
            user_id: user.user_id().to_owned(),
            access_token: user.access_token().to_owned(),
            rooms: self.chats.iter().map(room).collect(),
        })
        .await
    }
}

/// Installs Synapse into a virtual environment of the build folder, unless it is there.
pub async fn install_synapse(progress: Progress<'_>) -> anyhow::Result<Installation> {
    Installation::ensure(&target_dir()?, progress).await
}

/// The folder that builds go to: what this program lies in.
fn target_dir() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program has no path")?;
    let target = own.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.map(Path::to_path_buf).with_context(|| format!("{} lies in no build folder", own.display()))
}

/// Where a log is and how it ends, to be added to an error.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    format!("{} ends with:\n{}", log.display(), lines[lines.len().saturating_sub(15)..].join("\n"))
}

/// A client for everything on this machine; a proxy of the environment is not asked.
pub(crate) fn http_client() -> anyhow::Result<reqwest::Client> {
    test_support::install_crypto();
    reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .timeout(Duration::from_mins(1))
        .build()
        .context("making the HTTP client")
}
