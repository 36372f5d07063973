use std::collections::VecDeque;

use bridge_core::clock::Timestamp;
use ruma::{device_id, event_id, room_alias_id, room_id, server_name, user_id};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::error::Class;

/// What the homeserver of a test does with one request.
enum Answer {
    /// Status, additional header lines, body.
    Say(u16, &'static str, String),
    /// Reads it and closes the connection.
    HangUp,
    /// Reads it and never answers.
    Wait,
}

fn ok(body: &serde_json::Value) -> Answer {
    Answer::Say(200, "", body.to_string())
}

fn refuse(status: u16, errcode: &str) -> Answer {
    Answer::Say(status, "", json!({"errcode": errcode, "error": "no"}).to_string())
}

struct Request {
    line: String,
    head: String,
    body: String,
}

async fn request(stream: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the request ended early");
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0_usize) {
            let (line, head) = head.split_once("\r\n").unwrap();
            let line = line.strip_suffix(" HTTP/1.1").unwrap().to_owned();
            return Request { line, head: head.to_owned(), body: body.to_owned() };
        }
    }
}

/// A homeserver that gives these answers, one per connection, and hands out what it was asked.
async fn homeserver(answers: impl Into<VecDeque<Answer>>) -> (Client, JoinHandle<Vec<Request>>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/prefix/", listener.local_addr().unwrap());
    let mut answers = answers.into();
    let server = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(answer) = answers.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            seen.push(request(&mut stream).await);
            match answer {
                Answer::HangUp => {}
                Answer::Wait => {
                    let _ = stream.read(&mut [0]).await;
                }
                Answer::Say(status, headers, body) => {
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        }
        seen
    });
    let options = ClientOptions {
        base: base.parse().unwrap(),
        as_token: Secret::new("as-t0ken"),
        other_as_token: Some(Secret::new("other-t0ken")),
        server_name: server_name!("acme.example").to_owned(),
        bot: user_id!("@dingtalkbot:acme.example").to_owned(),
        ca: None,
        timeouts: Timeouts { total: Duration::from_millis(500), ..Timeouts::default() },
    };
    (Client::new(options).unwrap(), server)
}

fn message<'a>() -> SendEvent<'a> {
    SendEvent {
        room: room_id!("!r/1+x:acme.example"),
        event_type: "m.room.message",
        txn_id: "m.a=b&c/1",
        content: Bytes::from_static(br#"{"body":"hi"}"#),
        user: user_id!("@dingtalk_=4ci/x:acme.example"),
        device: Some(device_id!("BRIDGE 1")),
        ts: Some(Timestamp(1_700_000_000_123)),
    }
}

#[tokio::test]
async fn a_send_names_user_device_and_time() {
    let (client, server) = homeserver([ok(&json!({"event_id": "$e"}))]).await;
    assert_eq!(client.send(message()).await.unwrap(), "$e");
    let [request] = &server.await.unwrap()[..] else { panic!() };
    assert_eq!(
        request.line,
        "PUT /prefix/_matrix/client/v3/rooms/%21r%2F1%2Bx%3Aacme.example/send/m.room.message/m.a%3Db%26c%2F1\
         ?user_id=%40dingtalk_%3D4ci%2Fx%3Aacme.example&device_id=BRIDGE%201&ts=1700000000123"
    );
    assert_eq!(request.body, r#"{"body":"hi"}"#);
    assert!(request.head.contains("authorization: Bearer as-t0ken"));
    assert!(!format!("{client:?}").contains("t0ken"));
}

#[tokio::test]
async fn failures_of_a_send_have_their_class() {
    let throttled = Answer::Say(
        429,
        "retry-after: 9\r\n",
        json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}).to_string(),
    );
    let answers = [
        throttled,
        refuse(403, "M_FORBIDDEN"),
        Answer::HangUp,
        Answer::Wait,
        Answer::Say(302, "location: http://127.0.0.1:1/\r\n", String::new()),
        Answer::Say(200, "", "<html>".to_owned()),
        Answer::Say(
            200,
            "content-type: application/json\r\n",
            format!("{{\"event_id\":\"$e\",\"x\":\"{}\"}}", "x".repeat(MAX_ANSWER_BYTES)),
        ),
        refuse(413, "M_TOO_LARGE"),
    ];
    let (client, server) = homeserver(answers).await;
    let mut classes = Vec::new();
    for _ in 0..8 {
        let error = client.send(message()).await.unwrap_err();
        assert!(!error.message.contains("127.0.0.1") && !error.message.contains("t0ken"), "{error}");
        classes.push(error.class);
    }
    let retry_after = Some(Duration::from_millis(2500));
    assert_eq!(
        classes,
        [
            Class::Throttled { retry_after },
            Class::Denied,
            Class::Retry,
            Class::Retry,
            Class::Retry,
            Class::Retry,
            Class::Permanent,
            Class::TooLarge
        ]
    );
    assert_eq!(server.await.unwrap().len(), 8);
    assert_eq!(client.send(message()).await.unwrap_err().class, Class::Retry, "nobody listens any more");
}

