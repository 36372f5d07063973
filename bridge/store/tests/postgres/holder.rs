//! Who works on the database, and what becomes of writes whose connection breaks.

use std::sync::Mutex as Shared;

use bridge_store::postgres::Waiting;
use bridge_store::{Commit, Committed, StoreError};
use test_support::{FaultProxy, Mode, wait_until};

use super::*;
use crate::suite::{accept, envelope, keys, open, outbox_item, pending};

const PATIENCE: Duration = Duration::from_mins(2);

type Told = Arc<Shared<Vec<Waiting>>>;

/// Opens beside another; what it was told is in the list.
fn standby(own: &Own) -> (tokio::task::JoinHandle<Arc<dyn Store>>, Told) {
    let told = Arc::new(Shared::new(Vec::new()));
    let (tell, setup) = (Arc::clone(&told), Setup::default());
    let how = options(own.server(), &setup);
    let opening = tokio::spawn(async move {
        postgres::open(how, keyring(&setup), move |waiting| tell.lock().unwrap().push(waiting)).await.unwrap()
    });
    (opening, told)
}

/// A store whose connections can be cut.
async fn through_a_proxy(own: &Own) -> (FaultProxy, Arc<dyn Store>) {
    let proxy = FaultProxy::start(format!("127.0.0.1:{}", own.server.port())).await.unwrap();
    let setup = Setup::default();
    let how = options(own.through(proxy.address().port()), &setup);
    let store = postgres::open(how, keyring(&setup), |_| {}).await.unwrap();
    (proxy, store)
}

/// A write that nobody waits for yet.
fn begin_to_write(store: &Arc<dyn Store>) -> tokio::task::JoinHandle<Result<Committed, StoreError>> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.commit(accept([envelope("a", "k1")])).await })
}

