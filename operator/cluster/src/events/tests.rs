use std::time::Duration;

use super::*;
use crate::testing::{Answer, Server, status};

fn note(name: &str, words: &str) -> Note {
    Note {
        regarding: Reference {
            api_version: "test.io/v1".into(),
            kind: "Thing".into(),
            namespace: "ns".into(),
            name: name.into(),
            uid: format!("uid-of-{name}"),
        },
        is_warning: true,
        reason: "NameConflict".into(),
        action: "Apply".into(),
        note: words.into(),
    }
}

fn recorder(server: &Server) -> Recorder {
    Recorder::spawn(server.client(), "test.io/operator", "pod-1", CancellationToken::new())
}

#[tokio::test(start_paused = true)]
async fn an_event_is_made_once_and_then_counted() {
    let server = Server::default();
    for _ in 0..4 {
        server.will_json(200, json!({}));
    }
    let recorder = recorder(&server);
    recorder.publish(note("a", "first"));
    recorder.publish(note("a", "first"));
    recorder.publish(note("a", &"ü".repeat(1000)));
    recorder.publish(note(&"n".repeat(250), "first"));
    server.called(4).await;
    let asked = server.asked();
    let event = &asked[0].body;
    assert_eq!(
        (asked[0].method.as_str(), asked[0].path.as_str()),
        ("POST", "/apis/events.k8s.io/v1/namespaces/ns/events")
    );
    assert_eq!(
        (&event["type"], &event["reason"], &event["note"]),
        (&json!("Warning"), &json!("NameConflict"), &json!("first"))
    );
    assert_eq!(
        event["regarding"],
        json!({"apiVersion": "test.io/v1", "kind": "Thing", "namespace": "ns", "name": "a", "uid": "uid-of-a"})
    );
    assert_eq!(
        (&event["reportingController"], &event["reportingInstance"]),
        (&json!("test.io/operator"), &json!("pod-1"))
    );
    let name = |number: usize| asked[number].body["metadata"]["name"].as_str().unwrap();
    assert!(name(0).starts_with("a.") && name(0) != name(2) && name(3).len() <= 253);
    assert_eq!(asked[1].method, "PATCH");
    assert!(asked[1].path.ends_with(name(0)));
    assert_eq!(asked[1].body["series"]["count"], 2);
    assert_eq!(asked[2].body["note"].as_str().unwrap().len(), 1024);
    assert_eq!(recorder.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_or_is_away_stops_nobody() {
    let server = Server::default();
    server.will_json(403, status(403, "Forbidden"));
    server.will(Answer::Never);
    server.will_json(201, json!({}));
    let recorder = recorder(&server);
    for _ in 0..3 {
        recorder.publish(note("a", "words"));
    }
    server.called(3).await;
    assert_eq!(recorder.dropped(), 2);
    // None was made before, so each was a new one.
    assert!(server.asked().iter().all(|asked| asked.method == "POST"));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_server_forgot_is_made_anew() {
    let server = Server::default();
    server.will_json(201, json!({}));
    server.will_json(404, status(404, "NotFound"));
    server.will_json(201, json!({}));
    let recorder = recorder(&server);
    recorder.publish(note("a", "words"));
    recorder.publish(note("a", "words"));
    server.called(3).await;
    let again = &server.asked()[2];
    assert_eq!((again.method.as_str(), &again.body["series"]["count"]), ("POST", &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn to_publish_never_waits() {
    let server = Server::default();
    let recorder = recorder(&server);
    for number in 0..3 * WAITING {
        recorder.publish(note(&number.to_string(), "words"));
    }
    assert_eq!(recorder.dropped(), 2 * WAITING as u64);
}

#[tokio::test(start_paused = true)]
async fn many_events_are_spread() {
    let server = Server::default();
    for _ in 0..1000 {
        server.will_json(201, json!({}));
    }
    let recorder = recorder(&server);
    for number in 0..1000 {
        recorder.publish(note(&number.to_string(), "words"));
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let sent = server.asked().len();
    assert!((200..=255).contains(&sent), "{sent}");
}
