//! What every measurement does around measuring: find its programs, say how it goes on, print.

use std::{
    fmt::Display,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Serialize;

/// What is told while it goes on.
pub(crate) type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Tells it to who watches; what scripts read goes elsewhere.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Folders of a measurement.
pub(crate) struct Folders {
    /// The one this program is in. Beside the build, because the folder for temporary files may be in memory.
    pub(crate) own: PathBuf,
    /// The one with the programs that are measured.
    pub(crate) programs: PathBuf,
}

impl Folders {
    /// Finds them for the measurement of this name, and warns where its figures would say nothing.
    pub(crate) fn find(programs: Option<&Path>, name: &str) -> anyhow::Result<Self> {
        if cfg!(debug_assertions) {
            tell(&format!("This is a debug build: the figures say nothing. Use: cargo xtask bench {name}"));
        }
        let own = std::env::current_exe().context("this program has no path")?;
        let own = own.parent().context("this program lies in no folder")?.to_owned();
        let programs = programs.unwrap_or(&own).to_owned();
        for program in ["dingtalk-bridge", "homeserver-stub"] {
            let path = programs.join(program);
            let remedy = "build it with: cargo build --release -p dingtalk-bridge -p homeserver-stub";
            anyhow::ensure!(path.is_file(), "there is no {}; {remedy}", path.display());
        }
        Ok(Self { own, programs })
    }
}

/// Measures unless Ctrl-C comes first, prints, and answers the report.
pub(crate) async fn report<R: Serialize + Display>(
    measure: impl Future<Output = anyhow::Result<R>>,
    json: bool,
) -> anyhow::Result<R> {
    test_support::install_crypto();
    let report = tokio::select! {
        report = measure => report?,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    };
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    out.flush()?;
    Ok(report)
}
