//! Throws away what is too old. Readers find it, the writer deletes it by key, a little at a time between the
//! commits, which wait for milliseconds only.

use std::collections::HashMap;

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Lane;
use bridge_core::id::ChatId;
use sqlx::Row;

use super::read::Sqlite;
use super::writer::Removal;
use crate::error::StoreError;
use crate::figures::{HeldExpired, Purged, Retention};
use crate::store::Store;

/// Rows removed by one transaction.
const STEP: u32 = 500;

/// How the old rows of a table are found and deleted.
struct Rule {
    /// Keys as text: older than `?1`, narrowed by `?2`, at most `?3`.
    find: &'static str,
    /// Deletes the keys of the JSON array `?1`.
    delete: &'static str,
}

/// `?2`: a JSON array of keys to be kept.
const KEYS: Rule = Rule {
    find: "SELECT key FROM seen WHERE at < ?1 AND key NOT IN (SELECT value FROM json_each(?2)) ORDER BY at LIMIT ?3",
    delete: "DELETE FROM seen WHERE key IN (SELECT value FROM json_each(?1))",
};
/// `?2`: a number as text, the state.
const INBOX_STATE: Rule = Rule {
    find: "SELECT CAST(seq AS TEXT) FROM inbox WHERE received_at < ?1 AND state = CAST(?2 AS INTEGER) LIMIT ?3",
    delete: "DELETE FROM inbox WHERE seq IN (SELECT CAST(value AS INTEGER) FROM json_each(?1))",
};
/// `?2`: the lane.
const HELD: Rule = Rule {
    find: "SELECT CAST(seq AS TEXT) FROM inbox WHERE received_at < ?1 AND lane = ?2 AND state = 1 ORDER BY seq LIMIT ?3",
    // One that was handled meanwhile is gone, one that was parked meanwhile stays.
    delete: "DELETE FROM inbox WHERE state = 1 AND seq IN (SELECT CAST(value AS INTEGER) FROM json_each(?1))",
};
/// `?2`: not used.
const FAILED: Rule = Rule {
    find: "SELECT CAST(seq AS TEXT) FROM outbox WHERE at < ?1 AND state >= 3 AND ?2 = '' LIMIT ?3",
    // One that was released meanwhile stays.
    delete: "DELETE FROM outbox WHERE state >= 3 AND seq IN (SELECT CAST(value AS INTEGER) FROM json_each(?1))",
};
/// `?2`: not used.
const MAPPINGS: Rule = Rule {
    find: "SELECT DISTINCT event FROM message WHERE at < ?1 AND ?2 = '' LIMIT ?3",
    delete: "DELETE FROM message WHERE event IN (SELECT value FROM json_each(?1))",
};
/// `?2`: not used.
const SESSIONS: Rule = Rule {
    find: "SELECT chat FROM session WHERE expires_at < ?1 AND ?2 = '' LIMIT ?3",
    delete: "DELETE FROM session WHERE chat IN (SELECT value FROM json_each(?1))",
};

pub(super) async fn purge(
    store: &Sqlite,
    now: Timestamp,
    retention: Retention,
) -> Result<Purged, StoreError> {
    let Retention { done, held, failed, mappings } = retention;
    let done = now.minus(done);
    Ok(Purged {
        // Rows before their keys, so that the keys can go too.
        held: expire_held(store, now.minus(held)).await?,
        parked_inbox: remove(store, &INBOX_STATE, done, "2").await?,
        keys: remove(store, &KEYS, done, &waiting_keys(store, done).await?).await?,
        failed: remove(store, &FAILED, now.minus(failed), "").await?,
        mappings: match mappings {
            Some(kept) => remove(store, &MAPPINGS, now.minus(kept), "").await?,
            None => 0,
        },
        sessions: remove(store, &SESSIONS, now, "").await?,
    })
}

/// Removes what a rule finds, page by page.
async fn remove(store: &Sqlite, rule: &Rule, before: Timestamp, narrow: &str) -> Result<u64, StoreError> {
    let mut total = 0;
    loop {
        let keys: Vec<String> = sqlx::query_scalar(rule.find)
            .bind(before.0)
            .bind(narrow)
            .bind(STEP)
            .fetch_all(&store.readers)
            .await?;
        if keys.is_empty() {
            return Ok(total);
        }
        let removal = Removal { statement: rule.delete, keys: serde_json::Value::from(keys).to_string() };
        let removed = store.writer.remove(removal).await?;
        total += removed;
        // What a commit changed meanwhile is not removed; the next purge looks again.
        if removed == 0 {
            return Ok(total);
        }
    }
}

/// Keys of old rows that are still there: without its key such a row could be accepted again.
async fn waiting_keys(store: &Sqlite, before: Timestamp) -> Result<String, StoreError> {
    let keys: Vec<String> = sqlx::query_scalar("SELECT key FROM inbox WHERE received_at < ?")
        .bind(before.0)
        .fetch_all(&store.readers)
        .await?;
    Ok(serde_json::Value::from(keys).to_string())
}

async fn expire_held(store: &Sqlite, before: Timestamp) -> Result<Vec<HeldExpired>, StoreError> {
    let lanes =
        sqlx::query("SELECT DISTINCT lane FROM inbox WHERE state = 1 AND received_at < ? ORDER BY lane")
            .bind(before.0)
            .fetch_all(&store.readers)
            .await?;
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let mut chats: HashMap<Lane, ChatId> =
        store.chats().await?.into_iter().map(|chat| (Lane::from_chat(chat.id.as_str()), chat.id)).collect();
    let mut expired = Vec::new();
    for row in lanes {
        let lane = Lane::from_key(row.try_get(0)?);
        let count = remove(store, &HELD, before, lane.as_str()).await?;
        if count > 0 {
            expired.push(HeldExpired { chat: chats.remove(&lane), lane, count });
        }
    }
    Ok(expired)
}
