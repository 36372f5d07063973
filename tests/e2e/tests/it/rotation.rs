//! Keys and tokens are replaced without losing what was sealed, sent or received before and meanwhile.

use serde_json::json;
use toml::{Table, Value};

use crate::{
    direct::Direct,
    group::{happen, new_person},
    stage::{self, new_group, run, unique},
    status_report,
};

#[test]
fn what_the_old_key_sealed_is_sealed_anew_until_it_can_go_and_the_lack_of_it_is_named() {
    run(async {
        let world = stage::stub("rotation", |options| {
            let settings = status_report::token_file(options);
            options.bridge_settings.push_str(&settings);
        })
        .await;
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
        let config = world.config().display().to_string();
        let checked = async || -> serde_json::Value {
            let text = world.bridge().run(&["db", "check", "--json", "--config", &config]).await.unwrap();
            serde_json::from_str(&text).unwrap()
        };
        let before = checked().await;
        let rows = before["sealing"]["old"][0]["rows"].as_u64().unwrap();
        assert!(rows >= 4 && before["sealing"]["current"] == 0, "{before}");
        world.bridge().resume().await.unwrap();
        world.bridge().wait_ready(stage::LIMIT).await.unwrap();
        // It seals everything anew by itself and says so; nobody else may meanwhile.
        let reported = test_support::wait_until(stage::LIMIT, "no row to need the old key", async || {
            let (_, report, _) = status_report::report(&world).await;
            (report.sealing?.rows_with_old_keys == 0).then_some(())
        });
        reported.await.unwrap();
        let after = checked().await;
        assert_eq!(after["sealing"]["rowsWithOldKeys"], 0, "{after}");
        let refused = world.bridge().run(&["db", "reseal", "--config", &config]).await.unwrap_err();
        assert!(refused.to_string().contains("in use by another process"), "{refused}");
        world.bridge().stop().await.unwrap();
        // So the old key can go.
        std::fs::remove_file(&old).unwrap();
        set(&new_name, Vec::new());
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
        // A bridge that is stopped is resealed by hand.
        world.bridge().stop().await.unwrap();
        let newest = world.dir().join("sealing-key.newest");
        std::fs::write(&newest, "6e".repeat(32)).unwrap();
        set(&newest, vec![new_name.display().to_string().into()]);
        let said = world.bridge().run(&["db", "reseal", "--config", &config]).await.unwrap();
        assert!(said.contains("it can be removed"), "{said}");
        set(&newest, Vec::new());
        world.bridge().resume().await.unwrap();
        world.bridge().wait_ready(stage::LIMIT).await.unwrap();
        world.stop().await.unwrap();
    });
}

/// Replaces the tokens of a registration's text.
fn with_tokens(registration: &str, of: &str) -> String {
    let line = |line: &str| match line.split_once(": ") {
        Some((key @ ("as_token" | "hs_token"), _)) => format!("{key}: {key}-{of}-{}\n", "0".repeat(32)),
        _ => format!("{line}\n"),
    };
    registration.lines().map(line).collect()
}

#[test]
fn messages_cross_once_while_the_tokens_of_the_registration_are_replaced() {
    run(async {
        let world = stage::stub("tokens", |_| ()).await;
        let registration = world.description().registration;
        let beside = world.dir().join("registration.other.yaml");
        let old = std::fs::read_to_string(&registration).unwrap();
        let new = with_tokens(&old, "new");
        let list = |other: Option<&std::path::Path>| {
            let mut config: Table = std::fs::read_to_string(world.config()).unwrap().parse().unwrap();
            let homeserver = config["homeserver"].as_table_mut().unwrap();
            match other {
                Some(other) => {
                    homeserver.insert("other_registration".to_owned(), other.display().to_string().into());
                }
                None => drop(homeserver.remove("other_registration")),
            }
            std::fs::write(world.config(), config.to_string()).unwrap();
        };
        let restart = async || {
            world.bridge().stop().await.unwrap();
            world.bridge().resume().await.unwrap();
        };
        let mark = unique("m");
        let chat = &world.chats()[0];
        let text = |number: usize| format!("{mark}-{number}.");
        let write = async |number: usize| {
            let person = &world.info().people[number % 3];
            world.users()[0].send_text(&chat.room_id, &text(number)).await.unwrap();
            world.sandbox().write(&chat.chat_id, &person.staff_id, &text(number)).await.unwrap();
        };

        // The bridge learns of the next registration; the homeserver knows the former one only.
        write(0).await;
        std::fs::write(&beside, &new).unwrap();
        list(Some(&beside));
        restart().await;
        write(1).await;
        stage::wait_sent(&world, chat, &text(1)).await;

        // The next one takes its place, for the homeserver to read at its start. The bridge runs on.
        std::fs::write(&registration, &new).unwrap();
        std::fs::write(&beside, &old).unwrap();
        let starts = world.bridge().starts();
        world.homeserver().stop().await.unwrap();
        let person = &world.info().people[0];
        world.sandbox().write(&chat.chat_id, &person.staff_id, &text(2)).await.unwrap();
        world.homeserver().resume().await.unwrap();
        world.users()[0].send_text(&chat.room_id, &text(2)).await.unwrap();
        write(3).await;
        stage::wait_sent(&world, chat, &text(3)).await;
        stage::wait_message(&world, &chat.room_id, &text(3)).await;
        assert_eq!(world.bridge().starts(), starts, "it needs no restart to follow");

        // Nobody shows the former ones any more.
        std::fs::remove_file(&beside).unwrap();
        list(None);
        restart().await;
        write(4).await;
        let crossed = test_support::wait_until(stage::LIMIT, "everything to cross", async || {
            for number in 0..5 {
                let here = stage::messages(&world, &chat.room_id, &text(number)).await.len();
                let there = stage::sent(&world, chat, &text(number)).await.len();
                if here < 2 || there < 1 {
                    return None;
                }
            }
            Some(())
        });
        crossed.await.unwrap();
        stage::wait_quiet(&world).await;
        for number in 0..5 {
            // Once as its writer wrote it and once as a ghost's.
            assert_eq!(stage::messages(&world, &chat.room_id, &text(number)).await.len(), 2, "{number}");
            assert_eq!(stage::sent(&world, chat, &text(number)).await.len(), 1, "{number}");
        }
        world.stop().await.unwrap();
    });
}

