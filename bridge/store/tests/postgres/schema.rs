//! Migrations, the schema, the server's and the role's faults.

use std::collections::BTreeSet;

use bridge_store::{Keyring, sqlite};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};

use super::*;
use crate::suite::{accept, envelope, keys, open, pending};

fn code<T>(result: Result<T, StoreError>) -> &'static str {
    result.err().map_or("no error", |error| error.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn checking_tells_versions_apart_without_migrating() {
    let own = Own::new().await;
    let empty = postgres::check(&own.server(), keyring(&Setup::default())).await.unwrap();
    assert_eq!(empty.version, 0);
    assert_eq!(own.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await, "0");
    assert_eq!(postgres::migrate(&own.server()).await.unwrap(), empty.latest);
    let checked = postgres::check(&own.server(), keyring(&Setup::default())).await.unwrap();
    assert_eq!((checked.version, checked.latest), (empty.latest, empty.latest));

    own.sql("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1").await;
    assert_eq!(code(own.open(Setup::default()).await), "database_migration");
    own.sql("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1").await;
    for refused in [
        code(postgres::check(&own.server(), keyring(&Setup::default())).await),
        code(own.open(Setup::default()).await),
        code(postgres::migrate(&own.server()).await),
    ] {
        assert_eq!(refused, "database_migration");
    }
    let Err(error) = own.open(Setup::default()).await else { panic!("opened") };
    assert!(error.to_string().contains("newer than this program"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_an_older_version_is_sound_and_can_be_migrated() {
    let own = Own::new().await;
    let latest = postgres::migrate(&own.server()).await.unwrap();
    own.sql("DROP TABLE departed, profile, crypto, edit").await;
    assert!(
        postgres::check(&own.server(), keyring(&Setup::default())).await.is_err(),
        "tables of this version are missing"
    );
    own.sql("DELETE FROM _sqlx_migrations WHERE version > 1").await;
    let checked = postgres::check(&own.server(), keyring(&Setup::default())).await.unwrap();
    assert_eq!((checked.version, checked.latest), (1, latest));
    assert_eq!(postgres::migrate(&own.server()).await.unwrap(), latest);
    postgres::check(&own.server(), keyring(&Setup::default())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_migrate_at_once_all_find_it_done() {
    let own = Own { schema: Some("together".to_owned()), ..Own::new().await };
    let all = (0..8).map(|_| {
        let server = own.server();
        tokio::spawn(async move { postgres::migrate(&server).await })
    });
    let latest = postgres::check(&own.server(), keyring(&Setup::default())).await.unwrap().latest;
    for one in futures_util::future::join_all(all).await {
        assert_eq!(one.unwrap().unwrap(), latest);
    }
    assert_eq!(own.sql("SELECT count(*) FROM _sqlx_migrations WHERE success").await, latest.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_while_another_process_works_harms_nothing() {
    let own = Own::new().await;
    let store = open(&own).await;
    store.commit(accept([envelope("a", "k1")])).await.unwrap();
    postgres::migrate(&own.server()).await.unwrap();
    store.commit(accept([envelope("a", "k2")])).await.unwrap();
    assert_eq!(keys(&pending(&*store, "a").await), ["k1", "k2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_share_a_database_by_schemas() {
    let own = Own::new().await;
    let first =
        Own { schema: Some("first".to_owned()), server: Arc::clone(&own.server), name: own.name.clone() };
    let second =
        Own { schema: Some("second".to_owned()), server: Arc::clone(&own.server), name: own.name.clone() };
    // Both work at the same time: the lock is a schema's.
    let one = open(&first).await;
    let other = second.open(Setup { workspace: "other", ..Setup::default() }).await.unwrap();
    one.commit(accept([envelope("a", "k1")])).await.unwrap();
    other.commit(accept([envelope("a", "k2")])).await.unwrap();
    assert_eq!(keys(&pending(&*one, "a").await), ["k1"]);
    assert_eq!(keys(&pending(&*other, "a").await), ["k2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_something_else_is_left_alone() {
    let own = Own::new().await;
    own.sql("CREATE TABLE theirs (id INTEGER)").await;
    assert_eq!(code(own.open(Setup::default()).await), "database_migration");
    assert_eq!(code(postgres::check(&own.server(), keyring(&Setup::default())).await), "database_migration");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waiting_does_not_mend_is_said_at_once() {
    let own = Own::new().await;
    let address = own.server.address(&own.name, own.server.port());
    let wrong = Server::new(Secret::new(address.replacen("@127", "x@127", 1)));
    let error = postgres::open(options(wrong, &Setup::default()), keyring(&Setup::default()), |_| {}).await;
    let Err(error) = error else { panic!("opened with a wrong password") };
    assert_eq!(error.code(), "database_error");
    assert!(error.to_string().contains("password authentication failed"), "{error}");

    let ascii = "CREATE DATABASE ascii_only ENCODING 'SQL_ASCII' TEMPLATE template0 OWNER";
    own.server.sql("postgres", &format!("{ascii} {}", own.name)).await.unwrap();
    let (rest, _) = address.rsplit_once('/').unwrap();
    let address = format!("{rest}/ascii_only");
    let error = postgres::migrate(&Server::new(Secret::new(address))).await.unwrap_err();
    assert!(error.to_string().contains("SQL_ASCII"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_on_disk_whatever_the_servers_default() {
    let own = Own::new().await;
    own.server
        .sql("postgres", &format!("ALTER ROLE {} SET synchronous_commit = off", own.name))
        .await
        .unwrap();
    let store = open(&own).await;
    // Notes the setting of whoever writes; the superuser's, so that the role needs no right for it.
    own.sql(
        "CREATE TABLE observed (value text);
         CREATE FUNCTION observe() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
         $$ BEGIN INSERT INTO public.observed VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
         CREATE TRIGGER look AFTER INSERT ON seen EXECUTE FUNCTION observe()",
    )
    .await;
    store.commit(accept([envelope("a", "k1")])).await.unwrap();
    assert_eq!(own.sql("SELECT DISTINCT value FROM observed").await, "on");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_with_nul_are_kept() {
    let own = Own::new().await;
    let store = open(&own).await;
    let key = "k\0\u{FDD0}1";
    store.commit(accept([envelope("a\0b", key), envelope("a\0b", "k2")])).await.unwrap();
    assert_eq!(keys(&pending(&*store, "a\0b").await), [key, "k2"]);
    assert_eq!(store.seen(&[key.to_owned()]).await.unwrap(), [true]);
    let again = store.commit(accept([envelope("a\0b", key)])).await.unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, 1));
    let purged =
        store.purge(bridge_core::clock::Timestamp(i64::MAX / 2), bridge_store::Retention::default()).await;
    purged.unwrap();
    assert!(store.size_bytes().await.unwrap() > 0);
}

/// Both databases must be able to hold the same: a column that was forgotten in one is found here.
#[tokio::test(flavor = "multi_thread")]
async fn both_databases_have_the_same_tables_and_columns() {
    let own = Own::new().await;
    postgres::migrate(&own.server()).await.unwrap();
    let listed = own
        .sql(
            "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'YES' THEN ' NULL' ELSE '' END
             FROM information_schema.columns WHERE table_schema = 'public'",
        )
        .await;
    let here: BTreeSet<String> = listed.lines().map(str::to_owned).filter(|name| ours(name)).collect();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    sqlite::open(sqlite::Options::new(&path, "acme"), Keyring::new([1; 32], vec![]))
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let listed = sqlx::query(
        "SELECT m.name AS tab, c.name AS col, c.\"notnull\" AS needed FROM sqlite_master m
         JOIN pragma_table_info(m.name) c WHERE m.type = 'table'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let there: BTreeSet<String> = listed
        .iter()
        .map(|row| {
            let null = if row.get::<i64, _>("needed") == 0 { " NULL" } else { "" };
            format!("{}.{}{null}", row.get::<String, _>("tab"), row.get::<String, _>("col"))
        })
        .filter(|name| ours(name))
        .collect();
    connection.close().await.unwrap();
    assert_eq!(here, there);
}

/// Without the library's list of migrations, and the row that stands for the lock, which SQLite has as a file.
fn ours(name: &str) -> bool {
    !name.starts_with("_sqlx_migrations.") && !name.starts_with("holder.")
}
