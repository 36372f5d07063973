//! The outbox, and transactions that hold several things.

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Lane;
use bridge_store::{Commit, OutboxItem, OutboxRewrite, OutboxSeq, OutboxState, Settlement};

use super::*;

async fn enqueue(store: &dyn Store, items: Vec<OutboxItem>) {
    store.commit(Commit { enqueue: items, ..Commit::default() }).await.unwrap();
}

async fn settle(store: &dyn Store, seq: OutboxSeq, settlement: Settlement) {
    store.commit(Commit { settle: vec![(seq, settlement)], ..Commit::default() }).await.unwrap();
}

pub async fn rows_are_sent_in_the_order_of_their_numbers(database: impl Database) {
    let store = open(&database).await;
    let [first, second, third] = ["k1", "k2", "k3"].map(|key| outbox_item(&*store, "a", key));
    let expected = [first.clone(), second.clone()];
    enqueue(&*store, vec![second]).await;
    enqueue(&*store, vec![third, first]).await;
    let rows = store.unfinished_outbox(&Lane::from_chat("a"), 2).await.unwrap();
    assert!(rows.iter().all(|row| (row.state, row.attempts, row.next_at) == (OutboxState::Queued, 0, None)));
    assert_eq!(rows.into_iter().map(|row| row.item).collect::<Vec<_>>(), expected);
    assert_eq!(store.pending_lanes().await.unwrap(), [Lane::from_chat("a")]);
}

pub async fn every_settlement_is_found_again(database: impl Database) {
    let store = open(&database).await;
    let items = ["k1", "k2", "k3", "k4"].map(|key| outbox_item(&*store, "a", key));
    let [done, retry, parked, maybe] = [0, 1, 2, 3].map(|at: usize| items[at].seq);
    enqueue(&*store, items.into()).await;
    let (at, code) = (Timestamp(9_000), "code".to_owned());
    settle(&*store, done, Settlement::Done).await;
    settle(&*store, retry, Settlement::Retry { attempts: 3, at, code: code.clone() }).await;
    settle(&*store, parked, Settlement::Parked { attempts: 8, code: code.clone(), at }).await;
    settle(&*store, maybe, Settlement::MaybeSent { code, at }).await;
    // One that is gone already.
    settle(&*store, done, Settlement::Done).await;

    assert_eq!(store.outbox_item(done).await.unwrap(), None);
    let row = store.outbox_item(retry).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempts, row.next_at), (OutboxState::Retry, 3, Some(at)));
    assert_eq!((row.code.as_deref(), row.item.op.as_slice()), (Some("code"), &b"op of k2"[..]));
    let row = store.outbox_item(parked).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempts, row.next_at), (OutboxState::Parked, 8, None));
    assert_eq!(store.outbox_item(maybe).await.unwrap().unwrap().state, OutboxState::MaybeSent);
    let unfinished = store.unfinished_outbox(&Lane::from_chat("a"), 10).await.unwrap();
    assert_eq!(unfinished.iter().map(|row| row.item.seq).collect::<Vec<_>>(), [retry]);
}

pub async fn a_row_marked_as_sending_is_found_after_a_crash(database: impl Database) {
    let store = open(&database).await;
    let marked = outbox_item(&*store, "a", "k1");
    let later = outbox_item(&*store, "a", "k2");
    enqueue(&*store, vec![marked.clone(), later]).await;
    store.commit(Commit { sending: vec![marked.seq], ..Commit::default() }).await.unwrap();
    let crash = database.after_crash().await;
    let reopened = open(&crash).await;
    let rows = reopened.unfinished_outbox(&Lane::from_chat("a"), 10).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| row.state).collect::<Vec<_>>(),
        [OutboxState::Sending, OutboxState::Queued]
    );
    assert_eq!(rows[0].item, marked);
}

pub async fn an_operation_that_got_further_is_found_after_a_crash(database: impl Database) {
    let store = open(&database).await;
    let [changed, other, gone] = ["k1", "k2", "k3"].map(|key| outbox_item(&*store, "a", key));
    enqueue(&*store, vec![changed.clone(), other.clone(), gone.clone()]).await;
    settle(&*store, gone.seq, Settlement::Done).await;
    let rewrite = |item: &OutboxItem, op: &[u8]| OutboxRewrite {
        seq: item.seq,
        key: item.key.clone(),
        op: op.to_vec(),
    };
    let rewrites = vec![rewrite(&changed, b"half"), rewrite(&changed, b"further"), rewrite(&gone, b"late")];
    store.commit(Commit { rewrite: rewrites, ..Commit::default() }).await.unwrap();
    // Sealed to another row's key it would not open; nothing is changed.
    let forged = OutboxRewrite { key: "k1".to_owned(), ..rewrite(&other, b"forged") };
    store.commit(Commit { rewrite: vec![forged], ..Commit::default() }).await.unwrap();

    let crash = database.after_crash().await;
    let reopened = open(&crash).await;
    let rows = reopened.unfinished_outbox(&Lane::from_chat("a"), 10).await.unwrap();
    let items: Vec<_> = rows.into_iter().map(|row| row.item).collect();
    assert_eq!(items, [OutboxItem { op: b"further".to_vec(), ..changed }, other]);
}

