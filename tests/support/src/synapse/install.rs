//! Installing Synapse into a virtual environment: once, whole or not at all, by one caller at a time.

use crate::process::Launch;
use crate::wait::wait_for;
use anyhow::{Context, Result, bail};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The version the suites were written against.
pub const VERSION: &str = "1.163.2";
const PACKAGE: &str = "matrix-synapse";
const INSTALL: Duration = Duration::from_secs(900);

/// An environment that can run Synapse.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Interpreter of the environment.
    pub python: PathBuf,
}

/// Makes sure that `<cache_dir>/synapse-venv-<version>` exists (some 250 MB, 20 s when the network is quick).
///
/// It is built beside its place and renamed when complete, under a file lock; what an interrupted call left behind
/// is removed by the next. A renamed environment keeps working for `python -m …`, which is all that is used.
pub async fn ensure_installed(cache_dir: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<Installed> {
    std::fs::create_dir_all(cache_dir).with_context(|| cache_dir.display().to_string())?;
    let cache_dir = cache_dir.canonicalize()?;
    let place = cache_dir.join(format!("synapse-venv-{VERSION}"));
    let installed = Installed { python: place.join("bin/python") };
    if installed.python.exists() {
        return Ok(installed);
    }
    let lock = OpenOptions::new().create(true).append(true).open(cache_dir.join("synapse-venv.lock"))?;
    take_lock(&lock, progress).await?;
    if installed.python.exists() {
        return Ok(installed);
    }
    let python = find_python()?;
    let build = cache_dir.join(format!("synapse-venv-{VERSION}.building"));
    remove(&build)?;
    let started = Instant::now();
    progress(&format!("installing Synapse {VERSION} from the Python package index into {}", place.display()));
    let log = cache_dir.join("synapse-venv.log");
    let result = build_in(&python, &build, &log, progress).await;
    if let Err(error) = result {
        remove(&build)?;
        return Err(error.context(format!("Synapse could not be installed (log: {})", log.display())));
    }
    remove(&place)?;
    std::fs::rename(&build, &place)?;
    progress(&format!("Synapse is installed ({:.0} s)", started.elapsed().as_secs_f64()));
    Ok(installed)
}

fn remove(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

async fn take_lock(lock: &File, progress: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let mut told = false;
    wait_for(INSTALL, "another process that installs Synapse", async || match lock.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => {
            if !told {
                progress("waiting for another process that installs Synapse");
                told = true;
            }
            Ok(None)
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    })
    .await
}

/// A Python of at least 3.10 with the `venv` module.
fn find_python() -> Result<PathBuf> {
    const REMEDY: &str = "Synapse needs Python 3.10 or newer with venv and pip. \
        Debian and Ubuntu: apt-get install python3 python3-venv; Fedora: dnf install python3";
    let mut reasons = Vec::new();
    for name in ["python3", "python3.13", "python3.12", "python3.11", "python3.10"] {
        let check = "import sys, venv, ensurepip; sys.exit(0 if sys.version_info >= (3, 10) else 'too old: ' + sys.version)";
        let output = Command::new(name).args(["-c", check]).stdin(Stdio::null()).output();
        match output {
            Ok(output) if output.status.success() => return Ok(PathBuf::from(name)),
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                reasons.push(format!("{name}: {}", text.lines().last().unwrap_or_default()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => reasons.push(format!("{name}: {error}")),
        }
    }
    if reasons.is_empty() {
        bail!("no python3 found. {REMEDY}");
    }
    bail!("no usable Python ({}). {REMEDY}", reasons.join("; "))
}

async fn build_in(python: &Path, dir: &Path, log: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<()> {
    run(Launch::new(python, log).args(["-m", "venv"]).arg(dir), "make a virtual environment").await?;
    let pip = |what: &str| {
        let flags = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off"];
        Launch::new(dir.join("bin/python"), log).args(flags).arg(what)
    };
    let pinned = run(pip(&format!("{PACKAGE}=={VERSION}")), "install Synapse with pip").await;
    if let Err(error) = pinned {
        if !format!("{error:#}").contains("No matching distribution") {
            return Err(error);
        }
        progress(&format!("Synapse {VERSION} is not offered for this machine; taking the newest that is"));
        run(pip(PACKAGE), "install Synapse with pip").await?;
    }
    let check = Launch::new(dir.join("bin/python"), log).args(["-c", "import synapse.app.homeserver"]);
    run(check, "load the installed Synapse").await
}

async fn run(launch: Launch, what: &str) -> Result<()> {
    let mut process = launch.env_remove("PYTHONPATH").start().with_context(|| format!("cannot {what}"))?;
    let status = process.wait_exit(INSTALL).await?;
    if status.success() {
        return Ok(());
    }
    let output = process.output()?;
    let lines: Vec<_> = output.lines().collect();
    bail!("cannot {what} ({status}):\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
}
