//! The inbox and its deduplication.

use bridge_core::envelope::{Envelope, Lane, Source};
use bridge_store::{Commit, Committed, InboxSeq};

use super::*;

pub async fn a_key_is_accepted_once_whatever_door_it_comes_through(database: impl Database) {
    let store = open(&database).await;
    let first = store.commit(accept([envelope("a", "k1"), envelope("a", "k2")])).await.unwrap();
    assert_eq!(first, Committed { accepted: 2, duplicates: 0 });
    let pushed = Envelope { source: Source::Event, ..envelope("a", "k1") };
    let again = store.commit(accept([pushed, envelope("b", "k3"), envelope("b", "k3")])).await.unwrap();
    assert_eq!(again, Committed { accepted: 1, duplicates: 2 });
    assert_eq!(keys(&pending(&*store, "a").await), ["k1", "k2"]);
    assert_eq!(keys(&pending(&*store, "b").await), ["k3"]);
    let asked = ["k2", "k9", "k3"].map(str::to_owned);
    assert_eq!(store.seen(&asked).await.unwrap(), [true, false, true]);
}

pub async fn a_lane_is_read_in_order_and_in_pages(database: impl Database) {
    let store = open(&database).await;
    for number in 0..100 {
        let (mine, other) = (format!("a{number:03}"), format!("b{number:03}"));
        store.commit(accept([envelope("a", &mine), envelope("b", &other)])).await.unwrap();
    }
    let lane = Lane::from_chat("a");
    let (mut after, mut found) = (InboxSeq(0), Vec::new());
    loop {
        let page = store.pending_inbox(&lane, after, 7).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.seq;
        found.extend(page.into_iter().map(|item| item.envelope));
    }
    let expected: Vec<_> = (0..100).map(|number| envelope("a", &format!("a{number:03}"))).collect();
    assert_eq!(found, expected);
    assert_eq!(store.pending_lanes().await.unwrap(), [Lane::from_chat("a"), Lane::from_chat("b")]);
}

pub async fn an_answered_commit_survives_a_crash(database: impl Database) {
    let store = open(&database).await;
    store.commit(accept([envelope("a", "k1")])).await.unwrap();
    let crashed = database.after_crash().await;
    let reopened = open(&crashed).await;
    let items = pending(&*reopened, "a").await;
    assert_eq!(items.iter().map(|item| item.envelope.clone()).collect::<Vec<_>>(), [envelope("a", "k1")]);
}

pub async fn handled_rows_stay_handled_after_a_crash_and_are_recognised(database: impl Database) {
    let store = open(&database).await;
    store.commit(accept([envelope("a", "k1"), envelope("a", "k2")])).await.unwrap();
    let first = pending(&*store, "a").await[0].seq;
    store.commit(Commit { done: vec![first], ..Commit::default() }).await.unwrap();
    let crashed = database.after_crash().await;
    let reopened = open(&crashed).await;
    assert_eq!(keys(&pending(&*reopened, "a").await), ["k2"]);
    let again = reopened.commit(accept([envelope("a", "k1")])).await.unwrap();
    assert_eq!(again, Committed { accepted: 0, duplicates: 1 });
}

pub async fn held_rows_wait_in_order_beside_new_ones(database: impl Database) {
    let store = open(&database).await;
    store.commit(accept(["k1", "k2", "k3"].map(|key| envelope("a", key)))).await.unwrap();
    let seqs: Vec<_> = pending(&*store, "a").await.iter().map(|item| item.seq).collect();
    store.commit(Commit { hold: vec![seqs[0], seqs[1]], ..Commit::default() }).await.unwrap();
    assert_eq!(keys(&pending(&*store, "a").await), ["k3"]);
    let lane = Lane::from_chat("a");
    assert_eq!(keys(&store.held(&lane, InboxSeq(0), 10).await.unwrap()), ["k1", "k2"]);
    assert_eq!(keys(&store.held(&lane, seqs[0], 10).await.unwrap()), ["k2"]);
    store.commit(Commit { done: seqs, ..Commit::default() }).await.unwrap();
    assert!(store.held(&lane, InboxSeq(0), 10).await.unwrap().is_empty());
    assert!(store.pending_lanes().await.unwrap().is_empty());
}

pub async fn parked_rows_are_listed_without_blocking_the_lane(database: impl Database) {
    let store = open(&database).await;
    store.commit(accept([envelope("a", "k1"), envelope("a", "k2")])).await.unwrap();
    let first = pending(&*store, "a").await[0].seq;
    let park = Commit { park_inbox: vec![(first, "undecodable".to_owned())], ..Commit::default() };
    store.commit(park).await.unwrap();
    assert_eq!(keys(&pending(&*store, "a").await), ["k2"]);
    let parked = store.parked_inbox(10).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].seq, parked[0].code.as_str()), (first, "undecodable"));
    assert_eq!(store.depth().await.unwrap().from_dingtalk.parked, 1);
}

pub async fn numbers_rise_across_restarts(database: impl Database) {
    let store = open(&database).await;
    store.commit(accept([envelope("a", "k1")])).await.unwrap();
    let before = (pending(&*store, "a").await[0].seq, store.next_outbox_seq());
    store.commit(Commit { done: vec![before.0], ..Commit::default() }).await.unwrap();
    store.close().await.unwrap();
    let reopened = open(&database).await;
    reopened.commit(accept([envelope("a", "k2")])).await.unwrap();
    assert!(pending(&*reopened, "a").await[0].seq > before.0);
    assert!(reopened.next_outbox_seq() > before.1);
}
