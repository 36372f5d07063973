//! What every world has, however its bridge runs: DingTalk, a homeserver and the people on it.

use std::collections::BTreeMap;

use anyhow::Context as _;
use dingtalk_sandbox::{PersonInfo, WorldInfo};

use crate::{
    Progress,
    description::{Account, BridgedChat, Description, DingTalkApp, DingTalkPerson, WebhookKeys},
    files,
    homeserver::Homeserver,
    page::{Page, PageSettings, PageUser},
    sandbox::Sandbox,
    setup::{Setup, Shown},
    user::User,
};

/// Local part of the bridge's visible bot.
const BOT: &str = "dingtalkbot";

/// Both sides of a bridge, running and with people on them.
#[derive(Debug)]
pub struct Sides {
    homeserver: Homeserver,
    sandbox: Sandbox,
    server_name: String,
    info: WorldInfo,
    admin: User,
    users: Vec<User>,
    /// Where to look when something does not come to pass.
    hint: String,
    direct: Option<String>,
    chats: Vec<BridgedChat>,
    shown: Shown,
}

/// The people on the Matrix side by their names.
pub(crate) struct Cast<'a> {
    pub(crate) server_name: &'a str,
    pub(crate) admin: &'a str,
    pub(crate) users: &'a [String],
}

/// How far the setup goes, and which way.
pub(crate) struct Goal<'a> {
    /// Nothing is linked.
    pub(crate) bare: bool,
    /// Messages come over Stream.
    pub(crate) stream: bool,
    /// Versions of the chats' rooms, in turn.
    pub(crate) room_versions: &'a [String],
}

impl Sides {
    /// Gives the people their accounts; the bridge must be ready.
    pub(crate) async fn gather(
        homeserver: Homeserver,
        sandbox: Sandbox,
        cast: &Cast<'_>,
        hint: String,
    ) -> anyhow::Result<Self> {
        let account = async |name: &str| {
            let session = homeserver.register(name, &files::letters(12)?).await?;
            User::new(homeserver.url(), session).await
        };
        let admin = account(cast.admin).await?;
        let mut users = Vec::new();
        for name in cast.users {
            users.push(account(name).await?);
        }
        let info = sandbox.world().await?;
        Ok(Self {
            homeserver,
            sandbox,
            server_name: cast.server_name.to_owned(),
            info,
            admin,
            users,
            hint,
            direct: None,
            chats: Vec::new(),
            shown: Shown::default(),
        })
    }

    /// The admin does what the documentation says, as far as a bare world goes or to the end. Over Stream there is no
    /// webhook to be saved.
    pub(crate) async fn set_up(&mut self, goal: Goal<'_>, progress: Progress<'_>) -> anyhow::Result<()> {
        let Goal { bare, stream, room_versions } = goal;
        let setup = Setup { sides: self, stream, room_versions, progress };
        if bare && stream {
            return Ok(());
        }
        if bare {
            self.shown = setup.look_at_webhook().await.with_context(|| self.hint.clone())?;
            return Ok(());
        }
        let linked = setup.run().await.with_context(|| self.hint.clone())?;
        self.direct = Some(linked.direct);
        self.chats = linked.chats;
        self.shown = linked.shown;
        Ok(())
    }

    /// Ends both.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        self.homeserver.stop().await?;
        self.sandbox.stop().await
    }

    /// The homeserver.
    pub fn homeserver(&self) -> &Homeserver {
        &self.homeserver
    }

    /// DingTalk.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// What stands behind the colon of user ids.
    pub fn server_name(&self) -> &str {
        &self.server_name
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

    /// The visible bot.
    pub fn bot_user_id(&self) -> String {
        format!("@{BOT}:{}", self.server_name)
    }

    /// The ghost of a person; the sandbox's ids need no escapes.
    pub fn ghost_of(&self, staff_id: &str) -> String {
        format!("@dingtalk_{staff_id}:{}", self.server_name)
    }

    /// Where to look when something does not come to pass.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// Where DingTalk pushes to, as the bot said.
    pub(crate) fn webhook_url(&self) -> &str {
        &self.shown.url
    }

    /// What a script has to know of both sides; the rest is of the bridge.
    pub(crate) fn describe(&self) -> Description {
        let account = |user: &User| Account {
            user_id: user.user_id().to_owned(),
            password: user.password().to_owned(),
            access_token: user.access_token().to_owned(),
        };
        let person = |person: &PersonInfo| DingTalkPerson {
            staff_id: person.staff_id.clone(),
            union_id: person.union_id.clone(),
            name: person.name.clone(),
        };
        Description {
            homeserver_url: self.homeserver.url().to_owned(),
            server_name: self.server_name.clone(),
            registration: std::path::PathBuf::new(),
            admin: account(&self.admin),
            users: self.users.iter().map(account).collect(),
            bot_user_id: self.bot_user_id(),
            webhook_url: self.shown.url.clone(),
            webhook: WebhookKeys {
                token: self.shown.token.clone(),
                aes_key: self.shown.aes_key.clone(),
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
            database: String::new(),
            metrics_url: String::new(),
            resolve: BTreeMap::new(),
            ca: None,
            bridge_pid_file: None,
            kubeconfig: None,
            namespace: None,
        }
    }

    /// Serves the page for everybody on the Matrix side, the admin last.
    pub async fn serve_page(&self) -> anyhow::Result<Page> {
        let user = |user: &User| PageUser {
            user_id: user.user_id().to_owned(),
            access_token: user.access_token().to_owned(),
        };
        Page::serve(PageSettings {
            homeserver_url: self.homeserver.url().to_owned(),
            users: self.users.iter().chain([&self.admin]).map(user).collect(),
        })
        .await
    }
}
