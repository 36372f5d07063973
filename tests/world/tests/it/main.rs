//! The world itself: it comes up, every part of it can be lost, and it goes on.

use std::{path::Path, time::Duration};

use world::{HomeserverKind, StubMode, World, WorldOptions};

const LIMIT: Duration = Duration::from_secs(30);

fn options(name: &str, homeserver: HomeserverKind) -> WorldOptions {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // What a former run has left would be taken for this world's past.
    let _ = std::fs::remove_dir_all(&dir);
    WorldOptions::new(dir, homeserver)
}

#[tokio::test]
async fn every_part_can_be_killed_and_messages_cross_again() {
    let world = World::start(options("killed", HomeserverKind::stub()), &|_| {}).await.unwrap();
    let chat = world.chats().last().unwrap().clone();
    let starts = world.bridge().starts();

    world.bridge().kill().await.unwrap();
    world.sandbox().kill().await.unwrap();
    world.homeserver().kill().await.unwrap();
    world.homeserver().resume().await.unwrap();
    world.sandbox().resume().await.unwrap();
    assert!(world.bridge().starts() > starts);
    let pid = std::fs::read_to_string(world.bridge().pid_file()).unwrap();
    assert_eq!(pid.trim().parse::<u32>().ok(), world.bridge().pid());

    let crossing = world.cross_to_matrix(&chat, "从钉钉", LIMIT).await.unwrap();
    assert_eq!(crossing.read, crossing.written);
    let crossing = world.cross_to_dingtalk(&chat, "from Matrix", LIMIT).await.unwrap();
    assert!(crossing.read.contains("[@Alice via Matrix]"), "{crossing:?}");
    let pid = world.bridge().pid().unwrap();
    world.stop().await.unwrap();
    assert!(!Path::new("/proc").join(pid.to_string()).exists());
}

#[tokio::test]
async fn a_homeserver_that_delivers_once_is_served_too() {
    let flags = vec!["--retry-scale".to_owned(), "0.01".to_owned()];
    let world = World::start(options("once", HomeserverKind::Stub { mode: StubMode::Palpo, flags }), &|_| {})
        .await
        .unwrap();
    assert_eq!(world.description().chats.len(), 2);
    world.cross_to_dingtalk(&world.chats()[0], "from Matrix", LIMIT).await.unwrap();
    world.stop().await.unwrap();
}

#[tokio::test]
async fn a_bare_world_is_not_linked_yet() {
    let options = WorldOptions { bare: true, ..options("bare", HomeserverKind::stub()) };
    let world = World::start(options, &|_| {}).await.unwrap();
    assert!(world.chats().is_empty() && world.direct_room().is_none());
    let description = serde_json::to_value(world.description()).unwrap();
    for key in [
        "homeserver_url",
        "server_name",
        "registration",
        "admin",
        "users",
        "bot_user_id",
        "webhook_url",
        "webhook",
        "sandbox_url",
        "dingtalk",
        "people",
        "chats",
        "database",
        "metrics_url",
        "resolve",
        "bridge_pid_file",
    ] {
        assert!(description.get(key).is_some(), "{key}");
    }
    world.stop().await.unwrap();
}
