//! Installing programs from the Python package index.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use sha1::{Digest as _, Sha1};
use tokio::{process::Command, time::Instant};

use crate::waiting::Patience;

/// Something of the Python package index that tests need, in a version that does not change by itself.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// How people call it.
    pub title: &'static str,
    /// Its name in the index.
    pub name: &'static str,
    /// What is installed with it, in the index's notation: `[e2e]`.
    pub extras: &'static str,
    /// Its release.
    pub version: &'static str,
    /// What it has to be able to import.
    pub imports: &'static str,
    /// Versions of what comes with it, as a requirements file; nothing leaves them to the index.
    pub pins: &'static str,
}

impl Package {
    /// The homeserver.
    pub const SYNAPSE: Self = Self {
        title: "Synapse",
        name: "matrix-synapse",
        extras: "",
        version: "1.163.2",
        imports: "nacl",
        pins: "",
    };
    /// A client that encrypts.
    pub const NIO: Self = Self {
        title: "matrix-nio",
        name: "matrix-nio",
        extras: "[e2e]",
        version: "0.26.0",
        imports: "nio.crypto",
        pins: "",
    };
    /// The Kubernetes client that is neither kubectl nor the operator's.
    pub const KUBERNETES: Self = Self {
        title: "the Kubernetes client for Python",
        name: "kubernetes",
        extras: "",
        version: "35.0.0",
        imports: "kubernetes",
        pins: "",
    };

    fn folder(self) -> String {
        let folder = format!("{}-venv-{}", self.name.trim_start_matches("matrix-"), self.version);
        if self.pins.is_empty() { folder } else { format!("{folder}-{}", digest(self.pins)) }
    }
}

/// How long another process's installation is waited for.
const OTHERS: Duration = Duration::from_mins(10);

/// An installed [`Package`].
#[derive(Debug, Clone)]
pub struct Installation {
    package: Package,
    python: PathBuf,
}

impl Installation {
    /// Finds Synapse below `cache`, or installs it there: about 250 MB, twenty seconds on a fast network. As
    /// [`Self::of`].
    pub async fn ensure(cache: &Path, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        Self::of(Package::SYNAPSE, cache, progress).await
    }

    /// Finds a package below `cache`, or installs it there.
    ///
    /// It needs Python 3.10 or later with `venv` and `pip`, and the package index or a mirror that `pip` is
    /// configured for. Calls at the same time, from other processes too, wait for each other. An installation that
    /// was interrupted leaves nothing that would be used. `progress` is told what takes time.
    pub async fn of(
        package: Package,
        cache: &Path,
        progress: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<Self> {
        let Package { title, version, .. } = package;
        // The programs below are named by absolute paths.
        std::fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
        let cache = cache.canonicalize()?;
        let folder = cache.join(package.folder());
        let installed = Self { package, python: folder.join("bin/python") };
        let _lock = lock(&folder.with_added_extension("lock"), title, progress).await?;
        if installed.works().await {
            return Ok(installed);
        }
        let started = Instant::now();
        let partial = folder.with_added_extension("partial");
        for old in [&folder, &partial] {
            if old.exists() {
                std::fs::remove_dir_all(old).with_context(|| format!("removing {}", old.display()))?;
            }
        }
        progress(&format!("installing {title} {version} below {}", cache.display()));
        build(package, &partial).await?;
        // The scripts in bin name the old path; the interpreter finds its packages by its own place.
        std::fs::rename(&partial, &folder)?;
        anyhow::ensure!(
            installed.works().await,
            "{} does not run after the installation",
            installed.python.display()
        );
        progress(&format!("installed {title} {version} in {} s", started.elapsed().as_secs()));
        Ok(installed)
    }

    /// The Python interpreter that has the package.
    pub fn python(&self) -> &Path {
        &self.python
    }

    /// A broken one is possible: the Python below it may have been upgraded.
    async fn works(&self) -> bool {
        let Package { name, version, imports, .. } = self.package;
        let check = format!(
            "import importlib.metadata as m; assert m.version('{name}') == '{version}'; import {imports}"
        );
        let mut command = Command::new(&self.python);
        command.args(["-c", &check]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.python.exists() && command.status().await.is_ok_and(|status| status.success())
    }
}

/// Holds the file until it is dropped, or the process dies.
pub(crate) async fn lock(path: &Path, title: &str, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let mut patience = Patience::new(OTHERS);
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) => {}
        }
        if !std::mem::replace(&mut told, true) {
            progress(&format!("waiting for another process to install {title}"));
        }
        patience.pause(&format!("the lock {}", path.display())).await?;
    }
}

async fn build(package: Package, folder: &Path) -> anyhow::Result<()> {
    const PYTHON: &str =
        "install Python 3.10 or later with venv and pip (Debian: apt-get install python3-venv python3-pip)";
    let check = "import sys; assert sys.version_info >= (3, 10), sys.version";
    run(Command::new("python3").args(["-c", check])).await.context(PYTHON)?;
    run(Command::new("python3").args(["-m", "venv"]).arg(folder)).await.context(PYTHON)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--only-binary=:all:",
    ]);
    let Package { title, name, extras, version, pins, .. } = package;
    if !pins.is_empty() {
        let file = folder.join("pins.txt");
        std::fs::write(&file, pins)?;
        pip.arg("--constraint").arg(file);
    }
    run(pip.arg(format!("{name}{extras}=={version}"))).await.with_context(|| {
        format!(
            "pip could not install {title}: is the package index reachable? A mirror or proxy can be set with \
             PIP_INDEX_URL, HTTPS_PROXY and PIP_CERT"
        )
    })
}

/// Tells texts apart in the names of folders.
pub(crate) fn digest(text: &str) -> String {
    crate::hex(&Sha1::digest(text)[..4])
}

/// Runs a program to its end; its complaints are the error.
pub(crate) async fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = format!("{:?}", command.as_std());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("running {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    anyhow::bail!("{name} ended with {}:\n{}", output.status, String::from_utf8_lossy(&said).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_pins_go_to_another_folder() {
        let folder = |pins| Package { pins, ..Package::NIO }.folder();
        assert_eq!(folder(""), "nio-venv-0.26.0");
        assert_ne!(folder("attrs==1"), folder("attrs==2"));
        assert!(folder("attrs==1").starts_with("nio-venv-0.26.0-"));
    }
}
