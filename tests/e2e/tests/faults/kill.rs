//! The kill test: the bridge is killed again and again while messages cross both ways, now and then something else
//! breaks as well, and nothing is lost, doubled, reordered or altered. `cargo xtask bench faults` is its long form.

use anyhow::Context as _;
use e2e::faults::{Kind, Run};
use world::{DatabaseChoice, Profile, Programs};

/// What a run has to get through: kills, and messages on each side.
type Size = (usize, usize);

/// What one of the two large runs has to get through; `cargo xtask bench faults` has ten times as much.
fn large() -> Size {
    if world::quick() { (10, 150) } else { (60, 700) }
}

/// What a run over Stream or on PostgreSQL has to get through: only the way in, or only the store, is another one.
fn small() -> Size {
    if world::quick() { (6, 90) } else { (40, 350) }
}

/// What a run in encrypted rooms has to get through: a real homeserver and clients that encrypt take their time.
fn encrypted() -> Size {
    if world::quick() { (8, 40) } else { (15, 45) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_with_a_homeserver_that_delivers_again() {
    run("kill-synapse", Kind::Again, DatabaseChoice::Sqlite, large()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_with_a_homeserver_that_delivers_once() {
    run("kill-palpo", Kind::Once, DatabaseChoice::Sqlite, large()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_over_stream() {
    run("kill-stream", Kind::Stream, DatabaseChoice::Sqlite, small()).await.unwrap();
}

/// The database's server is among those that are killed, and other processes take over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_on_postgresql() {
    run("kill-postgresql", Kind::Again, DatabaseChoice::PostgreSql, small()).await.unwrap();
}

/// Everybody's client can read what came, and no step of a key is used twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_in_encrypted_rooms() {
    run("kill-encrypted", Kind::Encrypted, DatabaseChoice::Sqlite, encrypted()).await.unwrap();
}

/// The seed of this run; `SEED` repeats one.
fn seed() -> anyhow::Result<u64> {
    match std::env::var("SEED") {
        Ok(seed) => seed.parse().context("SEED must be a number"),
        Err(_) => Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs()),
    }
}

async fn run(
    name: &str,
    kind: Kind,
    database: DatabaseChoice,
    (kills, messages): Size,
) -> anyhow::Result<()> {
    let seed = seed()?;
    println!("{name}: SEED={seed}");
    let programs = Programs::build(Profile::Debug, &|_| {}).await?;
    let run = Run { seed, kind, database, kills, messages, dir: e2e::folder(name), programs };
    let outcome = run.start(&|_| {}).await;
    let repeat = || format!("{name}: repeat this run with SEED={seed}");
    let outcome = outcome.with_context(repeat)?;
    println!(
        "{name}: {} kills of the bridge, {:?}; {:.0} s of traffic, {:.0} s in all\nto Matrix: {}\nto DingTalk: {}",
        outcome.kills,
        outcome.happened,
        outcome.traffic.as_secs_f64(),
        outcome.took.as_secs_f64(),
        outcome.to_matrix,
        outcome.to_dingtalk
    );
    outcome.judge().with_context(repeat)?;
    anyhow::ensure!(outcome.kills > kills, "too few kills");
    Ok(())
}
