//! The Matrix client against a server whose answers are written down here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header::AUTHORIZATION},
};
use serde_json::{Value, json};
use test_support::{MatrixClient, MatrixError, Metrics, RoomOptions};
use tokio::net::TcpListener;

const ROOM: &str = "!a b/c:localhost.test";
const LIMIT: Duration = Duration::from_secs(20);

/// A request as it came: method and path with the query, the token, the body.
type Seen = (String, String, Value);

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), seen: Arc::default() }
    }

    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/")
    }

    async fn client(&self) -> MatrixClient {
        MatrixClient::from_token(&self.start().await, "@alice:localhost.test", "secret").unwrap()
    }

    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn answer(
    State(script): State<Script>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let token = headers.get(AUTHORIZATION).map_or("", |value| value.to_str().unwrap()).to_owned();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    script.seen.lock().unwrap().push((format!("{method} {uri}"), token, body));
    let next = script.answers.lock().unwrap().pop_front();
    let (status, answer) =
        next.unwrap_or((500, json!({"errcode": "M_UNKNOWN", "error": "the script has ended"})));
    (StatusCode::from_u16(status).unwrap(), Json(answer))
}

#[tokio::test]
async fn a_login_brings_the_token_of_later_requests() {
    let login = json!({"user_id": "@alice:localhost.test", "access_token": "secret", "device_id": "D"});
    let script = Script::new([(200, login), (200, json!({"joined_rooms": [ROOM]}))]);
    let client = MatrixClient::login(&script.start().await, "alice", "pw").await.unwrap();
    assert_eq!((client.user_id(), client.access_token()), ("@alice:localhost.test", "secret"));
    assert_eq!(client.joined_rooms().await.unwrap(), [ROOM]);
    let seen = script.seen();
    assert_eq!(seen[0].0, "POST /_matrix/client/v3/login");
    assert_eq!((seen[0].1.as_str(), &seen[0].2["password"]), ("", &json!("pw")));
    assert_eq!(seen[1].1, "Bearer secret");
}

#[tokio::test]
async fn ids_are_encoded_and_transactions_are_never_used_twice() {
    let script = Script::new([(200, json!({"event_id": "$1"})), (200, json!({"event_id": "$2"}))]);
    let client = script.client().await;
    assert_eq!(client.send_text(ROOM, "hello").await.unwrap(), "$1");
    assert_eq!(client.clone().send_text(ROOM, "hello").await.unwrap(), "$2");
    let seen = script.seen();
    let prefix = "PUT /_matrix/client/v3/rooms/!a%20b%2Fc:localhost.test/send/m.room.message/";
    assert!(seen.iter().all(|(request, _, _)| request.starts_with(prefix)), "{seen:?}");
    assert_ne!(seen[0].0, seen[1].0);
    assert_eq!(seen[0].2, json!({"msgtype": "m.text", "body": "hello"}));
}

#[tokio::test]
async fn a_refusal_says_what_was_refused_and_why() {
    let refusal = json!({"errcode": "M_FORBIDDEN", "error": "You are not here"});
    let script =
        Script::new([(403, refusal.clone()), (404, json!({"errcode": "M_NOT_FOUND"})), (403, refusal)]);
    let client = script.client().await;
    let error = client.invite(ROOM, "@bob:localhost.test").await.unwrap_err();
    assert!(error.to_string().ends_with("/invite: 403 M_FORBIDDEN You are not here"), "{error}");
    assert_eq!(error.downcast_ref::<MatrixError>().unwrap().status, 403);
    // A state event that is not there is no error; one that may not be seen is.
    assert_eq!(client.state(ROOM, "m.room.name", "").await.unwrap(), None);
    assert!(client.state(ROOM, "m.room.name", "").await.is_err());
}

#[tokio::test]
async fn a_room_is_made_as_it_was_described() {
    let script = Script::new([(200, json!({"room_id": ROOM})), (200, json!({"room_id": ROOM}))]);
    let client = script.client().await;
    let direct = RoomOptions {
        invite: vec!["@bob:localhost.test".into()],
        is_direct: true,
        encrypted: true,
        room_version: Some("11".into()),
        ..RoomOptions::default()
    };
    assert_eq!(client.create_room(direct).await.unwrap(), ROOM);
    client.create_room(RoomOptions { name: Some("Ops".into()), ..RoomOptions::default() }).await.unwrap();
    let seen = script.seen();
    assert_eq!(seen[0].2["preset"], "trusted_private_chat");
    assert_eq!(seen[0].2["room_version"], "11");
    assert_eq!(seen[0].2["initial_state"][0]["type"], "m.room.encryption");
    let plain = json!({"preset": "private_chat", "is_direct": false, "invite": [], "name": "Ops"});
    assert_eq!(seen[1].2, plain);
}

