//! The shared promises on SQLite, and what only a file can do wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]
#![allow(unreachable_pub, reason = "the suite is shared by one test binary per database")]

mod suite;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Lane;
use bridge_store::backup::{self, Present};
use bridge_store::{Commit, CryptoRecords, Keyring, OutboxItem, Store, StoreError, sqlite};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::suite::{Database, Setup, accept, envelope, fill, keys, open, outbox_item, pending};

struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn path(&self) -> PathBuf {
        self.folder.path().join("bridge.db")
    }
}

impl Database for File {
    fn create() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    async fn open(&self, setup: Setup) -> Result<Arc<dyn Store>, StoreError> {
        let keys = Keyring::new([setup.key; 32], setup.old.into_iter().map(|key| [key; 32]).collect());
        let options = sqlite::Options {
            feed_budget_bytes: setup.feed_budget_bytes,
            ..sqlite::Options::new(self.path(), setup.workspace)
        };
        sqlite::open(options, keys).await
    }

    /// The files as they are on disk now: what was written and not flushed counts too, as after `kill -9`.
    async fn after_crash(&self) -> Self {
        let copy = Self::create();
        for ending in ["", "-wal"] {
            let name = format!("bridge.db{ending}");
            std::fs::copy(self.folder.path().join(&name), copy.folder.path().join(&name)).unwrap();
        }
        copy
    }

    async fn tamper(&self, sql: &'static str) {
        let mut connection = SqliteConnectOptions::new().filename(self.path()).connect().await.unwrap();
        assert!(sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected() > 0);
        connection.close().await.unwrap();
    }
}

for_each_promise!(File);

/// Of the usual setup.
fn key() -> Keyring {
    Keyring::new([1; 32], vec![])
}

fn code<T>(result: Result<T, StoreError>) -> &'static str {
    result.err().map_or("no error", |error| error.code())
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_closes() {
    let file = File::create();
    let store = open(&file).await;
    let Err(error) = file.open(Setup::default()).await else { panic!("opened twice") };
    assert_eq!(error.code(), "database_in_use");
    assert!(error.to_string().contains("bridge.db.lock"), "{error}");
    assert_eq!(code(sqlite::migrate(&file.path()).await), "database_in_use");
    // Looking is allowed.
    assert!(sqlite::check(&file.path(), key()).await.is_ok());
    store.close().await.unwrap();
    open(&file).await;
}

