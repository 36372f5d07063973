//! Two objects that want what only one may have.

use serde_json::{Value, json};
use test_support::wait_until;

use crate::{
    api::{Api, condition, text},
    stage::{LIMIT, shared},
};

const HERE: &str = "t-rivals";

/// Waits until the API server's clock shows another second than the one in which an object was made, so that the next
/// object is younger.
async fn a_second_after(api: &Api, object: &Value) {
    let made = text(object, "/metadata/creationTimestamp").to_owned();
    let mut number = 0;
    wait_until(LIMIT, "the next second", async || {
        number += 1;
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
                         "metadata": {"generateName": "clock-", "namespace": HERE}});
        let clock = api.create(&map).await;
        (text(&clock, "/metadata/creationTimestamp") > made.as_str()).then_some(())
    })
    .await
    .unwrap();
}

async fn the_older_one_keeps_it(api: &Api, names: [&str; 2], specs: [Value; 2], reason: &str) {
    let [older, younger] = names;
    let made = api.bridge(HERE, older, &specs[0]).await;
    api.settled(HERE, older).await;
    a_second_after(api, &made).await;
    api.bridge(HERE, younger, &specs[1]).await;
    let said = api.condition_until(HERE, younger, ["ConfigValid", "False", reason]).await;
    assert!(said.contains(&format!("{HERE}/{older}")), "{said}");
    let children = format!("app.kubernetes.io/instance={younger}");
    for kind in ["Secret", "ConfigMap", "Service", "Ingress", "Deployment", "PersistentVolumeClaim"] {
        assert!(api.list(kind, HERE, &children).await.is_empty(), "{kind}");
    }
    let object = api.get("DingTalkBridge", HERE, older).await.unwrap();
    assert_eq!(condition(&object, "ConfigValid")["status"], "True");

    api.delete("DingTalkBridge", HERE, older).await;
    api.settled(HERE, younger).await;
    assert_eq!(api.list("Ingress", HERE, &children).await.len(), 1);
}

#[test]
fn the_older_object_keeps_its_workspace_and_the_younger_one_gets_it_afterwards() {
    shared(async |shared| {
        let spec = |host: &str| json!({"workspace": "contested", "host": host, "suspend": true});
        let specs = [spec("one.example.com"), spec("two.example.com")];
        the_older_one_keeps_it(&shared.stage.api, ["first", "second"], specs, "WorkspaceTaken").await;
    });
}

#[test]
fn the_older_object_keeps_its_host_and_the_younger_one_gets_it_afterwards() {
    shared(async |shared| {
        let spec =
            |workspace: &str| json!({"workspace": workspace, "host": "same.example.com", "suspend": true});
        let specs = [spec("host-a"), spec("host-b")];
        the_older_one_keeps_it(&shared.stage.api, ["here", "there"], specs, "HostTaken").await;
    });
}
