//! Sealing, as far as the database is concerned.

use bridge_core::secret::Secret;
use bridge_store::{Commit, StoreError};

use super::state::{link_value, session_value};
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
    database.tamper("UPDATE link SET app_secret = (SELECT value FROM setting WHERE name = 's2')").await;

    let lane = bridge_core::envelope::Lane::from_chat("a");
    let inbox = store.pending_inbox(&lane, InboxSeq(0), 1).await.unwrap_err();
    let outbox = store.outbox_item(seq).await.unwrap_err();
    let session = store.session(&chat_id("cid1")).await.unwrap_err();
    let value = store.setting("s1").await.unwrap_err();
    let secret = store.link().await.unwrap_err();
    for error in [inbox, outbox, session, value, secret] {
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
    let lane = bridge_core::envelope::Lane::from_chat("a");
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
