//! What every measurement does around measuring: find its programs, say how it goes on, print.

use std::{
    fmt::Display,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tempfile::TempDir;
use test_support::{Postgres, PostgresOptions};

/// What is told while it goes on.
pub(crate) type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Tells it to who watches; what scripts read goes elsewhere.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What every measurement with databases of its own is told.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Usual {
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder of the programs to measure; otherwise the one this program is in
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Folder in which databases are made; a disk, or the figures mean nothing
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Usual {
    /// The folders of the measurement of this name.
    pub(crate) fn folders(&self, name: &str) -> anyhow::Result<Folders> {
        let found = Folders::find(self.programs.as_deref(), name)?;
        Ok(Folders { own: self.dir.clone().unwrap_or(found.own), ..found })
    }
}

/// The bridge's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Database {
    /// A file
    Sqlite,
    /// A server of its own
    Postgresql,
}

impl Database {
    /// Its name in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgresql => "PostgreSQL",
        }
    }
}

/// Where the databases of bridges are made; a server ends with this.
pub(crate) struct Databases {
    server: Option<Postgres>,
    made: u32,
}

impl Databases {
    /// Starts the server, where there is one. Its commits survive a power failure, as those of files do.
    pub(crate) async fn start(database: Database, progress: Progress<'_>) -> anyhow::Result<Self> {
        let server = match database {
            Database::Sqlite => None,
            Database::Postgresql => {
                let options = PostgresOptions { fsync: true, ..PostgresOptions::default() };
                Some(Postgres::start(options, progress).await?)
            }
        };
        Ok(Self { server, made: 0 })
    }

    /// The address of a new one; none where it is a file of the bridge's own.
    pub(crate) async fn fresh(&mut self) -> anyhow::Result<Option<String>> {
        let Some(server) = &self.server else { return Ok(None) };
        self.made += 1;
        server.database(&format!("bench{}", self.made)).await.map(Some)
    }
}

/// Folders of a measurement.
pub(crate) struct Folders {
    name: String,
    /// The one this program is in, or the one that was named for databases. Beside the build, because the folder for
    /// temporary files may be in memory.
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
        Ok(Self { name: name.to_owned(), own, programs })
    }

    /// A folder for a database and what else is written; it is gone with the answer.
    pub(crate) fn fresh(&self) -> anyhow::Result<TempDir> {
        let folder = tempfile::Builder::new().prefix(&format!("bench-{}-", self.name)).tempdir_in(&self.own);
        folder.context("making a folder for the database")
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
