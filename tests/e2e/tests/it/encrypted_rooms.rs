//! With encryption on the bridge works in encrypted rooms as in others: an admin whose client encrypts, which shares no
//! code with the bridge, links an organisation, bridges a chat and talks. The homeserver sees nothing of it.

use std::path::Path;
use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _};
use test_support::{EncryptingClient, JsSdk, Package, Software};
use world::{HomeserverKind, ROOM_VERSIONS, World};

use crate::media::PNG;
use crate::stage::{self, LIMIT, ghost, new_group, run, unique};

/// An admin of an own world whose client encrypts.
struct Stage {
    world: World,
    admin: EncryptingClient,
}

impl Stage {
    async fn new(version: &str) -> Self {
        let kind = HomeserverKind::Synapse { room_version: Some(version.to_owned()) };
        let mut options = e2e::options(&format!("it-encrypted-{version}"), kind);
        options.encryption = true;
        options.webhook_from_files = true;
        let token = crate::status_report::token_file(&options);
        options.bridge_settings = format!("[encryption]\nwait_for_keys = \"5s\"\n{token}");
        let world = stage::start(options).await;
        let nio = world::install_python(Package::NIO, &|_| {}).await.unwrap();
        let (user, url) = (world.admin(), world.homeserver().url());
        let folder = world.dir().join("client");
        let admin =
            EncryptingClient::start(Software::Nio(&nio), &folder, url, user.user_id(), user.password())
                .await
                .unwrap();
        Self { world, admin }
    }

    /// A room with the bot in it.
    async fn room(&self, direct: bool, encrypted: bool) -> String {
        let bot = self.world.bot_user_id();
        let room = self.admin.create(&[&bot], direct, encrypted).await.unwrap();
        self.admin.wait_member(&room, &bot, LIMIT).await.unwrap();
        room
    }

    /// Waits until somebody says something that can be decrypted.
    async fn hears(&self, room: &str, sender: &str, text: &str) -> Value {
        let said = |event: &Value| {
            event["sender"] == sender
                && event["decrypted"] == true
                && event["content"]["body"].as_str().is_some_and(|body| body.contains(text))
        };
        self.admin.wait_event(room, LIMIT, said).await.unwrap()
    }

    /// Gives the bot a command.
    async fn command(&self, room: &str, command: &str, answer: &str) {
        self.admin.say(room, command).await.unwrap();
        self.hears(room, &self.world.bot_user_id(), answer).await;
    }

    /// Texts cross both ways between a chat and a room.
    async fn talk(&self, chat: &str, room: &str) {
        let (there, back) = (unique("to the room"), unique("to the chat"));
        let person = &self.world.info().people[0].staff_id;
        self.world.sandbox().write(chat, person, &there).await.unwrap();
        self.hears(room, &ghost(&self.world, 0), &there).await;
        self.admin.say(room, &back).await.unwrap();
        let in_chat = |sent: &world::Sent| sent.chat_id == chat && sent.says(&back);
        self.world.sandbox().wait_sent(&back, 0, LIMIT, in_chat).await.unwrap();
        let sent = self.world.sandbox().sent(0).await.unwrap();
        assert_eq!(sent.iter().filter(|sent| sent.says(&back)).count(), 1);
        let seen = self.admin.events(room).await.unwrap();
        let times = seen.iter().filter(|event| event["content"]["body"].as_str() == Some(&there)).count();
        assert_eq!(times, 1);
    }

    /// How many events of a type the homeserver has of a room.
    async fn stored(&self, room: &str, kind: &str) -> i64 {
        let count = "SELECT count(*) FROM events WHERE room_id = ? AND type = ?";
        self.count(count, &[room, kind]).await
    }

