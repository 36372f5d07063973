//! The bridge on PostgreSQL: messages cross, the server may restart under traffic, and of two processes one works.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use test_support::{Process, Spawn, free_port, wait_until};
use tokio::net::{TcpListener, TcpStream};
use world::{BridgedChat, DatabaseChoice, Profile, Programs, World, WorldOptions};

use crate::stage::{self, LIMIT, messages, run, sent, unique};

/// A process that stands still is noticed only when it has been silent for a while.
const TAKEOVER: Duration = Duration::from_mins(3);

fn on_postgresql(options: &mut WorldOptions) {
    options.database = DatabaseChoice::PostgreSql;
}

/// A message each way, each exactly once: what a user said, and what a person did.
pub(crate) async fn crosses(world: &World, chat: &BridgedChat, what: &str) -> (String, String) {
    crosses_within(LIMIT, world, chat, what).await
}

async fn crosses_within(limit: Duration, world: &World, chat: &BridgedChat, what: &str) -> (String, String) {
    let (there, back) = (unique(&format!("{what} there")), unique(&format!("{what} back")));
    let person = &world.info().people[0];
    world.users()[0].send_text(&chat.room_id, &there).await.unwrap();
    world.sandbox().write(&chat.chat_id, &person.staff_id, &back).await.unwrap();
    let arrived = wait_until(limit, what, async || {
        let posted = sent(world, chat, &there).await;
        let said = messages(world, &chat.room_id, &back).await;
        (!posted.is_empty() && !said.is_empty()).then_some(())
    });
    arrived.await.unwrap();
    once(world, chat, &there, &back).await;
    (there, back)
}

pub(crate) async fn once(world: &World, chat: &BridgedChat, there: &str, back: &str) {
    let posted = sent(world, chat, there).await.len();
    let ghosts = messages(world, &chat.room_id, back).await;
    assert_eq!((posted, ghosts.len()), (1, 1), "{there}, {back}");
}

#[test]
fn messages_cross_and_survive_a_restart_of_the_bridge() {
    run(async {
        let world = stage::stub("postgresql", on_postgresql).await;
        let chat = &world.chats()[0];
        crosses(&world, chat, "first").await;
        world.bridge().stop().await.unwrap();
        world.bridge().resume().await.unwrap();
        world.bridge().wait_ready(LIMIT).await.unwrap();
        crosses(&world, chat, "after a restart").await;
        world.bridge().kill().await.unwrap();
        world.bridge().wait_ready(LIMIT).await.unwrap();
        crosses(&world, chat, "after a kill").await;
        // What is at rest is sealed here as well.
        let dump =
            world.postgres().unwrap().sql("bridge", "SELECT string_agg(m::text, '') FROM message m").await;
        assert!(!dump.unwrap().contains("after a restart"));
        world.stop().await.unwrap();
    });
}

#[test]
fn the_database_restarts_under_traffic_and_nothing_is_lost_or_doubled() {
    const MESSAGES: usize = 60;
    run(async {
        let world = stage::stub("postgresql-restart", on_postgresql).await;
        let postgres = world.postgres().unwrap();
        let mark = unique("m");
        let text = |number: usize| format!("{mark}-{number}.");
        let chat = |number: usize| &world.chats()[number % world.chats().len()];
        let writing = async {
            for number in 0..MESSAGES {
                let person = &world.info().people[number % 3];
                world.users()[0].send_text(&chat(number).room_id, &text(number)).await.unwrap();
                world.sandbox().write(&chat(number).chat_id, &person.staff_id, &text(number)).await.unwrap();
            }
        };
        let breaking = async {
            for round in 0..4 {
                if round % 2 == 0 {
                    postgres.stop().await.unwrap();
                } else {
                    postgres.kill().await.unwrap();
                }
                postgres.resume().await.unwrap();
                // Something must get through between two faults, be it after all the others.
                let before = postgres.sql("bridge", "SELECT commits FROM holder").await.unwrap();
                world.users()[1].send_text(&chat(0).room_id, &unique("after a fault")).await.unwrap();
                wait_until(LIMIT, "a transaction after the restart", async || {
                    let now = postgres.sql("bridge", "SELECT commits FROM holder").await.ok()?;
                    (now != before).then_some(())
                })
                .await
                .unwrap();
            }
        };
        tokio::join!(writing, breaking);
        let arrived = wait_until(4 * LIMIT, "everything to arrive", async || {
            for number in 0..MESSAGES {
                let ghosts = ghosts(&world, chat(number), &text(number)).await;
                if ghosts == 0 || sent(&world, chat(number), &text(number)).await.is_empty() {
                    return None;
                }
            }
            Some(())
        });
        arrived.await.unwrap();
        for number in 0..MESSAGES {
            let (to_matrix, to_dingtalk) = (
                ghosts(&world, chat(number), &text(number)).await,
                sent(&world, chat(number), &text(number)).await,
            );
            assert_eq!((to_matrix, to_dingtalk.len()), (1, 1), "{}", text(number));
        }
        assert_eq!(world.bridge().starts(), 1, "the bridge did not live through it");
        world.stop().await.unwrap();
    });
}

/// How many ghosts said it.
async fn ghosts(world: &World, chat: &BridgedChat, text: &str) -> usize {
    let all = messages(world, &chat.room_id, text).await;
    all.iter().filter(|event| event["sender"].as_str().unwrap().starts_with("@dingtalk_")).count()
}

