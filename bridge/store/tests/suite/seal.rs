//! Sealing, as far as the database is concerned.

use bridge_core::envelope::Lane;
use bridge_core::secret::Secret;
use bridge_store::{Commit, OutboxRewrite, ResealPosition, Sealing, StoreError};

use super::state::{self, link_value, session_value};
use super::*;

fn setting(name: &str, value: &str) -> Commit {
    Commit { settings: vec![(name.to_owned(), Some(Secret::new(value)))], ..Commit::default() }
}

pub async fn values_do_not_open_in_another_row(database: impl Database) {
    let store = open(&database).await;
    let item = outbox_item(&*store, "a", "o1");
    let (seq, other) = (item.seq, outbox_item(&*store, "a", "o2"));
    let commit = Commit {
        accept: vec![envelope("a", "k1"), envelope("a", "k2")],
        enqueue: vec![item, other],
        session: vec![(chat_id("cid1"), session_value()), (chat_id("cid2"), session_value())],
        settings: vec![("s1".to_owned(), Some(Secret::new("1"))), ("s2".to_owned(), Some(Secret::new("2")))],
        crypto: vec![state::crypto("own", "1", "", ""), state::crypto("own", "2", "", "")],
        link: Some(Some(link_value())),
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
    database
        .tamper("UPDATE inbox SET body = (SELECT body FROM inbox WHERE key = 'k2') WHERE key = 'k1'")
        .await;
    database.tamper("UPDATE outbox SET op = (SELECT op FROM outbox WHERE key = 'o2') WHERE key = 'o1'").await;
    database
        .tamper("UPDATE session SET webhook = (SELECT webhook FROM session WHERE chat = 'cid2') WHERE chat = 'cid1'")
        .await;
    database
        .tamper("UPDATE setting SET value = (SELECT value FROM setting WHERE name = 's2') WHERE name = 's1'")
        .await;
    database
        .tamper(
            "UPDATE crypto SET value = (SELECT value FROM crypto WHERE name = 'own/2') WHERE name = 'own/1'",
        )
        .await;
    database.tamper("UPDATE link SET app_secret = (SELECT value FROM setting WHERE name = 's2')").await;

    let lane = Lane::from_chat("a");
    let inbox = store.pending_inbox(&lane, InboxSeq(0), 1).await.unwrap_err();
    let outbox = store.outbox_item(seq).await.unwrap_err();
    let session = store.session(&chat_id("cid1")).await.unwrap_err();
    let value = store.setting("s1").await.unwrap_err();
    let secret = store.link().await.unwrap_err();
    let record = store.crypto_record("own", "1").await.unwrap_err();
    for error in [inbox, outbox, session, value, secret, record] {
        assert_eq!(error.code(), "seal_forged", "{error}");
    }
    assert_eq!(store.setting("s2").await.unwrap(), Some(Secret::new("2")));
}

pub async fn another_workspace_is_refused(database: impl Database) {
    open(&database).await.close().await.unwrap();
    let Err(error) = database.open(Setup { workspace: "other", ..Setup::default() }).await else {
        panic!("opened")
    };
    assert!(matches!(&error, StoreError::Workspace { found, .. } if found == "acme"), "{error}");
    // Nor does renaming the workspace in the database help.
    database.tamper("UPDATE meta SET value = 'other' WHERE name = 'workspace'").await;
    let Err(error) = database.open(Setup { workspace: "other", ..Setup::default() }).await else {
        panic!("opened")
    };
    assert_eq!(error.code(), "seal_forged");
}

pub async fn an_old_key_still_opens(database: impl Database) {
    let store = open(&database).await;
    store.commit(setting("s1", "before")).await.unwrap();
    store.commit(accept([envelope("a", "k1")])).await.unwrap();
    store.close().await.unwrap();
    let rotated = database.open(Setup { key: 2, old: vec![1], ..Setup::default() }).await.unwrap();
    assert_eq!(rotated.setting("s1").await.unwrap(), Some(Secret::new("before")));
    assert_eq!(keys(&pending(&*rotated, "a").await), ["k1"]);
    rotated.commit(setting("s1", "after")).await.unwrap();
    rotated.close().await.unwrap();
    let after = database.open(Setup { key: 2, ..Setup::default() }).await.unwrap();
    assert_eq!(after.setting("s1").await.unwrap(), Some(Secret::new("after")));
    let lane = Lane::from_chat("a");
    let error = after.pending_inbox(&lane, InboxSeq(0), 1).await.unwrap_err();
    assert_eq!(error.code(), "seal_unknown_key");
}

pub async fn a_wrong_key_is_refused_at_opening(database: impl Database) {
    open(&database).await.close().await.unwrap();
    let Err(error) = database.open(Setup { key: 2, ..Setup::default() }).await else { panic!("opened") };
    assert_eq!(error.code(), "seal_unknown_key");
    assert!(!error.is_retryable());
    // It did no harm.
    open(&database).await.check().await.unwrap();
}

/// More bytes than one step takes.
const LARGE: usize = (1 << 20) + 1;

/// Rows in every table that holds sealed values: more than one step takes, and one that is larger than a step.
pub async fn fill(store: &dyn Store, rows: usize) {
    let large = Envelope { body: vec![b'x'; LARGE], ..envelope("large", "large") };
    let commit = Commit {
        accept: (0..rows).map(|row| envelope("a", &format!("k{row}"))).chain([large]).collect(),
        enqueue: (0..rows).map(|row| outbox_item(store, "b", &format!("o{row}"))).collect(),
        session: vec![(chat_id("cid1"), session_value()), (chat_id("cid2"), session_value())],
        settings: (0..3).map(|row| (format!("s{row}"), Some(Secret::new(format!("v{row}"))))).collect(),
        link: Some(Some(link_value())),
        crypto: vec![
            state::crypto("own", "account", "", ""),
            state::crypto("outbound", "!r", "", ""),
            state::crypto("olm", "s1", "k1", ""),
        ],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
}

/// Steps through all tables; how many rows were sealed anew, did not open, and in how many steps.
async fn reseal(store: &dyn Store) -> (u64, u64, usize) {
    let (mut rows, mut unreadable, mut steps) = (0, 0, 0);
    let mut position = Some(ResealPosition::default());
    while let Some(from) = position {
        let step = store.reseal(from).await.unwrap();
        (rows, unreadable, steps) = (rows + step.rows, unreadable + step.unreadable, steps + 1);
        position = step.next;
    }
    (rows, unreadable, steps)
}

pub async fn everything_is_sealed_anew_and_the_old_key_can_go(database: impl Database) {
    const ROWS: usize = 250;
    // Two lists, the large row, sessions, settings, the link, and records of the device.
    const SEALED: u64 = 2 * ROWS as u64 + 1 + 2 + 3 + 1 + 3;
    let store = open(&database).await;
    fill(&*store, ROWS).await;
    assert_eq!(store.sealing().await.unwrap(), Sealing { current: SEALED + 1, ..Sealing::default() });
    assert_eq!(reseal(&*store).await.0, 0, "there is no old key");
    store.close().await.unwrap();

    let rotated = database.open(Setup { key: 2, old: vec![3, 1], ..Setup::default() }).await.unwrap();
    // The probe is sealed anew by opening.
    let before = Sealing { current: 1, old: vec![0, SEALED], unknown: 0 };
    assert_eq!(rotated.sealing().await.unwrap(), before);
    assert_eq!(before.rows_with_old_keys(), SEALED);
    let (rows, unreadable, steps) = reseal(&*rotated).await;
    assert_eq!((rows, unreadable), (SEALED, 0));
    assert!(steps > 6, "in {steps} steps: not bounded");
    let after = Sealing { current: SEALED + 1, old: vec![0, 0], unknown: 0 };
    assert_eq!(rotated.sealing().await.unwrap(), after);
    assert_eq!(reseal(&*rotated).await.0, 0, "twice");
    rotated.close().await.unwrap();

    let without = database.open(Setup { key: 2, ..Setup::default() }).await.unwrap();
    let pending = pending(&*without, "a").await;
    assert_eq!(pending.len(), ROWS);
    assert!(pending.iter().all(|item| item.envelope == envelope("a", &item.envelope.key)));
    let large = without.pending_inbox(&Lane::from_chat("large"), InboxSeq(0), 1).await.unwrap();
    assert_eq!(large[0].envelope.body, vec![b'x'; LARGE]);
    let outbox = without.unfinished_outbox(&Lane::from_chat("b"), 1_000).await.unwrap();
    assert_eq!(outbox.len(), ROWS);
    assert!(outbox.iter().all(|row| row.item.op == format!("op of {}", row.item.key).into_bytes()));
    assert_eq!(without.session(&chat_id("cid2")).await.unwrap(), Some(session_value()));
    assert_eq!(without.setting("s1").await.unwrap(), Some(Secret::new("v1")));
    assert_eq!(without.link().await.unwrap(), Some(link_value()));
}

pub async fn sealing_anew_goes_on_after_a_crash_and_leaves_what_changed_meanwhile(database: impl Database) {
    let store = open(&database).await;
    fill(&*store, 250).await;
    store.close().await.unwrap();
    let rotated = || Setup { key: 2, old: vec![1], ..Setup::default() };
    let store = database.open(rotated()).await.unwrap();
    let all = store.sealing().await.unwrap().rows_with_old_keys();
    let mut position = ResealPosition::default();
    let mut done = 0;
    while done < all / 2 {
        let step = store.reseal(position).await.unwrap();
        done += step.rows;
        position = step.next.unwrap();
    }
    let crashed = database.after_crash().await;
    drop(store);
    let store = crashed.open(rotated()).await.unwrap();
    assert_eq!(store.sealing().await.unwrap().rows_with_old_keys(), all - done);

    // What commits do while it goes on is what counts.
    let lane = Lane::from_chat("b");
    let last = store.unfinished_outbox(&lane, 1_000).await.unwrap().pop().unwrap().item;
    let rewrite = OutboxRewrite { seq: last.seq, key: last.key.clone(), op: b"further".to_vec() };
    let pending = pending(&*store, "a").await;
    let handled = pending.iter().map(|item| item.seq).collect::<Vec<_>>();
    let commit = Commit { done: handled, rewrite: vec![rewrite], ..setting("s1", "changed") };
    let (stepped, committed) = tokio::join!(reseal(&*store), store.commit(commit));
    committed.unwrap();
    assert_eq!(stepped.1, 0);
    assert_eq!(store.sealing().await.unwrap().rows_with_old_keys(), 0);
    assert_eq!(store.outbox_item(last.seq).await.unwrap().unwrap().item.op, b"further");
    assert_eq!(store.setting("s1").await.unwrap(), Some(Secret::new("changed")));
    assert!(super::pending(&*store, "a").await.is_empty());
}

pub async fn what_does_not_open_is_left_and_counted(database: impl Database) {
    let store = open(&database).await;
    store.commit(setting("s1", "1")).await.unwrap();
    store.commit(setting("s2", "2")).await.unwrap();
    store.close().await.unwrap();
    let store = database.open(Setup { key: 2, old: vec![1], ..Setup::default() }).await.unwrap();
    store.commit(setting("s3", "3")).await.unwrap();
    store.close().await.unwrap();
    database
        .tamper("UPDATE setting SET value = (SELECT value FROM setting WHERE name = 's2') WHERE name = 's1'")
        .await;
    let store = database.open(Setup { key: 4, old: vec![1, 2], ..Setup::default() }).await.unwrap();
    let (rows, unreadable, _) = reseal(&*store).await;
    assert_eq!((rows, unreadable), (2, 1));
    assert_eq!(store.sealing().await.unwrap(), Sealing { current: 3, old: vec![1, 0], unknown: 0 });
    store.close().await.unwrap();
    // Its key is not given any more.
    let store = database.open(Setup { key: 4, ..Setup::default() }).await.unwrap();
    assert_eq!(store.sealing().await.unwrap(), Sealing { current: 3, old: vec![], unknown: 1 });
    assert_eq!(reseal(&*store).await.0, 0);
    assert_eq!(store.setting("s1").await.unwrap_err().code(), "seal_unknown_key");
}
