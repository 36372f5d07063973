//! The programs that a world is made of, and how they are built.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;
use tokio::process::Command;

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

/// A process group that ends when this is dropped.
struct Group(Option<u32>);

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
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cargo: PathBuf = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).into();
        let mut build = Command::new(&cargo);
        build.args(["build", "--quiet", "--bins"]).args(PACKAGES.iter().flat_map(|name| ["-p", name]));
        build.current_dir(root).stdin(Stdio::null()).stdout(Stdio::null());
        if profile == Profile::Release {
            build.arg("--release");
        }
        // A group of its own, so that its compilers end with it.
        let mut running = build.process_group(0).spawn().context("running cargo build")?;
        let mut group = Group(running.id());
        let status = running.wait().await.context("running cargo build")?;
        group.0 = None;
        anyhow::ensure!(status.success(), "cargo build failed: {status}");
        let output = Command::new(&cargo)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(root)
            .stderr(Stdio::null())
            .output()
            .await
            .context("running cargo metadata")?;
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("reading the answer of cargo metadata")?;
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
        Ok(Self::in_folder(&Path::new(target).join(profile.folder())))
    }
}
