use kube::core::ApiResource;
use operator_cluster::{
    Failure,
    project::{canonical, digest, live_digest, managers, project},
};
use serde_json::{Value, json};

use crate::{
    objects,
    world::{US, World, config_maps, serve, serve_no_more, things, uid},
};

fn text(object: &Value) -> String {
    String::from_utf8(canonical(object)).unwrap()
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn after_an_apply_each_kind_is_what_was_wanted() {
    let world = World::new().await;
    let owner =
        world.writer.create(&config_maps(), &world.config_map("owner", &json!({})), "test").await.unwrap();
    for (kind, wanted) in objects::all(&world, &owner) {
        let live = world.writer.create(&kind, &wanted, "test").await.unwrap();
        assert_eq!(text(&project(&live, US, None)), text(&wanted), "{}", kind.kind);
        // The same again, as a change: nothing moves.
        let again = world.writer.apply(&kind, &wanted, &uid(&live), true, "test").await.unwrap();
        assert_eq!(live_digest(&again, US), digest(&wanted));
        // What controllers and people add is not ours.
        let annotation = world.object("app", json!({"metadata": {"annotations": {"test.io/note": "x"}}}));
        let other =
            world.other("kubectl").apply(&kind, &annotation, &uid(&live), false, "test").await.unwrap();
        assert_eq!(live_digest(&other, US), digest(&wanted), "{}", kind.kind);
        assert!(managers(&other, US).contains(&"kubectl".to_owned()));
    }
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_custom_resource_and_its_status_are_what_was_wanted() {
    let world = World::new().await;
    let things = things("projecteds");
    let definition = serve(&world, &things).await;
    let wanted = world.object("a", json!({"spec": {"x": 1, "list": [{"a": 1}], "f": 1.5}}));
    let live = world.writer.create(&things, &wanted, "test").await.unwrap();
    assert_eq!(live_digest(&live, US), digest(&wanted));
    let status = world
        .object("a", json!({"status": {"ready": true, "conditions": [{"type": "Ready", "status": "True"}]}}));
    let of = operator_cluster::Meta::of(&live).unwrap();
    let live = world.writer.apply_status(&things, &status, &of, "test").await.unwrap();
    assert_eq!(text(&project(&live, US, Some("status"))), text(&status));
    assert_eq!(live_digest(&live, US), digest(&wanted));
    // The state that the status is about is over.
    let stale = world.writer.apply_status(&things, &status, &of, "test").await;
    assert!(matches!(stale, Err(Failure::Stale { .. })), "{stale:?}");
    serve_no_more(&world, &definition).await;
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn drift_shows_and_is_repaired() {
    let world = World::new().await;
    let owner =
        world.writer.create(&config_maps(), &world.config_map("owner", &json!({})), "test").await.unwrap();
    let (kind, wanted): (ApiResource, Value) = objects::all(&world, &owner).pop().unwrap();
    let live = world.writer.create(&kind, &wanted, "test").await.unwrap();
    let container = |more: Value| {
        let mut container = json!({"name": "bridge"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.object("app", json!({"spec": {"template": {"spec": {"containers": [container]}}}}))
    };
    let other = world.other("kubectl");
    // Without force, the server names who is in the way.
    match other
        .apply(&kind, &container(json!({"image": "docker.io/local/app:2"})), &uid(&live), false, "test")
        .await
    {
        Err(Failure::Conflict { managers, .. }) => assert_eq!(managers, [US]),
        other => panic!("{other:?}"),
    }
    let added = container(json!({"env": [{"name": "MORE", "value": "1"}]}));
    let live = other.apply(&kind, &added, &uid(&live), false, "test").await.unwrap();
    assert_eq!(live_digest(&live, US), digest(&wanted));
    let changed = container(json!({"image": "docker.io/local/app:2"}));
    let live = other.apply(&kind, &changed, &uid(&live), true, "test").await.unwrap();
    assert_ne!(live_digest(&live, US), digest(&wanted));
    let live = world.writer.apply(&kind, &wanted, &uid(&live), true, "test").await.unwrap();
    assert_eq!(live_digest(&live, US), digest(&wanted));
    // A container that is not the first, and a port with the number of another: still ours as it was.
    let more = world.object("app", json!({"spec": {"template": {"spec": {"containers": [{"name": "aaa", "image": "x",
        "env": [{"name": "B", "value": "other"}]}, {"name": "bridge", "ports": [{"containerPort": 8080, "protocol": "UDP"}]}]}}}}));
    let live = other.apply(&kind, &more, &uid(&live), true, "test").await.unwrap();
    assert_eq!(text(&project(&live, US, None)), text(&wanted));
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn what_is_spelt_otherwise_than_by_the_server_differs() {
    let world = World::new().await;
    let kind = ApiResource::erase::<k8s_openapi::api::core::v1::PersistentVolumeClaim>(&());
    let claim = |size: &str| {
        world.object(
            "app",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}}),
        )
    };
    // Of quantities, the server keeps what they are, not how they were written.
    let live = world.writer.create(&kind, &claim("1024Mi"), "test").await.unwrap();
    assert_ne!(live_digest(&live, US), digest(&claim("1024Mi")));
    assert_eq!(live_digest(&live, US), digest(&claim("1Gi")));
    // It omits empty texts of some fields.
    let kind = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
    let pod = |env: Value| {
        let container = json!({"name": "a", "image": "x", "env": [env]});
        world.object(
            "app",
            json!({"spec": {"containers": [container], "schedulingGates": [{"name": "test.io/never"}]}}),
        )
    };
    let live = world.writer.create(&kind, &pod(json!({"name": "A", "value": ""})), "test").await.unwrap();
    assert_eq!(text(&project(&live, US, None)), text(&pod(json!({"name": "A"}))));
    world.end().await;
}
