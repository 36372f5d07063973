//! Flags and folder of the commands that start a world.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use world::{HomeserverKind, Profile, Programs, WorldOptions};

use crate::{output::say, repo};

/// Which homeserver a world gets.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum HomeserverName {
    /// Real Synapse, installed from the Python package index into the target folder
    Synapse,
    /// The small homeserver of the tests; needs no Python
    Stub,
}

/// What `demo` and `up` have in common.
#[derive(Debug, Args)]
pub(crate) struct WorldFlags {
    /// Plain processes and SQLite instead of a Kubernetes cluster
    #[arg(long)]
    pub(crate) no_cluster: bool,
    /// The homeserver
    #[arg(long, value_enum, default_value_t = HomeserverName::Synapse)]
    homeserver: HomeserverName,
    /// Build and run in release mode
    #[arg(long)]
    release: bool,
    /// Folder with the programs (dingtalk-bridge, dingtalk-sandbox, homeserver-stub); nothing is built then
    #[arg(long, value_name = "FOLDER", conflicts_with = "release")]
    programs: Option<PathBuf>,
}

impl WorldFlags {
    pub(crate) fn options(&self, dir: &Path) -> WorldOptions {
        let homeserver = match self.homeserver {
            HomeserverName::Synapse => HomeserverKind::synapse(),
            HomeserverName::Stub => HomeserverKind::stub(),
        };
        let profile = if self.release { Profile::Release } else { Profile::Debug };
        let programs = self.programs.as_deref().map(Programs::in_folder);
        WorldOptions { profile, programs, ..WorldOptions::new(dir, homeserver) }
    }
}

/// The folder of one world below the build folder. It is removed when all went well, else kept for its logs.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes it, and removes those of worlds whose process is gone.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let all = repo::target_dir()?.join("world");
        std::fs::create_dir_all(&all).with_context(|| all.display().to_string())?;
        for entry in std::fs::read_dir(&all).with_context(|| all.display().to_string())? {
            let old = entry?.path();
            let alive = old.file_name().is_some_and(|pid| Path::new("/proc").join(pid).exists());
            if !alive {
                // Of no use to anybody; in the way of nobody.
                let _ = std::fs::remove_dir_all(&old);
            }
        }
        let path = all.join(std::process::id().to_string());
        // A former process may have had this id.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn remove(self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            say(&format!("{} could not be removed: {error}", self.path.display()));
        }
    }

    /// Says where the logs are.
    pub(crate) fn keep(&self) {
        say(&format!("Logs and data are kept until the next start in {}", self.path.display()));
    }
}
