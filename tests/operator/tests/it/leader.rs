//! Two operators of which one works.

use operator_e2e::Request;
use serde_json::json;
use test_support::wait_until;

use crate::{
    api::text,
    operator::Operator,
    stage::{LIMIT, shared},
};

const HERE: &str = "t-leader";

fn writes(operator: &Operator) -> Vec<Request> {
    operator
        .requests()
        .into_iter()
        .filter(Request::is_write)
        .filter(|write| write.namespace == HERE)
        .collect()
}

#[test]
fn one_works_the_other_takes_over_and_never_do_both() {
    shared(async |shared| {
        let (stage, api) = (&shared.stage, &shared.stage.api);
        let mut one = stage.operator("leader-one", "o-leader", &[HERE]).await;
        one.leads().await;
        let two = stage.operator("leader-two", "o-leader", &[HERE]).await;
        two.ready().await;
        let settle = async |name: &str| {
            api.bridge(HERE, name, &json!({"workspace": format!("{name}-led"), "suspend": true})).await;
            api.settled(HERE, name).await;
        };
        let holder = async || {
            let lease = api.get("Lease", "o-leader", "dingtalk-operator").await?;
            Some(text(&lease, "/spec/holderIdentity").to_owned())
        };
        settle("first").await;
        assert!(holder().await.unwrap().starts_with("leader-one_"));
        assert!(writes(&two).is_empty() && !writes(&one).is_empty());

        // In good order: it gives the lease away, and all that it wrote was written before.
        one.stop().await;
        two.leads().await;
        settle("second").await;
        let (last, first) = (writes(&one).pop().unwrap(), writes(&two).remove(0));
        assert!(last.at < first.at, "{last:?} {first:?}");

        // Killed: its lease has to run out.
        one.start_again().await;
        one.ready().await;
        let before = writes(&one).len();
        two.process().kill().await.unwrap();
        one.leads().await;
        settle("third").await;
        wait_until(LIMIT, "the lease to be the first one's again", async || {
            holder().await?.starts_with("leader-one_").then_some(())
        })
        .await
        .unwrap();
        let (last, first) = (writes(&two).pop().unwrap(), writes(&one).remove(before));
        assert!(last.at < first.at, "{last:?} {first:?}");
        assert!(
            writes(&one)[before..].iter().all(|write| write.name.contains("third")),
            "0 writes for what is settled"
        );
    });
}