async fn until_it_stands_by(told: &Shared<Vec<Waiting>>) {
    wait_until(PATIENCE, "the second to stand by", async || {
        told.lock().unwrap().contains(&Waiting::Standby).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_waits_and_takes_over_when_the_first_closes() {
    let own = Own::new().await;
    let first = open(&own).await;
    let (second, told) = standby(&own);
    until_it_stands_by(&told).await;
    first.commit(accept([envelope("a", "k1")])).await.unwrap();
    assert!(!second.is_finished());
    first.close().await.unwrap();
    let second = second.await.unwrap();
    assert_eq!(keys(&pending(&*second, "a").await), ["k1"]);
    second.commit(accept([envelope("a", "k2")])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_replaced_writes_nothing_any_more() {
    let own = Own::new().await;
    let first = open(&own).await;
    first.commit(accept([envelope("a", "k1")])).await.unwrap();
    let (second, told) = standby(&own);
    until_it_stands_by(&told).await;
    // The first's session ends without its knowledge, as when the server found it silent.
    own.sql(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .await;
    let second = second.await.unwrap();
    let late = first.commit(accept([envelope("a", "late")])).await.unwrap_err();
    assert_eq!(late.code(), "database_taken_over");
    assert!(!late.is_retryable());
    first.taken_over().await;
    assert_eq!(keys(&pending(&*second, "a").await), ["k1"]);
    assert_eq!(second.seen(&["late".to_owned()]).await.unwrap(), [false]);
    // It stays so, and closing it harms nobody.
    assert_eq!(
        first.commit(accept([envelope("a", "later")])).await.unwrap_err().code(),
        "database_taken_over"
    );
    first.close().await.unwrap();
    second.commit(accept([envelope("a", "k2")])).await.unwrap();
}

/// The fence alone, without the lock: a transaction of an older epoch changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_epoch_is_refused_by_each_transaction() {
    let own = Own::new().await;
    let store = open(&own).await;
    own.sql("UPDATE holder SET epoch = epoch + 1").await;
    assert_eq!(store.commit(accept([envelope("a", "k1")])).await.unwrap_err().code(), "database_taken_over");
    assert_eq!(own.sql("SELECT count(*) FROM inbox").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_process_loses_the_database() {
    let own = Own::new().await;
    let (proxy, first) = through_a_proxy(&own).await;
    first.commit(accept([envelope("a", "k1")])).await.unwrap();
    // Nothing goes through, and nobody is told: the server hears nothing for so long that it ends the session.
    proxy.set(Mode::Blackhole);
    let (second, _) = standby(&own);
    let second = tokio::time::timeout(PATIENCE, second).await.unwrap().unwrap();
    second.commit(accept([envelope("a", "k2")])).await.unwrap();
    proxy.set(Mode::Pass);
    first.taken_over().await;
    assert_eq!(keys(&pending(&*second, "a").await), ["k1", "k2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_wait_while_the_connection_is_away() {
    let own = Own::new().await;
    let (proxy, store) = through_a_proxy(&own).await;
    proxy.set(Mode::Cut);
    let waiting = begin_to_write(&store);
    // Reading says what is the matter, so that the probes can.
    wait_until(PATIENCE, "reading to fail", async || store.depth().await.err().map(drop)).await.unwrap();
    assert!(!waiting.is_finished());
    proxy.set(Mode::Pass);
    assert_eq!(waiting.await.unwrap().unwrap().accepted, 1);
    assert_eq!(keys(&pending(&*store, "a").await), ["k1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_does_not_wait_for_a_database_that_is_away() {
    let own = Own::new().await;
    let (proxy, store) = through_a_proxy(&own).await;
    proxy.set(Mode::Cut);
    let waiting = begin_to_write(&store);
    wait_until(PATIENCE, "reading to fail", async || store.depth().await.err().map(drop)).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), "database_closed");
}

/// Connections are cut again and again while many write. Each commit has a row of the outbox whose number must be
/// unique, so one that was written twice would be refused, and one that was lost is missing at the end.
#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_lose_and_double_nothing() {
    const WRITERS: usize = 6;
    const COMMITS: usize = 60;
    const CUTS: usize = 4;
    let own = Own::new().await;
    let (proxy, store) = through_a_proxy(&own).await;
    let mut feed = store.take_feed().unwrap();
    let (cut, cuts) = tokio::sync::watch::channel(0);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, mut cuts) = (Arc::clone(&store), cuts.clone());
            tokio::spawn(async move {
                for number in 0..COMMITS {
                    // However fast it writes, a part is left for each cut.
                    cuts.wait_for(|cuts| *cuts >= number * CUTS / COMMITS).await.unwrap();
                    let key = format!("{writer}/{number:03}");
                    let enqueue = vec![outbox_item(&*store, "a", &key)];
                    let commit = Commit { enqueue, ..accept([envelope(&writer.to_string(), &key)]) };
                    let committed = store.commit(commit).await.unwrap();
                    // A transaction that was written and repeated would find its own keys.
                    assert_eq!((committed.accepted, committed.duplicates), (1, 0), "{key}");
                }
            })
        })
        .collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        // Sooner and later in a transaction, by what was written meanwhile.
        let before = own.sql("SELECT commits FROM holder").await;
        proxy.set(Mode::Cut);
        proxy.set(Mode::Pass);
        cut.send_modify(|cuts| *cuts += 1);
        wait_until(PATIENCE, "a transaction after the cut", async || {
            let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
            (done || own.sql("SELECT commits FROM holder").await != before).then_some(())
        })
        .await
        .unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(*cuts.borrow() > 2, "the connections were hardly cut");
    let mut delivered = 0;
    while let Ok(bridge_store::Feed::Item(_)) = feed.try_recv() {
        delivered += 1;
    }
    assert_eq!(delivered, WRITERS * COMMITS);
    for table in ["inbox", "outbox", "seen"] {
        assert_eq!(own.sql(&format!("SELECT count(*) FROM {table}")).await, (WRITERS * COMMITS).to_string());
    }
    for writer in 0..WRITERS {
        let rows = pending(&*store, &writer.to_string()).await;
        let expected: Vec<_> = (0..COMMITS).map(|number| format!("{writer}/{number:03}")).collect();
        assert_eq!(keys(&rows), expected);
    }
}
