use std::time::Duration;

use kube::core::ApiResource;
use operator_cluster::{
    Meta,
    apply::Propagation,
    events::{Note, Recorder, Reference},
    watch::{State, Timing, WatchEvent, WatchHandle, WatchSpec, spawn},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::world::{World, config_maps, eventually, serve, serve_no_more, things, uid};

type Event = WatchEvent<Value>;

fn watch(spec: WatchSpec) -> (WatchHandle, mpsc::Receiver<Event>) {
    let (sink, events) = mpsc::channel(64);
    let whole = |_: &Meta, object: Value| Ok(object);
    (spawn(spec, whole, |event| event, sink, CancellationToken::new()), events)
}

async fn next(events: &mut mpsc::Receiver<Event>) -> Event {
    timeout(Duration::from_mins(1), events.recv()).await.expect("an event").expect("a watch")
}

async fn applied(events: &mut mpsc::Receiver<Event>) -> (String, Value) {
    match next(events).await {
        Event::Applied { meta, value } => (meta.key.name, value),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_watch_tells_what_is_there_and_what_changes() {
    let world = World::new().await;
    let labelled = |name: &str| {
        let mut map = world.config_map(name, &json!({"a": "1"}));
        map["metadata"]["labels"] = json!({"test.io/watched": "yes"});
        map
    };
    world.writer.create(&config_maps(), &world.config_map("other", &json!({})), "test").await.unwrap();
    for number in 0..7 {
        world.writer.create(&config_maps(), &labelled(&format!("m{number}")), "test").await.unwrap();
    }
    let mut spec = WatchSpec::new(world.client(), config_maps());
    spec.namespace = Some(world.namespace.clone());
    spec.labels = Some("test.io/watched=yes".into());
    spec.timing.page = 3;
    let (handle, mut events) = watch(spec);
    for number in 0..7 {
        let (name, value) = applied(&mut events).await;
        assert_eq!((name, &value["data"]["a"]), (format!("m{number}"), &json!("1")));
    }
    assert_eq!(next(&mut events).await, Event::Synced);
    handle.synced().await;
    let live = world.get(&config_maps(), "m3").await.unwrap();
    let mut changed = labelled("m3");
    changed["data"]["a"] = "2".into();
    let answer = world.writer.apply(&config_maps(), &changed, &uid(&live), true, "test").await.unwrap();
    let (name, value) = applied(&mut events).await;
    assert_eq!((name.as_str(), &value["data"]["a"]), ("m3", &json!("2")));
    assert_eq!(Meta::of(&value), Meta::of(&answer));
    // Without the label, it is gone from here.
    changed["metadata"].as_object_mut().unwrap().remove("labels");
    world.writer.apply(&config_maps(), &changed, &uid(&live), true, "test").await.unwrap();
    let deleted = |name: &str, uid: String| Event::Deleted { key: world.key(name), uid };
    assert_eq!(next(&mut events).await, deleted("m3", uid(&live)));
    let m4 = uid(&world.get(&config_maps(), "m4").await.unwrap());
    world
        .writer
        .delete(&config_maps(), &world.key("m4"), &m4, Propagation::Background, "test")
        .await
        .unwrap();
    assert_eq!(next(&mut events).await, deleted("m4", m4));
    assert_eq!((handle.progress().objects, handle.progress().restarts), (5, 0));
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_watch_of_metadata_has_no_content() {
    let world = World::new().await;
    world.writer.create(&config_maps(), &world.config_map("a", &json!({"a": "1"})), "test").await.unwrap();
    let mut spec = WatchSpec::new(world.client(), config_maps());
    spec.namespace = Some(world.namespace.clone());
    spec.fields = Some("metadata.name!=kube-root-ca.crt".into());
    spec.metadata_only = true;
    let (_handle, mut events) = watch(spec);
    let (name, value) = applied(&mut events).await;
    assert_eq!((name.as_str(), value.get("data")), ("a", None));
    assert_eq!(next(&mut events).await, Event::Synced);
    world.writer.create(&config_maps(), &world.config_map("b", &json!({"a": "1"})), "test").await.unwrap();
    let (name, value) = applied(&mut events).await;
    assert_eq!((name.as_str(), value.get("data")), ("b", None));
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_kind_may_come_and_go() {
    let world = World::new().await;
    let things = things("comings");
    let mut spec = WatchSpec::new(world.client(), things.clone());
    spec.timing = Timing {
        missing_wait: Duration::from_millis(200),
        timeout: Duration::from_secs(5),
        ..Timing::default()
    };
    let (handle, mut events) = watch(spec);
    handle.synced().await;
    assert_eq!(next(&mut events).await, Event::Missing);
    for _ in 0..2 {
        let definition = serve(&world, &things).await;
        assert_eq!(next(&mut events).await, Event::Synced);
        world.writer.create(&things, &world.object("a", json!({"spec": {"x": 1}})), "test").await.unwrap();
        assert_eq!(applied(&mut events).await.0, "a");
        serve_no_more(&world, &definition).await;
        assert!(matches!(next(&mut events).await, Event::Deleted { .. }));
        // A list may still succeed while the kind is going.
        while next(&mut events).await != Event::Missing {}
        eventually("the definition is gone", || async {
            let served = world.reader.served(&things, "test").await;
            (served == Ok(false) && handle.progress().state == State::Missing).then_some(())
        })
        .await;
    }
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn streams_that_reach_their_timeout_go_on() {
    let world = World::new().await;
    let mut spec = WatchSpec::new(world.client(), config_maps());
    spec.namespace = Some(world.namespace.clone());
    spec.fields = Some("metadata.name!=kube-root-ca.crt".into());
    spec.timing.timeout = Duration::from_secs(2);
    let (handle, mut events) = watch(spec);
    assert_eq!(next(&mut events).await, Event::Synced);
    let watched = || world.counts.total(|count| count.verb.as_str() == "watch");
    eventually("three streams", || async { (watched() >= 3).then_some(()) }).await;
    world.writer.create(&config_maps(), &world.config_map("a", &json!({})), "test").await.unwrap();
    assert_eq!(applied(&mut events).await.0, "a");
    let progress = handle.progress();
    assert_eq!((progress.lists, progress.restarts, progress.last_error), (1, 0, None));
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn events_are_taken_and_counted() {
    let world = World::new().await;
    let there =
        world.writer.create(&config_maps(), &world.config_map("a", &json!({})), "test").await.unwrap();
    let recorder = Recorder::spawn(world.client(), "test.io/operator", "pod-1", CancellationToken::new());
    let note = |words: &str| Note {
        regarding: Reference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: world.namespace.clone(),
            name: "a".into(),
            uid: uid(&there),
        },
        is_warning: true,
        reason: "NameConflict".into(),
        action: "Apply".into(),
        note: words.into(),
    };
    for _ in 0..3 {
        recorder.publish(note("one"));
    }
    recorder.publish(note(&"long ".repeat(400)));
    let kind = ApiResource::erase::<k8s_openapi::api::events::v1::Event>(&());
    let events = eventually("two events", || async {
        let mut events = Vec::new();
        world
            .reader
            .list(&kind, Some(&world.namespace), None, "test", |event| events.push(event))
            .await
            .unwrap();
        let is_done = events.len() == 2 && events.iter().any(|event| event["series"]["count"] == 3);
        is_done.then_some(events)
    })
    .await;
    assert!(events.iter().all(|event| event["regarding"]["uid"] == there["metadata"]["uid"]));
    assert_eq!(recorder.dropped(), 0);
    world.end().await;
}
