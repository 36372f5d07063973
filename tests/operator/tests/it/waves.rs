//! A change of the platform's comes in waves, stops when it breaks bridges, and is taken back.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use test_support::wait_until;

use crate::{
    api::text,
    kubelet::Kubelet,
    operator::Operator,
    plugin::Plugin,
    stage::{LIMIT, Shared, shared},
};

const HERE: &str = "t-waves";
const HOME: &str = "o-waves";
const BRIDGES: usize = 8;
const CANARY: &str = "w5";
const BUDGET: usize = 2;

fn image(version: &str) -> String {
    format!("docker.io/local/dingtalk-bridge:{version}")
}

/// What the bridges run, and how many are unavailable.
#[derive(Default)]
struct Fleet {
    images: Vec<(String, String)>,
    unavailable: usize,
}

impl Fleet {
    async fn look(shared: &Shared) -> Self {
        let mut fleet = Self::default();
        for deployment in
            shared.stage.api.list("Deployment", HERE, "app.kubernetes.io/name=dingtalk-bridge").await
        {
            let name = text(&deployment, "/metadata/labels/app.kubernetes.io~1instance").to_owned();
            let runs = text(&deployment, "/spec/template/spec/containers/0/image").to_owned();
            let observed = deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"];
            if !observed || deployment["status"]["availableReplicas"] != 1 {
                fleet.unavailable += 1;
            }
            fleet.images.push((name, runs));
        }
        fleet
    }

    fn with(&self, version: &str) -> BTreeSet<&str> {
        let wanted = image(version);
        self.images.iter().filter(|(_, runs)| *runs == wanted).map(|(name, _)| name.as_str()).collect()
    }
}

/// Waits until all run a version, and answers who got it first and how many were unavailable at most.
async fn rolled(shared: &Shared, version: &str, all: usize) -> (Option<String>, usize) {
    let (mut first, mut worst) = (None, 0);
    let what = format!("all to run {version}");
    let done = wait_until(LIMIT, &what, async || {
        let fleet = Fleet::look(shared).await;
        worst = worst.max(fleet.unavailable);
        let new = fleet.with(version);
        if first.is_none() && new.len() == 1 {
            first = new.first().map(|name| (*name).to_owned());
        }
        (new.len() == all && fleet.unavailable == 0).then_some(())
    });
    done.await.unwrap();
    (first, worst)
}

async fn set_image(operator: &mut Operator, version: &str) {
    operator.configure(|file| file["platform"]["image"]["reference"] = image(version).into());
    operator.stop().await;
    operator.start_again().await;
    operator.leads().await;
}

async fn halted(operator: &Operator) {
    let is = async || (operator.metric("dingtalk_operator_rollout_halted", &[]).await? > 0.5).then_some(());
    wait_until(LIMIT, "the rollout to be halted", is)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", operator.said()));
}

