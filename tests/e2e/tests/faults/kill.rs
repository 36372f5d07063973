//! The kill test: the bridge is killed again and again while messages cross both ways, the homeserver and DingTalk
//! now and then as well, and nothing is lost, doubled, reordered or altered.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use e2e::{Fate, Gate, Moment};
use serde_json::{Value, json};
use test_support::{Metrics, wait_until};
use tokio::sync::{RwLock, watch};
use world::{DatabaseChoice, HomeserverKind, Profile, Programs, StubMode, World};

use crate::{
    chance::Chance,
    count::{Arrived, Count, Expected, count},
    traffic::{self, Message, Way},
    victim::Victim,
};

/// How long anything may take that has to happen in the end.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

const CHATS: usize = 10;
const PEOPLE: usize = 5;
/// Once in so many rounds the homeserver or DingTalk is killed as well.
const OTHERS: usize = 8;

/// What one of the two runs has to get through; together they are what the promise says.
#[derive(Clone, Copy)]
struct Size {
    kills: usize,
    messages: usize,
}

fn size() -> Size {
    if world::quick() { Size { kills: 10, messages: 150 } } else { Size { kills: 105, messages: 1_200 } }
}

/// In what a run differs from the usual one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usual,
    /// DingTalk sends over Stream.
    Stream,
    /// The database is PostgreSQL.
    PostgreSql,
}

