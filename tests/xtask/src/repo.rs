//! Where things are in this checkout, and which Cargo builds it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let own = PathBuf::from(own);
    own.ancestors().nth(2).map_or_else(|| own.clone(), Path::to_path_buf)
}

/// The Cargo that runs this program.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).into()
}

/// What Cargo knows about the workspace, with all dependencies.
pub(crate) fn metadata() -> anyhow::Result<Value> {
    let output = std::process::Command::new(cargo())
        .args(["metadata", "--format-version", "1"])
        .current_dir(root())
        .output()
        .context("running cargo metadata")?;
    anyhow::ensure!(
        output.status.success(),
        "cargo metadata failed:\n{}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    serde_json::from_slice(&output.stdout).context("reading the answer of cargo metadata")
}

/// The folder that builds go to.
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    let metadata = metadata()?;
    let path = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(PathBuf::from(path))
}

/// All files of the checkout that Git knows or would take, relative to the root.
pub(crate) fn files() -> anyhow::Result<Vec<PathBuf>> {
    let output = std::process::Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .context("running git ls-files; git must be installed")?;
    anyhow::ensure!(
        output.status.success(),
        "git ls-files failed: {}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    let text = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let mut files: Vec<PathBuf> =
        text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    files.sort();
    files.dedup();
    // A file deleted but not yet committed as such is still listed.
    files.retain(|file| root().join(file).is_file());
    Ok(files)
}
