//! How long test programs took the last time: those that take longest begin first, so that none is left over at the end.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;

/// Name of the file in the build folder.
const FILE: &str = "test-times.json";

/// What a program that starts servers is thought to take when it never ran.
const UNKNOWN: u64 = 60_000;

/// Milliseconds by `package::target`.
#[derive(Debug, Default)]
pub(super) struct Times {
    file: PathBuf,
    known: BTreeMap<String, u64>,
}

impl Times {
    /// What is known in a build folder: nothing on a fresh machine, or when the file says nothing.
    pub(super) fn read(folder: &Path) -> Self {
        let file = folder.join(FILE);
        let known = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self { file, known: known.unwrap_or_default() }
    }

    /// How many milliseconds a program will take, about.
    pub(super) fn expected(&self, name: &str, starts_servers: bool) -> u64 {
        let guess = if starts_servers { UNKNOWN } else { 0 };
        self.known.get(name).copied().unwrap_or(guess)
    }

    /// Remembers how long a program took.
    pub(super) fn note(&mut self, name: &str, took: Duration) {
        self.known.insert(name.to_owned(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    }

    /// Keeps what is known for the next time.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(&self.known)?;
        std::fs::write(&self.file, text).with_context(|| self.file.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_longest_is_expected_to_do_so_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = Times::read(folder.path());
        assert_eq!((times.expected("e2e::it", true), times.expected("core::core", false)), (UNKNOWN, 0));
        times.note("e2e::it", Duration::from_secs(200));
        times.write().unwrap();
        assert_eq!(Times::read(folder.path()).expected("e2e::it", true), 200_000);
        std::fs::write(folder.path().join(FILE), "not JSON").unwrap();
        assert_eq!(Times::read(folder.path()).expected("e2e::it", true), UNKNOWN);
    }
}
