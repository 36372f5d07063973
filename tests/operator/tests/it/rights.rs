//! Every right of the operator is used, and none is missing.

use std::collections::BTreeSet;

use charts_test::audit;
use dingtalk_crds::rights;
use serde_json::{Value, json};
use test_support::wait_until;

use crate::{
    api::{Api, text},
    gateway::install_routes,
    stage::{LIMIT, shared},
};

const HERE: &str = "t-rights";

/// Objects of somebody else under the names of all children of an object, so that each kind is looked at by its name.
async fn in_the_way(api: &Api, of: &str) {
    let name = format!("dingtalk-{of}");
    let pod = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "none:1"}]}});
    for (api_version, kind, name, rest) in [
        ("v1", "Secret", format!("{name}-tokens"), json!({})),
        ("v1", "ConfigMap", name.clone(), json!({})),
        ("v1", "ServiceAccount", name.clone(), json!({})),
        ("v1", "Service", name.clone(), json!({"spec": {"ports": [{"port": 1}]}})),
        (
            "v1",
            "PersistentVolumeClaim",
            format!("{name}-data"),
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}),
        ),
        (
            "apps/v1",
            "Deployment",
            name.clone(),
            json!({"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": pod}}),
        ),
        (
            "networking.k8s.io/v1",
            "Ingress",
            name.clone(),
            json!({"spec": {"defaultBackend": {"service": {"name": "x", "port": {"number": 1}}}}}),
        ),
        ("networking.k8s.io/v1", "NetworkPolicy", name.clone(), json!({"spec": {"podSelector": {}}})),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", name.clone(), json!({"spec": {}})),
    ] {
        let mut object =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": HERE}});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        api.create(&object).await;
    }
}

async fn deleted_here(api: &Api, kind: &str, name: &str) {
    api.gone(kind, HERE, &format!("dingtalk-{name}")).await;
}

#[test]
fn every_granted_verb_is_used_and_every_used_verb_is_granted() {
    shared(async |shared| {
        let (stage, api) = (&shared.stage, &shared.stage.api);
        install_routes(stage).await;
        // Somebody else leads until the lease runs out; until then the operator watches it.
        stage.cluster.kubectl(&["create", "namespace", "o-rights"]).await.unwrap();
        let spec = json!({"holderIdentity": "somebody", "leaseDurationSeconds": 5, "leaseTransitions": 0,
                          "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z"});
        let metadata = json!({"name": "dingtalk-operator", "namespace": "o-rights"});
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec});
        api.create(&lease).await;
        let mut operator = stage.operator("righteous", "o-rights", &[HERE]).await;
        operator.leads().await;
        api.delete("Lease", "o-rights", "dingtalk-operator").await;

        // All kinds of children in turn, all of them unwanted afterwards.
        let gateway = json!({"gateway": {"parentRefs": [{"name": "public"}]}});
        let spec = json!({"workspace": "rights", "suspend": true, "dataPolicy": "Delete",
                          "dingtalk": {"caConfigMapRef": {"name": "certificates"}}});
        api.bridge(HERE, "all", &spec).await;
        let exists = |_: &Value| true;
        api.until("Ingress", HERE, "dingtalk-all", exists).await;
        let change =
            async |spec: Value| api.merge("DingTalkBridge", HERE, "all", &json!({"spec": spec})).await;
        change(json!({"route": gateway})).await;
        api.until("HTTPRoute", HERE, "dingtalk-all", exists).await;
        deleted_here(api, "Ingress", "all").await;
        change(json!({"route": {"gateway": null, "disabled": true}, "networkPolicy": {"enabled": false}}))
            .await;
        deleted_here(api, "HTTPRoute", "all").await;
        deleted_here(api, "NetworkPolicy", "all").await;

        // The same event twice is one object that is changed.
        for _ in 0..2 {
            let service = api.until("Service", HERE, "dingtalk-all", exists).await;
            api.delete("Service", HERE, "dingtalk-all").await;
            let anew = |now: &Value| text(now, "/metadata/uid") != text(&service, "/metadata/uid");
            api.until("Service", HERE, "dingtalk-all", anew).await;
        }
        api.delete("DingTalkBridge", HERE, "all").await;
        api.gone("DingTalkBridge", HERE, "all").await;

        in_the_way(api, "blocked").await;
        api.bridge(HERE, "blocked", &json!({"workspace": "blocked-1", "suspend": true})).await;
        let conflict = |object: &Value| object["status"]["conditions"].to_string().contains("NameConflict");
        api.bridge_until(HERE, "blocked", "to name a conflict", conflict).await;
        api.merge("DingTalkBridge", HERE, "blocked", &json!({"spec": {"route": gateway}})).await;

        // The audit log has a watch when it ends.
        let used = || -> BTreeSet<rights::Use> {
            let log = std::fs::read_to_string(stage.cluster.audit_log()).unwrap();
            audit::used(operator.user(), log.lines())
        };
        let all_used = wait_until(LIMIT, "every right to be used", async || {
            rights::compare(&used()).0.is_empty().then_some(())
        });
        all_used.await.unwrap_or_else(|error| panic!("{error}; unused: {:#?}", rights::compare(&used()).0));
        let (_, missing) = rights::compare(&used());
        assert!(missing.is_empty(), "used without a right: {missing:#?}");
        let refused: Vec<_> = operator.requests().into_iter().filter(|request| request.code == 403).collect();
        assert!(refused.is_empty(), "{refused:#?}");
        let everywhere: Vec<_> =
            operator.requests().into_iter().filter(|request| request.namespace.is_empty()).collect();
        let of_objects = |request: &&operator_e2e::Request| !request.resource.is_empty();
        assert!(everywhere.iter().filter(of_objects).count() == 0, "for the whole cluster: {everywhere:#?}");
        operator.stop().await;
    });
}