/// What a run over Stream or on PostgreSQL has to get through: only the way in, or only the store, is another one.
fn smaller() -> Size {
    if world::quick() { Size { kills: 6, messages: 90 } } else { Size { kills: 30, messages: 400 } }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_with_a_homeserver_that_delivers_again() {
    run("kill-synapse", StubMode::Synapse, size(), Kind::Usual).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_with_a_homeserver_that_delivers_once() {
    run("kill-palpo", StubMode::Palpo, size(), Kind::Usual).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_over_stream() {
    run("kill-stream", StubMode::Synapse, smaller(), Kind::Stream).await.unwrap();
}

/// The database's server is among those that are killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_on_postgresql() {
    run("kill-postgresql", StubMode::Synapse, smaller(), Kind::PostgreSql).await.unwrap();
}

/// The seed of this run; `SEED` repeats one.
fn seed() -> anyhow::Result<u64> {
    match std::env::var("SEED") {
        Ok(seed) => seed.parse().context("SEED must be a number"),
        Err(_) => Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs()),
    }
}

async fn run(name: &str, mode: StubMode, size: Size, kind: Kind) -> anyhow::Result<()> {
    let seed = seed()?;
    let said = scenario(name, mode, size, kind, seed).await;
    said.with_context(|| format!("{name}: repeat this run with SEED={seed}"))
}

async fn scenario(name: &str, mode: StubMode, size: Size, kind: Kind, seed: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    println!("{name}: SEED={seed}");
    let mut chance = Chance::new(seed);
    let programs = Programs::build(Profile::Debug, &|_| {}).await?;
    let flags: &[&str] = match mode {
        StubMode::Palpo => &["--retry-scale", "0.02"],
        // As Synapse does on SQLite: the same transaction ids come again with other events.
        StubMode::Synapse => &["--retry-scale", "0.05", "--reset-transaction-ids"],
    };
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let mut options = e2e::options(name, HomeserverKind::Stub { mode, flags });
    let gate = Gate::open(options.dir.join("bridge.toml"), |_| Fate::Pass).await?;
    options.bridge_settings = format!(
        "[appservice]\nurl = \"{}\"\n[queue]\nfirst_pause = \"50ms\"\nlongest_pause = \"1s\"",
        gate.url()
    );
    options.sandbox_flags =
        ["--session-seconds", "5400", "--groups", "10", "--people", "5"].map(str::to_owned).to_vec();
    options.time_scale = 600.0;
    options.stream = kind == Kind::Stream;
    if kind == Kind::PostgreSql {
        options.database = DatabaseChoice::PostgreSql;
    }
    options.programs = Some(programs.clone());
    let world = World::start(options, &|_| {}).await?;
    anyhow::ensure!(world.chats().len() == CHATS && world.info().people.len() == PEOPLE, "another world");

    let mut victim = Victim::replace(&world, &programs.bridge).await?;
    gate.decide(fates(chance.fork()));
    trouble(&world).await?;
    let plan = |way, writers, chance: &mut Chance| {
        traffic::plan(way, size.messages, size.kills, CHATS, writers, chance)
    };
    let to_matrix = plan(Way::ToMatrix, PEOPLE, &mut chance);
    let to_dingtalk = plan(Way::ToDingTalk, world.users().len(), &mut chance);
    let (round, rounds) = watch::channel(0);
    let (dingtalk, always) = (RwLock::default(), RwLock::default());
    let (mut first, mut second, mut third) = (chance.fork(), chance.fork(), chance.fork());
    let (killed, _, event_ids) = tokio::try_join!(
        kill(&world, &mut victim, round, size.kills, &dingtalk, &mut first),
        traffic::write(&world, &to_matrix, Way::ToMatrix, &rounds, &dingtalk, &mut second),
        traffic::write(&world, &to_dingtalk, Way::ToDingTalk, &rounds, &always, &mut third),
    )?;
    let written = began.elapsed();
    // A last start reads back what the homeserver has dropped; nothing is broken from here on.
    gate.decide(|_| Fate::Pass);
    no_trouble(&world).await?;
    victim.kill().await?;

    let sent = Sent { to_matrix, to_dingtalk, event_ids };
    let settled = wait_until(PATIENCE, "every message to arrive", async || {
        let verdict = sent.verdict(&world, &gate, mode).await.ok()?;
        (verdict.nothing_lost() && quiet(&world).await.unwrap_or(false)).then_some(())
    });
    let late = settled.await.err();
    let verdict = sent.verdict(&world, &gate, mode).await?;
    println!(
        "{name}: {} kills of the bridge, {killed} of others; {:.0} s of traffic, {:.0} s in all\n\
         to Matrix: {}\nto DingTalk: {}",
        victim.kills,
        written.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        verdict.to_matrix,
        verdict.to_dingtalk
    );
    let logs = format!("logs and databases: {}", world.dir().display());
    anyhow::ensure!(
        verdict.to_matrix.is_perfect() && verdict.to_dingtalk.is_perfect() && verdict.strange.is_empty(),
        "to Matrix: {}\nto DingTalk: {}\nstrange notices: {:?}\n{logs}",
        verdict.to_matrix,
        verdict.to_dingtalk,
        verdict.strange
    );
    if let Some(late) = late {
        return Err(late.context(logs));
    }
    let most = (victim.kills + killed) * CHATS;
    anyhow::ensure!(
        verdict.to_dingtalk.doubtful <= most,
        "{} may have been sent, which is more than the one per chat and kill ({most}); {logs}",
        verdict.to_dingtalk.doubtful
    );
    anyhow::ensure!(victim.kills > size.kills, "too few kills");
    Ok(())
}

/// What goes wrong between homeserver and bridge besides the kills.
fn fates(mut chance: Chance) -> impl FnMut(Moment) -> Fate + Send + 'static {
    move |moment| match (moment, chance.below(100)) {
        (Moment::Arrived, 0) | (Moment::Unanswered, 0..50) => Fate::Refuse,
        (Moment::Arrived, 1) => Fate::LoseAnswer,
        (Moment::Arrived, 2) => Fate::Cut,
        _ => Fate::Pass,
    }
}

/// Makes both servers slow, so that kills meet calls that are under way, and unreliable. One that was started again
/// has forgotten it.
async fn trouble(world: &World) -> anyhow::Result<()> {
    for fault in [
        json!({"target": "/v1.0/robot", "kind": "lose_answer", "probability": 0.01}),
        json!({"target": "/v1.0/robot", "kind": "throttle", "form": "qps", "probability": 0.01}),
        json!({"target": "/v1.0/robot", "kind": "delay_ms", "value": 60, "probability": 0.3}),
        json!({"target": "webhook", "kind": "lose_answer", "probability": 0.03}),
        json!({"target": "webhook", "kind": "invalid_json", "probability": 0.01}),
        json!({"target": "webhook", "kind": "wrong_sign", "probability": 0.01}),
        json!({"target": "webhook", "kind": "stale_timestamp", "probability": 0.01}),
        json!({"target": "stream", "kind": "lose_answer", "probability": 0.03}),
        json!({"target": "stream", "kind": "invalid_json", "probability": 0.01}),
        json!({"target": "stream", "kind": "cut", "probability": 0.01}),
    ] {
        let _: Value = world.sandbox().post("faults", &fault).await?;
    }
    let url = format!("{}/_stub/faults", world.homeserver().url());
    for fault in [
        json!({"path_contains": "/send/", "kind": "lose_answer", "probability": 0.02}),
        json!({"path_contains": "/send/", "kind": "status", "value": 502, "probability": 0.01}),
        json!({"path_contains": "/send/", "kind": "limit", "value": 50, "probability": 0.01}),
        json!({"path_contains": "/send/", "kind": "delay_ms", "value": 60, "probability": 0.3}),
    ] {
        reqwest::Client::new().post(&url).json(&fault).send().await?.error_for_status()?;
    }
    Ok(())
}

