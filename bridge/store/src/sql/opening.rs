//! What every opening does once the tables are there: whose database is it, and where do the queues stand.

use std::sync::Arc;

use bridge_core::envelope::Lane;

use super::{Columns, Writes};
use crate::error::StoreError;
use crate::feed::Gate;
use crate::inbox::InboxSeq;
use crate::seal::{Place, Sealer};

/// Opens only with a key that fits.
const PROBE: Place<'static> = Place { column: "meta.value", row: "probe" };

/// Where the queues stand.
pub(crate) struct Standing {
    /// The number of the next inbox row.
    pub(crate) next_inbox: i64,
    /// The number of the next outbox row.
    pub(crate) next_outbox: i64,
    /// The way of new rows to their lanes; lanes with rows from before start spilled.
    pub(crate) gate: Arc<Gate>,
}

/// Reads where the queues stand. `now` is the time in microseconds since 1970: numbers of rows that are gone must not
/// come again, for people and logs name rows by them.
pub(crate) async fn standing(
    conn: &mut impl Writes,
    now: i64,
    feed_budget_bytes: usize,
) -> Result<Standing, StoreError> {
    let last = "SELECT (SELECT coalesce(max(seq), 0) FROM inbox) AS inbox,
                       (SELECT coalesce(max(seq), 0) FROM outbox) AS outbox";
    let last = conn.rows(last, &[]).await?;
    let row = last.first().ok_or(StoreError::Unreadable { column: "inbox.seq" })?;
    // Above the rows that are there also when the clock went back, so that order holds.
    let next_inbox = now.max(row.number("inbox")? + 1);
    let next_outbox = now.max(row.number("outbox")? + 1);
    let pending = "SELECT lane, max(seq) AS latest FROM inbox WHERE state = 0 GROUP BY lane ORDER BY lane";
    let pending = conn.rows(pending, &[]).await?;
    let pending = pending
        .iter()
        .map(|row| Ok((Lane::from_key(row.text("lane")?), InboxSeq(row.number("latest")?))))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let gate = Arc::new(Gate::new(feed_budget_bytes, pending, InboxSeq(next_inbox - 1)));
    Ok(Standing { next_inbox, next_outbox, gate })
}

/// Makes a new database this workspace's and this key's; refuses another's, before a row of it fails to open.
pub(crate) async fn claim(
    conn: &mut impl Writes,
    workspace: &str,
    sealer: &Sealer,
) -> Result<(), StoreError> {
    let sealing = |source| StoreError::Seal { column: "meta.probe", source };
    let found = conn.rows("SELECT name, value FROM meta WHERE name IN ('workspace', 'probe')", &[]).await?;
    let mut probe = None;
    for row in &found {
        if row.text("name")? == "probe" {
            probe = Some(row.bytes("value")?);
            continue;
        }
        let found = String::from_utf8_lossy(&row.bytes("value")?).into_owned();
        if found != workspace {
            return Err(StoreError::Workspace { found, expected: workspace.to_owned() });
        }
    }
    if let Some(probe) = probe {
        sealer.open(PROBE, &probe).map_err(sealing)?;
        if sealer.is_current(&probe) {
            return Ok(());
        }
    }
    // One statement: a crash leaves both or none.
    let statement = "INSERT INTO meta (name, value) VALUES ('workspace', $1), ('probe', $2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let (workspace, probe) = (workspace.as_bytes().to_vec(), sealer.seal(PROBE, b"probe").map_err(sealing)?);
    conn.run(statement, &[(&workspace).into(), (&probe).into()]).await?;
    Ok(())
}
