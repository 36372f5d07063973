use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use kube::core::ApiResource;
use operator_cluster::{
    Failure, Fence, Key, Meta, Reader, Writer,
    apply::{Propagation, steps},
    watch::{State, WatchEvent, WatchSpec, spawn},
};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::world::{World, config_maps, eventually, serve, serve_no_more, things, uid};

const NOBODY: &str = "11111111-2222-3333-4444-555555555555";

#[tokio::test]
#[ignore = "needs a cluster"]
async fn what_is_there_is_never_touched_by_a_creation() {
    let world = World::new().await;
    let (kind, wanted) = (config_maps(), world.config_map("a", &json!({"ours": "1"})));
    let foreign = world.config_map("a", &json!({"theirs": "1"}));
    let there = world.other("somebody").create(&kind, &foreign, "test").await.unwrap();
    let refused = world.writer.create(&kind, &wanted, "test").await;
    assert!(matches!(refused, Err(Failure::Taken { .. })), "{refused:?}");
    assert_eq!(world.get(&kind, "a").await.unwrap(), there);
    // Also what is the same and ours already, and what is a custom resource.
    assert!(matches!(
        world.other("somebody").create(&kind, &foreign, "test").await,
        Err(Failure::Taken { .. })
    ));
    let things = things("writtens");
    let definition = serve(&world, &things).await;
    let wanted = world.object("a", json!({"spec": {"x": 1}}));
    world.writer.create(&things, &wanted, "test").await.unwrap();
    assert!(matches!(world.writer.create(&things, &wanted, "test").await, Err(Failure::Taken { .. })));
    serve_no_more(&world, &definition).await;
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn of_many_who_create_one_succeeds() {
    let world = World::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16 {
        let writer = world.other(&format!("manager-{number}"));
        let wanted = world.config_map("a", &json!({"who": number.to_string()}));
        tasks.spawn(async move { writer.create(&config_maps(), &wanted, "test").await });
    }
    let results = tasks.join_all().await;
    let made: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!(made.len(), 1);
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(Failure::Taken { .. }))), "{results:?}");
    let there = world.get(&config_maps(), "a").await.unwrap();
    assert_eq!((&there, there["metadata"]["managedFields"].as_array().unwrap().len()), (made[0], 1));
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_change_and_a_deletion_mean_one_object_only() {
    let world = World::new().await;
    let (kind, wanted) = (config_maps(), world.config_map("a", &json!({"ours": "1"})));
    let none = world.writer.apply(&kind, &wanted, NOBODY, true, "test").await;
    assert!(matches!(none, Err(Failure::Taken { .. })), "{none:?}");
    assert_eq!(world.get(&kind, "a").await, None);
    assert_eq!(
        world.writer.delete(&kind, &world.key("a"), NOBODY, Propagation::Background, "test").await,
        Ok(())
    );
    let there = world.writer.create(&kind, &wanted, "test").await.unwrap();
    let other = world.writer.apply(&kind, &wanted, NOBODY, true, "test").await;
    assert!(matches!(other, Err(Failure::Taken { .. })), "{other:?}");
    let other = world.writer.delete(&kind, &world.key("a"), NOBODY, Propagation::Background, "test").await;
    assert!(matches!(other, Err(Failure::Taken { .. })), "{other:?}");
    assert_eq!(world.get(&kind, "a").await.unwrap(), there);
    assert!(!there["metadata"]["managedFields"].to_string().contains("uid"));
    assert_eq!(
        world.writer.delete(&kind, &world.key("a"), &uid(&there), Propagation::Foreground, "test").await,
        Ok(())
    );
    eventually("it is gone", || async { world.get(&kind, "a").await.is_none().then_some(()) }).await;
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn finalizers_come_and_go_without_loss() {
    let world = World::new().await;
    let (kind, key) = (config_maps(), world.key("a"));
    let there = world.writer.create(&kind, &world.config_map("a", &json!({})), "test").await.unwrap();
    let uid = uid(&there);
    let (ours, theirs) = ("test.io/ours".to_owned(), "test.io/theirs".to_owned());
    let amend = async |uid: &str, steps| world.writer.amend(&kind, &key, uid, steps, "test").await;
    let add = async |there: &[String], name: &str| amend(&uid, steps::add_finalizer(there, name)).await;
    add(&[], &theirs).await.unwrap();
    // Somebody was quicker: theirs must not be lost.
    assert!(matches!(add(&[], &ours).await, Err(Failure::Stale { .. })));
    let live = add(std::slice::from_ref(&theirs), &ours).await.unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!([theirs, ours]));
    let stale = amend(&uid, steps::remove_finalizer(std::slice::from_ref(&ours), &ours)).await;
    assert!(matches!(stale, Err(Failure::Stale { .. })), "{stale:?}");
    let both = [theirs.clone(), ours.clone()];
    let other = amend(NOBODY, steps::remove_finalizer(&both, &ours)).await;
    assert!(matches!(other, Err(Failure::Stale { .. })), "{other:?}");
    let live = amend(&uid, steps::remove_finalizer(&both, &ours)).await.unwrap();
    assert_eq!(live["metadata"]["finalizers"], json!([theirs]));

    let mut there = std::collections::BTreeMap::new();
    for (name, value) in
        [("test.io/a", Some("1")), ("test.io/b", Some("2")), ("test.io/a", Some("3")), ("test.io/b", None)]
    {
        let steps = steps::annotate(Some(&there), name, value);
        let live = amend(&uid, steps.clone()).await.unwrap();
        assert_eq!(live["metadata"]["annotations"][name].as_str(), value);
        // The same steps again do not find what they were made for.
        assert!(matches!(amend(&uid, steps).await, Err(Failure::Stale { .. } | Failure::Refused { .. })));
        there = serde_json::from_value(live["metadata"]["annotations"].clone()).unwrap();
    }
    let rest = [theirs.clone()];
    amend(&uid, steps::remove_finalizer(&rest, &theirs)).await.unwrap();
    world.writer.delete(&kind, &key, &uid, Propagation::Background, "test").await.unwrap();
    let gone = amend(&uid, steps::remove_finalizer(&rest, &theirs)).await;
    assert!(matches!(gone, Err(Failure::Gone { .. })), "{gone:?}");
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn refusals_are_told_apart() {
    let world = World::new().await;
    let kind = config_maps();
    // By the schema.
    let invalid = world.writer.create(&kind, &world.object("a", json!({"data": {"x": 5}})), "test").await;
    assert!(matches!(invalid, Err(Failure::Refused { denied: false, .. })), "{invalid:?}");
    let name = world.writer.create(&kind, &world.config_map("Not A Name", &json!({})), "test").await;
    assert!(matches!(name, Err(Failure::Refused { denied: false, .. })), "{name:?}");
    // By a quota.
    let quota = world.object("none", json!({"spec": {"hard": {"configmaps": "0"}}}));
    world.writer.create(&ApiResource::erase::<ResourceQuota>(&()), &quota, "test").await.unwrap();
    let refused = eventually("the quota counts", || async {
        let name = format!("{:x}", std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 1));
        world.writer.create(&kind, &world.config_map(&name, &json!({})), "test").await.err()
    })
    .await;
    assert!(
        matches!(&refused, Failure::Refused { denied: false, message } if message.contains("quota")),
        "{refused:?}"
    );
    // By what is not there.
    let nowhere = json!({"metadata": {"namespace": "nowhere", "name": "a"}});
    assert!(matches!(world.writer.create(&kind, &nowhere, "test").await, Err(Failure::Gone { .. })));
    let missing = things("missings");
    assert!(matches!(
        world.writer.create(&missing, &world.object("a", json!({})), "test").await,
        Err(Failure::Gone { .. })
    ));
    assert_eq!(world.reader.served(&missing, "test").await, Ok(false));
    assert_eq!(world.reader.served(&kind, "test").await, Ok(true));
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn an_ending_namespace_is_gone() {
    let world = World::new().await;
    let held = world.object("held", json!({"metadata": {"finalizers": ["test.io/hold"]}}));
    let there = world.writer.create(&config_maps(), &held, "test").await.unwrap();
    let (kind, key) = (ApiResource::erase::<Namespace>(&()), Key::new("", &world.namespace));
    let namespace = world.reader.get(&kind, &key, "test").await.unwrap().unwrap();
    world.writer.delete(&kind, &key, &uid(&namespace), Propagation::Background, "test").await.unwrap();
    let refused = world.writer.create(&config_maps(), &world.config_map("a", &json!({})), "test").await;
    assert!(matches!(refused, Err(Failure::Gone { .. })), "{refused:?}");
    let meta = Meta::of(&there).unwrap();
    let finalizers = ["test.io/hold".to_owned()];
    let steps = steps::remove_finalizer(&finalizers, &finalizers[0]);
    world.writer.amend(&config_maps(), &meta.key, &meta.uid, steps, "test").await.unwrap();
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn nothing_is_written_behind_the_fence() {
    let world = World::new().await;
    let fence = Fence::closed();
    let writer = Writer::new(world.client(), "operator/spec", fence.clone());
    let wanted = world.config_map("a", &json!({}));
    assert_eq!(writer.create(&config_maps(), &wanted, "fenced").await, Err(Failure::Fenced));
    assert_eq!(world.counts.total(|count| count.why == "fenced"), 0);
    fence.open_until(Instant::now() + Duration::from_secs(5));
    assert!(writer.create(&config_maps(), &wanted, "fenced").await.is_ok());
    assert_eq!(world.counts.total(|count| count.why == "fenced"), 1);
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn missing_rights_are_told_as_such() {
    let world = World::new().await;
    let mut config = kube::Config::infer().await.unwrap();
    config.auth_info.impersonate = Some("nobody-knows".into());
    let client = kube::Client::try_from(config).unwrap();
    let writer = Writer::new(client.clone(), "operator/spec", Fence::open());
    let denied = writer.create(&config_maps(), &world.config_map("a", &json!({})), "test").await;
    assert!(matches!(denied, Err(Failure::Refused { denied: true, .. })), "{denied:?}");
    let denied = Reader::new(client.clone()).get(&config_maps(), &world.key("a"), "test").await;
    assert!(matches!(denied, Err(Failure::Refused { denied: true, .. })), "{denied:?}");
    let (sink, _events) = mpsc::channel::<WatchEvent<()>>(1);
    let mut spec = WatchSpec::new(client, config_maps());
    spec.timing.first_wait = Duration::from_mins(1);
    let watch = spawn(spec, |_, _| Ok(()), |event| event, sink, CancellationToken::new());
    eventually("the watch is denied", || async { (watch.progress().state == State::Denied).then_some(()) })
        .await;
    world.end().await;
}