/// Ends it.
async fn no_trouble(world: &World) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    for url in [
        format!("{}/_sandbox/faults", world.sandbox().url()),
        format!("{}/_stub/faults", world.homeserver().url()),
    ] {
        client.delete(url).send().await?.error_for_status()?;
    }
    Ok(())
}

/// Kills until every round is over; answers how often others than the bridge were killed.
async fn kill(
    world: &World,
    victim: &mut Victim,
    round: watch::Sender<usize>,
    kills: usize,
    dingtalk: &RwLock<()>,
    chance: &mut Chance,
) -> anyhow::Result<usize> {
    let mut others = 0;
    for number in 0..kills {
        round.send_replace(number);
        // Most lives are short; some are long enough for the reading back.
        let life = if chance.percent(15) { chance.span(2_500, 4_000) } else { chance.span(50, 1_200) };
        let away = chance.span(20, 600);
        let alive = async {
            // The moment of the kill is what is random here, not a waiting for something.
            tokio::time::sleep(life).await;
            victim.kill().await
        };
        if number % OTHERS != OTHERS - 1 {
            alive.await?;
            continue;
        }
        others += 1;
        let postgres = world.postgres().filter(|_| others % 2 == 1);
        let homeserver = chance.percent(50);
        let other = async {
            tokio::time::sleep(chance.span(0, 600)).await;
            if let Some(postgres) = postgres {
                if homeserver {
                    postgres.kill().await?;
                } else {
                    postgres.stop().await?;
                }
                tokio::time::sleep(away).await;
                postgres.resume().await?;
            } else if homeserver {
                world.homeserver().kill().await?;
                tokio::time::sleep(away).await;
                world.homeserver().resume().await?;
            } else {
                world.sandbox().kill().await?;
                // A sandbox that starts may deliver a new message before those it owes: people wait so long.
                let _closed = dingtalk.write().await;
                tokio::time::sleep(away).await;
                world.sandbox().resume().await?;
                let owed = wait_until(PATIENCE, "what DingTalk owes", async || {
                    all_answered(world).await.unwrap_or(false).then_some(())
                });
                owed.await?;
            }
            trouble(world).await
        };
        tokio::try_join!(alive, other)?;
    }
    Ok(others)
}

/// Nothing is on its way any more.
async fn quiet(world: &World) -> anyhow::Result<bool> {
    let metrics = Metrics::fetch(&world.bridge().metrics_url()).await?;
    let waiting = metrics.value("dingtalk_bridge_waiting", &[]).context("no figure for what waits")?;
    let url = format!("{}/_stub/stats", world.homeserver().url());
    let stats: Value = reqwest::get(url).await?.json().await?;
    Ok(waiting == 0.0 && stats["push"]["pending"] == 0 && all_answered(world).await?)
}

/// DingTalk has an answer to every callback.
async fn all_answered(world: &World) -> anyhow::Result<bool> {
    let deliveries: Vec<Value> = world.sandbox().get("deliveries").await?;
    Ok(deliveries.iter().all(|delivery| delivery["to_bot"] != true || delivery["answered"] == true))
}

struct Sent {
    to_matrix: Vec<Message>,
    to_dingtalk: Vec<Message>,
    event_ids: HashMap<String, String>,
}

struct Verdict {
    to_matrix: Count,
    to_dingtalk: Count,
    /// Notices that nothing explains.
    strange: Vec<String>,
}

impl Verdict {
    fn nothing_lost(&self) -> bool {
        self.to_matrix.lost.is_empty() && self.to_dingtalk.lost.is_empty()
    }
}

