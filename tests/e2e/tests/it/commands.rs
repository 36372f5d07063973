//! An admin gets along with the reply texts alone, and every wrong input says what to do.

use serde_json::{Value, json};
use test_support::{RoomOptions, wait_until};
use world::World;

use crate::{
    direct::Direct,
    stage::{self, LIMIT, new_group, on_synapse, run, unique},
};

#[test]
fn every_command_answers_and_every_wrong_input_says_what_to_do() {
    on_synapse(async |world| {
        let direct = Direct::open(world, world.admin()).await;
        let chat = &world.chats()[0];
        let (room_id, chat_id) = (&chat.room_id, &chat.chat_id);
        let aes_key = "x".repeat(43);
        let commands: Vec<(String, Vec<&str>)> = vec![
            ("ping".into(), vec!["Pong."]),
            ("!ping".into(), vec!["Pong."]),
            ("检测".into(), vec!["在的"]),
            ("version".into(), vec!["dingtalk-bridge 0."]),
            ("help".into(), vec!["login <AppKey> <AppSecret> <AgentID>", "unbridge", "help zh"]),
            ("帮助".into(), vec!["命令", "登录"]),
            ("help bridge".into(), vec!["bridge <matrix-room> <dingtalk-chat-id>", "power level"]),
            (
                "status".into(),
                vec!["Homeserver: ok", "Database: ok", "DingTalk: ", "Last event", "To Matrix", "Failed"],
            ),
            ("groups".into(), vec![chat_id, room_id, "bridged"]),
            ("webhook".into(), vec!["/bridges/dingtalk/webhook", "Token: ", "AES key: "]),
            ("retry".into(), vec!["Nothing to send again"]),
            // Wrong words and wrong numbers of arguments.
            ("stauts".into(), vec!["Did you mean status?"]),
            ("what is this".into(), vec!["I do not know this command", "help"]),
            ("login".into(), vec!["Please write: login <AppKey> <AppSecret> <AgentID>"]),
            ("login key secret".into(), vec!["Please write: login <AppKey> <AppSecret> <AgentID>"]),
            ("login key secret agent".into(), vec!["AgentID must be a number"]),
            ("login 钥匙 secret 5".into(), vec!["copy them again"]),
            ("bridge".into(), vec!["Please write: bridge"]),
            (format!("bridge room {chat_id}"), vec!["must be an id (!…) or an alias (#name:server)"]),
            (
                format!("bridge !no:{} {chat_id}", "demo.localhost"),
                vec!["I am not in this room", "power level 50"],
            ),
            (format!("bridge #no:demo.localhost {chat_id}"), vec!["I am not in this room"]),
            (format!("bridge {} {chat_id}", direct.room), vec!["This is our direct chat"]),
            (format!("bridge {room_id} cidNobodyKnows=="), vec!["is bridged to", "already"]),
            ("unbridge".into(), vec!["Please write: unbridge"]),
            ("unbridge cidNobodyKnows==".into(), vec!["No bridged chat", "groups"]),
            ("webhook a! x".into(), vec!["token must be 3 to 32 letters and digits"]),
            ("webhook abc x".into(), vec!["exactly 43 letters and digits"]),
            (format!("webhook abc {aes_key}"), vec!["come from the bridge's configuration"]),
            ("webhook new".into(), vec!["come from the bridge's configuration"]),
            ("ping pong".into(), vec!["Please write: ping"]),
            ("retry everything".into(), vec!["retry takes nothing, the number", "retry 12"]),
            ("language".into(), vec!["Please write: language en|zh"]),
            ("language fr".into(), vec!["I speak English and Chinese"]),
            ("help brige".into(), vec!["Did you mean help bridge?"]),
            ("help nothing".into(), vec!["There is no such command"]),
            (format!("bridge {room_id} {chat_id}"), vec!["is bridged to", "already, as you want it"]),
        ];
        for (command, words) in commands {
            direct.expect(&command, &words).await;
        }
    });
}

