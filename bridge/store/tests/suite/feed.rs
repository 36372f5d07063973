//! Handing rows over.

use std::collections::HashMap;

use bridge_core::envelope::Lane;
use bridge_store::{Commit, Feed, InboxSeq};
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;

pub async fn rows_come_after_the_commit_and_in_order(database: impl Database) {
    let store = open(&database).await;
    let mut feed = store.take_feed().unwrap();
    assert!(store.take_feed().is_none());
    store.commit(accept([envelope("a", "k1"), envelope("b", "k2")])).await.unwrap();
    store.commit(accept([envelope("a", "k3")])).await.unwrap();
    let crash = database.after_crash().await;
    let crashed = open(&crash).await;
    for key in ["k1", "k2", "k3"] {
        let Some(Feed::Item(item)) = feed.recv().await else { panic!("an item") };
        assert_eq!(item.envelope.key, key);
        assert_eq!(crashed.seen(&[key.to_owned()]).await.unwrap(), [true]);
        assert!(store.depth().await.unwrap().feed_bytes > 0);
    }
    assert_eq!(store.depth().await.unwrap().feed_bytes, 0);
}

pub async fn duplicates_do_not_come(database: impl Database) {
    let store = open(&database).await;
    let mut feed = store.take_feed().unwrap();
    store.commit(accept([envelope("a", "k1"), envelope("a", "k1"), envelope("a", "k2")])).await.unwrap();
    store.commit(accept([envelope("a", "k2"), envelope("a", "k3")])).await.unwrap();
    let mut items = Vec::new();
    while let Ok(Feed::Item(item)) = feed.try_recv() {
        items.push(item);
    }
    assert_eq!(keys(&items), ["k1", "k2", "k3"]);
    let seqs: Vec<_> = pending(&*store, "a").await.iter().map(|item| item.seq).collect();
    assert_eq!(items.iter().map(|item| item.seq).collect::<Vec<_>>(), seqs);
}

pub async fn lanes_with_rows_from_before_start_spilled(database: impl Database) {
    let store = open(&database).await;
    store.commit(accept([envelope("a", "k1"), envelope("b", "k2")])).await.unwrap();
    let held = pending(&*store, "b").await[0].seq;
    store.commit(Commit { hold: vec![held], ..Commit::default() }).await.unwrap();
    store.close().await.unwrap();

    let store = open(&database).await;
    let mut feed = store.take_feed().unwrap();
    store.commit(accept([envelope("a", "k3"), envelope("b", "k4")])).await.unwrap();
    let lane = Lane::from_chat("a");
    let Some(Feed::Spilled { lane: spilled }) = feed.recv().await else { panic!("the marker") };
    assert_eq!(spilled, lane);
    // The lane with nothing but a held row is live.
    let Some(Feed::Item(item)) = feed.recv().await else { panic!("an item") };
    assert_eq!(item.envelope.key, "k4");
    let rows = pending(&*store, "a").await;
    assert_eq!(keys(&rows), ["k1", "k3"]);
    assert!(!store.feed_resumed(&lane, rows[0].seq), "the second row was not read");
    assert!(store.feed_resumed(&lane, rows[1].seq));
    store.commit(accept([envelope("a", "k5")])).await.unwrap();
    let Some(Feed::Item(item)) = feed.recv().await else { panic!("an item") };
    assert_eq!(item.envelope.key, "k5");
}

const LANES: usize = 4;
const ROWS: usize = 150;

/// Follows the protocol until every lane has all its rows, and says what it got.
async fn consume(
    store: Arc<dyn Store>,
    mut feed: UnboundedReceiver<Feed>,
) -> (HashMap<Lane, Vec<String>>, usize) {
    let mut got: HashMap<Lane, Vec<String>> = HashMap::new();
    let mut after: HashMap<Lane, InboxSeq> = HashMap::new();
    let mut spills = 0;
    let mut slow = Vec::new();
    while got.values().map(Vec::len).sum::<usize>() < LANES * ROWS {
        match feed.recv().await.unwrap() {
            Feed::Item(item) => {
                after.insert(item.envelope.lane.clone(), item.seq);
                got.entry(item.envelope.lane.clone()).or_default().push(item.envelope.key.clone());
                // Some items stay in memory for a while.
                slow.push(item);
                if slow.len() == 5 {
                    slow.clear();
                }
            }
            Feed::Spilled { lane } => {
                spills += 1;
                slow.clear();
                let mut through = after.get(&lane).copied().unwrap_or_default();
                loop {
                    let page = store.pending_inbox(&lane, through, 3).await.unwrap();
                    through = page.last().map_or(through, |item| item.seq);
                    let got = got.entry(lane.clone()).or_default();
                    got.extend(page.iter().map(|item| item.envelope.key.clone()));
                    if page.len() < 3 && store.feed_resumed(&lane, through) {
                        break;
                    }
                }
                after.insert(lane, through);
            }
        }
    }
    assert!(feed.try_recv().is_err(), "something came twice");
    (got, spills)
}

pub async fn spilling_and_resuming_loses_nothing_and_keeps_order(database: impl Database) {
    let store = database.open(Setup { feed_budget_bytes: 2_000, ..Setup::default() }).await.unwrap();
    let feed = store.take_feed().unwrap();
    let consumer = tokio::spawn(consume(Arc::clone(&store), feed));
    let producers: Vec<_> = (0..LANES)
        .map(|lane| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut row = 0;
                while row < ROWS {
                    // One to four rows a commit.
                    let count = (1 + (row + lane) % 4).min(ROWS - row);
                    let rows = row..row + count;
                    let accept =
                        rows.map(|row| envelope(&lane.to_string(), &format!("{lane}/{row:04}"))).collect();
                    store.commit(Commit { accept, ..Commit::default() }).await.unwrap();
                    row += count;
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.unwrap();
    }
    let (got, spills) = consumer.await.unwrap();
    assert!(spills > 0, "the budget was never used up");
    for lane in 0..LANES {
        let expected: Vec<_> = (0..ROWS).map(|row| format!("{lane}/{row:04}")).collect();
        assert_eq!(got[&Lane::from_chat(&lane.to_string())], expected);
    }
    assert_eq!(store.depth().await.unwrap().feed_bytes, 0);
}
