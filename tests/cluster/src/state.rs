//! The folder of a running cluster: its kubeconfig and what other processes need to know about it.
//!
//! Who has locked the folder keeps it: the owner and the first process of the box. A folder that nobody has locked
//! belongs to a cluster that was killed with its owner in the same moment, and is swept by the next start.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::first_process::Init;

/// What is known about a running cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// The cluster's name.
    pub name: String,
    /// The process that owns it; ending that one in good order ends the cluster.
    pub owner: u32,
    /// The first process of the box, as the host counts.
    pub first_process: i32,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The API server, from outside.
    pub api: String,
    /// The TLS port of the ingress controller, from outside.
    pub ingress: SocketAddr,
    /// The address under which pods reach what runs in the box beside them.
    pub node_address: IpAddr,
    /// What the API server's requests are written to, if they are.
    pub audit_log: Option<PathBuf>,
    /// A kubectl of the cluster's version, to be used outside.
    pub kubectl: PathBuf,
    /// A Helm, to be used outside.
    pub helm: PathBuf,
    /// The logs of its parts, as long as it runs.
    pub logs: PathBuf,
}

const DESCRIPTION: &str = "cluster.json";
const CONTROL_GROUP: &str = "control-group";
const KUBECONFIG: &str = "kubeconfig";

/// A locked folder. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct StateFolder {
    path: PathBuf,
    lock: File,
}

impl StateFolder {
    /// Makes the folder of a cluster and removes those of clusters that are gone.
    pub(crate) fn claim(dir: &Path, name: &str, init: &Init) -> anyhow::Result<Self> {
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        anyhow::ensure!(
            !name.is_empty() && name.chars().all(sound),
            "`{name}` is no name for a cluster: use letters, digits, - and _"
        );
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        for path in folders(&dir) {
            sweep(&path, init);
        }
        let path = dir.join(name);
        // Somebody who only looks has the lock for a moment.
        for _ in 0..50 {
            let made = fs::DirBuilder::new().mode(0o700).create(&path);
            if let Err(error) = made
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(error).with_context(|| format!("making {}", path.display()));
            }
            if let Some(lock) = try_lock(&path)? {
                return Ok(Self { path, lock });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let owner = read(&path).map(|other| format!(" (process {})", other.owner)).unwrap_or_default();
        anyhow::bail!("a cluster {name} runs already{owner}; end it, or give this one another name")
    }

    /// The name of the control group, remembered for the case that the box is killed.
    pub(crate) fn control_group(&self) -> anyhow::Result<String> {
        let mut bytes = [0; 6];
        rand(&mut bytes)?;
        let group = format!("dingtalk-cluster-{}", test_support::hex(&bytes));
        fs::write(self.path.join(CONTROL_GROUP), &group)?;
        Ok(group)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path.join(KUBECONFIG)
    }

    /// The open folder, with the lock on it.
    pub(crate) fn file(&self) -> &File {
        &self.lock
    }

    pub(crate) fn describe(&self, description: &Description) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(description)?;
        // Renamed, so that nobody reads half of it.
        let partial = self.path.join("partial");
        fs::write(&partial, text)?;
        fs::rename(&partial, self.path.join(DESCRIPTION))?;
        Ok(())
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        // The box has usually done it already.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Clusters of a folder that run and are ready.
pub fn running(dir: &Path) -> Vec<Description> {
    let folders = folders(dir).into_iter();
    let mut running: Vec<Description> =
        folders.filter(|path| matches!(try_lock(path), Ok(None))).filter_map(|path| read(&path)).collect();
    running.sort_by(|one, other| one.name.cmp(&other.name));
    running
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    // Only what looks like ours: the folder may have other things in it.
    entries.map(|entry| entry.path()).filter(|path| path.join(CONTROL_GROUP).is_file()).collect()
}

fn read(folder: &Path) -> Option<Description> {
    serde_json::from_slice(&fs::read(folder.join(DESCRIPTION)).ok()?).ok()
}

/// The lock, unless somebody else has it or the folder was replaced meanwhile.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let lock = match File::open(path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let still = fs::metadata(path).is_ok_and(|now| lock.metadata().is_ok_and(|own| own.ino() == now.ino()));
    Ok(still.then_some(lock))
}

/// Removes what a cluster that was killed left behind.
fn sweep(folder: &Path, init: &Init) {
    let Ok(Some(_lock)) = try_lock(folder) else { return };
    if let Ok(group) = fs::read_to_string(folder.join(CONTROL_GROUP)) {
        init.sweep(group.trim());
    }
    let _ = fs::remove_dir_all(folder);
}

fn rand(bytes: &mut [u8]) -> anyhow::Result<()> {
    use std::io::Read as _;
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes)).context("reading /dev/urandom")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init() -> Init {
        Init::program("/bin/true")
    }

    #[test]
    fn a_name_is_taken_as_long_as_its_cluster_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateFolder::claim(dir.path(), "one", &init()).unwrap();
        first.control_group().unwrap();
        let error = StateFolder::claim(dir.path(), "one", &init()).unwrap_err().to_string();
        assert!(error.contains("one runs already"), "{error}");
        StateFolder::claim(dir.path(), "two", &init()).unwrap();
        drop(first);
        StateFolder::claim(dir.path(), "one", &init()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_cluster_left_is_swept_and_other_things_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join("killed");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(CONTROL_GROUP), "dingtalk-cluster-of-nobody").unwrap();
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        StateFolder::claim(dir.path(), "new", &init()).unwrap();
        assert!(!left.exists() && other.exists());
    }

    #[test]
    fn a_name_that_is_a_path_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b"] {
            assert!(StateFolder::claim(dir.path(), name, &init()).is_err(), "{name}");
        }
    }
}
