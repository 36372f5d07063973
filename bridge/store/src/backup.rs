//! Copies of a database to be put back one day.
//!
//! A database that is put back is out of date: what crossed since the backup was made is not in it. Into Matrix nothing
//! is doubled by that, for the homeserver recognises a key that comes again. DingTalk recognises nothing. So [`restore`]
//! and [`settle`] close what could be posted there a second time, before a bridge works on the database.

use std::path::Path;

use bridge_core::clock::Timestamp;

use crate::copy::Place;
use crate::error::StoreError;
use crate::sql::{Writes, copy, restore};
use crate::{postgres, sqlite};

/// What was closed in a database that was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// Posts to DingTalk that waited; they may have been sent since, and are now failed messages that `retry` sends.
    pub posts: u64,
    /// Messages and commands from Matrix that waited; they may have been carried out since, and are not any more.
    pub events: u64,
    /// Bridged chats whose rooms are read from now on only.
    pub chats: u64,
}

/// Writes a copy of an SQLite database into a new file (mode 0600), as it is at one moment, also while a bridge works on
/// it. Under another name until it is whole; answers its size in bytes.
pub fn backup(path: &Path, file: &Path) -> Result<u64, StoreError> {
    sqlite::backup(path, file)
}

/// What happens to a database that is there when a backup is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present<'a> {
    /// It is an error.
    Refuse,
    /// It is kept under this name, with its `-wal`; nobody may work on it.
    MoveTo(&'a Path),
}

/// Puts a backup back as an SQLite database, with what [`settle`] does. It appears when it is done.
pub async fn restore(
    file: &Path,
    path: &Path,
    present: Present<'_>,
    workspace: &str,
    now: Timestamp,
) -> Result<Restored, StoreError> {
    let prepared = sqlite::Prepared::of(file, path, present)?;
    let restored = settle(&Place::Sqlite(prepared.partial().to_owned()), workspace, now).await?;
    prepared.finish()?;
    Ok(restored)
}

/// Closes in a database that was put back what could be posted to DingTalk a second time. To repeat it harms nothing but
/// what waits.
pub async fn settle(place: &Place, workspace: &str, now: Timestamp) -> Result<Restored, StoreError> {
    match place {
        Place::Sqlite(path) => {
            let mut locked = sqlite::existing(path).await?;
            let restored = within(&mut locked.conn, workspace, now).await?;
            locked.close()?;
            Ok(restored)
        }
        Place::Postgres(server) => within(&mut postgres::locked(server).await?, workspace, now).await,
    }
}

async fn within(conn: &mut impl Writes, workspace: &str, now: Timestamp) -> Result<Restored, StoreError> {
    copy::belongs(conn, workspace).await?;
    conn.run("BEGIN", &[]).await?;
    let restored = restore::settle(conn, now).await?;
    conn.run("COMMIT", &[]).await?;
    Ok(restored)
}