pub async fn failed_rows_are_listed_and_released(database: impl Database) {
    let store = open(&database).await;
    let items = ["k1", "k2", "k3"].map(|key| outbox_item(&*store, "a", key));
    let [first, second, third] = [0, 1, 2].map(|at: usize| items[at].seq);
    enqueue(&*store, items.into()).await;
    let parked = Settlement::Parked { attempts: 8, code: "refused".to_owned(), at: Timestamp(5_000) };
    settle(&*store, first, parked).await;
    settle(&*store, second, Settlement::MaybeSent { code: "lost".to_owned(), at: Timestamp(6_000) }).await;

    let failed = store.failed(10).await.unwrap();
    let seen: Vec<_> = failed.iter().map(|row| (row.seq, row.state, row.code.as_str(), row.at)).collect();
    assert_eq!(
        seen,
        [
            (second, OutboxState::MaybeSent, "lost", Timestamp(6_000)),
            (first, OutboxState::Parked, "refused", Timestamp(5_000)),
        ]
    );
    assert_eq!(failed[1].cause.as_deref(), Some("cause of k1"));
    assert_eq!(store.failed(1).await.unwrap().len(), 1);

    // The third was not given up: releasing it changes nothing.
    settle(&*store, third, Settlement::Retry { attempts: 2, at: Timestamp(7_000), code: "busy".to_owned() })
        .await;
    store.commit(Commit { unpark: vec![first, second, third], ..Commit::default() }).await.unwrap();
    assert!(store.failed(10).await.unwrap().is_empty());
    let rows = store.unfinished_outbox(&Lane::from_chat("a"), 10).await.unwrap();
    let states: Vec<_> = rows.iter().map(|row| (row.item.seq, row.state, row.attempts)).collect();
    let queued = OutboxState::Queued;
    assert_eq!(states, [(first, queued, 0), (second, queued, 0), (third, OutboxState::Retry, 2)]);
    assert_eq!(rows[0].code, None);
}

pub async fn handling_and_queueing_are_one_transaction(database: impl Database) {
    let store = open(&database).await;
    store.commit(accept([envelope("a", "k1")])).await.unwrap();
    let handled = pending(&*store, "a").await[0].seq;
    let item = outbox_item(&*store, "a", "o1");
    enqueue(&*store, vec![item.clone()]).await;
    // The same number once more cannot be: nothing of the commit is done.
    let step = Commit { done: vec![handled], enqueue: vec![item], ..accept([envelope("a", "k2")]) };
    let error = store.commit(step).await.unwrap_err();
    assert_eq!(error.code(), "database_conflict");
    assert!(!error.is_retryable());
    assert_eq!(keys(&pending(&*store, "a").await), ["k1"]);
    assert_eq!(store.seen(&["k2".to_owned()]).await.unwrap(), [false]);
}

pub async fn a_commit_that_contradicts_harms_no_neighbour(database: impl Database) {
    let store = open(&database).await;
    let mut feed = store.take_feed().unwrap();
    let taken = outbox_item(&*store, "a", "taken");
    enqueue(&*store, vec![taken.clone()]).await;
    let commits = (0..200).map(|number| {
        let bad = number % 10 == 3;
        let key = format!("k{number:03}");
        let enqueue = vec![if bad { taken.clone() } else { outbox_item(&*store, "a", &key) }];
        let commit = Commit { enqueue, ..accept([envelope("a", &key)]) };
        let store = &store;
        async move { (key, bad, store.commit(commit).await.is_err()) }
    });
    let results = futures_util::future::join_all(commits).await;
    assert!(results.iter().all(|(_, bad, failed)| bad == failed));
    let good: Vec<_> = results.iter().filter(|(_, bad, _)| !bad).map(|(key, ..)| key.as_str()).collect();
    let rows = pending(&*store, "a").await;
    let mut accepted = keys(&rows);
    accepted.sort_unstable();
    assert_eq!(accepted, good);
    assert_eq!(store.unfinished_outbox(&Lane::from_chat("a"), 1_000).await.unwrap().len(), good.len() + 1);
    let mut delivered = Vec::new();
    while let Ok(bridge_store::Feed::Item(item)) = feed.try_recv() {
        delivered.push(item);
    }
    assert_eq!(keys(&delivered), keys(&rows));
}
