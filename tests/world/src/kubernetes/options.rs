//! How a world with a cluster is to be.

use std::path::PathBuf;

use cluster::Init;

use crate::{HomeserverKind, Profile};

/// Settings of a world with a cluster; [`ClusterWorldOptions::new`] has the usual ones.
#[derive(Clone, Debug)]
pub struct ClusterWorldOptions {
    /// Where everything is kept.
    pub dir: PathBuf,
    /// Which homeserver.
    pub homeserver: HomeserverKind,
    /// The workspace, and the name of its object and its namespace.
    pub workspace: String,
    /// Domain below which workspaces have their hosts.
    pub base_domain: String,
    /// Stop when the object is ready, before login and bridging.
    pub bare: bool,
    /// Name of the Matrix user who may give the bot commands.
    pub admin: String,
    /// Names of the other Matrix users.
    pub users: Vec<String>,
    /// DingTalk's waiting times are divided by this.
    pub time_scale: f64,
    /// More flags of the sandbox's program.
    pub sandbox_flags: Vec<String>,
    /// Values of the operator's chart as YAML; they win.
    pub values: String,
    /// Whether the API server notes every request.
    pub audit: bool,
    /// How the cluster's first process is started; otherwise by `cluster-init`.
    pub init: Option<Init>,
    /// Folder with dingtalk-sandbox, homeserver-stub and cluster-init; without one they are built.
    pub programs: Option<PathBuf>,
    /// How they are built when there are none.
    pub profile: Profile,
}

impl ClusterWorldOptions {
    /// The workspace `acme` with an admin and two users, DingTalk's waiting times divided by 60.
    pub fn new(dir: impl Into<PathBuf>, homeserver: HomeserverKind) -> Self {
        Self {
            dir: dir.into(),
            homeserver,
            workspace: "acme".to_owned(),
            base_domain: "demo.localhost".to_owned(),
            bare: false,
            admin: "admin".to_owned(),
            users: vec!["alice".to_owned(), "bob".to_owned()],
            time_scale: 60.0,
            sandbox_flags: Vec::new(),
            values: String::new(),
            audit: false,
            init: None,
            programs: None,
            profile: Profile::Debug,
        }
    }
}
