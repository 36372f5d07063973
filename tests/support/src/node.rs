//! Installing modules from the npm registry.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::process::Command;

use crate::venv::{digest, lock, run};

/// The client's release, as `package.json` has it.
const VERSION: &str = "36.2.0";

/// Modules of the npm registry, with the versions and checksums of a lock file.
#[derive(Debug, Clone, Copy)]
pub struct NodeModules<'a> {
    /// How people call them.
    pub title: &'a str,
    /// Name of their folder, but for what the files say.
    pub name: &'a str,
    /// The oldest Node.js whose npm installs them.
    pub npm_of: u32,
    /// `package.json`, `package-lock.json` and what they name, each with its path.
    pub files: &'a [(&'a str, &'a str)],
}

impl NodeModules<'_> {
    /// Finds them below `cache`, or installs them there without running their scripts; answers with the folder.
    ///
    /// It needs Node.js and npm. Calls at the same time, from other processes too, wait for each other. An installation
    /// that was interrupted leaves nothing that would be used. `progress` is told what takes time.
    pub async fn ensure(&self, cache: &Path, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<PathBuf> {
        let Self { title, npm_of, files, .. } = self;
        std::fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
        let folder = cache.canonicalize()?.join(self.folder());
        let _lock = lock(&folder.with_added_extension("lock"), title, progress).await?;
        if folder.exists() {
            return Ok(folder);
        }
        progress(&format!("installing {title} below {}", cache.display()));
        let partial = folder.with_added_extension("partial");
        if partial.exists() {
            std::fs::remove_dir_all(&partial)?;
        }
        for (path, text) in *files {
            let path = partial.join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(&partial))?;
            std::fs::write(path, text)?;
        }
        if let Some(unfit) = unfit(*npm_of).await {
            anyhow::bail!("{title} cannot be installed here: {unfit}");
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&partial);
        run(&mut npm).await.with_context(|| {
            format!(
                "npm could not install {title}: is the registry reachable? A mirror can be set with npm_config_registry"
            )
        })?;
        std::fs::rename(&partial, &folder)?;
        Ok(folder)
    }

    /// Other files are another installation.
    fn folder(&self) -> String {
        let all: String = self.files.iter().flat_map(|(path, text)| [*path, "\0", *text, "\0"]).collect();
        format!("{}-{}", self.name, digest(&all))
    }
}

/// Why this machine's Node.js is too old, if it is.
async fn unfit(oldest: u32) -> Option<String> {
    let check = format!("if (parseInt(process.versions.node) < {oldest}) throw process.versions.node");
    let error = run(Command::new("node").args(["-e", &check])).await.err()?;
    Some(format!("install Node.js {oldest} or later with npm: {error:#}"))
}

/// An installed matrix-js-sdk, and the script that a test tells what to do.
#[derive(Debug, Clone)]
pub struct JsSdk {
    script: PathBuf,
}

impl JsSdk {
    const OLDEST_NODE: u32 = 20;

    /// Why it cannot run on this machine, if it cannot.
    pub async fn unfit() -> Option<String> {
        unfit(Self::OLDEST_NODE).await
    }

    /// Finds it below `cache`, or installs it there: 30 MB, ten seconds on a fast network. As [`NodeModules::ensure`].
    pub async fn ensure(cache: &Path, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        let modules = NodeModules {
            title: &format!("matrix-js-sdk {VERSION}"),
            name: "matrix-js-sdk",
            npm_of: Self::OLDEST_NODE,
            files: &[
                ("package.json", include_str!("encrypting/node/package.json")),
                ("package-lock.json", include_str!("encrypting/node/package-lock.json")),
            ],
        };
        let script = modules.ensure(cache, progress).await?.join("client.mjs");
        // The script belongs to the tests, not to what was installed.
        std::fs::write(&script, include_str!("encrypting/node/client.mjs"))?;
        Ok(Self { script })
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
    fn other_files_go_to_another_folder() {
        let folder =
            |text| NodeModules { title: "", name: "a", npm_of: 1, files: &[("package.json", text)] }.folder();
        assert_eq!(folder("{}"), folder("{}"));
        assert_ne!(folder("{}"), folder("{ }"));
    }

    #[test]
    fn the_version_is_the_one_that_is_installed() {
        let package: serde_json::Value =
            serde_json::from_str(include_str!("encrypting/node/package.json")).unwrap();
        assert_eq!(package["dependencies"]["matrix-js-sdk"], VERSION);
        let lock: serde_json::Value =
            serde_json::from_str(include_str!("encrypting/node/package-lock.json")).unwrap();
        assert_eq!(lock["packages"]["node_modules/matrix-js-sdk"]["version"], VERSION);
    }
}
