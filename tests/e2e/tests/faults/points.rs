//! The bridge dies between any two statements of what it commits: PostgreSQL holds the statement, and the process is
//! killed while it waits. Right before a transaction's first statement is right after the one before it.

use e2e::faults::{PATIENCE, Victim};
use serde_json::{Value, json};
use test_support::{Postgres, wait_until};
use world::{DatabaseChoice, HomeserverKind, World};

/// Name of the database, and of the trigger in it.
const DATABASE: &str = "bridge";

/// What is written when messages cross: by their tables and kinds, all statements of the steps *accept*, *step*, *ghost*,
/// *membership*, *mark* and *settle* of `docs/delivery.md`.
const STATEMENTS: [(&str, &str); 10] = [
    ("seen", "INSERT"),
    ("inbox", "INSERT"),
    ("inbox", "DELETE"),
    ("outbox", "INSERT"),
    ("outbox", "UPDATE"),
    ("outbox", "DELETE"),
    ("message", "INSERT"),
    ("edit", "INSERT"),
    ("person", "INSERT"),
    ("membership", "INSERT"),
];

/// Holds whoever comes by in the middle of a statement.
const HOLD: &str = "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(3600); RETURN NULL; END $$";

/// Whoever is held.
const HELD: &str = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

/// What was written to see what becomes of it.
struct Probe {
    token: String,
    person: String,
    events: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_between_any_two_statements_loses_and_doubles_nothing() {
    let mut options = e2e::options("points", HomeserverKind::stub());
    options.database = DatabaseChoice::PostgreSql;
    options.time_scale = 600.0;
    let people = 1 + 2 * STATEMENTS.len();
    options.sandbox_flags = ["--people".to_owned(), people.to_string()].into();
    options.bridge_settings = "[queue]\nfirst_pause = \"50ms\"\nlongest_pause = \"1s\"".to_owned();
    let world = World::start(options, &|_| {}).await.unwrap();
    let postgres = world.postgres().unwrap();
    postgres.sql(DATABASE, HOLD).await.unwrap();
    world.bridge().stop().await.unwrap();
    let program = world::Programs::build(world::Profile::Debug, &|_| {}).await.unwrap().bridge;
    let (config, log) = (world.config(), world.bridge().log());
    let mut victim = Victim::start(&[], &program, [config; 2], log).await.unwrap();

    let mut probes = Vec::new();
    for moment in ["BEFORE", "AFTER"] {
        for (table, kind) in STATEMENTS {
            let point = format!("{moment} {kind} ON {table}");
            world.bridge().wait_ready(PATIENCE).await.unwrap();
            let hold = format!("CREATE TRIGGER hold {point} FOR EACH STATEMENT EXECUTE FUNCTION hold()");
            postgres.sql(DATABASE, &hold).await.unwrap();
            let probe = write(&world, probes.len()).await;
            die_there(postgres, &mut victim, &point, table).await;
            arrived(&world, &probe, &point).await;
            probes.push(probe);
        }
    }
    assert_eq!(victim.kills(), 2 * STATEMENTS.len());
    for probe in &probes {
        count(&world, probe).await;
    }
    world.stop().await.unwrap();
}

/// Somebody new writes in DingTalk; in Matrix somebody writes, and writes it anew.
async fn write(world: &World, number: usize) -> Probe {
    let token = format!("tok-{number:03}-");
    let (chat, alice) = (&world.chats()[0], &world.users()[0]);
    let said = |kind: &str| format!("{token}{kind}");
    // The first one has written before.
    let person = world.info().people[number + 1].staff_id.clone();
    world.sandbox().write(&chat.chat_id, &person, &said("there")).await.unwrap();
    let first = alice.send_text(&chat.room_id, &said("first")).await.unwrap();
    let edit = json!({
        "msgtype": "m.text",
        "body": format!("* {}", said("second")),
        "m.new_content": {"msgtype": "m.text", "body": said("second")},
        "m.relates_to": {"rel_type": "m.replace", "event_id": first},
    });
    let second = alice.send_content(&chat.room_id, "m.room.message", &edit).await.unwrap();
    Probe { token, person: world.ghost_of(&person), events: vec![first, second] }
}

/// Waits until the bridge is held there, and kills it; then nothing is in the way any more, and it starts again.
async fn die_there(postgres: &Postgres, victim: &mut Victim, point: &str, table: &str) {
    let what = format!("the bridge to come by {point}");
    let held = wait_until(PATIENCE, &what, async || {
        let held = postgres.sql(DATABASE, &format!("SELECT count(*) {HELD}")).await.ok()?;
        (held != "0").then_some(())
    });
    held.await.unwrap();
    victim.strike().await.unwrap();
    postgres.sql(DATABASE, &format!("SELECT pg_terminate_backend(pid) {HELD}")).await.unwrap();
    postgres.sql(DATABASE, &format!("DROP TRIGGER hold ON {table}")).await.unwrap();
    victim.resume().await.unwrap();
}

/// How often it says that in DingTalk and, by that ghost, in Matrix.
async fn seen(world: &World, probe: &Probe, kind: &str) -> (usize, usize) {
    let text = format!("{}{kind}", probe.token);
    let sent = world.sandbox().sent(0).await.unwrap();
    let events = world.admin().messages(&world.chats()[0].room_id, 10_000).await.unwrap();
    let said = |event: &&Value| event["sender"] == probe.person.as_str() && event["content"]["body"] == text;
    (sent.iter().filter(|sent| sent.says(&text)).count(), events.iter().filter(said).count())
}

/// Whether the room was told of an event that it may have been sent.
async fn is_told(world: &World, event_id: &str) -> bool {
    let events = world.admin().messages(&world.chats()[0].room_id, 10_000).await.unwrap();
    events.iter().any(|event| {
        let about = &event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"];
        about == event_id && event["content"].to_string().contains("may or may not have reached DingTalk")
    })
}

async fn arrived(world: &World, probe: &Probe, point: &str) {
    let what = format!("all to arrive after a death {point}");
    let all = wait_until(PATIENCE, &what, async || {
        let mut there = seen(world, probe, "there").await.1 > 0;
        for (kind, event) in ["first", "second"].iter().zip(&probe.events) {
            there = there && (seen(world, probe, kind).await.0 > 0 || is_told(world, event).await);
        }
        there.then_some(())
    });
    all.await.unwrap();
}

/// Once in Matrix; in DingTalk once, or at most once and told.
async fn count(world: &World, probe: &Probe) {
    assert_eq!(seen(world, probe, "there").await, (0, 1), "{}", probe.token);
    for (kind, event) in ["first", "second"].iter().zip(&probe.events) {
        let sent = seen(world, probe, kind).await.0;
        assert!(sent == 1 || sent == 0 && is_told(world, event).await, "{}{kind}: {sent} times", probe.token);
    }
}
