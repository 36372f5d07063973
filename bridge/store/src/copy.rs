//! Moves a whole database to another place, from one kind to the other or within a kind.
//!
//! Both are locked, so no bridge works meanwhile. All of it is one transaction of the target, and before that ends the
//! target is read back and compared, table by table: rows and a digest of what they hold. So a copy that is interrupted
//! has left nothing, one that succeeded is the same, and repeating it finds that out. Sealed values move as they are;
//! the same keys open them.

use std::path::PathBuf;

use crate::error::StoreError;
use crate::postgres::{self, Server};
use crate::seal::{Keyring, Sealer};
use crate::sql::{Writes, copy, sealing};
use crate::sqlite;

/// Where a database is.
#[derive(Debug, Clone)]
pub enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// A schema of a server.
    Postgres(Server),
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// The table that is gone through.
    pub table: &'static str,
    /// Its rows so far.
    pub rows: u64,
    /// They are being compared; before that they are copied.
    pub comparing: bool,
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The rows of each table, the same on both sides.
    pub tables: Vec<(&'static str, u64)>,
    /// The target held the same before: an earlier copy had succeeded.
    pub already: bool,
}

/// Copies all rows of the database of `workspace` into an empty one, which is made where it is missing. `keys` are
/// those of the target's bridge: a row that none of them seals is refused, for that bridge could not read it.
pub async fn copy(
    from: &Place,
    to: &Place,
    workspace: &str,
    keys: Keyring,
    tell: &(dyn Fn(CopyProgress) + Send + Sync),
) -> Result<Copied, StoreError> {
    let sealer = Sealer::new(keys, workspace);
    let work = Work { workspace, sealer: &sealer, tell };
    match (from, to) {
        (Place::Sqlite(from), Place::Sqlite(to)) => {
            let (mut from, mut to) = (sqlite::existing(from).await?, sqlite::locked(to).await?);
            let copied = work.between(&mut from.conn, &mut to.conn).await?;
            to.close().map(|()| copied)
        }
        (Place::Sqlite(from), Place::Postgres(to)) => {
            let (mut from, mut to) = (sqlite::existing(from).await?, postgres::locked(to).await?);
            work.between(&mut from.conn, &mut to).await
        }
        (Place::Postgres(from), Place::Sqlite(to)) => {
            let (mut from, mut to) = (postgres::locked(from).await?, sqlite::locked(to).await?);
            let copied = work.between(&mut from, &mut to.conn).await?;
            to.close().map(|()| copied)
        }
        (Place::Postgres(from), Place::Postgres(to)) => {
            let (mut from, mut to) = (postgres::locked(from).await?, postgres::locked(to).await?);
            work.between(&mut from, &mut to).await
        }
    }
}

struct Work<'a> {
    workspace: &'a str,
    sealer: &'a Sealer,
    tell: &'a (dyn Fn(CopyProgress) + Send + Sync),
}

impl Work<'_> {
    async fn between(&self, from: &mut impl Writes, to: &mut impl Writes) -> Result<Copied, StoreError> {
        copy::belongs(from, self.workspace).await?;
        let missing = sealing::count_on(from, self.sealer, i64::MAX).await?.unknown;
        if missing > 0 {
            return Err(StoreError::Migration(format!(
                "{missing} rows are sealed with a key that the target's configuration does not list"
            )));
        }
        // An error leaves the transaction open; it ends with the connection, and with it all that was written.
        to.run("BEGIN", &[]).await?;
        let copied = copy::all(from, to, self.tell).await?;
        to.run("COMMIT", &[]).await?;
        Ok(copied)
    }
}
