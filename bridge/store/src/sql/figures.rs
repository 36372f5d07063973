//! How many there are of what.

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Source;
use bridge_core::portal::ChatState;

use super::store::{HELD, PENDING, Sql};
use super::{Columns, Reads, crypto};
use crate::error::StoreError;
use crate::figures::{ChatFigures, Depth, InboxDepth, OutboxDepth};
use crate::outbox::Network;

/// How full the queues are.
pub(super) async fn depth(store: &Sql<impl Reads>) -> Result<Depth, StoreError> {
    let mut depth = Depth { feed_bytes: store.gate.used(), ..Depth::default() };
    let inbox = "SELECT source, state, count(*) AS amount, min(received_at) AS oldest FROM inbox
                 GROUP BY source, state";
    let inbox = store.reads.rows(inbox, &[]).await?;
    for row in inbox {
        let source = Source::from_u8(row.small("source")?);
        let direction = match source {
            Some(Source::Matrix | Source::Backfill) => &mut depth.from_matrix,
            _ => &mut depth.from_dingtalk,
        };
        let oldest = Timestamp(row.number("oldest")?);
        add_inbox(direction, row.small("state")?, unsigned(row.number("amount")?), oldest);
    }
    let outbox =
        "SELECT network, state >= 3 AS failed, count(*) AS amount, min(created_at) AS oldest FROM outbox
                  GROUP BY network, state >= 3";
    let outbox = store.reads.rows(outbox, &[]).await?;
    for row in outbox {
        let direction: &mut OutboxDepth = match Network::from_u8(row.small("network")?) {
            Some(Network::DingTalk) => &mut depth.to_dingtalk,
            _ => &mut depth.to_matrix,
        };
        let count = unsigned(row.number("amount")?);
        if row.flag("failed")? {
            direction.failed += count;
        } else {
            direction.unfinished += count;
            direction.oldest = Some(Timestamp(row.number("oldest")?));
        }
    }
    Ok(depth)
}

/// How many chats there are.
pub(super) async fn chats(store: &Sql<impl Reads>) -> Result<ChatFigures, StoreError> {
    let mut figures = ChatFigures::default();
    let states = "SELECT state, count(*) AS amount, max(last_message) AS latest FROM chat GROUP BY state";
    let states = store.reads.rows(states, &[]).await?;
    for row in states {
        let state = row.text("state")?;
        let count = unsigned(row.number("amount")?);
        match ChatState::parse(&state) {
            Some(ChatState::Bridging | ChatState::Bridged) => figures.bridged += count,
            Some(ChatState::Seen) => figures.seen += count,
            _ => {}
        }
        // Zero stands in the row of a chat from which nothing came yet.
        let last = Some(Timestamp(row.number("latest")?)).filter(|last| last.0 > 0);
        figures.last_message = figures.last_message.max(last);
    }
    let encrypted = "SELECT count(*) AS amount FROM chat WHERE state IN ($1, $2)
                     AND EXISTS (SELECT 1 FROM crypto WHERE crypto.name = $3 || chat.room)";
    let of_rooms = crypto::key(crypto::ROOM, "");
    let args = [ChatState::Bridging.as_str().into(), ChatState::Bridged.as_str().into(), (&of_rooms).into()];
    if let Some(row) = store.reads.row(encrypted, &args).await? {
        figures.encrypted = unsigned(row.number("amount")?);
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
