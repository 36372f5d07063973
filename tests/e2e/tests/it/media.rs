//! Files cross both ways as what they are, once, and what cannot cross is said.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::StatusCode;
use serde_json::{Value, json};
use test_support::wait_until;
use world::{BridgedChat, HomeserverKind, StubMode, World};

use crate::{
    direct_chats::accept,
    stage::{self, LIMIT, body, ghost, on_synapse, run, unique, wait_message, wait_sent, whole},
};

/// A picture of 2 by 1 pixels.
pub(crate) const PNG: &[u8] = include_bytes!("picture.png");

/// Enough of a video to be told by.
const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x08moov";

async fn write(world: &World, message: Value) -> String {
    let posted: Value = world.sandbox().post("messages", &message).await.unwrap();
    posted["chat_id"].as_str().unwrap().to_owned()
}

/// Waits for a ghost's message that fits.
async fn wait_event(world: &World, room: &str, fits: impl Fn(&Value) -> bool) -> Value {
    world
        .admin()
        .wait_for_event(room, LIMIT, |event| event["type"] == "m.room.message" && fits(event))
        .await
        .unwrap()
}

fn is(event: &Value, msgtype: &str, name: &str) -> bool {
    event["content"]["msgtype"] == msgtype && event["content"]["filename"] == name
}

/// The room of a person's 1:1 chat with the bot; files come only from there (API.md section 2.3).
async fn one_to_one(world: &World, person: usize) -> String {
    let staff_id = &world.info().people[person].staff_id;
    let hello = unique("hello");
    write(world, json!({"chat_id": "", "staff_id": staff_id, "text": hello})).await;
    let room = accept(world, &ghost(world, person)).await;
    wait_message(world, &room, &hello).await;
    room
}

/// A stub's world with additional flags of the stub and settings of the bridge.
async fn stub(name: &str, flags: &[&str], settings: &str) -> World {
    stage::stub(name, |options| {
        let flags = ["--retry-scale", "0.05"].iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        options.homeserver = HomeserverKind::Stub { mode: StubMode::Synapse, flags };
        options.bridge_settings.push('\n');
        options.bridge_settings.push_str(settings);
    })
    .await
}

async fn homeserver_fault(world: &World, fault: Option<Value>) {
    let url = format!("{}/_stub/faults", world.homeserver().url());
    let client = reqwest::Client::new();
    let request = match &fault {
        Some(fault) => client.post(url).json(fault),
        None => client.delete(url),
    };
    let status = request.send().await.unwrap().status();
    assert!(status.is_success(), "{status}");
}

