//! Where a program of a world runs.

use std::{net::SocketAddr, path::Path};

/// Where a program of a world runs, seen from itself and from here. Both stay the same over restarts.
pub(crate) struct Place<'a> {
    /// Where its files and its log are.
    pub(crate) dir: &'a Path,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// How this process reaches it.
    pub(crate) url: String,
}

impl<'a> Place<'a> {
    /// On this machine, not in a network of its own.
    pub(crate) fn here(dir: &'a Path, listen: SocketAddr) -> Self {
        Self { dir, listen, url: format!("http://{listen}") }
    }
}
