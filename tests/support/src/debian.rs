//! Packages of Debian that tests need.

use std::process::Stdio;

use anyhow::Context as _;
use tokio::process::Command;

/// Installs packages by apt-get, which has to be there and needs root. What it says is the error.
pub async fn install(packages: &[&str]) -> anyhow::Result<()> {
    let install = [&["install", "--no-install-recommends"], packages].concat();
    // The lists of a fresh machine may be empty or old.
    if apt_get(&install).await.is_err() {
        apt_get(&["update"]).await?;
        apt_get(&install).await?;
    }
    Ok(())
}

async fn apt_get(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("apt-get")
        .args(words)
        .args(["-y", "-q"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("running apt-get")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    anyhow::ensure!(output.status.success(), "apt-get {} failed:\n{}", words.join(" "), said.trim_end());
    Ok(())
}
