use serde_json::json;
use tokio::time::{Instant, timeout};

use super::*;
use crate::testing::{Answer, Server, status, thing, things};

type Event = WatchEvent<i64>;

/// A watch of things and what it told.
struct Watched {
    server: Server,
    events: mpsc::Receiver<Event>,
    handle: WatchHandle,
    stop: CancellationToken,
}

impl Watched {
    fn start(change: impl FnOnce(&mut WatchSpec)) -> Self {
        Self::with(Server::default(), change)
    }

    fn with(server: Server, change: impl FnOnce(&mut WatchSpec)) -> Self {
        let mut spec = WatchSpec::new(server.client(), things());
        change(&mut spec);
        let (sink, events) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let handle = spawn(spec, size, |event| event, sink, stop.clone());
        Self { server, events, handle, stop }
    }

    async fn next(&mut self) -> Event {
        timeout(Duration::from_mins(10), self.events.recv()).await.expect("an event").expect("a watch")
    }

    fn nothing_more(&mut self) {
        assert_eq!(self.events.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `spawn` wants it")]
fn size(_: &Meta, object: Value) -> Result<i64, String> {
    object["spec"]["size"].as_i64().ok_or_else(|| "size is no number".to_owned())
}

fn page(version: u64, next: &str, items: &[Value]) -> Value {
    json!({"kind": "ThingList", "metadata": {"resourceVersion": version.to_string(), "continue": next}, "items": items})
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn bookmark(version: u64) -> String {
    line("BOOKMARK", &json!({"metadata": {"resourceVersion": version.to_string()}}))
}

fn applied(name: &str, uid: &str, version: u64, value: i64) -> Event {
    Event::Applied { meta: Meta { key: Key::new("ns", name), uid: uid.into(), version }, value }
}

fn deleted(name: &str, uid: &str) -> Event {
    Event::Deleted { key: Key::new("ns", name), uid: uid.into() }
}

#[tokio::test(start_paused = true)]
async fn a_watch_lists_by_pages_and_goes_on_from_there() {
    let server = Server::default();
    server.will_json(200, page(10, "more", &[thing("a", "1", 3, 1)]));
    server.will_json(200, page(10, "", &[thing("b", "2", 4, 2)]));
    let stream = server.will_stream();
    let mut watched = Watched::with(server, |spec| {
        spec.namespace = Some("ns".into());
        spec.labels = Some("a=b".into());
        spec.fields = Some("metadata.name=x".into());
    });
    assert_eq!(watched.next().await, applied("a", "1", 3, 1));
    assert_eq!(watched.next().await, applied("b", "2", 4, 2));
    assert_eq!(watched.next().await, Event::Synced);
    watched.handle.synced().await;
    // Cut in the middle of a line, and two events in one piece.
    let text = line("MODIFIED", &thing("a", "1", 11, 5)) + &line("DELETED", &thing("b", "2", 12, 2));
    let (one, two) = text.split_at(40);
    stream.send(Ok(one.into())).unwrap();
    stream.send(Ok(two.into())).unwrap();
    assert_eq!(watched.next().await, applied("a", "1", 11, 5));
    assert_eq!(watched.next().await, deleted("b", "2"));
    let progress = watched.handle.progress();
    assert_eq!((progress.state, progress.objects, progress.restarts), (State::Watching, 1, 0));

    let asked = watched.server.asked();
    assert!(asked.iter().all(|asked| asked.path == "/apis/test.io/v1/namespaces/ns/things"));
    assert_eq!(asked[0].query, "labelSelector=a%3Db&fieldSelector=metadata.name%3Dx&limit=100");
    assert!(asked[1].query.ends_with("&limit=100&continue=more"));
    assert!(
        asked[2].query.contains("watch=true&allowWatchBookmarks=true")
            && asked[2].query.ends_with("resourceVersion=10")
    );
    assert_eq!(watched.server.counts.snapshot().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn metadata_can_be_all_that_is_asked_for() {
    let server = Server::default();
    server.will_json(200, page(10, "", &[]));
    let _stream = server.will_stream();
    let mut watched = Watched::with(server, |spec| spec.metadata_only = true);
    assert_eq!(watched.next().await, Event::Synced);
    watched.server.called(2).await;
    let asked = watched.server.asked();
    assert!(asked[0].accept.contains("as=PartialObjectMetadataList;"));
    assert!(asked[1].accept.contains("as=PartialObjectMetadata;"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_goes_on_at_its_bookmark() {
    let server = Server::default();
    server.will_json(200, page(10, "", &[]));
    let (first, second) = (server.will_stream(), server.will_stream());
    let mut watched = Watched::with(server, |_| {});
    assert_eq!(watched.next().await, Event::Synced);
    first.send(Ok(bookmark(77))).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(first);
    watched.server.called(3).await;
    assert!(watched.server.asked()[2].query.ends_with("resourceVersion=77"));
    second.send(Ok(line("ADDED", &thing("a", "1", 78, 1)))).unwrap();
    assert_eq!(watched.next().await, applied("a", "1", 78, 1));
    assert_eq!(watched.handle.progress().restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn after_gone_a_list_tells_only_what_differs() {
    for gone in ["event", "answer"] {
        let server = Server::default();
        let before = ["a", "b", "c", "d"].map(|name| thing(name, name, 3, 1));
        server.will_json(200, page(10, "", &before));
        if gone == "event" {
            server.will_stream().send(Ok(line("ERROR", &status(410, "Expired")))).unwrap();
        } else {
            server.will_json(410, status(410, "Gone"));
        }
        let after = [thing("a", "a", 3, 1), thing("b", "b", 20, 7), thing("d", "other", 21, 1)];
        server.will_json(200, page(30, "", &after));
        let _stream = server.will_stream();
        let mut watched = Watched::with(server, |_| {});
        for name in ["a", "b", "c", "d"] {
            assert_eq!(watched.next().await, applied(name, name, 3, 1));
        }
        assert_eq!(watched.next().await, Event::Synced);
        assert_eq!(watched.next().await, applied("b", "b", 20, 7), "{gone}");
        assert_eq!(watched.next().await, deleted("d", "d"));
        assert_eq!(watched.next().await, applied("d", "other", 21, 1));
        assert_eq!(watched.next().await, deleted("c", "c"));
        assert_eq!(watched.next().await, Event::Synced);
        let progress = watched.handle.progress();
        assert_eq!((progress.lists, progress.objects), (2, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_object_never_stops_the_others() {
    let server = Server::default();
    let nameless = json!({"metadata": {}, "spec": {"size": 1}});
    server.will_json(
        200,
        page(10, "", &[thing("bad", "1", 3, "big"), nameless.clone(), thing("good", "2", 4, 2)]),
    );
    let stream = server.will_stream();
    let mut watched = Watched::with(server, |_| {});
    let malformed = |event: Event| match event {
        Event::Malformed { meta, error } => (meta.map(|meta| meta.key.name), error),
        other => panic!("{other:?}"),
    };
    assert_eq!(malformed(watched.next().await), (Some("bad".into()), "size is no number".into()));
    assert_eq!(malformed(watched.next().await), (None, "the object has no name".into()));
    assert_eq!(watched.next().await, applied("good", "2", 4, 2));
    assert_eq!(watched.next().await, Event::Synced);
    let text =
        line("MODIFIED", &thing("good", "2", 11, json!({}))) + &line("MODIFIED", &thing("bad", "1", 12, 5));
    stream.send(Ok(text)).unwrap();
    assert_eq!(malformed(watched.next().await).0, Some("good".into()));
    assert_eq!(watched.next().await, applied("bad", "1", 12, 5));
}

#[tokio::test(start_paused = true)]
async fn a_cut_stream_is_begun_again_without_a_list() {
    let server = Server::default();
    server.will_json(200, page(10, "", &[]));
    let first = server.will_stream();
    server.will(Answer::NoConnection);
    server.will_json(500, status(500, "InternalError"));
    server.will(Answer::Text(429, Some(("retry-after", "3")), "slow down"));
    let second = server.will_stream();
    let mut watched = Watched::with(server, |_| {});
    assert_eq!(watched.next().await, Event::Synced);
    first.send(Ok(line("ADDED", &thing("a", "1", 11, 1)))).unwrap();
    first.send(Err("connection reset")).unwrap();
    assert_eq!(watched.next().await, applied("a", "1", 11, 1));
    let begun = Instant::now();
    second.send(Ok(line("ADDED", &thing("b", "2", 12, 1)))).unwrap();
    assert_eq!(watched.next().await, applied("b", "2", 12, 1));
    let (waited, progress) = (begun.elapsed(), watched.handle.progress());
    // 0.25 to 0.5, 0.5 to 1, 1 to 2, and the 3 that the server asked for or 2 to 4.
    assert!(waited >= Duration::from_millis(4750) && waited <= Duration::from_millis(7600), "{waited:?}");
    assert_eq!((progress.lists, progress.restarts, progress.last_error), (1, 4, None));
    assert!(watched.server.asked()[2..].iter().all(|asked| asked.query.ends_with("resourceVersion=11")));
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_taken_for_dead() {
    let server = Server::default();
    server.will_json(200, page(10, "", &[]));
    let (_first, second) = (server.will_stream(), server.will_stream());
    let mut watched = Watched::with(server, |_| {});
    assert_eq!(watched.next().await, Event::Synced);
    let begun = Instant::now();
    second.send(Ok(line("ADDED", &thing("a", "1", 11, 1)))).unwrap();
    assert_eq!(watched.next().await, applied("a", "1", 11, 1));
    assert_eq!(begun.elapsed(), Duration::from_secs(75));
}

#[tokio::test(start_paused = true)]
async fn after_streams_that_say_nothing_all_is_listed() {
    let server = Server::default();
    server.will_json(200, page(99_999, "", &[thing("a", "1", 500, 1)]));
    let (_first, _second) = (server.will_stream(), server.will_stream());
    // The store is an older one now.
    server.will_json(200, page(300, "", &[thing("a", "1", 200, 7)]));
    let _third = server.will_stream();
    let mut watched = Watched::with(server, |_| {});
    assert_eq!(watched.next().await, applied("a", "1", 500, 1));
    assert_eq!(watched.next().await, Event::Synced);
    assert_eq!(watched.next().await, applied("a", "1", 200, 7));
    assert_eq!(watched.next().await, Event::Synced);
    watched.server.called(5).await;
    assert!(watched.server.asked()[4].query.ends_with("resourceVersion=300"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_asked_ever_more_seldom() {
    let mut watched = Watched::start(|_| {});
    for _ in 0..200 {
        watched.server.will(Answer::NoConnection);
    }
    tokio::time::sleep(Duration::from_mins(5)).await;
    let tried = watched.server.asked().len();
    // Each attempt at a list is made of three calls.
    assert!((30..=81).contains(&tried), "{tried}");
    let progress = watched.handle.progress();
    assert!(!progress.dead && progress.last_error.unwrap().contains("connection refused"));
    watched.nothing_more();
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_is_waited_for() {
    let server = Server::default();
    server.will_json(200, page(10, "", &[thing("a", "1", 3, 1)]));
    server.will_stream().send(Err("gone")).unwrap();
    for _ in 0..5 {
        server.will(Answer::Text(404, None, "404 page not found"));
    }
    let mut watched = Watched::with(server, |_| {});
    assert_eq!(watched.next().await, applied("a", "1", 3, 1));
    assert_eq!(watched.next().await, Event::Synced);
    assert_eq!(watched.next().await, deleted("a", "1"));
    assert_eq!(watched.next().await, Event::Missing);
    assert_eq!(watched.handle.progress().state, State::Missing);
    tokio::time::sleep(Duration::from_mins(1)).await;
    watched.nothing_more();
    // It is back, and somebody says so.
    watched.server.answers_none();
    let begun = Instant::now();
    watched.server.will_json(200, page(50, "", &[thing("a", "2", 45, 1)]));
    watched.handle.retry_now();
    assert_eq!(watched.next().await, applied("a", "2", 45, 1));
    assert_eq!(watched.next().await, Event::Synced);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_was_never_served_counts_as_synced() {
    let server = Server::default();
    server.will(Answer::Text(404, None, "404 page not found"));
    let mut watched = Watched::with(server, |_| {});
    watched.handle.synced().await;
    assert_eq!(watched.next().await, Event::Missing);
}

#[tokio::test(start_paused = true)]
async fn missing_rights_are_told_as_such() {
    let server = Server::default();
    let mut denied = status(403, "Forbidden");
    denied["message"] =
        r#"things is forbidden: User "u" cannot list resource "things" in API group "test.io""#.into();
    server.will_json(403, denied);
    let watched = Watched::with(server, |_| {});
    watched.server.called(1).await;
    while watched.handle.progress().state != State::Denied {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(watched.handle.progress().last_error.unwrap().contains("cannot list"));
}

#[tokio::test(start_paused = true)]
async fn nobody_who_takes_events_makes_a_watch_dead() {
    let server = Server::default();
    let many: Vec<Value> = (0..40).map(|number| thing(&format!("t{number}"), "u", 3, 1)).collect();
    server.will_json(200, page(10, "", &many));
    let watched = Watched::with(server, |_| {});
    tokio::time::sleep(Duration::from_secs(581)).await;
    assert!(watched.handle.progress().dead);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_it_is_stopped_or_not_heard() {
    let watched = Watched::start(|_| {});
    watched.stop.cancel();
    watched.handle.stopped().await;
    assert_eq!(watched.handle.progress().state, State::Stopped);

    let server = Server::default();
    server.will_json(200, page(10, "", &[thing("a", "1", 3, 1)]));
    let watched = Watched::with(server, |_| {});
    drop(watched.events);
    watched.handle.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_watch_is_not_believed() {
    let server = Server::default();
    server.will_json(200, page(10, "", &[]));
    server.will_stream().send(Ok("<html>\n".into())).unwrap();
    let _last = server.will_stream();
    let mut watched = Watched::with(server, |_| {});
    assert_eq!(watched.next().await, Event::Synced);
    watched.server.called(3).await;
    assert_eq!(watched.handle.progress().restarts, 1);
    assert!(watched.handle.progress().last_error.unwrap().contains("no event of a watch"));
}
