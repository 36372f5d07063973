//! Prints how many small commits a second the store takes from many callers at once, and what one costs.
//!
//! `cargo run --release -p bridge-store --example commit_bench [callers] [rounds] [address]`: on SQLite, or on the empty
//! PostgreSQL database of an address. A round of a caller is one message's
//! life in three commits: accepted; handled (inbox row done, outbox row and mapping in); settled.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(clippy::unwrap_used, reason = "a measurement that fails has no result")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::clock::Timestamp;
use bridge_core::envelope::{Envelope, Lane, Source};
use bridge_core::id::{ChatId, MessageId};
use bridge_core::secret::Secret;
use bridge_store::{
    Commit, Direction, Feed, InboxItem, Keyring, MessageMapping, Network, OutboxItem, Remote, Settlement,
    Store, postgres, sqlite,
};
use ruma::{EventId, RoomId};
use tokio::sync::mpsc;

/// Bytes of an envelope's body and of an operation.
const BODY: usize = 400;

fn main() {
    let mut words = std::env::args().skip(1);
    let callers = words.next().map_or(64, |text| text.parse().unwrap());
    let rounds = words.next().map_or(300, |text| text.parse().unwrap());
    let address = words.next();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(callers, rounds, address));
}

async fn measure(callers: usize, rounds: usize, address: Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keyring::new([7; 32], vec![]);
    let store = match address {
        None => sqlite::open(sqlite::Options::new(folder.path().join("bench.db"), "bench"), keys).await,
        Some(address) => {
            let server = postgres::Server::new(Secret::new(address));
            postgres::open(postgres::Options::new(server, "bench"), keys, |_| {}).await
        }
    };
    let store = store.unwrap();
    let mut feed = store.take_feed().unwrap();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..callers).map(|_| mpsc::unbounded_channel()).unzip();
    let dispatcher = tokio::spawn(async move {
        while let Some(Feed::Item(item)) = feed.recv().await {
            let caller: usize = item.envelope.lane.as_str()[2..].parse().unwrap();
            let _ = senders[caller].send(item);
        }
    });

    let (started, cpu) = (Instant::now(), cpu_time());
    let tasks: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(caller, receiver)| tokio::spawn(live(Arc::clone(&store), caller, rounds, receiver)))
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let (took, cpu) = (started.elapsed(), cpu_time().checked_sub(cpu).unwrap());
    waits.sort_unstable();
    let count = u32::try_from(waits.len()).unwrap();
    println!(
        "{callers} callers: {:.0} commits/s ({count} in {took:.2?}), {:.1?} of processor each, wait p50 {:.2?} p99 {:.2?} max {:.2?}",
        f64::from(count) / took.as_secs_f64(),
        cpu / count,
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100],
        waits[waits.len() - 1],
    );
    println!("{} KiB on disk, {} KiB resident", store.size_bytes().await.unwrap() / 1024, resident_kib());
    store.close().await.unwrap();
    dispatcher.abort();
}

/// One caller; how long each commit took.
async fn live(
    store: Arc<dyn Store>,
    caller: usize,
    rounds: usize,
    mut items: mpsc::UnboundedReceiver<InboxItem>,
) -> Vec<Duration> {
    let lane = Lane::from_chat(&caller.to_string());
    let chat = ChatId::parse(format!("cid{caller}")).unwrap();
    let room = RoomId::parse(format!("!room{caller}:example.org")).unwrap();
    let mut waits = Vec::with_capacity(rounds * 3);
    for round in 0..rounds {
        let key = format!("msg{}/{caller}/{round}", scattered(caller * 1_000_003 + round));
        let envelope = Envelope {
            source: Source::Callback,
            key: key.clone(),
            lane: lane.clone(),
            received_at: Timestamp(1_700_000_000_000),
            body: vec![b'x'; BODY],
        };
        let accept = Commit { accept: vec![envelope], ..Commit::default() };
        waits.push(timed(&*store, accept).await);
        let item = items.recv().await.unwrap();
        let seq = store.next_outbox_seq();
        let handled = Commit {
            done: vec![item.seq],
            enqueue: vec![OutboxItem {
                seq,
                lane: lane.clone(),
                network: Network::Matrix,
                key: key.clone(),
                cause: Some(key.clone()),
                op: vec![b'y'; BODY],
                created_at: Timestamp(1_700_000_000_000),
            }],
            ..Commit::default()
        };
        waits.push(timed(&*store, handled).await);
        let settled = Commit {
            settle: vec![(seq, Settlement::Done)],
            map: vec![MessageMapping {
                room: room.clone(),
                event: EventId::parse(format!("${key}")).unwrap(),
                chat: chat.clone(),
                remote: Remote::Message(MessageId::parse(key).unwrap()),
                part: 0,
                direction: Direction::FromDingTalk,
                sender: "s:user".to_owned(),
                at: Timestamp(1_700_000_000_000),
            }],
            ..Commit::default()
        };
        waits.push(timed(&*store, settled).await);
    }
    waits
}

async fn timed(store: &dyn Store, commit: Commit) -> Duration {
    let started = Instant::now();
    store.commit(commit).await.unwrap();
    started.elapsed()
}

/// Spreads keys over the index as real identifiers do.
fn scattered(number: usize) -> u64 {
    (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// User and system time of this process, from /proc in hundredths of a second.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
