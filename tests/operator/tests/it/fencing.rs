//! A leader that is cut off or frozen: another one takes over, and the former one writes nothing after its time.

use jiff::{SignedDuration, Timestamp};
use operator_e2e::Request;
use serde_json::json;
use test_support::{FaultProxy, Mode, wait_until};

use crate::{
    operator::Operator,
    stage::{LIMIT, Shared, shared},
};

const HERE: &str = "t-fencing";
const HOME: &str = "o-fencing";

/// How long after it asked for its last renewal a leader may write: `Timing::deadline` of the lease.
const DEADLINE: SignedDuration = SignedDuration::from_secs(10);

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn writes(requests: &[Request]) -> Vec<&Request> {
    requests.iter().filter(|request| request.is_write() && request.namespace == HERE).collect()
}

/// When an operator asked for the lease, with success.
fn held(requests: &[Request]) -> impl Iterator<Item = Timestamp> {
    let is_ours = |request: &&Request| {
        let is_write = matches!(request.verb.as_str(), "create" | "update");
        request.resource == "leases" && is_write && (200..300).contains(&request.code)
    };
    requests.iter().filter(is_ours).map(|request| time(&request.at))
}

async fn settle(shared: &Shared, name: &str) {
    let spec = json!({"workspace": format!("{name}-fenced"), "suspend": true});
    shared.stage.api.bridge(HERE, name, &spec).await;
    shared.stage.api.settled(HERE, name).await;
}

/// Waits until an operator that led says that it does no longer.
async fn stands_by(operator: &Operator) {
    wait_until(LIMIT, "the former leader to notice", async || {
        let leader = operator.metric("dingtalk_operator_leader", &[]).await?;
        (leader < 0.5).then_some(())
    })
    .await
    .unwrap();
}

/// The former leader wrote nothing after its time, and the new one nothing before that; each has written.
fn apart(former: &Operator, new: &Operator, since: Timestamp) {
    let (theirs, ours) = (former.requests(), new.requests());
    let taken = held(&ours).filter(|at| *at > since).min().unwrap();
    let end = held(&theirs).filter(|at| *at < taken).max().unwrap() + DEADLINE;
    assert!(end < taken, "the lease was taken at {taken}, but could be used until {end}");
    // A process that freezes between a look at its clock and its system call sends one late request when it goes on. It
    // names the version that it knew, so the API server refuses what another one has written since.
    let done = |write: &&Request| time(&write.at) > end && (200..300).contains(&write.code);
    let late: Vec<_> = writes(&theirs).into_iter().filter(done).collect();
    assert!(late.is_empty(), "written after {end}: {late:#?}");
    let early = writes(&ours).into_iter().find(|write| {
        let at = time(&write.at);
        at > since && at < taken
    });
    assert_eq!(early, None, "written before {taken}");
    assert!(writes(&ours).iter().any(|write| time(&write.at) > taken));
}

#[test]
fn a_leader_that_is_cut_off_or_frozen_writes_nothing_after_its_time() {
    shared(async |shared| {
        let (stage, api) = (&shared.stage, &shared.stage.api);
        let address = stage.cluster.api_url().trim_start_matches("https://");
        let network = FaultProxy::start(address).await.unwrap();
        let by = format!("https://{}", network.address());
        let one = stage.operator_by(by, "fencing-one", HOME, &[HERE]).await;
        one.leads().await;
        let two = stage.operator("fencing-two", HOME, &[HERE]).await;
        two.ready().await;
        settle(shared, "first").await;

        // Nothing goes through any more, and no connection ends.
        let since = Timestamp::now();
        network.set(Mode::Blackhole);
        let waiting = json!({"workspace": "waiting-fenced", "suspend": true});
        api.bridge(HERE, "waiting", &waiting).await;
        two.leads().await;
        settle(shared, "second").await;
        stands_by(&one).await;
        assert!(one.lives().await, "the network's fault is no reason to restart the operator");
        // What was on its way is lost, as with a router that is gone.
        network.set(Mode::Cut);
        network.set(Mode::Pass);
        api.settled(HERE, "waiting").await;
        apart(&one, &two, since);

        // The new leader stops in the middle of its work and does not know for how long.
        one.ready().await;
        let since = Timestamp::now();
        for number in 0..8 {
            let spec = json!({"workspace": format!("half-{number}"), "suspend": true});
            api.bridge(HERE, &format!("half{number}"), &spec).await;
        }
        two.process().signal("STOP").await.unwrap();
        let changed = json!({"spec": {"displayName": "changed while it was frozen"}});
        api.merge("DingTalkBridge", HERE, "first", &changed).await;
        one.leads().await;
        for number in 0..8 {
            api.settled(HERE, &format!("half{number}")).await;
        }
        api.settled(HERE, "first").await;
        two.process().signal("CONT").await.unwrap();
        stands_by(&two).await;
        // What comes now is the new leader's.
        settle(shared, "third").await;
        apart(&two, &one, since);
        let by_two = two.requests();
        assert!(writes(&by_two).iter().all(|write| !write.name.contains("third")), "{by_two:#?}");
    });
}
