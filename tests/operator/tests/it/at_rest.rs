//! Many objects of which nothing changes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use operator_e2e::Request;
use serde_json::{Value, json};
use test_support::wait_until;

use crate::{
    api::condition,
    kubelet::Kubelet,
    stage::{LIMIT, quick, shared},
};

const HERE: &str = "t-rest";

/// What is told of the pod, and of its report.
fn standing(bridge: &Value) -> Value {
    let reason = |type_: &str| condition(bridge, type_)["reason"].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", reason("WorkloadAvailable"), reason("DingTalkLinked")).into()
}

#[test]
fn settled_objects_cost_no_request_even_after_a_restart() {
    shared(async |shared| {
        let (stage, api) = (&shared.stage, &shared.stage.api);
        let (objects, window) =
            if quick() { (40, Duration::from_secs(20)) } else { (200, Duration::from_mins(2)) };
        let mut operator = stage
            .operator_with("resting", "o-rest", &[HERE], |file| {
                file["platform"]["workload"] = json!({"nodeSelector": {"nowhere": "true"}});
            })
            .await;
        operator.leads().await;
        let _kubelet = Kubelet::start(Arc::new(api.clone()), HERE);
        let list: Vec<Value> = (0..objects)
            .map(|number| {
                json!({
                    "apiVersion": "bridges.meldry.com/v1alpha1", "kind": "DingTalkBridge",
                    "metadata": {"name": format!("b{number}"), "namespace": HERE},
                    // Some have a pod, which nobody reaches for its report: what is told of that varies.
                    "spec": {"workspace": format!("rest-{number}"), "suspend": number % 5 > 0},
                })
            })
            .collect();
        stage
            .cluster
            .apply(&json!({"apiVersion": "v1", "kind": "List", "items": list}).to_string())
            .await
            .unwrap();
        let settled = async || {
            let bridges = api.list("DingTalkBridge", HERE, "").await;
            let deployments = api.list("Deployment", HERE, "").await;
            let is_settled = |bridge: &&Value| {
                condition(bridge, "Progressing")["status"] == "False"
                    && condition(bridge, "RegistrationReady")["status"] == "True"
                    && ["AllGood/ReportUnavailable", "Suspended/NotYetKnown"]
                        .map(Value::from)
                        .contains(&standing(bridge))
            };
            let observed = |deployment: &&Value| deployment["status"]["conditions"].is_array();
            let both =
                bridges.iter().filter(is_settled).count() + deployments.iter().filter(observed).count();
            (both == 2 * objects).then_some(())
        };
        wait_until(4 * LIMIT, "all objects to be settled", settled).await.unwrap();

        let busy = || -> Vec<Request> {
            operator.requests().into_iter().filter(|request| !request.is_steady()).collect()
        };
        // The last events about the last writes come a moment later: the window begins when none came for a while.
        let (mut before, mut since) = (busy().len(), Instant::now());
        wait_until(window + LIMIT, "a window without any request", async || {
            let now = busy().len();
            if now != before {
                (before, since) = (now, Instant::now());
            }
            (since.elapsed() >= window).then_some(())
        })
        .await
        .unwrap_or_else(|error| panic!("{error}: {:#?}", busy().split_off(before.saturating_sub(5))));

        let written = operator.requests().iter().filter(|request| request.is_write()).count();
        operator.stop().await;
        operator.start_again().await;
        operator.leads().await;
        // One more object is looked at after all that were there.
        api.bridge(HERE, "last", &json!({"workspace": "rest-last", "suspend": true})).await;
        api.settled(HERE, "last").await;
        let writes: Vec<Request> =
            operator.requests().into_iter().filter(Request::is_write).skip(written).collect();
        let others = writes.iter().filter(|write| !write.name.contains("last")).collect::<Vec<_>>();
        assert!(others.is_empty(), "{others:#?}");
    });
}
