//! Closes what a database that was put back would do a second time.

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Source;

use super::Writes;
use super::crypto::RATCHETS;
use crate::backup::Restored;
use crate::error::StoreError;
use crate::outbox::{Network, OutboxState};

/// The code of what was closed.
const CODE: &str = "restored";

/// Inside a transaction.
pub(crate) async fn settle(conn: &mut impl Writes, now: Timestamp) -> Result<Restored, StoreError> {
    let posts = "UPDATE outbox SET state = $1, code = $2, at = $3 WHERE network = $4 AND state < $5";
    let args = [
        (OutboxState::MaybeSent as u8).into(),
        CODE.into(),
        now.0.into(),
        (Network::DingTalk as u8).into(),
        (OutboxState::Parked as u8).into(),
    ];
    let posts = conn.run(posts, &args).await?;
    let events = "UPDATE inbox SET state = 2, code = $1 WHERE state = 0 AND source = $2";
    let events = conn.run(events, &[CODE.into(), (Source::Matrix as u8).into()]).await?;
    // Without a watermark a room is read from its newest event on.
    let chats = conn.run("UPDATE chat SET synced_to = NULL WHERE synced_to IS NOT NULL", &[]).await?;
    // What was encrypted after the backup used steps of these; others are made when they are needed.
    for kind in RATCHETS {
        conn.run("DELETE FROM crypto WHERE kind = $1", &[kind.into()]).await?;
    }
    Ok(Restored { posts, events, chats })
}