#[test]
fn a_new_image_comes_in_waves_stops_when_it_breaks_bridges_and_is_taken_back() {
    shared(async |shared| {
        let api = Arc::new(shared.stage.api.clone());
        let mut operator = shared
            .stage
            .operator_with("wavy", HOME, &[HERE], |file| {
                file["platform"]["image"]["reference"] = image("1").into();
                file["platform"]["workload"] = json!({"nodeSelector": {"nowhere": "true"}});
                file["operator"]["rollout"] = json!({
                    "waveSize": 3, "maxUnavailable": BUDGET, "soakSeconds": 4, "failAfterSeconds": 600,
                    "stopAfterFailures": 1,
                });
            })
            .await;
        operator.leads().await;
        let _kubelet = Kubelet::start(Arc::clone(&api), HERE);
        for number in 0..BRIDGES {
            let name = format!("w{number}");
            api.bridge(HERE, &name, &json!({"workspace": format!("waves-{number}")})).await;
        }
        let label = json!({"metadata": {"labels": {"bridges.meldry.com/canary": "true"}}});
        api.merge("DingTalkBridge", HERE, CANARY, &label).await;
        rolled(shared, "1", BRIDGES).await;

        // A good image: the canary first, never more unavailable than the budget.
        set_image(&mut operator, "2").await;
        let (first, worst) = rolled(shared, "2", BRIDGES).await;
        assert_eq!(first.as_deref(), Some(CANARY));
        assert!((1..=BUDGET).contains(&worst), "{worst} were unavailable");
        api.condition_until(HERE, "w0", ["Progressing", "False", "Settled"]).await;
        let events = api.list("Event", HERE, "").await;
        assert!(!events.iter().any(|event| event["reason"] == "RolloutHalted"));

        // A broken one stops at the canary; the others wait and say so.
        set_image(&mut operator, "broken").await;
        halted(&operator).await;
        assert_eq!(Fleet::look(shared).await.with("broken"), BTreeSet::from([CANARY]));
        api.condition_until(HERE, "w0", ["Progressing", "True", "WaitingForWave"]).await;
        api.condition_until(HERE, CANARY, ["WorkloadAvailable", "False", "ImagePullFailed"]).await;
        let told = async || {
            let events = api.list("Event", HERE, "").await;
            events
                .iter()
                .any(|event| event["reason"] == "RolloutHalted" && event["regarding"]["name"] == CANARY)
                .then_some(())
        };
        wait_until(LIMIT, "the event about the halt", told).await.unwrap();

        // A tenant's own change does not wait, and does not take the broken image along; a new object has the newest.
        let inputs = |deployment: &Value| {
            text(deployment, "/spec/template/metadata/annotations/bridges.meldry.com~1inputs").to_owned()
        };
        let before = inputs(&api.get("Deployment", HERE, "dingtalk-w1").await.unwrap());
        api.merge("DingTalkBridge", HERE, "w1", &json!({"spec": {"displayName": "One"}})).await;
        api.until("Deployment", HERE, "dingtalk-w1", |now| inputs(now) != before).await;
        let before = inputs(&api.get("Deployment", HERE, "dingtalk-w2").await.unwrap());
        api.merge("DingTalkBridge", HERE, "w2", &json!({"spec": {"displayName": "Two"}})).await;
        let changed = api.until("Deployment", HERE, "dingtalk-w2", |now| inputs(now) != before).await;
        assert_eq!(text(&changed, "/spec/template/spec/containers/0/image"), image("2"));
        api.bridge(HERE, "w-new", &json!({"workspace": "waves-new"})).await;
        let broken = |now: &Value| text(now, "/spec/template/spec/containers/0/image") == image("broken");
        api.until("Deployment", HERE, "dingtalk-w-new", broken).await;

        // Another operator knows as much: after a restart it is halted as before.
        operator.stop().await;
        operator.start_again().await;
        operator.leads().await;
        halted(&operator).await;

        // A person sees it, and lets it go on: the next ones break, and it stops again.
        let plugin = Plugin::new(shared, &operator, HOME, HERE).await;
        // It goes by what the objects' status tells, which follows.
        let mut status = Value::Null;
        let seen = wait_until(LIMIT, "the plugin to see the halt", async || {
            status = serde_json::from_str(&plugin.run(&["rollout", "status", "--json"]).await).unwrap();
            (status["state"] == "halted by failures" && status["waiting"] == BRIDGES - 1).then_some(())
        });
        seen.await.unwrap_or_else(|error| panic!("{error}\n{status:#}"));
        assert_eq!(status["failed"], json!([format!("{HERE}/{CANARY}")]));
        plugin.run(&["rollout", "resume"]).await;
        wait_until(LIMIT, "more to break", async || {
            (Fleet::look(shared).await.with("broken").len() > 2).then_some(())
        })
        .await
        .unwrap();
        halted(&operator).await;
        // The canary, the new one, and one budget.
        let after = Fleet::look(shared).await.with("broken").len();
        assert!(after <= 2 + BUDGET, "{after} are broken");

        // What would the old image change? Then it is set back: those that broke are repaired first.
        let diff = plugin.diff(&operator, &image("2")).await;
        let restarts =
            diff.as_array().unwrap().iter().filter(|change| change["pod"] == "restarts in its wave");
        assert_eq!(restarts.count(), after, "{diff:#}");
        set_image(&mut operator, "2").await;
        rolled(shared, "2", BRIDGES + 1).await;
        assert_eq!(operator.metric("dingtalk_operator_rollout_halted", &[]).await, Some(0.0));
        api.condition_until(HERE, CANARY, ["WorkloadAvailable", "True", "AllGood"]).await;
        operator.stop().await;
    });
}