#[tokio::test]
async fn registering_twice_is_fine_and_throttling_is_told() {
    let (client, server) = homeserver([
        ok(&json!({"user_id": "@x:y"})),
        refuse(400, "M_USER_IN_USE"),
        refuse(429, "M_LIMIT_EXCEEDED"),
    ])
    .await;
    let ghost = user_id!("@dingtalk_u1:acme.example");
    client.register(ghost).await.unwrap();
    client.register(ghost).await.unwrap();
    let error = client.register(ghost).await.unwrap_err();
    assert_eq!(error.class, Class::Throttled { retry_after: None });
    let requests = server.await.unwrap();
    assert_eq!(
        requests[0].body,
        r#"{"type":"m.login.application_service","username":"dingtalk_u1","inhibit_login":true}"#
    );
}

#[tokio::test]
async fn a_room_is_made_once() {
    let (client, server) =
        homeserver([refuse(400, "M_ROOM_IN_USE"), ok(&json!({"room_id": "!v12room", "servers": []}))]).await;
    let room = CreateRoom {
        alias_localpart: Some("dingtalk_ab".to_owned()),
        is_direct: true,
        ..CreateRoom::default()
    };
    let created = client.create_room(&room).await.unwrap();
    assert_eq!((created.room.as_str(), created.existed), ("!v12room", true));
    let requests = server.await.unwrap();
    assert_eq!(
        requests[0].body,
        r#"{"room_alias_name":"dingtalk_ab","is_direct":true,"preset":"private_chat"}"#
    );
    assert_eq!(
        requests[1].line,
        "GET /prefix/_matrix/client/v3/directory/room/%23dingtalk_ab%3Aacme.example?user_id=%40dingtalkbot%3Aacme.example"
    );
}

#[tokio::test]
async fn what_is_not_there_is_none() {
    let (client, _server) = homeserver([
        refuse(404, "M_NOT_FOUND"),
        refuse(404, "M_NOT_FOUND"),
        ok(&json!({"algorithm": "m.megolm.v1.aes-sha2"})),
        refuse(404, "M_NOT_FOUND"),
        ok(&json!({"displayname": "Li Lei", "avatar_url": null})),
    ])
    .await;
    let room = room_id!("!r:acme.example");
    assert_eq!(client.resolve_alias(room_alias_id!("#x:acme.example")).await.unwrap(), None);
    assert!(!client.is_encrypted(room).await.unwrap());
    assert!(client.is_encrypted(room).await.unwrap());
    assert_eq!(client.get_profile(user_id!("@a:b")).await.unwrap(), None);
    let profile = client.get_profile(user_id!("@a:b")).await.unwrap();
    assert_eq!(profile, Some(Profile { displayname: Some("Li Lei".to_owned()), avatar_url: None }));
}

#[tokio::test]
async fn an_invitation_of_a_member_is_fine() {
    let answers = [
        refuse(403, "M_FORBIDDEN"),
        ok(&json!({"membership": "join"})),
        refuse(403, "M_FORBIDDEN"),
        ok(&json!({"membership": "leave"})),
    ];
    let (client, _server) = homeserver(answers).await;
    let (room, user) = (room_id!("!r:acme.example"), user_id!("@alice:acme.example"));
    client.invite(room, user).await.unwrap();
    assert_eq!(client.invite(room, user).await.unwrap_err().class, Class::Denied);
}

