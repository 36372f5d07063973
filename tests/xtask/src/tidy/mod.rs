//! Rules that neither compiler nor linter knows: which crate may use which, how long a file may be, that the map in
//! `docs/ARCHITECTURE.md` is true. Each rule is a pure function of what was read, with its tests beside it.

mod edges;
mod manifests;
mod texts;

use std::path::Path;

use anyhow::Context as _;
use clap::Args;

use crate::{output::say, repo};

/// Checks the rules of the repository that no linter knows
#[derive(Debug, Args)]
#[command(after_help = "Rules:
  - bridge/core, bridge/config, crds and operator/plan reach no I/O library, not even through others
  - bridge/dingtalk, bridge/matrix and bridge/store do not use each other
  - nothing outside tests/ uses tests/; the sandbox uses nothing of bridge/
  - no file has more than 600 lines, generated files and test data excepted
  - every crate inherits the workspace's lints
  - no file points outside the checkout
  - no documentation has code that nothing compiles
  - every path that docs/ARCHITECTURE.md names exists")]
pub(crate) struct Tidy {}

impl Tidy {
    #[expect(clippy::unused_self, reason = "all commands are called alike")]
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let root = repo::root();
        let mut faults = edges::check(&edges::Graph::read(&repo::metadata()?)?);
        let files = repo::files()?;
        for file in &files {
            let name = file.to_string_lossy();
            let bytes = std::fs::read(root.join(file)).with_context(|| name.to_string())?;
            // What is not text has no lines and no words.
            let Ok(text) = String::from_utf8(bytes) else { continue };
            faults.extend(texts::too_long(&name, &text));
            faults.extend(texts::points_outside(&name, &text));
            if file.extension() == Some("rs".as_ref()) {
                faults.extend(texts::example(&name, &text));
            }
            if file.file_name() == Some("Cargo.toml".as_ref()) && file != Path::new("Cargo.toml") {
                faults.extend(manifests::lints(&name, &text));
            }
            if name == "docs/ARCHITECTURE.md" {
                faults.extend(texts::missing_paths(&name, &text, |path| root.join(path).exists()));
            }
        }
        for fault in &faults {
            say(fault);
        }
        anyhow::ensure!(faults.is_empty(), "{} rules are broken (see above)", faults.len());
        say(&format!("{} files are tidy.", files.len()));
        Ok(())
    }
}
