//! What the end-to-end suites share: a place for each world, and a gate in front of the bridge's transactions.

mod gate;

use std::path::Path;

use world::{HomeserverKind, WorldOptions};

pub use gate::{Fate, Gate, Moment};

/// A world with a fresh folder below the build's one for tests; the folder stays for whoever looks at a failure.
pub fn options(name: &str, homeserver: HomeserverKind) -> WorldOptions {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/e2e").join(name);
    // What a former run has left would be taken for this world's past.
    let _ = std::fs::remove_dir_all(&dir);
    WorldOptions::new(dir, homeserver)
}
