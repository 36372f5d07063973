//! Finds rows by the key they are sealed with, and seals them anew a little at a time between the commits.

use super::store::Sql;
use super::tables::TABLES;
use super::{Arg, Columns, Reads, Writes};
use crate::commit::Commit;
use crate::error::StoreError;
use crate::seal::{KeyId, Place, Sealer};
use crate::sealing::{ResealPosition, Resealed, ResealedRow, Sealing};
use crate::store::Store;

/// Rows looked at in one step.
const STEP_ROWS: u32 = 200;

/// Sealed bytes held in memory in one step; a single row may be larger.
const STEP_BYTES: i64 = 1 << 20;

/// A column of sealed values.
struct Sealed {
    table: &'static str,
    value: &'static str,
    /// The primary key, and how a text becomes one.
    key: &'static str,
    from_text: &'static str,
    /// The column to whose value the sealed one is bound.
    bound: &'static str,
    /// The place of the seal: table and column.
    column: &'static str,
}

const SEQ: &str = "CAST($ AS BIGINT)";
const TEXT: &str = "$";

/// All columns with sealed values, but for the probe, which is sealed anew at every opening.
const SEALED: [Sealed; 6] = [
    Sealed {
        table: "link",
        value: "app_secret",
        key: "id",
        from_text: SEQ,
        bound: "app_key",
        column: "link.app_secret",
    },
    Sealed {
        table: "setting",
        value: "value",
        key: "name",
        from_text: TEXT,
        bound: "name",
        column: "setting.value",
    },
    Sealed {
        table: "session",
        value: "webhook",
        key: "chat",
        from_text: TEXT,
        bound: "chat",
        column: "session.webhook",
    },
    Sealed { table: "inbox", value: "body", key: "seq", from_text: SEQ, bound: "key", column: "inbox.body" },
    Sealed { table: "outbox", value: "op", key: "seq", from_text: SEQ, bound: "key", column: "outbox.op" },
    Sealed {
        table: "crypto",
        value: "value",
        key: "name",
        from_text: TEXT,
        bound: "name",
        column: "crypto.value",
    },
];

impl Sealed {
    /// The value's key id, as SQL.
    fn key_id(&self) -> String {
        // Behind the byte of the version.
        format!("substr({}, 2, 4)", self.value)
    }

    /// `$n` as a value of the primary key.
    fn parameter(&self, number: usize) -> String {
        self.from_text.replace('$', &format!("${number}"))
    }

    /// Rows of one of the key ids, which begin at `$first`.
    fn of_keys(&self, first: usize, ids: usize) -> String {
        let ids: Vec<String> = (first..first + ids).map(|number| format!("${number}")).collect();
        format!("{} IN ({})", self.key_id(), ids.join(", "))
    }
}

/// Statements that count the rows of each key in a database of some version.
fn counts(version: i64) -> impl Iterator<Item = String> {
    let probe = "SELECT substr(value, 2, 4) AS id, count(*) AS amount FROM meta WHERE name = 'probe'
                 GROUP BY substr(value, 2, 4)";
    let there = move |sealed: &&Sealed| {
        TABLES.iter().any(|table| table.name == sealed.table && table.since <= version)
    };
    let tables = SEALED.iter().filter(there).map(|sealed| {
        let (id, table) = (sealed.key_id(), sealed.table);
        format!("SELECT {id} AS id, count(*) AS amount FROM {table} GROUP BY {id}")
    });
    std::iter::once(probe.to_owned()).chain(tables)
}

/// Adds what [`counts`] found.
fn add(sealing: &mut Sealing, sealer: &Sealer, rows: &[impl Columns]) -> Result<(), StoreError> {
    sealing.old.resize(sealer.old_ids().len(), 0);
    for row in rows {
        let (id, amount) = (row.bytes("id")?, u64::try_from(row.number("amount")?).unwrap_or(0));
        let old = sealer.old_ids().iter().position(|old| id == *old);
        let sum = match old.and_then(|old| sealing.old.get_mut(old)) {
            _ if id == sealer.current_id() => &mut sealing.current,
            Some(old) => old,
            None => &mut sealing.unknown,
        };
        *sum += amount;
    }
    Ok(())
}