#[test]
fn bridge_says_what_is_missing_in_the_room() {
    on_synapse(async |world| {
        let (admin, bot) = (world.admin(), world.bot_user_id());
        let direct = Direct::open(world, admin).await;
        let chat_id = new_group(world, "没有房间的群").await;
        let since = world.sandbox().sent(0).await.unwrap().len();
        let person = &world.info().people[0];
        world.sandbox().write(&chat_id, &person.staff_id, "hello").await.unwrap();
        let told = |sent: &world::Sent| sent.chat_id == chat_id;
        world.sandbox().wait_sent("the confirmation", since, LIMIT, told).await.unwrap();

        let room = async |encrypted: bool| {
            let options = RoomOptions { encrypted, invite: vec![bot.clone()], ..RoomOptions::default() };
            let room = admin.create_room(options).await.unwrap();
            let joined = wait_until(LIMIT, "the bot to join", async || {
                admin.joined_members(&room).await.ok()?.contains_key(&bot).then_some(())
            });
            joined.await.unwrap();
            room
        };
        let secret = room(true).await;
        direct.expect(&format!("bridge {secret} {chat_id}"), &["encrypted", "unencrypted room"]).await;
        let plain = room(false).await;
        direct
            .expect(&format!("bridge {plain} {chat_id}"), &["My power level in this room is 0", "50"])
            .await;
        admin.set_power(&plain, &bot, 50).await.unwrap();
        direct
            .expect(
                &format!("bridge {plain} cidNobodyKnows=="),
                &["No message came from the chat", "mention"],
            )
            .await;
        direct
            .expect(&format!("bridge {plain} {}", world.chats()[0].chat_id), &["This chat is bridged to"])
            .await;
        direct.expect(&format!("bridge {plain} {chat_id}"), &["Bridged: 没有房间的群"]).await;
        direct.expect(&format!("bridge {plain} {chat_id}"), &["This room is bridged to", "unbridge"]).await;
        direct.expect(&format!("unbridge {plain}"), &["No longer bridged: 没有房间的群"]).await;
        stage::wait_message(world, &plain, "This room is no longer bridged").await;
        let unheard = unique("after unbridge");
        admin.send_text(&plain, &unheard).await.unwrap();

        // A room of somebody else, where the admin is not.
        let options = RoomOptions { invite: vec![bot.clone()], ..RoomOptions::default() };
        let foreign = world.users()[0].create_room(options).await.unwrap();
        let joined = wait_until(LIMIT, "the bot to join", async || {
            world.users()[0].joined_members(&foreign).await.ok()?.contains_key(&bot).then_some(())
        });
        joined.await.unwrap();
        direct.expect(&format!("bridge {foreign} {chat_id}"), &["You are not in this room"]).await;
        let after = world.sandbox().sent(since).await.unwrap();
        assert!(!after.iter().any(|sent| sent.says(&unheard)));
    });
}

#[test]
fn who_is_no_admin_is_refused_and_told_who_may() {
    on_synapse(async |world| {
        let alice = &world.users()[0];
        let direct = Direct::open(world, alice).await;
        direct.expect("ping", &["Pong."]).await;
        direct.expect("help", &["Commands"]).await;
        let chat = &world.chats()[0];
        for command in [
            "login key secret 5".to_owned(),
            "logout".to_owned(),
            "status".to_owned(),
            "groups".to_owned(),
            "webhook".to_owned(),
            "retry".to_owned(),
            format!("bridge {} {}", chat.room_id, chat.chat_id),
            format!("unbridge {}", chat.room_id),
        ] {
            let name = command.split(' ').next().unwrap();
            let expected = format!("You may not use {name}.");
            direct.expect(&command, &[&expected, world.admin().user_id()]).await;
        }
    });
}

/// Whoever wrote it and whatever is wrong with it.
async fn does_not_stay_readable(world: &World, commands: &[&str]) {
    let alice = &world.users()[0];
    let direct = Direct::open(world, alice).await;
    for command in commands {
        let (asked, _) = direct.say(command).await;
        let event = alice.event(&direct.room, &asked).await.unwrap();
        assert!(!event.to_string().contains("s3cret"), "`{command}` stays readable: {event}");
    }
}