/// An address that leads to one of two bridges, as a service in front of two pods does.
struct Switch {
    address: String,
    config: Arc<Mutex<PathBuf>>,
}

impl Switch {
    async fn start(config: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let config = Arc::new(Mutex::new(config));
        let chosen = Arc::clone(&config);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let config = chosen.lock().unwrap().clone();
                tokio::spawn(async move {
                    let Some(target) = listens(&config, "appservice") else { return };
                    let Ok(mut bridge) = TcpStream::connect(target).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut bridge).await;
                });
            }
        });
        Self { address, config }
    }

    fn lead_to(&self, config: &Path) {
        config.clone_into(&mut self.config.lock().unwrap());
    }
}

/// Where a bridge listens, by its configuration; none before that is written.
fn listens(config: &Path, section: &str) -> Option<String> {
    let table: toml::Table = std::fs::read_to_string(config).ok()?.parse().ok()?;
    Some(table.get(section)?.get("listen")?.as_str()?.to_owned())
}

/// A second process for the same workspace.
struct Second {
    process: Process,
    config: PathBuf,
    health: String,
}

impl Second {
    async fn start(world: &World) -> Self {
        let programs = Programs::build(Profile::Debug, &|_| {}).await.unwrap();
        let (port, health_port) = (free_port().unwrap(), free_port().unwrap());
        let mut table: toml::Table = std::fs::read_to_string(world.config()).unwrap().parse().unwrap();
        for (section, port) in [("appservice", port), ("health", health_port)] {
            table[section]["listen"] = format!("127.0.0.1:{port}").into();
        }
        let config = world.dir().join("second.toml");
        std::fs::write(&config, table.to_string()).unwrap();
        let spawn = Spawn::new(&programs.bridge).args(["run", "--config"]).arg(&config);
        let process = spawn.log(world.dir().join("second.log")).start().await.unwrap();
        Self { process, config, health: format!("http://127.0.0.1:{health_port}") }
    }
}

/// What a probe says.
async fn probe(health: &str, path: &str) -> Option<(u16, String)> {
    let answer = reqwest::get(format!("{health}{path}")).await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

async fn wait_standby(health: &str) {
    wait_until(TAKEOVER, "the process to stand by", async || {
        let (status, text) = probe(health, "/readyz").await?;
        (status == 503 && text.contains("standby, another process works on it")).then_some(())
    })
    .await
    .unwrap();
}

async fn wait_ready(health: &str) {
    let ready = wait_until(TAKEOVER, "the standby to take over", async || {
        (probe(health, "/readyz").await?.0 == 200).then_some(())
    });
    ready.await.unwrap();
}

#[test]
fn of_two_processes_one_works_and_the_other_takes_over() {
    run(async {
        let folder = e2e::options("it-takeover", world::HomeserverKind::stub()).dir;
        let switch = Switch::start(folder.join("bridge.toml")).await;
        let address = switch.address.clone();
        let world = stage::stub("takeover", |options| {
            on_postgresql(options);
            let more = format!(
                "\n[appservice]\nurl = \"http://{address}\"\nwebhook_url = \"http://{address}{}\"\n",
                bridge_config::WEBHOOK_PATH
            );
            options.bridge_settings.push_str(&more);
        })
        .await;
        let chat = &world.chats()[0];
        let first = world.bridge().metrics_url().replace("/metrics", "");
        crosses(&world, chat, "the first alone").await;

        let second = Second::start(&world).await;
        wait_standby(&second.health).await;
        assert_eq!(probe(&second.health, "/livez").await.unwrap().0, 200);
        assert!(probe(&second.health, "/metrics").await.unwrap().1.contains("dingtalk_bridge_standby 1"));
        let own = listens(&second.config, "appservice").unwrap();
        assert!(TcpStream::connect(own).await.is_err(), "a standby takes requests");
        crosses(&world, chat, "beside a standby").await;

        // The first stands still: nobody tells it that it has lost the database.
        let pid = world.bridge().pid().unwrap().to_string();
        signal("STOP", &pid).await;
        wait_ready(&second.health).await;
        switch.lead_to(&second.config);
        // The homeserver may hold a connection to the first, whose silence it has to notice before it asks again.
        crosses_within(TAKEOVER, &world, chat, "by the second").await;

        // It goes on where it stood, finds that it may not, and ends; started again it stands by.
        let starts = world.bridge().starts();
        signal("CONT", &pid).await;
        wait_until(TAKEOVER, "the first to end", async || (world.bridge().starts() > starts).then_some(()))
            .await
            .unwrap();
        let log = std::fs::read_to_string(world.bridge().log()).unwrap();
        assert!(log.contains("another process has taken over the database"), "{log}");
        wait_standby(&first).await;
        crosses(&world, chat, "by the second again").await;

        // A process that dies is replaced without waiting for its silence.
        second.process.kill().await.unwrap();
        wait_ready(&first).await;
        switch.lead_to(world.config());
        crosses(&world, chat, "by the first again").await;
        let epoch = world.postgres().unwrap().sql("bridge", "SELECT epoch FROM holder").await.unwrap();
        assert_eq!(epoch, "3");
        world.stop().await.unwrap();
    });
}

async fn signal(name: &str, pid: &str) {
    let status = tokio::process::Command::new("kill").args(["-s", name, pid]).status().await.unwrap();
    assert!(status.success());
}
