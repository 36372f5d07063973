//! How a world is to be.

use std::path::PathBuf;

use crate::{HomeserverKind, Profile, Programs};

/// Which database the bridge has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DatabaseChoice {
    /// A file in the world's folder.
    #[default]
    Sqlite,
    /// A server of the world's own, installed if it is missing.
    PostgreSql,
}

/// Settings of a world; [`WorldOptions::new`] has the usual ones.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "settings, each on its own")]
pub struct WorldOptions {
    /// Where everything is kept.
    pub dir: PathBuf,
    /// Which homeserver.
    pub homeserver: HomeserverKind,
    /// Which database.
    pub database: DatabaseChoice,
    /// What stands behind the colon of user ids.
    pub server_name: String,
    /// Stop before login and bridging.
    pub bare: bool,
    /// Name of the Matrix user who may give the bot commands.
    pub admin: String,
    /// Names of the other Matrix users.
    pub users: Vec<String>,
    /// DingTalk's waiting times are divided by this.
    pub time_scale: f64,
    /// Versions of the chats' rooms, in turn; the homeserver's own choice where there are none.
    pub room_versions: Vec<String>,
    /// More flags of the sandbox's program.
    pub sandbox_flags: Vec<String>,
    /// The sandbox's port; any that is free otherwise.
    pub sandbox_port: Option<u16>,
    /// The webhook's token and key come from files instead of the bridge.
    pub webhook_from_files: bool,
    /// The bridge receives over Stream alone and has no address for a webhook.
    pub stream: bool,
    /// The bridge takes part in encrypted rooms, and Synapse has what that needs.
    pub encryption: bool,
    /// More of the bridge's configuration, as TOML; the values here win.
    pub bridge_settings: String,
    /// `log.filter` of the bridge.
    pub log_filter: String,
    /// The programs; without them they are built.
    pub programs: Option<Programs>,
    /// How they are built when there are none.
    pub profile: Profile,
}

impl WorldOptions {
    /// An admin and two users on one homeserver, a debug build, DingTalk's waiting times divided by 60.
    pub fn new(dir: impl Into<PathBuf>, homeserver: HomeserverKind) -> Self {
        Self {
            dir: dir.into(),
            homeserver,
            database: DatabaseChoice::default(),
            server_name: "demo.localhost".to_owned(),
            bare: false,
            admin: "admin".to_owned(),
            users: vec!["alice".to_owned(), "bob".to_owned()],
            time_scale: 60.0,
            room_versions: Vec::new(),
            sandbox_flags: Vec::new(),
            sandbox_port: None,
            webhook_from_files: false,
            stream: false,
            encryption: false,
            bridge_settings: String::new(),
            log_filter: "info".to_owned(),
            programs: None,
            profile: Profile::Debug,
        }
    }
}
