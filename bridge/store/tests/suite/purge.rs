//! Throwing away.

use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Lane;
use bridge_core::event::Session;
use bridge_store::{
    Commit, Direction, Edit, HeldExpired, MessageMapping, OutboxItem, Purged, Remote, Retention, SEEN,
    Settlement, day,
};
use ruma::{OwnedEventId, event_id, owned_event_id, owned_room_id};

use super::*;

/// What is received, decided or mapped at 0 is old at 1,000 s, at 900 s not.
const NOW: Timestamp = Timestamp(1_000_000);
const YOUNG: Timestamp = Timestamp(900_000);

fn retention() -> Retention {
    let kept = Duration::from_secs(500);
    Retention { done: kept, held: kept, failed: kept, mappings: Some(kept) }
}

fn at(at: Timestamp, lane: &str, key: &str) -> Envelope {
    Envelope { received_at: at, ..envelope(lane, key) }
}

fn mapped(event: &str, at: Timestamp) -> MessageMapping {
    MessageMapping {
        room: owned_room_id!("!room:acme.example"),
        event: OwnedEventId::try_from(event).unwrap(),
        chat: chat_id("cid1"),
        remote: Remote::None,
        part: 0,
        direction: Direction::FromDingTalk,
        sender: "s:u1".to_owned(),
        at,
    }
}

fn edit(event: &str, at: Timestamp) -> Edit {
    Edit { event: OwnedEventId::try_from(event).unwrap(), original: owned_event_id!("$original"), at }
}

pub async fn old_things_go_and_young_ones_stay(database: impl Database) {
    let store = open(&database).await;
    let old = Timestamp(0);
    store
        .commit(accept([
            at(old, "done", "d1"),
            at(YOUNG, "done", "d2"),
            at(old, "held", "h1"),
            at(old, "held", "h2"),
            at(YOUNG, "held", "h3"),
            at(old, "parked", "p1"),
        ]))
        .await
        .unwrap();
    let seqs = |items: Vec<InboxItem>| items.into_iter().map(|item| item.seq).collect::<Vec<_>>();
    let outbox = ["o1", "o2", "o3"].map(|key| outbox_item(&*store, "a", key));
    let settled =
        |item: &OutboxItem, at| (item.seq, Settlement::Parked { attempts: 1, code: "c".to_owned(), at });
    let commit = Commit {
        done: seqs(pending(&*store, "done").await),
        hold: seqs(pending(&*store, "held").await),
        park_inbox: vec![(pending(&*store, "parked").await[0].seq, "bad".to_owned())],
        settle: vec![settled(&outbox[0], old), settled(&outbox[1], YOUNG)],
        enqueue: outbox.into(),
        map: vec![mapped("$old", old), mapped("$young", YOUNG)],
        edits: vec![edit("$e1", old), edit("$e2", YOUNG)],
        // One from before there were days.
        crypto: [("a", String::new()), ("b", day(YOUNG))]
            .map(|(name, day)| super::state::crypto(SEEN, name, &day, ""))
            .into(),
        session: vec![
            (chat_id("cid1"), Session { expires_at: YOUNG, ..super::state::session_value() }),
            (chat_id("cid2"), Session { expires_at: NOW, ..super::state::session_value() }),
        ],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();

    let purged = store.purge(NOW, retention()).await.unwrap();
    let held = vec![HeldExpired { lane: Lane::from_chat("held"), chat: None, count: 2 }];
    assert_eq!(purged, Purged { keys: 5, parked_inbox: 1, failed: 1, mappings: 2, sessions: 1, held });
    let asked = ["d1", "d2", "h1", "h3", "p1"].map(str::to_owned);
    assert_eq!(store.seen(&asked).await.unwrap(), [false, true, false, true, false]);
    assert_eq!(keys(&store.held(&Lane::from_chat("held"), InboxSeq(0), 10).await.unwrap()), ["h3"]);
    assert_eq!(store.failed(10).await.unwrap().len(), 1);
    assert_eq!(store.unfinished_outbox(&Lane::from_chat("a"), 10).await.unwrap().len(), 1);
    assert!(store.mapping_by_event(event_id!("$old")).await.unwrap().is_empty());
    assert_eq!(store.mapping_by_event(event_id!("$young")).await.unwrap().len(), 1);
    assert_eq!(store.edits_of(event_id!("$original")).await.unwrap(), [event_id!("$e2")]);
    assert_eq!(store.session(&chat_id("cid1")).await.unwrap(), None);
    assert!(store.session(&chat_id("cid2")).await.unwrap().is_some());
    assert_eq!(store.crypto_record(SEEN, "a").await.unwrap(), None);
    assert!(store.crypto_record(SEEN, "b").await.unwrap().is_some());
    assert_eq!(store.purge(NOW, retention()).await.unwrap(), Purged::default());
}

pub async fn a_key_stays_as_long_as_its_row_waits(database: impl Database) {
    let store = open(&database).await;
    store.commit(accept([at(Timestamp(0), "a", "k1"), at(Timestamp(0), "a", "k2")])).await.unwrap();
    let done = pending(&*store, "a").await[0].seq;
    store.commit(Commit { done: vec![done], ..Commit::default() }).await.unwrap();
    assert_eq!(store.purge(NOW, retention()).await.unwrap().keys, 1);
    let again = store.commit(accept([at(NOW, "a", "k1"), at(NOW, "a", "k2")])).await.unwrap();
    assert_eq!((again.accepted, again.duplicates), (1, 1));
}

pub async fn more_than_a_step_goes_at_once(database: impl Database) {
    let store = open(&database).await;
    let rows = 0..1_234;
    let accept = rows.clone().map(|row| at(Timestamp(0), "a", &format!("k{row}"))).collect();
    let map = rows.map(|row| mapped(&format!("$e{row}"), Timestamp(0))).collect();
    store.commit(Commit { accept, map, ..Commit::default() }).await.unwrap();
    let hold = store.pending_inbox(&Lane::from_chat("a"), InboxSeq(0), 2_000).await.unwrap();
    let hold = hold.into_iter().map(|item| item.seq).collect();
    store.commit(Commit { hold, ..Commit::default() }).await.unwrap();
    let purged = store.purge(NOW, retention()).await.unwrap();
    assert_eq!((purged.keys, purged.mappings, purged.held[0].count), (1_234, 1_234, 1_234));
}
