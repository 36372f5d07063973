//! Throws away what is too old. Readers find it, the writer deletes it by key, a little at a time between the
//! commits, which wait for milliseconds only.

use std::collections::HashMap;

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Lane;
use bridge_core::id::ChatId;

use super::store::Sql;
use super::writer::Removal;
use super::{Arg, Columns, Reads};
use crate::crypto;
use crate::error::StoreError;
use crate::figures::{HeldExpired, Purged, Retention};
use crate::store::Store;

/// Rows removed by one transaction.
const STEP: u32 = 500;

/// How the old rows of a table are found and deleted. `{$n}` stands for the texts of a list.
struct Rule {
    /// Keys as text: older than `$1`, at most `$2`, narrowed by `$3` where the rule has a [`Narrow`].
    find: &'static str,
    /// Deletes the keys of the list `$1`.
    delete: &'static str,
}

/// What narrows a [`Rule`].
#[derive(Clone, Copy)]
enum Narrow<'a> {
    /// Nothing.
    None,
    /// A text.
    To(&'a str),
    /// Not these keys.
    Without(&'a [String]),
}

/// Narrowed by keys to be kept.
const KEYS: Rule = Rule {
    find: "SELECT key FROM seen WHERE at < $1 AND key NOT IN {$3} ORDER BY at LIMIT $2",
    delete: "DELETE FROM seen WHERE key IN {$1}",
};
const PARKED_INBOX: Rule = Rule {
    find: "SELECT CAST(seq AS TEXT) AS key FROM inbox WHERE received_at < $1 AND state = 2 LIMIT $2",
    delete: "DELETE FROM inbox WHERE seq IN (SELECT CAST(value AS BIGINT) FROM {$1} AS list)",
};
/// Narrowed to a lane.
const HELD: Rule = Rule {
    find: "SELECT CAST(seq AS TEXT) AS key FROM inbox WHERE received_at < $1 AND lane = $3 AND state = 1
           ORDER BY seq LIMIT $2",
    // One that was handled meanwhile is gone, one that was parked meanwhile stays.
    delete: "DELETE FROM inbox WHERE state = 1 AND seq IN (SELECT CAST(value AS BIGINT) FROM {$1} AS list)",
};
const FAILED: Rule = Rule {
    find: "SELECT CAST(seq AS TEXT) AS key FROM outbox WHERE at < $1 AND state >= 3 LIMIT $2",
    // One that was released meanwhile stays.
    delete: "DELETE FROM outbox WHERE state >= 3 AND seq IN (SELECT CAST(value AS BIGINT) FROM {$1} AS list)",
};
const MAPPINGS: Rule = Rule {
    find: "SELECT DISTINCT event AS key FROM message WHERE at < $1 LIMIT $2",
    delete: "DELETE FROM message WHERE event IN {$1}",
};
const EDITS: Rule = Rule {
    find: "SELECT event AS key FROM edit WHERE at < $1 LIMIT $2",
    delete: "DELETE FROM edit WHERE event IN {$1}",
};
/// Narrowed to a day.
const CRYPTO_SEEN: Rule = Rule {
    // Those without a day were written before there were days. PostgreSQL wants each parameter to be used.
    find: "SELECT name AS key FROM crypto WHERE kind = 'hash' AND belongs < $3 AND $1 > 0 LIMIT $2",
    delete: "DELETE FROM crypto WHERE name IN {$1}",
};
const SESSIONS: Rule = Rule {
    find: "SELECT chat AS key FROM session WHERE expires_at < $1 LIMIT $2",
    delete: "DELETE FROM session WHERE chat IN {$1}",
};

/// Writes the lists of a rule's statement in a database's own way.
fn statement<R: Reads>(text: &str) -> String {
    let mut statement = text.to_owned();
    for parameter in ["$1", "$3"] {
        statement = statement.replace(&format!("{{{parameter}}}"), &R::TEXTS.replace('@', parameter));
    }
    statement
}

pub(super) async fn purge(
    store: &Sql<impl Reads>,
    now: Timestamp,
    retention: Retention,
) -> Result<Purged, StoreError> {
    let Retention { done, held, failed, mappings } = retention;
    let done = now.minus(done);
    Ok(Purged {
        // Rows before their keys, so that the keys can go too.
        held: expire_held(store, now.minus(held)).await?,
        parked_inbox: remove(store, &PARKED_INBOX, done, Narrow::None).await?,
        keys: remove(store, &KEYS, done, Narrow::Without(&waiting_keys(store, done).await?)).await?
            + remove(store, &CRYPTO_SEEN, done, Narrow::To(&crypto::day(done))).await?,
        failed: remove(store, &FAILED, now.minus(failed), Narrow::None).await?,
        mappings: match mappings {
            Some(kept) => {
                let before = now.minus(kept);
                remove(store, &MAPPINGS, before, Narrow::None).await?
                    + remove(store, &EDITS, before, Narrow::None).await?
            }
            None => 0,
        },
        sessions: remove(store, &SESSIONS, now, Narrow::None).await?,
    })
}

/// Removes what a rule finds, page by page.
async fn remove<R: Reads>(
    store: &Sql<R>,
    rule: &Rule,
    before: Timestamp,
    narrow: Narrow<'_>,
) -> Result<u64, StoreError> {
    let (find, delete) = (statement::<R>(rule.find), statement::<R>(rule.delete));
    let mut args: Vec<Arg<'_>> = vec![before.0.into(), STEP.into()];
    match narrow {
        Narrow::None => {}
        Narrow::To(text) => args.push(text.into()),
        Narrow::Without(keys) => args.push(keys.into()),
    }
    let mut total = 0;
    loop {
        let found = store.reads.rows(&find, &args).await?;
        let keys = found.iter().map(|row| row.text("key")).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Ok(total);
        }
        let removed = store.writer.remove(Removal { statement: delete.clone(), keys }).await?;
        total += removed;
        // What a commit changed meanwhile is not removed; the next purge looks again.
        if removed == 0 {
            return Ok(total);
        }
    }
}

/// Keys of old rows that are still there: without its key such a row could be accepted again.
async fn waiting_keys(store: &Sql<impl Reads>, before: Timestamp) -> Result<Vec<String>, StoreError> {
    let found = store.reads.rows("SELECT key FROM inbox WHERE received_at < $1", &[before.0.into()]).await?;
    found.iter().map(|row| row.text("key")).collect()
}

async fn expire_held(store: &Sql<impl Reads>, before: Timestamp) -> Result<Vec<HeldExpired>, StoreError> {
    let lanes = "SELECT DISTINCT lane FROM inbox WHERE state = 1 AND received_at < $1 ORDER BY lane";
    let lanes = store.reads.rows(lanes, &[before.0.into()]).await?;
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let mut chats: HashMap<Lane, ChatId> =
        store.chats().await?.into_iter().map(|chat| (Lane::from_chat(chat.id.as_str()), chat.id)).collect();
    let mut expired = Vec::new();
    for row in lanes {
        let lane = Lane::from_key(row.text("lane")?);
        let count = remove(store, &HELD, before, Narrow::To(lane.as_str())).await?;
        if count > 0 {
            expired.push(HeldExpired { chat: chats.remove(&lane), lane, count });
        }
    }
    Ok(expired)
}
