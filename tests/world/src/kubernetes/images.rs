//! The images of operator and bridge, by the repository's own command: what the demo runs is packed like a release.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;
use serde::Deserialize;

use crate::programs::{Group, Profile, cargo_command};

/// What stands before the names of images that no registry has.
pub(crate) const PREFIX: &str = "localhost";

/// Tag of images that are made for one world.
pub(crate) const TAG: &str = "demo";

/// An image that was made.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ImageFile {
    /// Its name with its tag.
    pub(crate) reference: String,
    /// The archive.
    pub(crate) archive: PathBuf,
}

/// Which images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Operator and bridge.
    Product,
    /// Sandbox and homeserver stub too.
    Everything,
}

/// Those of the product that were made before.
pub(crate) fn made(folder: &Path) -> anyhow::Result<Vec<ImageFile>> {
    let image = |name: &str| {
        let archive = folder.join(format!("{name}.tar"));
        anyhow::ensure!(archive.is_file(), "there is no {}", archive.display());
        Ok(ImageFile { reference: format!("{PREFIX}/{name}:{TAG}"), archive })
    };
    ["dingtalk-operator", "dingtalk-bridge"].map(image).into_iter().collect()
}

/// Makes them. What Cargo says goes to standard error.
pub(crate) async fn make(which: Which, profile: Profile, prefix: &str) -> anyhow::Result<Vec<ImageFile>> {
    #[derive(Deserialize)]
    struct Made {
        images: Vec<ImageFile>,
    }
    let mut command = cargo_command();
    command.args(["xtask", "image", "--json", "--tag", TAG, "--prefix", prefix]);
    if which == Which::Everything {
        command.arg("everything");
    }
    if profile == Profile::Debug {
        command.arg("--debug");
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).stdout(Stdio::piped());
    // A group of its own, so that its compilers end with it.
    let child = command.process_group(0).spawn().context("running cargo xtask image")?;
    let mut group = Group::of(&child);
    let output = child.wait_with_output().await.context("running cargo xtask image")?;
    group.ended();
    anyhow::ensure!(output.status.success(), "cargo xtask image failed: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().context("cargo xtask image made no images")?;
    let made: Made = serde_json::from_str(line).with_context(|| format!("cargo xtask image said {line}"))?;
    Ok(made.images)
}
