//! Throws away what is too old, a little at a time so that commits wait for milliseconds only.

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Lane;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use crate::error::StoreError;
use crate::figures::{HeldExpired, Purged, Retention};
use crate::outbox::OutboxState;

/// Rows removed by one statement.
const CHUNK: i64 = 500;

/// Most statements of one kind in one purge; the rest goes next time.
const ROUNDS: usize = 200;

pub(super) async fn purge(
    conn: &mut SqliteConnection,
    now: Timestamp,
    retention: Retention,
) -> Result<Purged, StoreError> {
    let Retention { done, held, failed, mappings } = retention;
    let mut purged = Purged {
        keys: remove(
            conn,
            // The key of a row that is still there must stay: without it the row could come again.
            "DELETE FROM seen WHERE key IN (SELECT key FROM seen WHERE at < ?
             AND key NOT IN (SELECT key FROM inbox) ORDER BY at LIMIT ?)",
            now.minus(done),
        )
        .await?,
        ..Purged::default()
    };
    purged.parked_inbox = remove(
        conn,
        "DELETE FROM inbox WHERE seq IN (SELECT seq FROM inbox WHERE state = 2 AND received_at < ? LIMIT ?)",
        now.minus(done),
    )
    .await?;
    let expired = sqlx::query(
        "SELECT lane, count(*) AS rows FROM inbox WHERE state = 1 AND received_at < ? GROUP BY lane ORDER BY lane",
    )
    .bind(now.minus(held).0)
    .fetch_all(&mut *conn)
    .await?;
    for row in expired {
        let lane = Lane::from_key(row.try_get("lane")?);
        let chat: Option<String> = sqlx::query_scalar("SELECT id FROM chat WHERE 'd:' || id = ?")
            .bind(lane.as_str())
            .fetch_optional(&mut *conn)
            .await?;
        let chat = chat.and_then(|chat| bridge_core::id::ChatId::parse(chat).ok());
        let count: i64 = row.try_get("rows")?;
        purged.held.push(HeldExpired { lane, chat, count: u64::try_from(count).unwrap_or(0) });
    }
    remove(
        conn,
        "DELETE FROM inbox WHERE seq IN (SELECT seq FROM inbox WHERE state = 1 AND received_at < ? LIMIT ?)",
        now.minus(held),
    )
    .await?;
    debug_assert!(OutboxState::MaybeSent as u8 == 4 && OutboxState::Parked as u8 == 3);
    purged.failed = remove(
        conn,
        "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE state >= 3 AND at < ? LIMIT ?)",
        now.minus(failed),
    )
    .await?;
    if let Some(mappings) = mappings {
        purged.mappings = remove(
            conn,
            "DELETE FROM message WHERE (event, part) IN (SELECT event, part FROM message WHERE at < ? LIMIT ?)",
            now.minus(mappings),
        )
        .await?;
    }
    purged.sessions = remove(
        conn,
        "DELETE FROM session WHERE chat IN (SELECT chat FROM session WHERE expires_at < ? LIMIT ?)",
        now,
    )
    .await?;
    Ok(purged)
}

async fn remove(
    conn: &mut SqliteConnection,
    statement: &'static str,
    before: Timestamp,
) -> Result<u64, StoreError> {
    let mut total = 0;
    for _ in 0..ROUNDS {
        let removed =
            sqlx::query(statement).bind(before.0).bind(CHUNK).execute(&mut *conn).await?.rows_affected();
        total += removed;
        if removed < CHUNK.unsigned_abs() {
            break;
        }
    }
    Ok(total)
}
