//! An API server that goes away, and a kind that does; on a cluster of its own, since that is everybody's trouble.

use cluster::{Component, Extent};
use serde_json::json;
use test_support::wait_until;

use crate::{
    api::text,
    stage::{LIMIT, Stage, alone},
};

const HERE: &str = "t-outage";
const KIND: &str = "dingtalkbridges.bridges.meldry.com";

#[test]
fn the_operator_outlives_the_kind_and_the_api_server() {
    alone(async || {
        let stage = Stage::start("outage", Extent::Controllers).await;
        let api = &stage.api;

        // The kind is not there yet.
        let operator = stage.operator("patient", "o-outage", &[HERE]).await;
        wait_until(LIMIT, "/readyz to name the missing kind", async || {
            let (code, page) = operator.page("/readyz").await?;
            (code == 503 && page.contains("dingtalk-operator-crds")).then_some(())
        })
        .await
        .unwrap();
        assert!(operator.lives().await);
        stage.install_kind().await;
        operator.ready().await;
        let settle = async |name: &str| {
            api.bridge(HERE, name, &json!({"workspace": name, "suspend": true})).await;
            api.settled(HERE, name).await;
        };
        // The garbage collector looks for new kinds twice a minute. What has owners of one that is gone before it knew of it
        // stays for ever, so it shows first that it does.
        settle("collected").await;
        api.delete("DingTalkBridge", HERE, "collected").await;
        api.gone("Service", HERE, "dingtalk-collected").await;
        settle("before").await;

        // The kind is taken away, with all objects, and comes back.
        api.delete("CustomResourceDefinition", "", KIND).await;
        api.gone("CustomResourceDefinition", "", KIND).await;
        wait_until(LIMIT, "the operator to notice that the kind is gone", async || {
            let objects = operator.metric("dingtalk_operator_objects", &[]).await?;
            (objects < 0.5).then_some(())
        })
        .await
        .unwrap();
        api.gone("Service", HERE, "dingtalk-before").await;
        assert!(operator.lives().await);
        stage.install_kind().await;
        settle("before").await;

        // The API server goes away.
        let restarts = async || operator.metric("dingtalk_operator_watch_restarts_total", &[]).await;
        let known = restarts().await.unwrap_or_default();
        let server = stage.cluster.component(Component::ApiServer);
        server.stop().await.unwrap();
        wait_until(LIMIT, "the operator to notice that the API server is away", async || {
            (restarts().await? > known && operator.said().contains("a watch failed")).then_some(())
        })
        .await
        .unwrap();
        assert!(
            operator.lives().await,
            "what is the API server's fault is no reason to restart the operator"
        );
        server.start().await.unwrap();
        operator.leads().await;
        settle("after").await;
        api.delete("Service", HERE, "dingtalk-before").await;
        let ours = |object: &serde_json::Value| !text(object, "/metadata/uid").is_empty();
        api.until("Service", HERE, "dingtalk-before", ours).await;
        assert!(operator.lives().await);
        drop(operator);
        stage.cluster.stop().await.unwrap();
    });
}
