//! The programs that a world is made of, and how they are built.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;
use tokio::process::{Child, Command};

use crate::Progress;

/// The packages of the programs. They are always built together: the features of what they share then stay the
/// same, and nothing is compiled twice.
pub const PACKAGES: [&str; 3] = ["dingtalk-bridge", "dingtalk-sandbox", "homeserver-stub"];

/// How programs are compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Quickly.
    #[default]
    Debug,
    /// For speed.
    Release,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

/// The Cargo that builds this program, or the one on the search path.
fn cargo() -> PathBuf {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).into()
}

/// Variables by which Cargo tells this program about its package. A Cargo that this program starts must not pass them on:
/// build scripts look at them, and everything would be compiled again whenever another program starts it.
pub fn own_package_variables() -> Vec<OsString> {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    let names = std::env::vars_os().map(|(name, _)| name);
    names.filter(|name| prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix))).collect()
}

/// A command of that Cargo.
pub(crate) fn cargo_command() -> Command {
    let mut command = Command::new(cargo());
    for name in own_package_variables() {
        command.env_remove(name);
    }
    command
}

/// A process group that ends when this is dropped.
pub(crate) struct Group(Option<u32>);

impl Group {
    /// The group that this process leads.
    pub(crate) fn of(leader: &Child) -> Self {
        Self(leader.id())
    }

    /// Nothing is left to be ended.
    pub(crate) fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The program, since the call itself would need unsafe code. A group that has ended is what is wanted.
            let mut kill = std::process::Command::new("kill");
            let _ = kill.args(["-TERM", "--", &format!("-{group}")]).stderr(Stdio::null()).status();
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The bridge.
    pub bridge: PathBuf,
    /// DingTalk for tests.
    pub sandbox: PathBuf,
    /// The small homeserver.
    pub stub: PathBuf,
}

impl Programs {
    /// The programs in a folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            bridge: folder.join("dingtalk-bridge"),
            sandbox: folder.join("dingtalk-sandbox"),
            stub: folder.join("homeserver-stub"),
        }
    }

    /// Builds them. What Cargo says goes to standard error.
    pub async fn build(profile: Profile, progress: Progress<'_>) -> anyhow::Result<Self> {
        progress(&format!("Building {} (the first time this takes some minutes).", PACKAGES.join(", ")));
        Ok(Self::in_folder(&build(profile, &PACKAGES).await?))
    }
}

/// The programs of this machine that a world with a cluster needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outside {
    /// DingTalk for tests.
    pub(crate) sandbox: PathBuf,
    /// The small homeserver.
    pub(crate) stub: PathBuf,
    /// The first process of a cluster.
    pub(crate) init: PathBuf,
}

impl Outside {
    /// Builds them, or takes those that are there.
    pub(crate) async fn build(profile: Profile, there: Option<&Path>) -> anyhow::Result<Self> {
        let folder = match there {
            Some(folder) => folder.to_owned(),
            None => build(profile, &["dingtalk-sandbox", "homeserver-stub", "cluster"]).await?,
        };
        Ok(Self {
            sandbox: folder.join("dingtalk-sandbox"),
            stub: folder.join("homeserver-stub"),
            init: folder.join("cluster-init"),
        })
    }
}

/// Builds the program that is the first process of a cluster, for tests that start one themselves.
pub async fn build_cluster_init() -> anyhow::Result<cluster::Init> {
    let folder = build(Profile::Debug, &["cluster"]).await?;
    Ok(cluster::Init::program(folder.join("cluster-init")))
}

/// Names the folder with the debug programs when whoever starts this one has built them all, together: Cargo chooses the
/// features of dependencies by what is built with them, so that building some again means compiling most again.
pub const PROGRAMS_VARIABLE: &str = "DINGTALK_TEST_PROGRAMS";

/// Builds the programs of packages; answers with their folder.
async fn build(profile: Profile, packages: &[&str]) -> anyhow::Result<PathBuf> {
    if let (Profile::Debug, Some(folder)) = (profile, std::env::var_os(PROGRAMS_VARIABLE)) {
        return Ok(folder.into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut build = cargo_command();
    build.args(["build", "--quiet", "--bins"]).args(packages.iter().flat_map(|name| ["-p", name]));
    build.current_dir(root).stdin(Stdio::null()).stdout(Stdio::null());
    if profile == Profile::Release {
        build.arg("--release");
    }
    // A group of its own, so that its compilers end with it.
    let mut running = build.process_group(0).spawn().context("running cargo build")?;
    let mut group = Group::of(&running);
    let status = running.wait().await.context("running cargo build")?;
    group.ended();
    anyhow::ensure!(status.success(), "cargo build failed: {status}");
    let output = cargo_command()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .stderr(Stdio::null())
        .output()
        .await
        .context("running cargo metadata")?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("reading the answer of cargo metadata")?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(Path::new(target).join(profile.folder()))
}
