use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::{
    client::Outcome,
    testing::{Answer, Server, status, thing, things},
};

const SECOND: Duration = Duration::from_secs(1);

fn writer(server: &Server, fence: &Fence) -> Writer {
    Writer::new(server.client(), "operator/spec", fence.clone())
}

fn key() -> Key {
    Key::new("ns", "a")
}

#[tokio::test(start_paused = true)]
async fn to_create_is_to_apply_with_a_version_that_nothing_has() {
    let server = Server::default();
    server.will_json(201, thing("a", "1", 5, 1));
    server.will_json(409, status(409, "Conflict"));
    let writer = writer(&server, &Fence::open());
    let wanted = json!({"metadata": {"namespace": "ns", "name": "a"}, "spec": {"size": 1}});
    assert_eq!(writer.create(&things(), &wanted, "spec").await, Ok(thing("a", "1", 5, 1)));
    assert!(matches!(writer.create(&things(), &wanted, "spec").await, Err(Failure::Taken { .. })));

    let asked = &server.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("PATCH", "/apis/test.io/v1/namespaces/ns/things/a")
    );
    assert_eq!(asked.query, "fieldManager=operator%2Fspec&timeout=10s");
    assert_eq!(asked.content_type, "application/apply-patch+yaml");
    assert_eq!(
        asked.body,
        json!({"apiVersion": "test.io/v1", "kind": "Thing", "spec": {"size": 1},
            "metadata": {"namespace": "ns", "name": "a", "resourceVersion": "1"}})
    );
    let counts = server.counts.snapshot();
    let seen: Vec<_> = counts
        .iter()
        .map(|(count, times)| (count.verb, &*count.resource, count.why, count.outcome, *times))
        .collect();
    assert_eq!(
        seen,
        [
            (Verb::Apply, "things", "spec", Outcome::Ok, 1),
            (Verb::Apply, "things", "spec", Outcome::Conflict, 1)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn to_change_means_one_object_only() {
    let server = Server::default();
    server.will_json(200, thing("a", "1", 5, 1));
    let mut conflict = status(409, "Conflict");
    conflict["details"] =
        json!({"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\""}]});
    server.will_json(409, conflict);
    let mut other = status(422, "Invalid");
    other["details"] = json!({"causes": [{"reason": "FieldValueInvalid", "field": "metadata.uid"}]});
    server.will_json(422, other);
    let writer = writer(&server, &Fence::open());
    let wanted = thing("a", "", 0, 1);
    assert!(writer.apply(&things(), &wanted, "1", true, "drift").await.is_ok());
    match writer.apply(&things(), &wanted, "1", false, "drift").await {
        Err(Failure::Conflict { managers, .. }) => assert_eq!(managers, ["kubectl"]),
        other => panic!("{other:?}"),
    }
    assert!(matches!(writer.apply(&things(), &wanted, "1", true, "drift").await, Err(Failure::Taken { .. })));
    assert!(matches!(
        writer.apply(&things(), &wanted, "", true, "drift").await,
        Err(Failure::Refused { .. })
    ));
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[0].query.contains("&force=true&") && !asked[1].query.contains("force"));
    assert_eq!(asked[0].body["metadata"]["uid"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_onto_the_state_it_is_about() {
    let server = Server::default();
    server.will_json(200, thing("a", "1", 6, 1));
    server.will_json(409, status(409, "Conflict"));
    let writer = writer(&server, &Fence::open());
    let of = Meta { key: key(), uid: "1".into(), version: 5 };
    let wanted = json!({"metadata": {"namespace": "ns", "name": "a"}, "status": {"ok": true}});
    assert!(writer.apply_status(&things(), &wanted, &of, "status").await.is_ok());
    assert!(matches!(
        writer.apply_status(&things(), &wanted, &of, "status").await,
        Err(Failure::Stale { .. })
    ));
    let asked = &server.asked()[0];
    assert_eq!(
        (asked.path.as_str(), &asked.body["metadata"]["resourceVersion"]),
        ("/apis/test.io/v1/namespaces/ns/things/a/status", &json!("5"))
    );
}

#[tokio::test(start_paused = true)]
async fn finalizers_come_and_go_by_tested_steps() {
    let server = Server::default();
    let failed =
        json!({"kind": "Status", "code": 422, "reason": "Invalid", "details": {}, "message": TEST_FAILED});
    for _ in 0..3 {
        server.will_json(200, thing("a", "1", 6, 1));
    }
    server.will_json(422, failed);
    server.will_json(404, status(404, "NotFound"));
    let (writer, there) = (writer(&server, &Fence::open()), ["x/y".to_owned(), "our/s".to_owned()]);
    let (things, key) = (things(), key());
    let amend = async |steps| writer.amend(&things, &key, "1", steps, "spec").await.map(drop);
    assert_eq!(amend(steps::add_finalizer(&[], "our/s")).await, Ok(()));
    assert_eq!(amend(steps::add_finalizer(&there[..1], "our/s")).await, Ok(()));
    let remove = || steps::remove_finalizer(&there, "our/s");
    assert_eq!(amend(remove()).await, Ok(()));
    assert!(matches!(amend(remove()).await, Err(Failure::Stale { .. })));
    assert!(matches!(amend(remove()).await, Err(Failure::Gone { .. })));
    assert!(steps::remove_finalizer(&there[..1], "our/s").is_empty());
    assert!(steps::add_finalizer(&there, "our/s").is_empty());
    let asked = server.asked();
    assert_eq!(asked.len(), 5);
    let uid = json!({"op": "test", "path": "/metadata/uid", "value": "1"});
    assert_eq!(
        asked[0].body,
        json!([uid, {"op": "test", "path": "/metadata/finalizers", "value": null},
            {"op": "add", "path": "/metadata/finalizers", "value": ["our/s"]}])
    );
    assert_eq!(
        asked[1].body,
        json!([uid, {"op": "test", "path": "/metadata/finalizers", "value": ["x/y"]},
            {"op": "add", "path": "/metadata/finalizers/-", "value": "our/s"}])
    );
    assert_eq!(
        asked[2].body,
        json!([uid, {"op": "test", "path": "/metadata/finalizers/1", "value": "our/s"},
            {"op": "remove", "path": "/metadata/finalizers/1"}])
    );
}

#[tokio::test(start_paused = true)]
async fn a_deletion_means_one_object_only() {
    let server = Server::default();
    for (code, reason) in [(200, "Deleted"), (404, "NotFound"), (409, "Conflict")] {
        server.will_json(code, status(code, reason));
    }
    let writer = writer(&server, &Fence::open());
    let (things, key) = (things(), key());
    let delete = || writer.delete(&things, &key, "1", Propagation::Background, "prune");
    assert_eq!((delete().await, delete().await), (Ok(()), Ok(())));
    assert!(matches!(delete().await, Err(Failure::Taken { .. })));
    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), &asked.body["preconditions"]), ("DELETE", &json!({"uid": "1"})));
    assert_eq!(asked.body["propagationPolicy"], "Background");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_behind_a_closed_fence() {
    let (server, fence) = (Server::default(), Fence::closed());
    let writer = writer(&server, &fence);
    assert_eq!(writer.create(&things(), &thing("a", "", 0, 1), "spec").await, Err(Failure::Fenced));
    fence.open_until(Instant::now() + SECOND / 2);
    assert_eq!(writer.create(&things(), &thing("a", "", 0, 1), "spec").await, Err(Failure::Fenced));
    assert!(server.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_on_its_way_ends_when_the_fence_closes() {
    let (server, fence) = (Server::default(), Fence::closed());
    fence.open_until(Instant::now() + 4 * SECOND);
    server.will(Answer::Slow(5 * SECOND, 200, thing("a", "1", 5, 1)));
    let (writer, begun) = (writer(&server, &fence), Instant::now());
    assert_eq!(writer.create(&things(), &thing("a", "", 0, 1), "spec").await, Err(Failure::Fenced));
    assert_eq!(begun.elapsed(), 4 * SECOND);
    assert!(server.asked()[0].query.ends_with("timeout=4s"));
    assert_eq!(server.counts.total(|count| count.outcome == Outcome::Failed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_sent_once_and_ends_in_time() {
    let server = Server::default();
    server.will(Answer::Never);
    server.will_json(500, status(500, "InternalError"));
    server.will(Answer::Text(429, Some(("retry-after", "7")), "slow down"));
    server.will(Answer::NoConnection);
    server.will(Answer::Text(200, None, "<html>"));
    let (writer, begun) = (writer(&server, &Fence::open()), Instant::now());
    for after in [None, None, Some(7 * SECOND), None, None] {
        match writer.create(&things(), &thing("a", "", 0, 1), "spec").await {
            Err(Failure::Unavailable { retry_after, .. }) => assert_eq!(retry_after, after),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((begun.elapsed().as_secs(), server.asked().len()), (10, 5));
}