#[tokio::test]
async fn dropping_the_store_loses_nothing_and_frees_the_database() {
    let file = File::create();
    let store = open(&file).await;
    store.commit(accept([envelope("a", "k1")])).await.unwrap();
    drop(store);
    // The writer ends by itself.
    let store = loop {
        match file.open(Setup::default()).await {
            Ok(store) => break store,
            Err(StoreError::InUse { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(keys(&pending(&*store, "a").await), ["k1"]);
}

#[tokio::test]
async fn only_the_owner_reads_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let file = File::create();
    let store = open(&file).await;
    store.commit(accept([envelope("a", "k1")])).await.unwrap();
    for name in ["bridge.db", "bridge.db-wal", "bridge.db.lock"] {
        let mode = std::fs::metadata(file.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn checking_tells_versions_apart_without_migrating() {
    let file = File::create();
    assert_eq!(code(sqlite::check(&file.path(), key()).await), "database_file");
    std::fs::write(file.path(), "").unwrap();
    let empty = sqlite::check(&file.path(), key()).await.unwrap();
    assert_eq!(empty.version, 0);
    assert_eq!(sqlite::migrate(&file.path()).await.unwrap(), empty.latest);
    let checked = sqlite::check(&file.path(), key()).await.unwrap();
    assert_eq!((checked.version, checked.latest), (empty.latest, empty.latest));

    file.tamper("UPDATE _sqlx_migrations SET checksum = x'00'").await;
    assert_eq!(code(file.open(Setup::default()).await), "database_migration");
    file.tamper("UPDATE _sqlx_migrations SET version = version + 9999").await;
    assert_eq!(code(sqlite::check(&file.path(), key()).await), "database_migration");
    assert_eq!(code(file.open(Setup::default()).await), "database_migration");
    assert_eq!(code(sqlite::migrate(&file.path()).await), "database_migration");
}

#[tokio::test]
async fn a_database_of_something_else_is_left_alone() {
    let file = File::create();
    let options = SqliteConnectOptions::new().filename(file.path()).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::query("CREATE TABLE theirs (id INTEGER)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(code(file.open(Setup::default()).await), "database_migration");
    assert_eq!(code(sqlite::check(&file.path(), key()).await), "database_migration");
}

async fn filled(file: &File) {
    let store = open(file).await;
    for number in 0..300 {
        store.commit(accept([envelope("a", &format!("k{number}"))])).await.unwrap();
    }
    store.close().await.unwrap();
}

fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_named_as_such() {
    let file = File::create();
    filled(&file).await;
    damage(&file.path(), |bytes| bytes[..100].fill(b'x'));
    assert_eq!(code(file.open(Setup::default()).await), "database_damaged");
    assert_eq!(code(sqlite::check(&file.path(), key()).await), "database_damaged");

    let file = File::create();
    filled(&file).await;
    damage(&file.path(), |bytes| bytes.truncate(bytes.len() / 2));
    assert_eq!(code(sqlite::check(&file.path(), key()).await), "database_damaged");
    assert_eq!(code(file.open(Setup::default()).await), "database_damaged");

    let file = File::create();
    filled(&file).await;
    damage(&file.path(), |bytes| {
        let page = bytes.len() / 4096 * 4096 - 4096;
        bytes[page..].fill(0xff);
    });
    assert_eq!(code(sqlite::check(&file.path(), key()).await), "database_damaged");
}

#[tokio::test]
async fn a_folder_that_is_missing_is_named() {
    let path = Path::new("/nonexistent/bridge.db");
    let error =
        sqlite::open(sqlite::Options::new(path, "acme"), Keyring::new([1; 32], vec![])).await.err().unwrap();
    assert_eq!(error.code(), "database_file");
    assert!(error.to_string().contains("/nonexistent/bridge.db"), "{error}");
}

const NOW: Timestamp = Timestamp(9_000);

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_one_moment_of_a_running_bridge_and_comes_back_without_posting_twice() {
    let database = File::create();
    let (file, saved) = (database.path(), database.folder.path().join("saved.db"));
    let store = open(&database).await;
    fill(&*store).await;
    let writing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for number in 0..50 {
                let (key, seq) = (format!("pair{number}"), store.next_outbox_seq());
                let post = OutboxItem { seq, ..outbox_item(&*store, "pairs", &key) };
                let commit = Commit { enqueue: vec![post], ..accept([envelope("pairs", &key)]) };
                store.commit(commit).await.unwrap();
            }
        })
    };
    let bytes = backup::backup(&file, &saved).unwrap();
    writing.await.unwrap();
    assert_eq!(std::fs::metadata(&saved).unwrap().len(), bytes);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&saved).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(code(backup::backup(&file, &saved)), "database_file", "it is not written over");
    let restore = async |present, workspace| backup::restore(&saved, &file, present, workspace, NOW).await;
    let aside = database.folder.path().join("aside.db");
    let there = Present::MoveTo(&aside);
    assert_eq!(code(restore(Present::Refuse, "acme").await), "database_file", "nor is a database");
    assert_eq!(code(restore(there, "acme").await), "database_in_use");
    store.close().await.unwrap();

    // A log that was not taken into the database goes with it.
    let log = |path: &Path| path.with_extension("db-wal");
    std::fs::write(log(&file), "a log").unwrap();
    assert_eq!(code(restore(there, "other").await), "database_workspace");
    assert!(!aside.exists() && log(&file).exists(), "nothing has changed");
    let before = std::fs::read(&file).unwrap();
    let restored = restore(there, "acme").await.unwrap();
    assert!(std::fs::read(&aside).unwrap() == before && log(&aside).exists() && !log(&file).exists());
    assert_eq!(code(restore(there, "acme").await), "database_file", "what was kept is not written over");

    std::fs::remove_file(&file).unwrap();
    assert_eq!(restore(Present::Refuse, "acme").await.unwrap(), restored);
    let store = open(&database).await;
    // What one commit wrote is there together or not at all.
    let pairs = pending(&*store, "pairs").await.len() as u64;
    let failed = store.failed(1_000).await.unwrap();
    let posts = failed.iter().filter(|failed| failed.lane == Lane::from_chat("pairs"));
    assert_eq!(posts.count() as u64, pairs);
    assert_eq!(restored.posts, 70 + pairs, "nothing is posted by itself");
    assert!(store.unfinished_outbox(&Lane::from_chat("b"), 10).await.unwrap().is_empty());
    assert!(failed.iter().filter(|failed| failed.code == "restored").count() as u64 == restored.posts);
    assert!(restored.chats > 0 && store.chats().await.unwrap().iter().all(|chat| chat.synced_to.is_none()));
    // Nothing is encrypted with a step that may have been used since; the device is still the same.
    for (kind, left) in [("outbound", 0), ("olm", 0), ("own", 1)] {
        assert_eq!(store.crypto_count(kind, CryptoRecords::All).await.unwrap(), left, "{kind}");
    }
    assert_eq!(store.commit(accept([envelope("a", "k5")])).await.unwrap().duplicates, 1);
}
