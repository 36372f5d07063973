//! The whole product on one machine: DingTalk sandbox, homeserver, bridge, as plain processes.
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
mod kubernetes;
mod options;
mod page;
mod place;
mod plain;
mod programs;
mod sandbox;
mod setup;
mod sides;
mod steps;
mod user;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use test_support::{Installation, Package};

pub use crate::{
    bridge::Bridge,
    crossing::{Crossing, Way},
    description::{Account, BridgedChat, Description, DingTalkApp, DingTalkPerson, WebhookKeys},
    homeserver::{Homeserver, HomeserverKind, StubMode},
    kubernetes::{
        Access, ClusterWorld, ClusterWorldOptions, ContextOptions, ImagesFrom, IngressAt, Kubectl, Pod,
        PodBridge,
    },
    options::{DatabaseChoice, WorldOptions},
    page::{Page, PageSettings, PageUser},
    plain::World,
    programs::{PACKAGES, PROGRAMS_VARIABLE, Profile, Programs, build_cluster_init, own_package_variables},
    sandbox::{Sandbox, Sent},
    sides::Sides,
    steps::{Step, span},
    user::User,
};

/// When this is set to anything, suites leave out what takes long. `cargo xtask test --quick` sets it.
pub const QUICK_VARIABLE: &str = "DINGTALK_TEST_QUICK";

/// Path of the browser for tests of pages. `cargo xtask test` sets it.
pub const BROWSER_VARIABLE: &str = "DINGTALK_TEST_BROWSER";

/// Folder that the test of the pages writes the documentation's screenshots to. `cargo xtask generate --screenshots`
/// sets it.
pub const SCREENSHOTS_VARIABLE: &str = "DINGTALK_TEST_SCREENSHOTS";

/// The room versions that everything about rooms is tried with: the newest, and the one before it, in which creators
/// have no power of their own and room ids name their server.
pub const ROOM_VERSIONS: [&str; 2] = ["11", "12"];

/// Whether what takes long is to be left out.
pub fn quick() -> bool {
    std::env::var_os(QUICK_VARIABLE).is_some()
}

/// A part that is told in a line what goes on.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Installs Synapse into a virtual environment of the build folder, unless it is there.
pub async fn install_synapse(progress: Progress<'_>) -> anyhow::Result<Installation> {
    install_python(Package::SYNAPSE, progress).await
}

/// Installs something of Python's package index into a virtual environment of the build folder, unless it is there.
pub async fn install_python(package: Package, progress: Progress<'_>) -> anyhow::Result<Installation> {
    Installation::of(package, &target_dir()?, progress).await
}

/// Finds the client of the npm registry beside this program's build, or installs it there.
pub async fn install_js_sdk(progress: Progress<'_>) -> anyhow::Result<test_support::JsSdk> {
    test_support::JsSdk::ensure(&target_dir()?, progress).await
}

/// Installs PostgreSQL by the distribution's package, unless it is there.
pub async fn install_postgresql(progress: Progress<'_>) -> anyhow::Result<()> {
    test_support::Postgres::install(progress).await
}

/// The folder that builds go to: what this program lies in.
pub fn target_dir() -> anyhow::Result<PathBuf> {
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
