//! A database moves to the other kind and back with all it holds, or not at all.

use std::path::Path;

use bridge_store::{Copied, Place, copy, sqlite};

use super::*;
use crate::suite::{accept, envelope, fill, keys, open, pending};

async fn moved(from: &Place, to: &Place) -> Result<Copied, StoreError> {
    copy(from, to, "acme", keyring(&Setup::default()), &|_| {}).await
}

/// The same, once nobody works on either: the server takes note of a closed connection a moment later.
async fn moved_when_free(from: &Place, to: &Place) -> Result<Copied, StoreError> {
    let free = test_support::wait_until(Duration::from_secs(30), "the databases to be free", async || {
        let moved = moved(from, to).await;
        (moved.as_ref().err().map(StoreError::code) != Some("database_in_use")).then_some(moved)
    });
    free.await.unwrap()
}

async fn open_file(path: &Path) -> Arc<dyn Store> {
    sqlite::open(sqlite::Options::new(path, "acme"), keyring(&Setup::default())).await.unwrap()
}

fn code<T>(result: Result<T, StoreError>) -> &'static str {
    result.err().map_or("no error", |error| error.code())
}

async fn filled(path: &Path) -> Arc<dyn Store> {
    let store = open_file(path).await;
    fill(&*store).await;
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_moves_there_and_back_and_is_the_same() {
    let (folder, own) = (tempfile::tempdir().unwrap(), Own::new().await);
    let (file, back) = (folder.path().join("bridge.db"), folder.path().join("back.db"));
    let (first, server, second) =
        (Place::Sqlite(file.clone()), Place::Postgres(own.server()), Place::Sqlite(back.clone()));
    let store = filled(&file).await;
    assert_eq!(code(moved(&first, &server).await), "database_in_use", "a bridge works on the source");
    store.close().await.unwrap();

    let copied = moved_when_free(&first, &server).await.unwrap();
    assert!(!copied.already);
    assert!(copied.tables.iter().all(|(_, rows)| *rows > 0), "a table was not tried: {copied:?}");
    let seen = copied.tables.iter().find(|(table, _)| *table == "seen").unwrap();
    assert_eq!(seen.1, 1_200 + 71);
    assert_eq!(
        moved_when_free(&first, &server).await.unwrap(),
        Copied { already: true, ..copied.clone() },
        "again"
    );
    assert_eq!(moved_when_free(&server, &second).await.unwrap(), copied);
    assert_eq!(moved_when_free(&first, &second).await.unwrap(), Copied { already: true, ..copied });

    // It works there: what comes again is known, what waits is handed out in its order.
    let store = open(&own).await;
    let again = ["m3-7\0é项", "k5", "new"].map(|key| envelope("a", key));
    let committed = store.commit(accept(again)).await.unwrap();
    assert_eq!((committed.accepted, committed.duplicates), (1, 2));
    let waiting = pending(&*store, "a").await;
    assert_eq!(waiting.len(), 71);
    assert_eq!((keys(&waiting)[0], keys(&waiting)[70]), ("k0", "new"));
    assert_eq!(code(moved(&first, &server).await), "database_in_use", "a bridge works on the target");
    store.close().await.unwrap();
    assert_eq!(code(moved_when_free(&first, &server).await), "database_not_empty");
    assert_eq!(own.sql("SELECT count(*) FROM seen").await, "1272", "what is there is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_whole_leaves_nothing() {
    let (folder, own) = (tempfile::tempdir().unwrap(), Own::new().await);
    let file = folder.path().join("bridge.db");
    let (source, target) = (Place::Sqlite(file.clone()), Place::Postgres(own.server()));
    assert_eq!(code(moved(&source, &target).await), "database_file", "no empty source is made");
    filled(&file).await.close().await.unwrap();

    let wrong = copy(&source, &target, "other", keyring(&Setup::default()), &|_| {}).await;
    assert_eq!(code(wrong), "database_workspace");
    let wrong = copy(&source, &target, "acme", keyring(&Setup { key: 9, ..Setup::default() }), &|_| {}).await;
    assert_eq!(code(wrong), "database_migration", "the target could not read it");
    postgres::migrate(&own.server()).await.unwrap();
    // One of the last tables takes nothing: the first ones are not kept either.
    own.sql("ALTER TABLE setting ADD CONSTRAINT none CHECK (name = '')").await;
    assert_eq!(code(moved(&source, &target).await), "database_conflict");
    // Another one changes what it takes.
    own.sql(
        "ALTER TABLE setting DROP CONSTRAINT none;
         CREATE FUNCTION other() RETURNS trigger AS $$ BEGIN NEW.at = NEW.at + 1; RETURN NEW; END $$ LANGUAGE plpgsql;
         CREATE TRIGGER other BEFORE INSERT ON seen FOR EACH ROW EXECUTE FUNCTION other()",
    )
    .await;
    assert_eq!(code(moved(&source, &target).await), "database_copy_differs");
    for table in ["meta", "seen", "inbox", "outbox", "message", "chat"] {
        assert_eq!(own.sql(&format!("SELECT count(*) FROM {table}")).await, "0", "{table}");
    }
    own.sql("DROP TRIGGER other ON seen").await;
    // It stopped in the middle: nothing, and the next one succeeds.
    let one = source.clone();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let interrupted = tokio::spawn({
        let target = target.clone();
        async move {
            let tell = move |_| {
                let _ = tell.send(());
            };
            copy(&one, &target, "acme", keyring(&Setup::default()), &tell).await
        }
    });
    told.recv().await.unwrap();
    interrupted.abort();
    let _ = interrupted.await;
    let whole = test_support::wait_until(Duration::from_secs(30), "the lock to be free", async || {
        moved(&source, &target).await.ok()
    });
    assert!(!whole.await.unwrap().already || told.is_closed());
}