#[tokio::test]
async fn a_creator_is_found_whatever_the_homeserver_can() {
    let levels = || ok(&json!({"users": {}}));
    let answers = [
        levels(),
        ok(&json!({"sender": "@dingtalkbot:acme.example", "content": {"room_version": "12"}})),
        levels(),
        ok(&json!({"room_version": "12"})),
        ok(
            &json!([{"type": "m.room.create", "state_key": "", "sender": "@dingtalkbot:acme.example", "content": {}}]),
        ),
        refuse(404, "M_NOT_FOUND"),
        ok(&json!({"creator": "@dingtalkbot:acme.example", "room_version": "10"})),
    ];
    let (client, server) = homeserver(answers).await;
    let room = room_id!("!r");
    for expected in [PowerLevels::CREATOR, PowerLevels::CREATOR, 100] {
        assert_eq!(client.power_levels(room).await.unwrap().user(client.bot()), expected);
    }
    assert!(
        server.await.unwrap()[1]
            .line
            .ends_with("/state/m.room.create?format=event&user_id=%40dingtalkbot%3Aacme.example")
    );
}

#[tokio::test]
async fn a_timeline_is_read_backwards_byte_for_byte() {
    let raw = r#"{ "event_id":"$2", "n": 1.0 }"#;
    let body = format!(r#"{{"chunk":[{raw},{{"no":"id"}},7,{{"event_id":"$1"}}],"end":"t2-1","start":"s"}}"#);
    let (client, server) = homeserver([Answer::Say(200, "", body), ok(&json!({"chunk": []}))]).await;
    let room = room_id!("!r:acme.example");
    let page = client.messages_back(room, None, 50).await.unwrap();
    let events: Vec<_> = page.chunk.iter().map(|event| (event.id.as_str(), event.raw.as_slice())).collect();
    assert_eq!(events, [("$2", raw.as_bytes()), ("$1", br#"{"event_id":"$1"}"#.as_slice())]);
    assert_eq!(page.end.as_deref(), Some("t2-1"));
    assert_eq!(client.messages_back(room, page.end.as_deref(), 50).await.unwrap(), Page::default());
    let requests = server.await.unwrap();
    assert!(
        requests[1]
            .line
            .ends_with("/messages?dir=b&limit=50&from=t2-1&user_id=%40dingtalkbot%3Aacme.example")
    );
}

#[tokio::test]
async fn members_that_are_none_are_left_out() {
    let answers = [
        ok(&json!({"joined": {"@a:b": {"display_name": "A"}, "nobody": {}, "@c:d": null}})),
        ok(&json!({"chunk": [
            {"state_key": "@a:b", "content": {"membership": "join", "displayname": "A"}},
            {"state_key": 7, "content": {"membership": "join"}},
            {"state_key": "@c:d", "content": {"membership": "ban", "displayname": 5}},
            {"state_key": "@e:f", "content": []}]})),
        ok(&json!({"joined_rooms": ["!a", "b"]})),
    ];
    let (client, _server) = homeserver(answers).await;
    let room = room_id!("!r");
    let joined = client.joined_members(room).await.unwrap();
    assert_eq!(joined.len(), 2);
    assert_eq!(joined[0].displayname.as_deref(), Some("A"));
    let members = client.members(room).await.unwrap();
    let members: Vec<_> =
        members.iter().map(|member| (member.user.as_str(), member.membership.as_str())).collect();
    assert_eq!(members, [("@a:b", "join"), ("@c:d", "ban")]);
    assert_eq!(client.joined_rooms(client.bot()).await.unwrap(), [room_id!("!a")]);
}

#[tokio::test]
async fn each_call_asks_what_the_specification_says() {
    let answers: Vec<_> = [
        json!({"versions": ["v1.15"], "unstable_features": {"a": true, "b": "?"}}),
        json!({"user_id": "@dingtalkbot:acme.example", "device_id": "D"}),
        json!({}),
        json!({}),
        json!({"room_id": "!r"}),
        json!({}),
        json!({}),
        json!({}),
        json!({"event_id": "$s"}),
        json!({"event_id": "$r"}),
        json!({}),
        json!({"duration_ms": 12}),
        json!({"m.upload.size": 52_428_800}),
    ]
    .iter()
    .map(ok)
    .collect();
    let (client, server) = homeserver(answers).await;
    let (room, ghost, event) = (room_id!("!r"), user_id!("@dingtalk_u1:acme.example"), event_id!("$e/1"));
    let versions = client.versions().await.unwrap();
    assert!(versions.reaches(15) && versions.unstable["a"] && !versions.unstable["b"]);
    assert_eq!(client.whoami(client.bot()).await.unwrap(), client.bot());
    client.put_device(ghost, device_id!("BRIDGE"), "DingTalk").await.unwrap();
    client.set_displayname(ghost, "Li Lei").await.unwrap();
    client.join(room.into(), ghost, &[server_name!("other.example")]).await.unwrap();
    client.leave(room, ghost).await.unwrap();
    client.forget(room, ghost).await.unwrap();
    client.kick(room, ghost, "unbridged").await.unwrap();
    client.put_state(room, "m.room.name", "", &json!({"name": "x"}), client.bot()).await.unwrap();
    let redact = Redact { room, event, txn_id: "t", reason: None, user: client.bot() };
    client.redact(redact).await.unwrap();
    client.read_receipt(room, event, client.bot()).await.unwrap();
    assert_eq!(client.ping("dingtalk", "t").await.unwrap().duration, Duration::from_millis(12));
    assert_eq!(client.media_config().await.unwrap(), Some(52_428_800));
    let requests = server.await.unwrap();
    assert!(!requests[0].head.contains("authorization"));
    assert!(requests[1..].iter().all(|request| request.head.contains("authorization: Bearer as-t0ken")));
    let asked: Vec<_> = requests.iter().map(|request| format!("{} {}", request.line, request.body)).collect();
    insta::assert_snapshot!(asked.join("\n"));
}

#[tokio::test]
async fn old_media_configuration_is_asked_where_the_new_one_is_unknown() {
    let (client, _server) = homeserver([refuse(404, "M_UNRECOGNIZED"), ok(&json!({}))]).await;
    assert_eq!(client.media_config().await.unwrap(), None);
}

#[test]
fn options_that_cannot_work_are_refused() {
    let options = |base: &str, token: &str| ClientOptions {
        base: base.parse().unwrap(),
        as_token: Secret::new(token),
        other_as_token: None,
        server_name: server_name!("acme.example").to_owned(),
        bot: user_id!("@dingtalkbot:acme.example").to_owned(),
        ca: None,
        timeouts: Timeouts::default(),
    };
    assert!(matches!(Client::new(options("ftp://a", "t")), Err(ClientError::Scheme)));
    assert!(matches!(Client::new(options("http://a", "t\n")), Err(ClientError::Token)));
}

fn file(text: &'static str) -> Upload {
    Upload::of_bytes("image/png", Some("a b.png".to_owned()), Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn files_are_uploaded_in_two_steps_or_one() {
    let uri = json!({"content_uri": "mxc://acme.example/abc"});
    let answers = [
        ok(&uri),
        ok(&json!({})),
        refuse(409, "M_CANNOT_OVERWRITE_MEDIA"),
        refuse(404, "M_NOT_FOUND"),
        ok(&uri),
        refuse(413, "M_TOO_LARGE"),
    ];
    let (client, server) = homeserver(answers).await;
    let user = user_id!("@dingtalk_u:acme.example");
    let named = client.create_media(user).await.unwrap();
    client.fill_media(user, &named, file("bytes")).await.unwrap();
    client.fill_media(user, &named, file("bytes")).await.unwrap();
    assert_eq!(client.fill_media(user, &named, file("bytes")).await.unwrap_err().class, Class::NotFound);
    assert_eq!(client.upload(user, file("bytes")).await.unwrap(), named);
    assert_eq!(client.upload(user, file("bytes")).await.unwrap_err().class, Class::TooLarge);
    let seen = server.await.unwrap();
    let acting = "user_id=%40dingtalk_u%3Aacme.example";
    assert_eq!(seen[0].line, format!("POST /prefix/_matrix/media/v1/create?{acting}"));
    let put = "PUT /prefix/_matrix/media/v3/upload/acme.example/abc?filename=a%20b.png";
    assert_eq!(seen[1].line, format!("{put}&{acting}"));
    assert_eq!(seen[1].body, "bytes");
    let head = seen[1].head.to_ascii_lowercase();
    assert!(head.contains("content-type: image/png") && head.contains("content-length: 5"), "{head}");
    assert_eq!(seen[4].line, format!("POST /prefix/_matrix/media/v3/upload?filename=a%20b.png&{acting}"));
}

#[tokio::test]
async fn files_are_downloaded_with_the_token_and_redirects_without() {
    use futures_util::TryStreamExt;
    let elsewhere = Answer::Say(307, "location: /cdn/abc?signed=1\r\n", String::new());
    let answers = [elsewhere, Answer::Say(200, "content-type: text/plain\r\n", "bytes".to_owned())];
    let (client, server) = homeserver(answers).await;
    let uri = ruma::mxc_uri!("mxc://acme.example/abc");
    let found = client.download(uri, Duration::from_secs(2)).await.unwrap();
    assert_eq!((found.content_type.as_deref(), found.length), (Some("text/plain"), Some(5)));
    assert_eq!(found.body.try_collect::<Vec<_>>().await.unwrap().concat(), b"bytes");
    let seen = server.await.unwrap();
    let bot = "user_id=%40dingtalkbot%3Aacme.example";
    let first = "GET /prefix/_matrix/client/v1/media/download/acme.example/abc?timeout_ms=2000";
    assert_eq!(seen[0].line, format!("{first}&{bot}"));
    assert!(seen[0].head.to_ascii_lowercase().contains("authorization: bearer"));
    assert_eq!(seen[1].line, "GET /cdn/abc?signed=1");
    assert!(!seen[1].head.to_ascii_lowercase().contains("authorization"), "the token is for the homeserver");
}

#[tokio::test]
async fn an_old_homeserver_gives_files_out_at_the_old_place() {
    let late = refuse(504, "M_NOT_YET_UPLOADED");
    let answers = [refuse(404, "M_UNRECOGNIZED"), Answer::Say(200, "", "x".to_owned()), late];
    let (client, server) = homeserver(answers).await;
    let uri = ruma::mxc_uri!("mxc://acme.example/abc");
    client.download(uri, Duration::ZERO).await.unwrap();
    assert!(client.download(uri, Duration::ZERO).await.unwrap_err().is_not_yet_uploaded());
    let seen = server.await.unwrap();
    let old = "GET /prefix/_matrix/media/v3/download/acme.example/abc?timeout_ms=0&allow_remote=true";
    assert_eq!(seen[1].line, old);
}

#[tokio::test]
async fn the_token_that_the_homeserver_knows_is_shown_from_then_on() {
    let shown = |request: &Request| {
        ["Bearer as-t0ken", "Bearer other-t0ken"].map(|token| request.head.contains(token))
    };
    let event = || ok(&json!({"event_id": "$e"}));
    let (client, server) = homeserver([event(), refuse(401, "M_UNKNOWN_TOKEN"), event(), event()]).await;
    client.send(message()).await.unwrap();
    assert!(!client.uses_other_token());
    client.send(message()).await.unwrap();
    assert!(client.uses_other_token());
    client.clone().send(message()).await.unwrap();
    let seen = server.await.unwrap();
    let tokens: Vec<_> = seen.iter().map(shown).collect();
    assert_eq!(tokens, [[true, false], [true, false], [false, true], [false, true]]);
    assert!(seen.iter().all(|request| request.body == seen[0].body && request.line == seen[0].line));
}

#[tokio::test]
async fn a_homeserver_that_knows_neither_token_changes_nothing() {
    let no = || refuse(401, "M_UNKNOWN_TOKEN");
    let (client, server) = homeserver([no(), no(), no(), Answer::HangUp]).await;
    assert_eq!(client.send(message()).await.unwrap_err().class, Class::UnknownToken);
    assert!(!client.uses_other_token());
    assert_eq!(client.send(message()).await.unwrap_err().class, Class::Retry);
    assert!(!client.uses_other_token(), "no answer proves nothing");
    server.await.unwrap();
}

#[tokio::test]
async fn a_file_that_met_an_unknown_token_goes_with_the_other_one_next_time() {
    let uri = json!({"content_uri": "mxc://acme.example/abc"});
    let (client, server) = homeserver([refuse(401, "M_UNKNOWN_TOKEN"), ok(&uri)]).await;
    let bot = client.bot().to_owned();
    assert_eq!(client.upload(&bot, file("hi")).await.unwrap_err().class, Class::UnknownToken);
    client.upload(&bot, file("hi")).await.unwrap();
    let seen = server.await.unwrap();
    assert!(seen[0].head.contains("Bearer as-t0ken") && seen[1].head.contains("Bearer other-t0ken"));
}