/// Token and AES key in an answer of `webhook`.
fn keys(answer: &str) -> (String, String) {
    let line = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    (line("Token: "), line("AES key: "))
}

#[test]
fn both_pairs_of_the_webhooks_keys_are_good_until_dingtalk_uses_the_new_one() {
    const BOTH: &str = "the former token and AES key are good as well";
    run(async {
        let world = stage::stub("webhook-keys", |options| {
            let settings = status_report::token_file(options);
            options.bridge_settings.push_str(&settings);
        })
        .await;
        let direct = Direct::open(&world, world.admin()).await;
        let chat = &world.chats()[0];
        let server = world.admin().user_id().split_once(':').unwrap().1;
        // An event push shows in the room.
        let pushes_arrive = async || {
            let staff_id = new_person(&world, &unique("新同事")).await;
            let kind = "chat_add_member";
            let event = json!({"event_type": kind, "chat_id": chat.chat_id, "staff_ids": [staff_id], "shape": "http"});
            happen(&world, event).await;
            let ghost = format!("@dingtalk_{staff_id}:{server}");
            let joined = test_support::wait_until(stage::LIMIT, "the ghost", async || {
                world.admin().joined_members(&chat.room_id).await.ok()?.contains_key(&ghost).then_some(())
            });
            joined.await.unwrap();
        };
        let save = async |(token, aes_key): &(String, String)| {
            let info = world.info();
            let form = json!({"url": world.description().webhook_url, "token": token, "aes_key": aes_key});
            let check: serde_json::Value =
                world.sandbox().post(&format!("apps/{}/webhook", info.app_key), &form).await.unwrap();
            check["ok"] == true
        };
        let in_use = async || status_report::report(&world).await.1.secrets.unwrap().webhook.unwrap();

        let old = keys(&direct.ask("webhook").await);
        let new = keys(&direct.expect("webhook new", &[BOTH]).await);
        assert!(old.0 != new.0 && old.1 != new.1);
        pushes_arrive().await;
        world.bridge().kill().await.unwrap();
        world.bridge().wait_ready(stage::LIMIT).await.unwrap();
        pushes_arrive().await;
        direct.expect("webhook", &[BOTH, &new.0, &new.1]).await;

        // Pasted into the console, which checks the address with them. That alone proves nothing.
        assert!(save(&new).await);
        assert!(in_use().await.former);
        pushes_arrive().await;
        let over = test_support::wait_until(stage::LIMIT, "the former ones to go", async || {
            (!in_use().await.former).then_some(())
        });
        over.await.unwrap();
        assert!(!save(&old).await, "the former ones are of no use any more");
        assert!(save(&new).await);

        // Whoever runs the bridge asks for others; the room of the login is told what to paste.
        world.bridge().stop().await.unwrap();
        let file = std::fs::read_to_string(world.config()).unwrap();
        let mut config: Table = file.parse().unwrap();
        let section = config["dingtalk"].as_table_mut().unwrap();
        section.insert("webhook_generation".to_owned(), Value::Integer(3));
        std::fs::write(world.config(), config.to_string()).unwrap();
        world.bridge().resume().await.unwrap();
        world.bridge().wait_ready(stage::LIMIT).await.unwrap();
        assert_eq!((in_use().await.generation, in_use().await.former), (3, true));
        let asked = keys(&direct.expect("webhook", &[BOTH]).await);
        assert_ne!(asked, new);
        let room = world.direct_room().unwrap();
        let told = stage::wait_message(&world, room, "asked for a new token and AES key").await;
        assert!(told["content"]["body"].as_str().unwrap().contains(&asked.0), "{told}");
        // The same number asks for nothing more, however often the bridge starts.
        world.bridge().kill().await.unwrap();
        world.bridge().wait_ready(stage::LIMIT).await.unwrap();
        assert_eq!(keys(&direct.ask("webhook").await), asked);
        pushes_arrive().await;

        // An admin who knows that the former ones are in wrong hands does not wait.
        direct.expect("webhook end", &["refused from now on"]).await;
        assert!(!save(&new).await);
        assert!(save(&asked).await);
        direct.expect("webhook end", &["There are no former"]).await;
        pushes_arrive().await;
        world.stop().await.unwrap();
    });
}
