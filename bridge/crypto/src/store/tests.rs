//! The crypto crate's own store suite on both databases.
#![allow(unexpected_cfgs, reason = "the suite asks for features of its own crate")]
#![allow(clippy::pedantic, unreachable_pub, reason = "the suite is not our code")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bridge_core::clock::{Clock, Timestamp};
use bridge_core::secret::Secret;
use bridge_store::postgres::Server;
use bridge_store::{CryptoRecords, Keyring, Store};
use matrix_sdk_crypto::olm::OlmMessageHash;
use matrix_sdk_crypto::store::CryptoStore;
use matrix_sdk_crypto::store::types::Changes;
use test_support::{Postgres, PostgresOptions};
use tokio::sync::Mutex;

use super::Records;

/// The present of all these tests.
const NOW: Timestamp = Timestamp(1_764_000_000_000);

/// A clock that stands.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// Without its day a hash would be forgotten by the next purge.
#[tokio::test]
async fn hashes_of_messages_belong_to_the_day_they_came_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = bridge_store::sqlite::Options::new(folder.path().join("bridge.db"), "acme");
    let store = bridge_store::sqlite::open(options, keyring()).await.unwrap();
    let records = Records::new(Arc::clone(&store), Arc::new(Still));
    let hash = OlmMessageHash { sender_key: "key".to_owned(), hash: "hash".to_owned() };
    let changes = Changes { message_hashes: vec![hash.clone()], ..Changes::default() };
    records.save_changes(changes).await.unwrap();
    assert!(records.is_message_known(&hash).await.unwrap());
    let today = bridge_store::day(NOW);
    let count = store.crypto_count(bridge_store::SEEN, CryptoRecords::Of(&today)).await.unwrap();
    assert_eq!((today.as_str(), count), ("20416", 1));
}

/// A database, with what must live as long.
struct Database {
    store: Arc<dyn Store>,
    _folder: Option<tempfile::TempDir>,
    _server: Option<Arc<Postgres>>,
}

thread_local! {
    /// Databases of this thread's test by name. A test that opens one again looks at it through other records, as a
    /// bridge that starts again does.
    static DATABASES: RefCell<HashMap<String, Database>> = RefCell::default();
}

async fn records(name: &str, clear: bool, make: impl Future<Output = Database>) -> Records {
    let known = |databases: &HashMap<String, Database>| {
        databases.get(name).filter(|_| !clear).map(|database| Arc::clone(&database.store))
    };
    if let Some(store) = DATABASES.with_borrow(known) {
        return Records::new(store, Arc::new(Still));
    }
    let database = make.await;
    let store = Arc::clone(&database.store);
    DATABASES.with_borrow_mut(|databases| databases.insert(name.to_owned(), database));
    Records::new(store, Arc::new(Still))
}

fn keyring() -> Keyring {
    Keyring::new([7; 32], Vec::new())
}

mod sqlite {
    use super::*;

    async fn get_store(name: &str, _passphrase: Option<&str>, clear: bool) -> Records {
        let make = async {
            let folder = tempfile::tempdir().unwrap();
            let options = bridge_store::sqlite::Options::new(folder.path().join("bridge.db"), "acme");
            let store = bridge_store::sqlite::open(options, keyring()).await.unwrap();
            Database { store, _folder: Some(folder), _server: None }
        };
        records(name, clear, make).await
    }

    matrix_sdk_crypto::cryptostore_integration_tests!();
}

mod postgres {
    use super::*;

    /// One server for the tests that run at the same time; it ends with the last of them.
    static SERVER: Mutex<Weak<Postgres>> = Mutex::const_new(Weak::new());

    async fn server() -> Arc<Postgres> {
        let mut known = SERVER.lock().await;
        if let Some(server) = known.upgrade() {
            return server;
        }
        let server = Arc::new(Postgres::start(PostgresOptions::default(), &|_| {}).await.unwrap());
        *known = Arc::downgrade(&server);
        server
    }

    async fn get_store(name: &str, _passphrase: Option<&str>, clear: bool) -> Records {
        let make = async {
            let server = server().await;
            let database = format!("crypto_{name}");
            server.database(&database).await.unwrap();
            let address = Server {
                connect_timeout: Duration::from_secs(10),
                ..Server::new(Secret::new(server.address(&database, server.port())))
            };
            let options = bridge_store::postgres::Options::new(address, "acme");
            let store = bridge_store::postgres::open(options, keyring(), |_| {}).await.unwrap();
            Database { store, _folder: None, _server: Some(server) }
        };
        records(name, clear, make).await
    }

    matrix_sdk_crypto::cryptostore_integration_tests!();
}