#[tokio::test]
async fn a_power_level_is_added_to_the_others() {
    let levels = json!({"users": {"@alice:localhost.test": 100}, "users_default": 0});
    let script = Script::new([(200, levels), (200, json!({"event_id": "$1"}))]);
    script.client().await.set_power(ROOM, "@bob:localhost.test", 50).await.unwrap();
    let users = json!({"@alice:localhost.test": 100, "@bob:localhost.test": 50});
    assert_eq!(script.seen()[1].2, json!({"users": users, "users_default": 0}));
}

#[tokio::test]
async fn messages_come_in_pages_and_the_newest_last() {
    let page = |ids: &[u32], end: Option<&str>| {
        let chunk: Vec<Value> = ids.iter().map(|id| json!({"event_id": format!("${id}")})).collect();
        (200, json!({"chunk": chunk, "start": "s", "end": end}))
    };
    let script = Script::new([page(&[5, 4], Some("e1")), page(&[3], Some("e2")), page(&[], None)]);
    let events = script.client().await.messages(ROOM, 9).await.unwrap();
    let ids: Vec<&str> = events.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["$3", "$4", "$5"]);
    let queries: Vec<String> = script.seen().into_iter().map(|(request, _, _)| request).collect();
    assert!(queries[1].ends_with("?dir=b&limit=7&from=e1") && queries[2].ends_with("?dir=b&limit=6&from=e2"));
}

fn news(next: &str, limited: bool, bodies: &[&str]) -> (u16, Value) {
    let events: Vec<Value> = bodies
        .iter()
        .map(|body| json!({"type": "m.room.message", "sender": "@bob:localhost.test", "content": {"body": body}}))
        .collect();
    let room = json!({"timeline": {"events": events, "limited": limited}});
    (200, json!({"next_batch": next, "rooms": {"join": {ROOM: room}}}))
}

fn says(word: &str) -> impl Fn(&Value) -> bool {
    move |event| event["content"]["body"] == word
}

#[tokio::test]
async fn an_event_is_waited_for_across_gaps_and_failures() {
    let gap = news("s2", true, &["third"]);
    let chunk = json!([{"content": {"body": "third"}}, {"content": {"body": "second"}}]);
    let script = Script::new([
        news("s1", false, &["first"]),
        gap,
        (200, json!({"chunk": chunk})),
        (502, json!("restarting")),
        (200, json!({"next_batch": "s3"})),
        news("s4", false, &["fourth"]),
    ]);
    let client = script.client().await;
    let event = client.wait_for_event(ROOM, LIMIT, says("second")).await.unwrap();
    assert_eq!(event["content"]["body"], "second");
    client.wait_for_event(ROOM, LIMIT, says("fourth")).await.unwrap();
    let requests: Vec<String> = script.seen().into_iter().map(|(request, _, _)| request).collect();
    assert!(!requests[0].contains("since=") && requests[1].contains("since=s1"), "{requests:?}");
    assert!(!requests[4].contains("since=") && requests[5].contains("since=s3"), "{requests:?}");
}

#[tokio::test]
async fn an_event_that_does_not_come_is_an_error_with_those_that_came() {
    let script = Script::new([news("s1", false, &["first"])]);
    let client = script.client().await;
    let error = client.wait_for_event(ROOM, Duration::from_millis(300), says("second")).await.unwrap_err();
    let error = format!("{error:#}");
    let expected = ["300ms", "in vain", "first", "the script has ended"];
    assert!(expected.iter().all(|word| error.contains(word)), "{error}");
}

#[tokio::test]
async fn an_invitation_is_found_by_what_it_shows() {
    let name = |name: &str| json!({"invite_state": {"events": [{"type": "m.room.name", "content": {"name": name}}]}});
    let script = Script::new([
        (200, json!({"next_batch": "s1"})),
        (200, json!({"next_batch": "s2", "rooms": {"invite": {"!1:x": name("Ops"), "!2:x": name("Dev")}}})),
    ]);
    let client = script.client().await;
    let dev = |_: &str, state: &[Value]| state[0]["content"]["name"] == "Dev";
    assert_eq!(client.wait_for_invitation(LIMIT, dev).await.unwrap(), "!2:x");
}

#[tokio::test]
async fn metrics_are_fetched() {
    let router = Router::new().route("/metrics", axum::routing::get(|| async { "# EOF\nup{a=\"b\"} 1\n" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let metrics = Metrics::fetch(&format!("{base}/metrics")).await.unwrap();
    assert_eq!(metrics.value("up", &[("a", "b")]), Some(1.0));
    assert!(Metrics::fetch(&format!("{base}/elsewhere")).await.is_err());
}
