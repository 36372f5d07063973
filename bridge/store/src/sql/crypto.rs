//! Records of the bot's device: upserts inside a commit, and reading them.

use super::{Arg, Columns, Reads, Writes};
use crate::crypto::{CryptoRecord, CryptoRecords};
use crate::error::StoreError;
use crate::seal::{Place, SealError, Sealer};

const COLUMN: &str = "crypto.value";

/// Kinds whose records must not be used again once a database was put back to an earlier time: a message index or a
/// step of a ratchet would be used twice.
pub(crate) const RATCHETS: [&str; 2] = ["outbound", "olm"];

/// The kind of the records of rooms that are encrypted; each has the room's id for a name.
pub(crate) const ROOM: &str = "room";

fn sealed(source: SealError) -> StoreError {
    StoreError::Seal { column: COLUMN, source }
}

/// The primary key. Kinds have no slash.
pub(super) fn key(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}

pub(super) async fn write(
    conn: &mut impl Writes,
    sealer: &Sealer,
    record: &CryptoRecord,
) -> Result<(), StoreError> {
    let key = key(record.kind, &record.name);
    let Some(value) = &record.value else {
        return conn.run("DELETE FROM crypto WHERE name = $1", &[(&key).into()]).await.map(drop);
    };
    let value = sealer.seal(Place { column: COLUMN, row: &key }, value).map_err(sealed)?;
    let statement = "INSERT INTO crypto (name, kind, belongs, tag, value) VALUES ($1, $2, $3, $4, $5)
                     ON CONFLICT (name) DO UPDATE SET belongs = excluded.belongs, tag = excluded.tag,
                     value = excluded.value";
    let args =
        [(&key).into(), record.kind.into(), (&record.belongs).into(), (&record.tag).into(), (&value).into()];
    conn.run(statement, &args).await.map(drop)
}

pub(super) async fn read(
    reads: &impl Reads,
    sealer: &Sealer,
    kind: &str,
    name: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let key = key(kind, name);
    let found = reads.row("SELECT value FROM crypto WHERE name = $1", &[(&key).into()]).await?;
    let Some(row) = found else { return Ok(None) };
    sealer.open(Place { column: COLUMN, row: &key }, &row.bytes("value")?).map(Some).map_err(sealed)
}

pub(super) async fn list(
    reads: &impl Reads,
    sealer: &Sealer,
    kind: &str,
    which: CryptoRecords<'_>,
) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let (only, args) = only(kind, which);
    let statement = format!("SELECT name, value FROM crypto WHERE kind = $1 {only} ORDER BY name");
    let found = reads.rows(&statement, &args).await?;
    let mut records = Vec::with_capacity(found.len());
    for row in found {
        let key = row.text("name")?;
        let value = sealer.open(Place { column: COLUMN, row: &key }, &row.bytes("value")?).map_err(sealed)?;
        records.push((key.get(kind.len() + 1..).unwrap_or_default().to_owned(), value));
    }
    Ok(records)
}

/// The end of a statement that asks for some records of a kind, and its values.
fn only<'a>(kind: &'a str, which: CryptoRecords<'a>) -> (&'static str, Vec<Arg<'a>>) {
    match which {
        CryptoRecords::All => ("", vec![kind.into()]),
        CryptoRecords::Of(belongs) => ("AND belongs = $2", vec![kind.into(), belongs.into()]),
        CryptoRecords::Tagged(tag) => ("AND tag = $2 AND tag <> ''", vec![kind.into(), tag.into()]),
    }
}

pub(super) async fn count(
    reads: &impl Reads,
    kind: &str,
    which: CryptoRecords<'_>,
) -> Result<u64, StoreError> {
    let (only, args) = only(kind, which);
    let statement = format!("SELECT count(*) AS amount FROM crypto WHERE kind = $1 {only}");
    let row = reads.row(&statement, &args).await?;
    let amount = row.map(|row| row.number("amount")).transpose()?;
    Ok(amount.and_then(|amount| u64::try_from(amount).ok()).unwrap_or(0))
}
