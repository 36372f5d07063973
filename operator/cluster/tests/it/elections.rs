use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::core::ApiResource;
use operator_cluster::{
    Fence,
    lease::{Elector, LeaseSpec, Timing, identity, spawn},
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::world::World;

struct Candidate {
    elector: Elector,
    fence: Fence,
    stop: CancellationToken,
    identity: String,
}

fn candidate(world: &World, pod: &str) -> Candidate {
    let identity = identity(pod);
    let spec = LeaseSpec {
        client: world.clients.lease.clone(),
        namespace: world.namespace.clone(),
        name: "operator".into(),
        identity: identity.clone(),
        timing: Timing::default(),
    };
    let (fence, stop) = (Fence::closed(), CancellationToken::new());
    Candidate { elector: spawn(spec, fence.clone(), stop.clone()), fence, stop, identity }
}

async fn leads(candidate: &Candidate) -> Duration {
    let (begun, mut leadership) = (Instant::now(), candidate.elector.leadership());
    timeout(Duration::from_mins(1), leadership.wait_for(operator_cluster::lease::Leadership::is_leading))
        .await
        .unwrap()
        .unwrap();
    assert!(candidate.fence.is_open());
    begun.elapsed()
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_clean_stop_hands_over_within_a_second() {
    let world = World::new().await;
    let one = candidate(&world, "one");
    leads(&one).await;
    let two = candidate(&world, "two");
    // It waits until the second one has seen who leads.
    let mut leadership = two.elector.leadership();
    let is_told = |leadership: &operator_cluster::lease::Leadership| {
        *leadership == operator_cluster::lease::Leadership::Standby { holder: Some(one.identity.clone()) }
    };
    timeout(Duration::from_secs(10), leadership.wait_for(is_told)).await.unwrap().unwrap();
    let watched = || world.counts.total(|count| count.resource == "leases" && count.verb.as_str() == "watch");
    crate::world::eventually("a watch of the lease", || async { (watched() > 0).then_some(()) }).await;
    assert!(!two.fence.is_open());
    let begun = Instant::now();
    one.stop.cancel();
    one.elector.stopped().await;
    assert!(!one.fence.is_open());
    leads(&two).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    two.stop.cancel();
    two.elector.stopped().await;
    let lease = world.get(&ApiResource::erase::<Lease>(&()), "operator").await.unwrap();
    assert_eq!(lease["spec"].get("holderIdentity"), None, "{lease}");
    world.end().await;
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn whoever_is_in_charge_renews() {
    let world = World::new().await;
    let one = candidate(&world, "one");
    leads(&one).await;
    let renewed =
        || world.counts.total(|count| count.resource == "leases" && count.verb.as_str() == "update");
    crate::world::eventually("two renewals", || async {
        assert!(one.fence.is_open());
        (renewed() >= 2).then_some(())
    })
    .await;
    one.stop.cancel();
    one.elector.stopped().await;
    world.end().await;
}