    /// Asks the homeserver's database for a number.
    async fn count(&self, question: &'static str, values: &[&str]) -> i64 {
        let path = self.world.dir().join("synapse/homeserver.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
        let mut database = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
        let question = values.iter().fold(sqlx::query(question), |question, value| question.bind(*value));
        question.fetch_one(&mut database).await.unwrap().get(0)
    }
}

/// A picture crosses each way. The homeserver has neither its bytes nor its name.
async fn files_cross(stage: &Stage, chat: &str, room: &str) {
    let Stage { world, admin } = stage;
    let path = world.dir().join("a.png");
    std::fs::write(&path, PNG).unwrap();
    let command = json!({"do": "send_file", "room": room, "path": path, "name": "a.png", "mime": "image/png",
        "kind": "m.image"});
    admin.call(command).await.unwrap();
    let picture = |sent: &world::Sent| sent.chat_id == chat && sent.msg_key == "sampleImageMsg";
    let sent = world.sandbox().wait_sent("the picture", 0, LIMIT, picture).await.unwrap();
    let sent = stage::whole(world, &sent).await;
    let media = sent.body["photoURL"].as_str().unwrap();
    assert_eq!(world.sandbox().media(media).await.unwrap(), PNG);

    let file = json!({"type": "picture", "file": {"base64": STANDARD.encode(PNG), "name": "b.png"}});
    let message = json!({"chat_id": chat, "staff_id": world.info().people[0].staff_id, "kind": "richText",
        "content": {"richText": [{"text": unique("look")}, file]}});
    let _: Value = world.sandbox().post("messages", &message).await.unwrap();
    let of_ghost = ghost(world, 0);
    let shown = |event: &Value| event["sender"] == of_ghost && event["content"]["msgtype"] == "m.image";
    let shown = admin.wait_event(room, LIMIT, shown).await.unwrap();
    assert!(shown["content"]["url"].is_null(), "a place without a key");
    assert_eq!(admin.fetch(&shown["content"]).await.unwrap(), PNG);
    let place = shown["content"]["file"]["url"].as_str().unwrap();
    let (_, id) = place.rsplit_once('/').unwrap();
    let stored = stored_file(&world.dir().join("synapse/media"), id).unwrap();
    assert!(!stored.windows(8).any(|part| part == &PNG[..8]), "in the clear");
}

/// Corrections, answers and redactions cross as they do in rooms that are not encrypted.
async fn changes_cross(stage: &Stage, chat: &str, room: &str) {
    let Stage { world, admin } = stage;
    let in_chat = async |text: &str| {
        let fits = |sent: &world::Sent| sent.chat_id == chat && sent.says(text);
        world.sandbox().wait_sent(text, 0, LIMIT, fits).await.unwrap()
    };
    let say = async |content: Value| {
        admin.call(json!({"do": "say", "room": room, "content": content})).await.unwrap();
    };
    let text = unique("to be corrected");
    let event = admin.say(room, &text).await.unwrap();
    let first = in_chat(&text).await;

    // A correction.
    let better = unique("corrected");
    say(json!({
        "msgtype": "m.text",
        "body": format!("* {better}"),
        "m.new_content": {"msgtype": "m.text", "body": better},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    }))
    .await;
    let second = in_chat(&better).await;
    assert!(second.text().contains("edited"), "{}", second.text());

    // An answer from DingTalk names the event, one from Matrix quotes what it answers.
    let (answer, back) = (unique("an answer"), unique("and back"));
    let person = &world.info().people[0].staff_id;
    let quoting = json!({"chat_id": chat, "staff_id": person, "mention_bot": true, "text": answer,
        "quote": first.msg_id});
    let _: Value = world.sandbox().post("messages", &quoting).await.unwrap();
    let shown = stage.hears(room, &ghost(world, 0), &answer).await;
    assert_eq!(shown["content"]["m.relates_to"]["m.in_reply_to"]["event_id"], event.as_str());
    say(json!({
        "msgtype": "m.text",
        "body": back,
        "m.relates_to": {"m.in_reply_to": {"event_id": shown["event_id"]}},
    }))
    .await;
    let quoted = in_chat(&back).await.text();
    assert!(quoted.starts_with('>') && quoted.contains(&answer), "{quoted}");

    // Taken back, both go. Who may redact sees no more of it than the homeserver.
    world.admin().redact(room, &event).await.unwrap();
    let gone = test_support::wait_until(LIMIT, "the message and its correction to be recalled", async || {
        let sent = world.sandbox().sent(0).await.ok()?;
        [first.index, second.index].iter().all(|index| sent[*index].recalled).then_some(())
    });
    gone.await.unwrap();
}

/// A key that was sent while the bridge was away, and which Synapse leaves out of what it delivers later, is fetched.
async fn a_key_of_meanwhile_is_fetched(stage: &Stage, room: &str) {
    let Stage { world, admin } = stage;
    world.bridge().stop().await.unwrap();
    admin.call(json!({"do": "renew", "room": room})).await.unwrap();
    let text = unique("said meanwhile");
    admin.say(room, &text).await.unwrap();
    let given_up = test_support::wait_until(LIMIT, "Synapse to have tried in vain", async || {
        let question = "SELECT count(*) FROM application_services_state WHERE state = 'down'";
        (stage.count(question, &[]).await == 1).then_some(())
    });
    given_up.await.unwrap();
    world.bridge().resume().await.unwrap();
    let sent = world.sandbox().wait_sent(&text, 0, LIMIT, |sent| sent.says(&text)).await.unwrap();
    assert_eq!(sent.msg_key, "sampleText");
}

/// Devices and people that come later get the key that the room has by then.
async fn newcomers_read(stage: &Stage, chat: &str, room: &str) {
    let Stage { world, .. } = stage;
    let nio = world::install_python(Package::NIO, &|_| {}).await.unwrap();
    let (admin, other) = (world.admin(), &world.users()[0]);
    for (who, user) in [("another device", admin), ("another person", other)] {
        stage.talk(chat, room).await;
        let folder = world.dir().join(who);
        let (software, url) = (Software::Nio(&nio), world.homeserver().url());
        let client =
            EncryptingClient::start(software, &folder, url, user.user_id(), user.password()).await.unwrap();
        if user.user_id() != admin.user_id() {
            admin.invite(room, user.user_id()).await.unwrap();
            user.join(room).await.unwrap();
        }
        // What is said before the bridge has heard of a device is not for it.
        let reads = test_support::wait_until(LIMIT, who, async || {
            let text = unique("for all");
            world.sandbox().write(chat, &world.info().people[0].staff_id, &text).await.unwrap();
            let read = |event: &Value| event["decrypted"] == true && event["content"]["body"] == text;
            client.wait_event(room, Duration::from_secs(3), read).await.ok()
        });
        reads.await.unwrap();
    }
}

/// A file of the homeserver's; its path has the id in pieces.
fn stored_file(folder: &Path, id: &str) -> Option<Vec<u8>> {
    let path = folder.join("local_content").join(&id[..2]).join(&id[2..4]).join(&id[4..]);
    std::fs::read(path).ok()
}

async fn an_admin_works_in_encrypted_rooms(version: &str) {
    let mut stage = Stage::new(version).await;
    everything_works(&stage).await;

    if let Some(unfit) = JsSdk::unfit().await {
        tell(&format!("without matrix-js-sdk: {unfit}"));
        return;
    }
    // The same admin with the client that Element Web is built on, which begins from nothing as well.
    let js = world::install_js_sdk(&|_| {}).await.unwrap();
    let (user, url) = (stage.world.admin(), stage.world.homeserver().url());
    let folder = stage.world.dir().join("client-js");
    let client = EncryptingClient::start(Software::Js(&js), &folder, url, user.user_id(), user.password());
    stage.admin = client.await.unwrap();
    let [direct, chat, room] = links_and_bridges(&stage).await;
    files_cross(&stage, &chat, &room).await;
    changes_cross(&stage, &chat, &room).await;
    stage.world.bridge().kill().await.unwrap();
    stage.talk(&chat, &room).await;
    nothing_is_in_the_clear(&stage, [&direct, &room]).await;
    stage::wait_quiet(&stage.world).await;
}

#[expect(clippy::print_stderr, reason = "who reads the test's output wants to know what it left out")]
fn tell(line: &str) {
    eprintln!("{line}");
}

async fn nothing_is_in_the_clear(stage: &Stage, rooms: [&str; 2]) {
    for room in rooms {
        assert_eq!(stage.stored(room, "m.room.message").await, 0, "the homeserver has read something");
        assert!(stage.stored(room, "m.room.encrypted").await >= 2);
    }
}

/// An admin logs in, bridges a chat and talks in it, in rooms that are encrypted from their beginning.
async fn links_and_bridges(stage: &Stage) -> [String; 3] {
    let Stage { world, .. } = stage;
    let direct = stage.room(true, true).await;
    stage.hears(&direct, &world.bot_user_id(), "login <AppKey>").await;
    let app = world.info();
    let login = format!("login {} {} {}", app.app_key, app.app_secret, app.agent_id);
    stage.command(&direct, &login, "Logged in: ").await;

    let chat = new_group(world, &unique("encrypted")).await;
    let first = unique("before the bridge");
    world.sandbox().write(&chat, &world.info().people[0].staff_id, &first).await.unwrap();
    world.sandbox().wait_sent("the confirmation", 0, LIMIT, |sent| sent.chat_id == chat).await.unwrap();
    let room = stage.room(false, true).await;
    stage.command(&direct, &format!("bridge {room} {chat}"), "Bridged: ").await;
    stage.hears(&room, &ghost(world, 0), &first).await;
    stage.talk(&chat, &room).await;
    [direct, chat, room]
}

async fn everything_works(stage: &Stage) {
    let Stage { world, .. } = stage;
    let bot = world.bot_user_id();
    let [direct, chat, room] = links_and_bridges(stage).await;

    // Keys, sessions and the step of each outlive the process.
    world.bridge().kill().await.unwrap();
    stage.talk(&chat, &room).await;

    newcomers_read(stage, &chat, &room).await;

    // A portal that becomes encrypted stays one.
    let open = &world.chats()[0];
    stage.admin.call(json!({"do": "encrypt", "room": open.room_id})).await.unwrap();
    let on = unique("encrypted from here");
    stage.admin.say(&open.room_id, &on).await.unwrap();
    world.sandbox().wait_sent(&on, 0, LIMIT, |sent| sent.says(&on)).await.unwrap();
    let plain = stage.stored(&open.room_id, "m.room.message").await;
    stage.talk(&open.chat_id, &open.room_id).await;
    assert_eq!(stage.stored(&open.room_id, "m.room.message").await, plain);

    files_cross(stage, &chat, &room).await;
    changes_cross(stage, &chat, &room).await;
    a_key_of_meanwhile_is_fetched(stage, &room).await;

    // What nobody has the key of is said, after a time, and does not stop what follows.
    let mut ciphertext = vec![3, 8, 0, 0x12, 16];
    ciphertext.resize(ciphertext.len() + 16 + 8 + 64, 7);
    let lost = json!({
        "algorithm": "m.megolm.v1.aes-sha2",
        "ciphertext": STANDARD_NO_PAD.encode(ciphertext),
        "session_id": "lost",
        "sender_key": "k",
        "device_id": "d",
    });
    world.admin().send_content(&room, "m.room.encrypted", &lost).await.unwrap();
    stage.talk(&chat, &room).await;
    stage.hears(&room, &bot, "could not decrypt").await;

    // Switched off, the chats that are bridged to encrypted rooms neither fall silent nor go on in the clear.
    let config = std::fs::read_to_string(world.config()).unwrap();
    let off = config.replace("[encryption]\nenabled = true", "[encryption]\nenabled = false");
    assert_ne!(off, config);
    std::fs::write(world.config(), off).unwrap();
    world.bridge().kill().await.unwrap();
    stage.talk(&chat, &room).await;
    stage.command(&direct, "status", "off in the configuration, and kept on for them").await;
    let (_, report, _) = crate::status_report::report(world).await;
    let told = report.encryption.unwrap();
    assert_eq!((told.state, told.kept, told.chats), (bridge_config::EncryptionState::Works, true, 2));
    assert!(told.device.unwrap().starts_with("DINGTALK"), "for people who compare");
    assert!(stage::metric(world, "encrypted_total", &[]).await > 0);
    assert!(stage::metric(world, "decrypted_total", &[("result", "read")]).await > 0);

    nothing_is_in_the_clear(stage, [&direct, &room]).await;
    stage::wait_quiet(world).await;
}

#[test]
fn an_admin_whose_client_encrypts_logs_in_bridges_and_talks() {
    run(async {
        let on = |number: usize| an_admin_works_in_encrypted_rooms(ROOM_VERSIONS[number]);
        tokio::join!(on(0), on(1));
    });
}
