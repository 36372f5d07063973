//! What the end-to-end suites share: a place for each world, a gate in front of the bridge's transactions, and runs with
//! faults.

pub mod faults;
mod gate;

use std::path::{Path, PathBuf};

use world::{HomeserverKind, WorldOptions};

pub use gate::{Fate, Gate, Moment};

/// A world with a fresh folder below the build's one for tests; the folder stays for whoever looks at a failure.
pub fn options(name: &str, homeserver: HomeserverKind) -> WorldOptions {
    WorldOptions::new(folder(name), homeserver)
}

/// Such a folder.
pub fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/e2e").join(name);
    // What a former run has left would be taken for this world's past.
    let _ = std::fs::remove_dir_all(&dir);
    dir
}