#[test]
fn texts_and_pictures_come_in_order_from_the_ghost() {
    on_synapse(async |world| {
        let chat = &world.chats()[2];
        let (first, last) = (unique("before"), unique("after"));
        let content = json!({"richText": [
            {"text": first},
            {"type": "picture", "file": {"base64": STANDARD.encode(PNG), "name": "a.png"}},
            {"text": last},
        ]});
        let message = json!({"chat_id": chat.chat_id, "staff_id": world.info().people[2].staff_id,
            "kind": "richText", "content": content});
        write(world, message).await;
        wait_message(world, &chat.room_id, &last).await;
        let events = world.admin().messages(&chat.room_id, 1_000).await.unwrap();
        let from = events.iter().position(|event| body(event).contains(&first)).unwrap();
        let said: Vec<&Value> = events[from..]
            .iter()
            .filter(|event| event["type"] == "m.room.message" && event["sender"] == ghost(world, 2).as_str())
            .take(3)
            .collect();
        let kinds: Vec<&str> =
            said.iter().map(|event| event["content"]["msgtype"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["m.text", "m.image", "m.text"], "{said:?}");
        let picture = &said[1]["content"];
        assert_eq!(picture["info"]["mimetype"], "image/png");
        assert_eq!((&picture["info"]["w"], &picture["info"]["h"]), (&json!(2), &json!(1)));
        assert_eq!(picture["info"]["size"], json!(PNG.len()));
        assert_eq!(world.admin().download(picture["url"].as_str().unwrap()).await.unwrap(), PNG);
    });
}

#[test]
fn voices_videos_and_files_come_as_what_they_are() {
    on_synapse(async |world| {
        let room = one_to_one(world, 3).await;
        let staff_id = &world.info().people[3].staff_id;
        let send = async |kind: &str, bytes: &[u8], name: &str, text: &str| {
            let file = json!({"base64": STANDARD.encode(bytes), "name": name});
            write(
                world,
                json!({"chat_id": "", "staff_id": staff_id, "kind": kind, "text": text, "file": file}),
            )
            .await;
        };
        let heard = unique("recognised words");
        send("audio", b"#!AMR\n\x3c\x08", "", &heard).await;
        let voice = wait_event(world, &room, |event| is(event, "m.audio", "voice.amr")).await;
        assert_eq!(voice["content"]["org.matrix.msc3245.voice"], json!({}));
        assert_eq!(voice["content"]["info"]["mimetype"], "audio/amr");
        assert!(voice["content"]["info"]["duration"].as_u64().unwrap() > 0);
        let words = wait_message(world, &room, &heard).await;
        assert_eq!(words["sender"], ghost(world, 3).as_str());

        send("video", MP4, "", "").await;
        let video = wait_event(world, &room, |event| is(event, "m.video", "video.mp4")).await;
        assert_eq!(video["content"]["info"]["duration"], 5_000);
        send("picture", PNG, "", "").await;
        wait_event(world, &room, |event| is(event, "m.image", "picture.png")).await;
        send("file", b"%PDF-1.7 plan", "计划.pdf", "").await;
        let file = wait_event(world, &room, |event| is(event, "m.file", "计划.pdf")).await;
        assert_eq!(file["content"]["info"]["mimetype"], "application/pdf");
        let bytes = world.admin().download(file["content"]["url"].as_str().unwrap()).await.unwrap();
        assert_eq!(bytes, b"%PDF-1.7 plan");
        assert_eq!(file["sender"], ghost(world, 3).as_str());
    });
}

#[test]
fn cards_and_forwarded_messages_are_readable() {
    on_synapse(async |world| {
        let chat = &world.chats()[2];
        let staff_id = &world.info().people[1].staff_id;
        let send = async |kind: &str, content: Value| {
            write(
                world,
                json!({"chat_id": chat.chat_id, "staff_id": staff_id, "kind": kind, "content": content}),
            )
            .await;
        };
        let (title, button) = (unique("Approve?"), unique("https://example.org/yes").replace(' ', "/"));
        send("actionCard", json!({"title": title, "text": "**Budget** 2026", "actionUrlItemList": [{"actionUrl": button, "title": "Yes"}]})).await;
        let card = wait_message(world, &chat.room_id, &title).await;
        let html = card["content"]["formatted_body"].as_str().unwrap();
        assert!(
            html.contains("<strong>Budget</strong>") && html.contains(&format!("href=\"{button}\"")),
            "{html}"
        );
        let title = unique("Shared card");
        send("interactiveCard", json!({"title": title, "biz_custom_action_url": button})).await;
        assert!(body(&wait_message(world, &chat.room_id, &title).await).contains(&button));
        let title = unique("History");
        let records = json!([{"senderNick": "Li", "msgtype": "text", "content": "one"}]).to_string();
        send("chatRecord", json!({"title": title, "summary": "s", "chatRecord": records})).await;
        assert!(body(&wait_message(world, &chat.room_id, &title).await).contains("> Li: one"));
    });
}

#[test]
fn a_file_that_cannot_be_shown_is_said_with_name_and_size() {
    on_synapse(async |world| {
        let room = one_to_one(world, 2).await;
        let staff_id = &world.info().people[2].staff_id;
        let file = |name: &str, size: u64| json!({"chat_id": "", "staff_id": staff_id, "kind": "file", "file": {"name": name, "size": size}});
        write(world, file("big.pdf", 60 << 20)).await;
        let notice = wait_message(world, &room, "big.pdf").await;
        assert!(body(&notice).contains("60 MiB") && body(&notice).contains("50 MiB"), "{notice}");
        assert!(body(&notice).contains("文件") && notice["content"]["msgtype"] == "m.notice", "{notice}");
        assert_eq!(notice["sender"], ghost(world, 2).as_str());

        let mut gone = file("gone.pdf", 0);
        gone["content"] = json!({"downloadCode": "codeOfLongAgo", "fileName": "gone.pdf"});
        write(world, gone).await;
        let notice = wait_message(world, &room, "gone.pdf").await;
        assert!(body(&notice).contains("no longer"), "{notice}");

        write(world, file("fits.pdf", 1_000)).await;
        wait_event(world, &room, |event| is(event, "m.file", "fits.pdf")).await;
    });
}

#[test]
fn a_file_is_shown_once_whatever_happens_on_its_way() {
    run(async {
        let world = stub("media-once", &[], "[media]\ntransfers = 1").await;
        let (chat, other) = (&world.chats()[0], &world.chats()[1]);
        let staff_id = &world.info().people[0].staff_id;
        let picture = |text: &str| json!({"chat_id": chat.chat_id, "staff_id": staff_id, "kind": "picture", "text": text, "file": {"base64": STANDARD.encode(PNG)}});
        // Answers that are lost, of each step.
        for path in ["/media/v1/create", "/media/v3/upload", "/send/m.room.message"] {
            let fault = json!({"path_contains": path, "kind": "lose_answer", "count": 1});
            homeserver_fault(&world, Some(fault)).await;
            let text = unique("lost");
            write(&world, picture(&text)).await;
            let after = unique("after");
            world.sandbox().write(&chat.chat_id, staff_id, &after).await.unwrap();
            wait_message(&world, &chat.room_id, &after).await;
        }
        // Killed between upload and event.
        homeserver_fault(
            &world,
            Some(json!({"path_contains": "/send/m.room.message", "kind": "status", "value": 503})),
        )
        .await;
        let failed = async || {
            stage::metric(&world, "sent_total", &[("network", "matrix"), ("outcome", "failed")]).await
        };
        // Those whose answers were lost failed as well.
        let before = failed().await;
        write(&world, picture("")).await;
        let uploaded = wait_until(LIMIT, "the file to be there and its event not", async || {
            (failed().await > before).then_some(())
        });
        uploaded.await.unwrap();
        world.bridge().kill().await.unwrap();
        homeserver_fault(&world, None).await;
        // Killed in the middle of an upload, which nobody's text waits for.
        homeserver_fault(
            &world,
            Some(json!({"path_contains": "/media/v3/upload", "kind": "delay_ms", "value": 120_000})),
        )
        .await;
        write(&world, picture("")).await;
        let beside = unique("beside");
        world.sandbox().write(&other.chat_id, staff_id, &beside).await.unwrap();
        wait_message(&world, &other.room_id, &beside).await;
        world.bridge().kill().await.unwrap();
        homeserver_fault(&world, None).await;
        let last = unique("last");
        world.sandbox().write(&chat.chat_id, staff_id, &last).await.unwrap();
        wait_message(&world, &chat.room_id, &last).await;
        stage::wait_quiet(&world).await;
        let events = world.admin().messages(&chat.room_id, 1_000).await.unwrap();
        let pictures: Vec<&str> = events
            .iter()
            .filter(|event| event["content"]["msgtype"] == "m.image")
            .map(|event| event["content"]["url"].as_str().unwrap())
            .collect();
        assert_eq!(pictures.len(), 5, "{pictures:?}");
        for picture in pictures {
            assert_eq!(world.admin().download(picture).await.unwrap(), PNG);
        }
        world.stop().await.unwrap();
    });
}

/// Waits for the next message of a kind after a place in the list.
async fn wait_kind(world: &World, chat: &BridgedChat, since: usize, msg_key: &str) -> dingtalk_sandbox::Sent {
    let call = format!("sent?since={since}");
    wait_until(LIMIT, msg_key, async || {
        let all: Vec<dingtalk_sandbox::Sent> = world.sandbox().get(&call).await.ok()?;
        all.into_iter().find(|sent| sent.chat_id == chat.chat_id && sent.msg_key == msg_key)
    })
    .await
    .unwrap()
}

#[test]
fn files_of_matrix_go_in_the_best_kind_after_their_senders_name() {
    on_synapse(async |world| {
        let (chat, alice) = (&world.chats()[3], &world.users()[0]);
        let send = async |kind: &str, mut content: Value, bytes: &[u8]| {
            let uri = alice.upload("application/octet-stream", "x", bytes.to_vec()).await.unwrap();
            content["url"] = json!(uri);
            alice.send_content(&chat.room_id, kind, &content).await.unwrap()
        };
        let caption = unique("a caption");
        send("m.room.message", json!({"msgtype": "m.image", "body": caption, "filename": "a.png"}), PNG)
            .await;
        let after = unique("after the picture");
        alice.send_text(&chat.room_id, &after).await.unwrap();
        let introduced = wait_sent(world, chat, &caption).await;
        assert_eq!(introduced.text(), format!("[@Alice via Matrix] {caption}"));
        let picture = wait_kind(world, chat, introduced.index, "sampleImageMsg").await;
        assert_eq!(world.sandbox().media(picture.body["photoURL"].as_str().unwrap()).await.unwrap(), PNG);
        let followed = wait_sent(world, chat, &after).await;
        assert!(introduced.index < picture.index && picture.index < followed.index, "in order");

        let name = unique("plan").replace(' ', "-") + ".pdf";
        send("m.room.message", json!({"msgtype": "m.file", "body": name}), b"%PDF-1.7 plan").await;
        let introduced = wait_sent(world, chat, &name).await;
        let file = wait_kind(world, chat, introduced.index, "sampleFile").await;
        assert_eq!((&file.body["fileName"], &file.body["fileType"]), (&json!(name), &json!("pdf")));
        assert_eq!(
            world.sandbox().media(file.body["mediaId"].as_str().unwrap()).await.unwrap(),
            b"%PDF-1.7 plan"
        );

        let name = unique("clip").replace(' ', "-") + ".mp4";
        let info = json!({"duration": 4_200, "w": 640, "h": 360});
        send("m.room.message", json!({"msgtype": "m.video", "body": name, "info": info}), MP4).await;
        let introduced = wait_sent(world, chat, &name).await;
        let video = wait_kind(world, chat, introduced.index, "sampleVideo").await;
        assert_eq!((&video.body["duration"], &video.body["width"]), (&json!("5"), &json!("640")));
        assert_eq!(world.sandbox().media(video.body["videoMediaId"].as_str().unwrap()).await.unwrap(), MP4);
        assert!(
            world
                .sandbox()
                .media(video.body["picMediaId"].as_str().unwrap())
                .await
                .unwrap()
                .starts_with(b"\x89PNG")
        );

        let words = unique("cat waving");
        send("m.sticker", json!({"body": words, "info": {}}), PNG).await;
        let introduced = wait_sent(world, chat, &words).await;
        wait_kind(world, chat, introduced.index, "sampleImageMsg").await;

        let voice = json!({"msgtype": "m.audio", "body": "voice.ogg", "org.matrix.msc3245.voice": {}});
        let event = send("m.room.message", voice, b"OggS").await;
        let told = stage::wait_told(world, &chat.room_id, &event, "Voice messages").await;
        assert!(body(&told).contains("语音"), "{told}");
        // A picture that is answered is named.
        let answer = unique("nice");
        let relates = json!({"m.in_reply_to": {"event_id": event}});
        alice
            .send_content(
                &chat.room_id,
                "m.room.message",
                &json!({"msgtype": "m.text", "body": answer, "m.relates_to": relates}),
            )
            .await
            .unwrap();
        let answered = wait_sent(world, chat, &answer).await;
        assert!(answered.text().contains("voice.ogg"), "{answered:?}");
        assert!(whole(world, &answered).await.index > introduced.index);
    });
}

/// The address in the newest message that has one.
async fn wait_link(world: &World, chat: &BridgedChat, name: &str) -> String {
    let sent = wait_until(LIMIT, "a link", async || {
        let all = stage::sent(world, chat, name).await;
        all.into_iter().find(|sent| sent.says("?file="))
    });
    let text = sent.await.unwrap().text();
    let link = text.split(['(', ')', ' ', '\n']).find(|word| word.contains("?file=")).unwrap();
    link.replace('\\', "")
}

#[test]
fn what_dingtalk_does_not_take_goes_as_a_link_that_expires() {
    run(async {
        let world = stage::own_synapse("media-links", |options| {
            // It has to be found, followed and read before, on a busy machine as well.
            options.bridge_settings.push_str("\n[media]\nlink_lifetime = \"20s\"");
        })
        .await;
        let [old, new] = world.chats() else { panic!("two chats are bridged") };
        tokio::join!(goes_as_a_link(&world, old), goes_as_a_link(&world, new));
        world.stop().await.unwrap();
    });
}

async fn goes_as_a_link(world: &World, chat: &BridgedChat) {
    let alice = &world.users()[0];
    let bytes = b"MZ not for everybody".to_vec();
    let uri = alice.upload("text/html", "x", bytes.clone()).await.unwrap();
    let content = json!({"msgtype": "m.file", "body": "安装 \"x\".exe", "url": uri});
    alice.send_content(&chat.room_id, "m.room.message", &content).await.unwrap();
    let link = wait_link(world, chat, ".exe").await;
    let answer = reqwest::get(&link).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let header = |name: &str| {
        answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-security-policy").starts_with("sandbox"));
    let disposition = header("content-disposition");
    assert!(
        disposition.starts_with("attachment; filename*=UTF-8''") && disposition.contains("%22x%22.exe"),
        "{disposition}"
    );
    assert_eq!(answer.bytes().await.unwrap(), bytes);

    let plain = link.split_once('?').unwrap().0;
    assert_eq!(reqwest::get(plain).await.unwrap().status(), StatusCode::OK);
    let at = link.find("?file=").unwrap() + 20;
    let other = if &link[at..=at] == "A" { "B" } else { "A" };
    let forged = format!("{}{other}{}", &link[..at], &link[at + 1..]);
    assert_eq!(reqwest::get(forged).await.unwrap().status(), StatusCode::NOT_FOUND);
    let expired = wait_until(LIMIT, "the link to expire", async || {
        (reqwest::get(&link).await.ok()?.status() == StatusCode::GONE).then_some(())
    });
    expired.await.unwrap();

    // A file that is not there is said on both sides.
    let content = json!({"msgtype": "m.file", "body": "lost.pdf", "url": format!("mxc://{}/lost", world.server_name())});
    let event = alice.send_content(&chat.room_id, "m.room.message", &content).await.unwrap();
    stage::wait_told(world, &chat.room_id, &event, "lost.pdf does not reach DingTalk").await;
    let said = |sent: &world::Sent| {
        sent.chat_id == chat.chat_id && sent.says("lost.pdf") && sent.says("does not come here")
    };
    world.sandbox().wait_sent("the words in its place", 0, LIMIT, said).await.unwrap();
}

#[test]
fn what_dingtalk_refuses_is_told_on_both_sides_where_no_link_can_be_made() {
    run(async {
        // A workspace without a public address: DingTalk sends over Stream, and nobody there could open a link.
        let world = stage::stub("media-no-address", |options| options.stream = true).await;
        let (chat, alice) = (&world.chats()[0], &world.users()[0]);
        let uri = alice.upload("text/html", "x", vec![b'M'; 2_048]).await.unwrap();
        let content = json!({"msgtype": "m.file", "body": "setup.exe", "url": uri});
        let event = alice.send_content(&chat.room_id, "m.room.message", &content).await.unwrap();
        let told = stage::wait_told(&world, &chat.room_id, &event, "does not reach DingTalk").await;
        assert_eq!(told["content"]["msgtype"], "m.notice");
        let said = |sent: &world::Sent| sent.chat_id == chat.chat_id && sent.says("does not come here");
        let sent = world.sandbox().wait_sent("the words in its place", 0, LIMIT, said).await.unwrap();
        for words in ["setup.exe", "2 KiB", "files of this type are not taken"] {
            assert!(body(&told).contains(words), "{words}: {told}");
            assert!(sent.says(words), "{words}: {}", sent.text());
        }
        assert!(!sent.says("?file="), "{}", sent.text());
        world.stop().await.unwrap();
    });
}

#[test]
fn large_files_stream_through_in_little_memory() {
    const SIZE: u64 = 64 << 20;
    const GROWTH_KIB: u64 = 24 << 10;
    run(async {
        let world = stub("media-memory", &["--max-upload", "200000000"], "").await;
        let room = one_to_one(&world, 0).await;
        let staff_id = &world.info().people[0].staff_id;
        let file = |size: u64| json!({"chat_id": "", "staff_id": staff_id, "kind": "file", "file": {"name": format!("{size}.pdf"), "size": size}});
        // What only the first file needs is not the size of files.
        write(&world, file(1 << 20)).await;
        wait_event(&world, &room, |event| is(event, "m.file", "1048576.pdf")).await;
        let before = world.bridge().usage().unwrap().peak_kib;
        write(&world, file(SIZE)).await;
        let name = format!("{SIZE}.pdf");
        let event = wait_event(&world, &room, |event| is(event, "m.file", &name)).await;
        assert_eq!(event["content"]["info"]["size"], SIZE);
        let inward = world.bridge().usage().unwrap().peak_kib;
        assert!(inward < before + GROWTH_KIB, "{before} KiB before, {inward} KiB after {SIZE} bytes");

        // Too large for DingTalk, so by link, through the bridge.
        let (chat, alice) = (&world.chats()[0], &world.users()[0]);
        let content = json!({"msgtype": "m.file", "body": "large.pdf", "url": event["content"]["url"]});
        alice.send_content(&chat.room_id, "m.room.message", &content).await.unwrap();
        let link = wait_link(&world, chat, "large.pdf").await;
        let mut answer = reqwest::get(&link).await.unwrap();
        let mut length = 0;
        while let Some(chunk) = answer.chunk().await.unwrap() {
            length += chunk.len() as u64;
        }
        assert_eq!(length, SIZE);
        let outward = world.bridge().usage().unwrap().peak_kib;
        assert!(
            outward < before + GROWTH_KIB,
            "{before} KiB before, {outward} KiB after {SIZE} bytes each way"
        );
        world.stop().await.unwrap();
    });
}
