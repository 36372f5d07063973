//! How many there are of what.

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Source;
use bridge_core::portal::ChatState;
use sqlx::Row;

use super::read::{HELD, PENDING, Sqlite};
use crate::error::StoreError;
use crate::figures::{ChatFigures, Depth, InboxDepth, OutboxDepth};
use crate::outbox::Network;

/// How full the queues are.
pub(super) async fn depth(store: &Sqlite) -> Result<Depth, StoreError> {
    let mut depth = Depth { feed_bytes: store.gate.used(), ..Depth::default() };
    let inbox = sqlx::query(
        "SELECT source, state, count(*) AS rows, min(received_at) AS oldest FROM inbox GROUP BY source, state",
    )
    .fetch_all(&store.readers)
    .await?;
    for row in inbox {
        let source = Source::from_u8(row.try_get("source")?);
        let direction = match source {
            Some(Source::Matrix | Source::Backfill) => &mut depth.from_matrix,
            _ => &mut depth.from_dingtalk,
        };
        let oldest = Timestamp(row.try_get("oldest")?);
        add_inbox(direction, row.try_get("state")?, unsigned(row.try_get("rows")?), oldest);
    }
    let outbox = sqlx::query(
        "SELECT network, state >= 3 AS failed, count(*) AS rows, min(created_at) AS oldest FROM outbox
         GROUP BY network, state >= 3",
    )
    .fetch_all(&store.readers)
    .await?;
    for row in outbox {
        let direction: &mut OutboxDepth = match Network::from_u8(row.try_get("network")?) {
            Some(Network::DingTalk) => &mut depth.to_dingtalk,
            _ => &mut depth.to_matrix,
        };
        let count = unsigned(row.try_get("rows")?);
        if row.try_get("failed")? {
            direction.failed += count;
        } else {
            direction.unfinished += count;
            direction.oldest = Some(Timestamp(row.try_get("oldest")?));
        }
    }
    Ok(depth)
}

/// How many chats there are.
pub(super) async fn chats(store: &Sqlite) -> Result<ChatFigures, StoreError> {
    let mut figures = ChatFigures::default();
    let states =
        sqlx::query("SELECT state, count(*) AS rows, max(last_message) AS last FROM chat GROUP BY state")
            .fetch_all(&store.readers)
            .await?;
    for row in states {
        let state: String = row.try_get("state")?;
        let count = unsigned(row.try_get("rows")?);
        match ChatState::parse(&state) {
            Some(ChatState::Bridging | ChatState::Bridged) => figures.bridged += count,
            Some(ChatState::Seen) => figures.seen += count,
            _ => {}
        }
        // Zero stands in the row of a chat from which nothing came yet.
        let last = Some(Timestamp(row.try_get("last")?)).filter(|last| last.0 > 0);
        figures.last_message = figures.last_message.max(last);
    }
    Ok(figures)
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Adds the figures of one group of inbox rows.
fn add_inbox(depth: &mut InboxDepth, state: u8, count: u64, oldest: Timestamp) {
    match state {
        PENDING => {
            depth.pending += count;
            depth.oldest = Some(depth.oldest.map_or(oldest, |known| known.min(oldest)));
        }
        HELD => depth.held += count,
        _ => depth.parked += count,
    }
}
