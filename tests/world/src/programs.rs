//! The programs that a world is made of, and how they are built.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;
use tokio::process::Command;

use crate::{HomeserverKind, Progress};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The bridge.
    pub bridge: PathBuf,
    /// DingTalk for tests.
    pub sandbox: PathBuf,
    /// The small homeserver; used only in a world that has it.
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

    /// Builds what a world with this homeserver needs. What Cargo says goes to standard error.
    pub async fn build(
        homeserver: &HomeserverKind,
        release: bool,
        progress: Progress<'_>,
    ) -> anyhow::Result<Self> {
        let mut packages = vec!["dingtalk-bridge", "dingtalk-sandbox"];
        if matches!(homeserver, HomeserverKind::Stub { .. }) {
            packages.push("homeserver-stub");
        }
        progress(&format!("Building {} (the first time this takes some minutes).", packages.join(", ")));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cargo: PathBuf = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).into();
        let mut build = Command::new(&cargo);
        build.args(["build", "--quiet", "--bins"]).args(packages.iter().flat_map(|name| ["-p", name]));
        build.current_dir(root).stdin(Stdio::null()).stdout(Stdio::null());
        if release {
            build.arg("--release");
        }
        let status = build.kill_on_drop(true).status().await.context("running cargo build")?;
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
        Ok(Self::in_folder(&Path::new(target).join(if release { "release" } else { "debug" })))
    }
}