impl Sent {
    async fn verdict(&self, world: &World, gate: &Gate, mode: StubMode) -> anyhow::Result<Verdict> {
        let rooms = Rooms::read(world).await?;
        let mut strange = rooms.strange;
        let doubtful: HashSet<&String> = rooms.doubtful.iter().collect();
        if doubtful.len() < rooms.doubtful.len() {
            strange.push("a room was told twice about the same message".to_owned());
        }
        let to_matrix: Vec<Expected> = self
            .to_matrix
            .iter()
            .map(|message| Expected {
                token: message.token.clone(),
                chat: message.chat,
                text: message.text.clone(),
                sender: ghost(world, message.writer),
                in_order: true,
                doubtful: false,
            })
            .collect();
        let to_dingtalk: Vec<Expected> = self
            .to_dingtalk
            .iter()
            .map(|message| {
                let event = &self.event_ids[&message.token];
                let name = ["Alice", "Bob"][message.writer];
                Expected {
                    token: message.token.clone(),
                    chat: message.chat,
                    text: format!("[@{name} via Matrix] {}", message.text),
                    sender: "bot".to_owned(),
                    // What was not taken at the first delivery comes when the homeserver or the reading back brings it.
                    in_order: mode == StubMode::Synapse || gate.first_delivery(event) == Some(true),
                    doubtful: doubtful.contains(event),
                }
            })
            .collect();
        let mut posted = Vec::new();
        for sent in world.sandbox().sent(0).await? {
            let text = sent.text();
            let chat = world.chats().iter().position(|chat| chat.chat_id == sent.chat_id);
            match (traffic::token(&text), chat) {
                (Some(token), Some(chat)) => {
                    let token = token.to_owned();
                    posted.push(Arrived { token, chat, text, sender: "bot".to_owned() });
                }
                _ if sent.says("bridge <matrix-room>") => {}
                _ => strange.push(text),
            }
        }
        Ok(Verdict {
            to_matrix: count(&to_matrix, &rooms.arrived),
            to_dingtalk: count(&to_dingtalk, &posted),
            strange,
        })
    }
}

/// The ghost of a person, by the documented coding; the sandbox's ids need no escapes.
fn ghost(world: &World, writer: usize) -> String {
    let server = world.admin().user_id().split_once(':').map_or("", |(_, server)| server);
    format!("@dingtalk_{}:{server}", world.info().people[writer].staff_id)
}

/// What the timelines of all rooms have.
#[derive(Default)]
struct Rooms {
    arrived: Vec<Arrived>,
    /// Ids of the events of which the room was told that they may have been sent.
    doubtful: Vec<String>,
    strange: Vec<String>,
}

impl Rooms {
    async fn read(world: &World) -> anyhow::Result<Self> {
        let mut rooms = Self::default();
        let (bot, people) = (world.bot_user_id(), world.users());
        for (chat, bridged) in world.chats().iter().enumerate() {
            for event in world.admin().messages(&bridged.room_id, 100_000).await? {
                let sender = event["sender"].as_str().unwrap_or_default();
                let Some(text) =
                    event["content"]["body"].as_str().filter(|_| event["type"] == "m.room.message")
                else {
                    continue;
                };
                if people.iter().any(|user| user.user_id() == sender) {
                    continue;
                }
                if sender == bot {
                    let about = event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"].as_str();
                    match about {
                        Some(about) if text.contains("may or may not have reached DingTalk") => {
                            rooms.doubtful.push(about.to_owned());
                        }
                        None if text.contains("is bridged to the DingTalk chat") => {}
                        _ => rooms.strange.push(text.to_owned()),
                    }
                } else if let Some(token) = traffic::token(text) {
                    rooms.arrived.push(Arrived {
                        token: token.to_owned(),
                        chat,
                        text: text.to_owned(),
                        sender: sender.to_owned(),
                    });
                } else if !text.contains("first contact") {
                    rooms.strange.push(text.to_owned());
                }
            }
        }
        Ok(rooms)
    }
}

#[test]
fn a_plan_is_repeated_by_its_seed() {
    let plan = |seed| {
        let all = traffic::plan(Way::ToMatrix, 200, 10, CHATS, PEOPLE, &mut Chance::new(seed));
        all.into_iter().map(|message| (message.chat, message.text)).collect::<Vec<_>>()
    };
    assert_eq!(plan(7), plan(7));
    assert_ne!(plan(7), plan(8));
    assert!(plan(7).iter().all(|(_, text)| traffic::token(text).is_some()));
}
