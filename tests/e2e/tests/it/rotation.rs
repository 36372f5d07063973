//! The sealing key is replaced without losing what was sealed before.

use toml::{Table, Value};

use crate::{
    direct::Direct,
    stage::{self, new_group, run, unique},
};

#[test]
fn what_the_old_key_sealed_opens_while_it_is_listed_and_the_lack_of_it_is_named() {
    run(async {
        let world = stage::stub("rotation", |_| ()).await;
        let direct = Direct::open(&world, world.admin()).await;
        // Sealed with the old key: the app's secret, the webhook's keys, and a message that is held.
        let group = new_group(&world, "轮换").await;
        let held = unique("held under the old key");
        let person = &world.info().people[0];
        let since = world.sandbox().sent(0).await.unwrap().len();
        world.sandbox().write(&group, &person.staff_id, &held).await.unwrap();
        let told = |sent: &world::Sent| sent.chat_id == group;
        world.sandbox().wait_sent("the confirmation", since, stage::LIMIT, told).await.unwrap();
        world.bridge().stop().await.unwrap();

        let (old, new) = (world.dir().join("sealing-key"), world.dir().join("sealing-key.new"));
        std::fs::write(&new, "5d".repeat(32)).unwrap();
        let set = |current: &std::path::Path, former: Vec<Value>| {
            let mut config: Table = std::fs::read_to_string(world.config()).unwrap().parse().unwrap();
            let security = config["security"].as_table_mut().unwrap();
            security.insert("sealing_key_file".to_owned(), current.display().to_string().into());
            security.insert("old_sealing_key_files".to_owned(), former.into());
            std::fs::write(world.config(), config.to_string()).unwrap();
        };
        let old_name = Value::from(old.canonicalize().unwrap().display().to_string());
        let new_name = new.canonicalize().unwrap();

        // Without the old key the bridge does not start, and says why.
        set(&new_name, Vec::new());
        let _ = world.bridge().resume().await;
        let said = test_support::wait_until(stage::LIMIT, "the reason in the log", async || {
            let log = std::fs::read_to_string(world.bridge().log()).ok()?;
            log.contains("sealed with a key that was not given").then_some(())
        });
        said.await.unwrap();
        let _ = world.bridge().stop().await;

        set(&new_name, vec![old_name]);
        world.bridge().resume().await.unwrap();
        world.bridge().wait_ready(stage::LIMIT).await.unwrap();
        direct.expect("status", &["DingTalk: ", "ok", "1 messages held"]).await;
        let options = test_support::RoomOptions { invite: vec![world.bot_user_id()], ..Default::default() };
        let room = world.admin().create_room(options).await.unwrap();
        let joined = test_support::wait_until(stage::LIMIT, "the bot to join", async || {
            world.admin().joined_members(&room).await.ok()?.contains_key(&world.bot_user_id()).then_some(())
        });
        joined.await.unwrap();
        world.admin().set_power(&room, &world.bot_user_id(), 50).await.unwrap();
        direct.expect(&format!("bridge {room} {group}"), &["Bridged: 轮换"]).await;
        stage::wait_message(&world, &room, &held).await;
        // The chat's own secret still signs: DingTalk's pushes are taken.
        let after = unique("after");
        world.sandbox().write(&group, &person.staff_id, &after).await.unwrap();
        stage::wait_message(&world, &room, &after).await;
        world.stop().await.unwrap();
    });
}