#[test]
fn a_refused_or_incomplete_login_does_not_stay_readable() {
    on_synapse(async |world| {
        let commands =
            ["login key s3cret 5", "login key s3cret", "login key s3cret five", "登录 key s3cret 5"];
        does_not_stay_readable(world, &commands).await;
    });
}

#[test]
fn a_misspelt_login_does_not_stay_readable() {
    on_synapse(async |world| does_not_stay_readable(world, &["logn key s3cret 5"]).await);
}

#[test]
fn login_answers_each_failure_with_its_own_sentence_and_removes_the_secret() {
    run(async {
        let world = stage::stub("login", |options| options.bare = true).await;
        let info = world.info();
        let (key, secret, agent) = (&info.app_key, &info.app_secret, info.agent_id);
        let direct = Direct::open(&world, world.admin()).await;
        direct.expect("status", &["not linked", "login <AppKey>"]).await;
        direct.expect("logout", &["No DingTalk app is linked"]).await;
        direct
            .expect(
                &format!("login {key} {secret}x {agent}"),
                &["Invalid AppKey/AppSecret", "case-sensitive"],
            )
            .await;
        direct.expect(&format!("login {key}x {secret} {agent}"), &["Invalid AppKey/AppSecret"]).await;
        direct
            .expect(&format!("login {key} {secret} 12345"), &["AgentID belongs to another app or to none"])
            .await;

        let scopes = format!("apps/{key}/scopes");
        let names = ["Contact.Org.Read", "qyapi_get_department_list"];
        let _: Value = world.sandbox().post(&scopes, &json!({"withdraw": names})).await.unwrap();
        direct
            .expect(
                &format!("login {key} {secret} {agent}"),
                &["lacks the permission Contact.Org.Read", "log in again"],
            )
            .await;
        let _: Value = world.sandbox().post(&scopes, &json!({"grant": names})).await.unwrap();

        let settings = format!("apps/{key}/settings");
        let _: Value = world.sandbox().post(&settings, &json!({"address_allowed": false})).await.unwrap();
        direct
            .expect(&format!("login {key} {secret} {agent}"), &["refuses calls from this server's address"])
            .await;
        let _: Value = world.sandbox().post(&settings, &json!({"address_allowed": true})).await.unwrap();

        world.sandbox().stop().await.unwrap();
        direct
            .expect(
                &format!("login {key} {secret} {agent}"),
                &["DingTalk could not be reached", "Nothing was changed"],
            )
            .await;
        world.sandbox().resume().await.unwrap();
        direct.expect("status", &["not linked"]).await;

        let (asked, answer) = direct.say(&format!("login {key} {secret} {agent}")).await;
        assert!(answer.starts_with(&format!("Logged in: {}", info.organization)), "{answer}");
        assert!(answer.contains("I removed your message"), "{answer}");
        let event = world.admin().event(&direct.room, &asked).await.unwrap();
        assert!(!event.to_string().contains(secret.as_str()), "{event}");
        direct.expect("status", &[&format!("DingTalk: {}, ok", info.organization)]).await;
        direct.expect("登录", &["login <AppKey> <AppSecret> <AgentID>"]).await;

        // A room in which the bot may not remove anything.
        let options = RoomOptions { invite: vec![world.bot_user_id()], ..RoomOptions::default() };
        let room = world.admin().create_room(options).await.unwrap();
        let joined = wait_until(LIMIT, "the bot to join", async || {
            world.admin().joined_members(&room).await.ok()?.contains_key(&world.bot_user_id()).then_some(())
        });
        joined.await.unwrap();
        world.admin().send_text(&room, &format!("!dingtalk login {key} {secret} {agent}")).await.unwrap();
        stage::wait_message(&world, &room, "please delete your message with the AppSecret yourself").await;
        let log = std::fs::read_to_string(world.bridge().log()).unwrap();
        assert!(!log.contains(secret.as_str()), "the log has the AppSecret");
        world.stop().await.unwrap();
    });
}
