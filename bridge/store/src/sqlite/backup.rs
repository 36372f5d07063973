//! Files beside the database: a backup, and one that is being put back.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::connection::Connection;
use super::open::{file_error, lock, sound};
use crate::backup::Present;
use crate::error::StoreError;
use crate::sql::Arg;

/// A name beside a file.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Refuses to write over something.
fn free(path: &Path) -> Result<(), StoreError> {
    if path.try_exists().map_err(|error| file_error(path, error))? {
        let there = std::io::Error::new(ErrorKind::AlreadyExists, "it is there already; move it away first");
        return Err(file_error(path, there));
    }
    Ok(())
}

/// An empty file that its owner alone reads; what an interrupted run has left under the name goes.
fn empty(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| file_error(path, error))
}

/// Gives a file that is whole its name. On disk when this answers.
fn name(partial: &Path, path: &Path) -> Result<(), StoreError> {
    let failed = |error| file_error(path, error);
    File::open(partial).and_then(|file| file.sync_all()).map_err(failed)?;
    std::fs::rename(partial, path).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

pub(super) fn backup(path: &Path, file: &Path) -> Result<u64, StoreError> {
    std::fs::metadata(path).map_err(|error| file_error(path, error))?;
    free(file)?;
    let partial = beside(file, ".partial");
    drop(empty(&partial)?);
    let target = partial.display().to_string();
    let conn = Connection::copying(path)?;
    conn.execute("VACUUM INTO $1", &[Arg::from(&target)])?;
    conn.close()?;
    sound(&partial)?.close()?;
    name(&partial, file)?;
    std::fs::metadata(file).map(|found| found.len()).map_err(|error| file_error(file, error))
}

/// Does this to a file, if it is there.
fn moved(path: &Path, how: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), StoreError> {
    match how(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(file_error(path, error)),
        _ => Ok(()),
    }
}

/// A backup under another name beside the database it becomes.
pub(crate) struct Prepared {
    partial: PathBuf,
    path: PathBuf,
    /// Where the database that is there goes, and its lock.
    aside: Option<(PathBuf, File)>,
}

impl Prepared {
    /// Copies a backup; a database that is there must not be in use.
    pub(crate) fn of(file: &Path, path: &Path, present: Present<'_>) -> Result<Self, StoreError> {
        let aside = match present {
            Present::MoveTo(aside) => {
                free(aside)?;
                Some((aside.to_owned(), lock(path)?))
            }
            Present::Refuse => {
                free(path)?;
                for ending in ["-wal", "-shm"] {
                    // It would be taken for the new database's.
                    free(&beside(path, ending))?;
                }
                None
            }
        };
        let partial = beside(path, ".restoring");
        for ending in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(beside(&partial, ending));
        }
        let mut to = empty(&partial)?;
        let copied = File::open(file).and_then(|mut from| std::io::copy(&mut from, &mut to));
        copied.map_err(|error| file_error(file, error))?;
        Ok(Self { partial, path: path.to_owned(), aside })
    }

    /// The file as long as it is not finished.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Gives it its name. At no moment is it beside another database's log, and a death in between leaves the former
    /// database or this one under that name.
    pub(crate) fn finish(self) -> Result<(), StoreError> {
        match &self.aside {
            Some((aside, _)) => {
                for ending in ["-wal", "-shm"] {
                    moved(&beside(&self.path, ending), |from| std::fs::rename(from, beside(aside, ending)))?;
                }
                moved(&self.path, |from| std::fs::hard_link(from, aside))?;
            }
            None => free(&self.path)?,
        }
        name(&self.partial, &self.path)?;
        // Nobody uses it under that name any more.
        let _ = std::fs::remove_file(beside(&self.partial, ".lock"));
        Ok(())
    }
}
