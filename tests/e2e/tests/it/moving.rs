//! A workspace moves from SQLite to PostgreSQL and back, and comes back from a backup: what waited and what is known
//! move with it, and nothing crosses twice.

use std::path::{Path, PathBuf};

use serde_json::json;
use test_support::{Postgres, PostgresOptions, RoomOptions, wait_until};
use toml::{Table, Value};
use world::{BridgedChat, World};

use crate::{
    direct::Direct,
    postgresql::{crosses, once},
    stage::{self, LIMIT, messages, new_group, run, unique, wait_message, wait_sent},
};

/// The world's configuration with another database.
fn with_database(world: &World, name: &str, key: &str, value: &str) -> PathBuf {
    let mut config: Table = std::fs::read_to_string(world.config()).unwrap().parse().unwrap();
    config.insert("database".to_owned(), Table::from_iter([(key.to_owned(), Value::from(value))]).into());
    let path = world.dir().join(name);
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

async fn db(world: &World, arguments: &[&str]) -> anyhow::Result<String> {
    world.bridge().run(&[&["db"], arguments].concat()).await
}

async fn copy(world: &World, from: &Path, to: &Path) -> anyhow::Result<String> {
    db(world, &["copy", "--from", from.to_str().unwrap(), "--to", to.to_str().unwrap()]).await
}

/// Starts the bridge that was stopped, with another configuration.
async fn start_with(world: &World, config: &Path) {
    std::fs::copy(config, world.config()).unwrap();
    world.bridge().resume().await.unwrap();
    world.bridge().wait_ready(LIMIT).await.unwrap();
}

/// Delivers an event of a room once more, in a transaction of its own.
async fn deliver_again(world: &World, chat: &BridgedChat, text: &str) {
    let event = messages(world, &chat.room_id, text).await.remove(0);
    let registration = std::fs::read_to_string(&world.description().registration).unwrap();
    let token = registration.lines().find_map(|line| line.trim().strip_prefix("hs_token:")).unwrap();
    let origin = world.description().webhook_url.replace(bridge_config::WEBHOOK_PATH, "");
    let known = stage::metric(world, "duplicates_total", &[]).await;
    let answer = reqwest::Client::new()
        .put(format!("{origin}/_matrix/app/v1/transactions/again-{}", unique("t").replace(' ', "-")))
        .bearer_auth(token.trim().trim_matches(['"', '\'']))
        .json(&json!({"events": [event]}))
        .send();
    assert_eq!(answer.await.unwrap().status(), 200);
    let recognised = wait_until(LIMIT, "the event to be recognised", async || {
        (stage::metric(world, "duplicates_total", &[]).await > known).then_some(())
    });
    recognised.await.unwrap();
}

#[test]
fn a_workspace_moves_to_postgresql_and_back_and_nothing_is_lost_or_doubled() {
    run(async {
        let world = stage::stub("moving", |_| ()).await;
        let (chat, person) = (&world.chats()[0], &world.info().people[0]);
        let (there, back) = crosses(&world, chat, "before").await;
        // A message that waits for its chat to be bridged.
        let (group, held) = (new_group(&world, "搬家").await, unique("held"));
        let since = world.sandbox().sent(0).await.unwrap().len();
        world.sandbox().write(&group, &person.staff_id, &held).await.unwrap();
        let told = |sent: &world::Sent| sent.chat_id == group;
        world.sandbox().wait_sent("the confirmation", since, LIMIT, told).await.unwrap();

        let postgres = Postgres::start(PostgresOptions::default(), &|_| {}).await.unwrap();
        let url = world.dir().join("database-url");
        std::fs::write(&url, postgres.database("bridge").await.unwrap()).unwrap();
        let sqlite = world.dir().join("sqlite.toml");
        std::fs::copy(world.config(), &sqlite).unwrap();
        let postgresql = with_database(&world, "postgresql.toml", "url_file", url.to_str().unwrap());
        let refused = copy(&world, &sqlite, &postgresql).await.unwrap_err().to_string();
        assert!(refused.contains("in use by another process"), "{refused}");

        world.bridge().stop().await.unwrap();
        let meanwhile = unique("meanwhile");
        world.users()[0].send_text(&chat.room_id, &meanwhile).await.unwrap();
        let said = copy(&world, &sqlite, &postgresql).await.unwrap();
        assert!(said.starts_with("copied ") && said.contains(" inbox\n"), "{said}");
        let said = copy(&world, &sqlite, &postgresql).await.unwrap();
        assert!(said.contains("holds the same"), "{said}");
        start_with(&world, &postgresql).await;
        wait_sent(&world, chat, &meanwhile).await;
        deliver_again(&world, chat, &there).await;
        let after = crosses(&world, chat, "on PostgreSQL").await;
        for (there, back) in [(&there, &back), (&after.0, &after.1)] {
            once(&world, chat, there, back).await;
        }
        assert_eq!(stage::sent(&world, chat, &meanwhile).await.len(), 1);
        let room = bridge(&world, &group).await;
        wait_message(&world, &room, &held).await;
        assert_eq!(messages(&world, &room, &held).await.len(), 1);

        // Back, into another file.
        world.bridge().stop().await.unwrap();
        let file = world.dir().join("back.db");
        let address = format!("sqlite://{}", file.display());
        let again = with_database(&world, "back.toml", "url", &address);
        copy(&world, &postgresql, &again).await.unwrap();
        postgres.stop().await.unwrap();
        start_with(&world, &again).await;
        deliver_again(&world, chat, &after.0).await;
        let kept = crosses(&world, chat, "back on SQLite").await;

        // A backup of the running bridge comes back; what crossed since is not posted again.
        let config = world.config().to_str().unwrap();
        let saved = world.dir().join("saved.db");
        let saved = saved.to_str().unwrap();
        let said = db(&world, &["backup", saved, "--config", config]).await.unwrap();
        assert!(said.contains("bytes"), "{said}");
        let since = crosses(&world, chat, "since the backup").await;
        let refused = db(&world, &["restore", saved, "--config", config]).await.unwrap_err().to_string();
        assert!(refused.contains("move it away first"), "{refused}");
        world.bridge().stop().await.unwrap();
        std::fs::remove_file(&file).unwrap();
        let said = db(&world, &["restore", saved, "--config", config]).await.unwrap();
        assert!(said.contains("rooms are read from now on"), "{said}");
        world.bridge().resume().await.unwrap();
        world.bridge().wait_ready(LIMIT).await.unwrap();
        crosses(&world, chat, "after the backup came back").await;
        for (there, back) in [&kept, &since] {
            once(&world, chat, there, back).await;
        }
        world.stop().await.unwrap();
    });
}

/// Bridges a group to a new room.
async fn bridge(world: &World, group: &str) -> String {
    let options = RoomOptions { invite: vec![world.bot_user_id()], ..RoomOptions::default() };
    let room = world.admin().create_room(options).await.unwrap();
    let joined = wait_until(LIMIT, "the bot to join", async || {
        world.admin().joined_members(&room).await.ok()?.contains_key(&world.bot_user_id()).then_some(())
    });
    joined.await.unwrap();
    world.admin().set_power(&room, &world.bot_user_id(), 50).await.unwrap();
    let direct = Direct::open(world, world.admin()).await;
    direct.expect(&format!("bridge {room} {group}"), &["Bridged: 搬家"]).await;
    room
}
