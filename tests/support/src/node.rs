//! Installing a client from the npm registry.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::process::Command;

use crate::venv::{lock, run};

/// The client's release, as `package.json` has it.
const VERSION: &str = "36.2.0";

/// What it needs, and how to get it.
const NODE: &str = "install Node.js 20 or later with npm";

/// An installed matrix-js-sdk, and the script that a test tells what to do.
#[derive(Debug, Clone)]
pub struct JsSdk {
    script: PathBuf,
}

impl JsSdk {
    /// Why it cannot run on this machine, if it cannot.
    pub async fn unfit() -> Option<String> {
        let check = "if (parseInt(process.versions.node) < 20) throw process.versions.node";
        run(Command::new("node").args(["-e", check])).await.err().map(|error| format!("{NODE}: {error:#}"))
    }

    /// Finds it below `cache`, or installs it there: 30 MB, ten seconds on a fast network, with the versions and checksums
    /// of `package-lock.json`.
    ///
    /// It needs Node.js 20 or later and npm. Calls at the same time, from other processes too, wait for each other. An
    /// installation that was interrupted leaves nothing that would be used. `progress` is told what takes time.
    pub async fn ensure(cache: &Path, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        std::fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
        let folder = cache.canonicalize()?.join(format!("matrix-js-sdk-{VERSION}"));
        let installed = Self { script: folder.join("client.mjs") };
        let _lock = lock(&folder.with_added_extension("lock"), "matrix-js-sdk", progress).await?;
        if !folder.exists() {
            progress(&format!("installing matrix-js-sdk {VERSION} below {}", cache.display()));
            let partial = folder.with_added_extension("partial");
            if partial.exists() {
                std::fs::remove_dir_all(&partial)?;
            }
            std::fs::create_dir_all(&partial)?;
            std::fs::write(partial.join("package.json"), include_str!("encrypting/node/package.json"))?;
            std::fs::write(
                partial.join("package-lock.json"),
                include_str!("encrypting/node/package-lock.json"),
            )?;
            if let Some(unfit) = Self::unfit().await {
                anyhow::bail!("matrix-js-sdk does not run here: {unfit}");
            }
            let mut npm = Command::new("npm");
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&partial);
            run(&mut npm).await.context(
                "npm could not install matrix-js-sdk: is the registry reachable? A mirror can be set with \
                 npm_config_registry",
            )?;
            std::fs::rename(&partial, &folder)?;
        }
        // The script belongs to the tests, not to what was installed.
        std::fs::write(&installed.script, include_str!("encrypting/node/client.mjs"))?;
        Ok(installed)
    }

    /// The script, beside its modules.
    pub(crate) fn script(&self) -> &Path {
        &self.script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_names_the_version_that_is_installed() {
        let package: serde_json::Value =
            serde_json::from_str(include_str!("encrypting/node/package.json")).unwrap();
        assert_eq!(package["dependencies"]["matrix-js-sdk"], VERSION);
        let lock: serde_json::Value =
            serde_json::from_str(include_str!("encrypting/node/package-lock.json")).unwrap();
        assert_eq!(lock["packages"]["node_modules/matrix-js-sdk"]["version"], VERSION);
    }
}