/// How many rows need which key.
pub(super) async fn count(reads: &impl Reads, sealer: &Sealer) -> Result<Sealing, StoreError> {
    let mut sealing = Sealing::default();
    for statement in counts(i64::MAX) {
        add(&mut sealing, sealer, &reads.rows(&statement, &[]).await?)?;
    }
    Ok(sealing)
}

/// The same on a single connection, of a database that may be older.
pub(crate) async fn count_on(
    conn: &mut impl Writes,
    sealer: &Sealer,
    version: i64,
) -> Result<Sealing, StoreError> {
    let mut sealing = Sealing::default();
    for statement in counts(version) {
        add(&mut sealing, sealer, &conn.rows(&statement, &[]).await?)?;
    }
    Ok(sealing)
}

/// One step of sealing anew: a few rows of one table, in one commit.
pub(super) async fn step(
    store: &Sql<impl Reads>,
    ResealPosition { table, after }: ResealPosition,
) -> Result<Resealed, StoreError> {
    let Some(sealed) = SEALED.get(table) else { return Ok(Resealed::default()) };
    let old: Vec<KeyId> =
        store.sealer.old_ids().iter().copied().filter(|id| *id != store.sealer.current_id()).collect();
    if old.is_empty() {
        return Ok(Resealed::default());
    }
    let ids = old.iter().map(|id| Arg::Bytes(id));
    let Sealed { table: name, value, key, bound, .. } = sealed;
    // Texts sort above the empty one, numbers of rows above zero.
    let start = if sealed.from_text == TEXT { "" } else { "0" };
    let after = after.as_deref().unwrap_or(start);

    let statement = format!(
        "SELECT CAST({key} AS TEXT) AS key, CAST(length({value}) AS BIGINT) AS bytes FROM {name}
         WHERE {key} > {} AND {} ORDER BY {key} LIMIT $1",
        sealed.parameter(2),
        sealed.of_keys(3, old.len())
    );
    let args: Vec<Arg<'_>> = [STEP_ROWS.into(), after.into()].into_iter().chain(ids.clone()).collect();
    let found = store.reads.rows(&statement, &args).await?;
    let (mut last, mut bytes) = (None, 0);
    for row in &found {
        bytes += row.number("bytes")?;
        if last.is_some() && bytes > STEP_BYTES {
            break;
        }
        last = Some(row.text("key")?);
    }
    let Some(last) = last else {
        let table = table + 1;
        let next = (table < SEALED.len()).then_some(ResealPosition { table, after: None });
        return Ok(Resealed { next, ..Resealed::default() });
    };

    let statement = format!(
        "SELECT CAST({key} AS TEXT) AS key, {bound} AS bound, {value} AS value FROM {name}
         WHERE {key} > {} AND {key} <= {} AND {} ORDER BY {key}",
        sealed.parameter(1),
        sealed.parameter(2),
        sealed.of_keys(3, old.len())
    );
    let args: Vec<Arg<'_>> = [after.into(), (&last).into()].into_iter().chain(ids).collect();
    let mut resealed = Resealed::default();
    let mut anew = Vec::with_capacity(found.len());
    for row in store.reads.rows(&statement, &args).await? {
        let (bound, before) = (row.text("bound")?, row.bytes("value")?);
        let place = Place { column: sealed.column, row: &bound };
        let Ok(text) = store.sealer.open(place, &before) else {
            resealed.unreadable += 1;
            continue;
        };
        let after = store
            .sealer
            .seal(place, &text)
            .map_err(|source| StoreError::Seal { column: sealed.column, source })?;
        anew.push(ResealedRow { table, key: row.text("key")?, before, after });
    }
    resealed.rows = anew.len() as u64;
    if !anew.is_empty() {
        store.commit(Commit { reseal: anew, ..Commit::default() }).await?;
    }
    resealed.next = Some(ResealPosition { table, after: Some(last) });
    Ok(resealed)
}

/// Writes a row that was sealed anew.
pub(super) async fn write(conn: &mut impl Writes, row: &ResealedRow) -> Result<(), StoreError> {
    let Some(sealed) = SEALED.get(row.table) else { return Ok(()) };
    let Sealed { table, value, key, .. } = sealed;
    let statement =
        format!("UPDATE {table} SET {value} = $1 WHERE {key} = {} AND {value} = $3", sealed.parameter(2));
    conn.run(&statement, &[(&row.after).into(), (&row.key).into(), (&row.before).into()]).await.map(drop)
}
