use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use tower::service_fn;

use super::*;
use crate::{
    Failure,
    client::{RequestCounts, TIMEOUT, Verb, over},
    testing::{FakeBody, Piece, status},
};

const SECOND: Duration = Duration::from_secs(1);

/// An API server that has leases.
#[derive(Clone, Default)]
struct Leases(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lease: Option<Value>,
    version: u64,
    watchers: Vec<mpsc::UnboundedSender<Piece>>,
    /// Answers nobody, or only refuses connections.
    is_silent: bool,
    is_down: bool,
}

impl Leases {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<FakeBody>, &'static str> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if self.state().is_silent {
            std::future::pending::<()>().await;
        }
        let mut state = self.state();
        if state.is_down {
            return Err("connection refused");
        }
        if head.uri.query().is_some_and(|query| query.contains("watch=true")) {
            let (pieces, body) = mpsc::unbounded_channel();
            state.watchers.push(pieces);
            return Ok(Response::new(FakeBody::stream(body)));
        }
        let (code, answer) = match head.method {
            Method::GET if head.uri.path().ends_with("/leases") => {
                let items: Vec<_> = state.lease.iter().collect();
                (200, json!({"metadata": {"resourceVersion": state.version.to_string()}, "items": items}))
            }
            Method::GET => state.lease.clone().map_or((404, status(404, "NotFound")), |lease| (200, lease)),
            Method::POST if state.lease.is_some() => (409, status(409, "AlreadyExists")),
            Method::POST => state.write(&body),
            Method::PUT => match &state.lease {
                None => (404, status(404, "NotFound")),
                Some(there) => {
                    let wanted: Value = serde_json::from_slice(&body).unwrap();
                    if there["metadata"]["resourceVersion"] == wanted["metadata"]["resourceVersion"] {
                        state.write(&body)
                    } else {
                        (409, status(409, "Conflict"))
                    }
                }
            },
            _ => panic!("{} is not used", head.method),
        };
        Ok(Response::builder().status(code).body(FakeBody::of(answer.to_string())).unwrap())
    }

    fn candidate(&self, name: &str) -> Candidate {
        let (leases, counts) = (self.clone(), RequestCounts::default());
        let service = service_fn(move |request| {
            let leases = leases.clone();
            async move { leases.answer(request).await }
        });
        let spec = LeaseSpec {
            client: over(service, TIMEOUT, counts.clone()),
            namespace: "ns".into(),
            name: "operator".into(),
            identity: name.into(),
            timing: Timing::default(),
        };
        let (fence, stop) = (Fence::closed(), CancellationToken::new());
        let elector = spawn(spec, fence.clone(), stop.clone());
        Candidate { elector, fence, stop, counts }
    }
}

impl State {
    fn write(&mut self, body: &Bytes) -> (u16, Value) {
        let mut lease: Value = serde_json::from_slice(body).unwrap();
        self.version += 1;
        lease["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.tell("MODIFIED", &lease);
        self.lease = Some(lease.clone());
        (200, lease)
    }

    fn tell(&mut self, kind: &str, lease: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": lease}));
        self.watchers.retain(|watcher| watcher.send(Ok(line.clone())).is_ok());
    }
}

struct Candidate {
    elector: Elector,
    fence: Fence,
    stop: CancellationToken,
    counts: RequestCounts,
}

impl Candidate {
    /// Waits until it is, or is not, in charge; how long that took.
    async fn becomes(&self, leading: bool) -> Duration {
        let begun = Instant::now();
        let mut leadership = self.elector.leadership();
        let reached = leadership.wait_for(|leadership| leadership.is_leading() == leading);
        timeout(Duration::from_mins(5), reached).await.expect("a change").expect("an elector");
        assert_eq!(self.fence.is_open(), leading);
        begun.elapsed()
    }

    async fn stops(&self) -> Duration {
        let begun = Instant::now();
        self.stop.cancel();
        self.elector.stopped().await;
        begun.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_one_leads_and_renews() {
    let leases = Leases::default();
    let one = leases.candidate("one");
    assert!(one.becomes(true).await < SECOND);
    let lease = leases.state().lease.clone().unwrap();
    assert_eq!(
        (&lease["spec"]["holderIdentity"], &lease["spec"]["leaseDurationSeconds"]),
        (&json!("one"), &json!(13))
    );
    let before = one.counts.total(|_| true);
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(one.fence.is_open() && one.elector.leadership().borrow().is_leading());
    // Nothing but renewals, a little more often than each five seconds.
    let renewals = one.counts.total(|count| count.verb == Verb::Update);
    assert_eq!(one.counts.total(|_| true) - before, renewals);
    assert!((120..=135).contains(&renewals), "{renewals}");
}

#[tokio::test(start_paused = true)]
async fn a_standby_waits_and_asks_for_nothing() {
    let leases = Leases::default();
    let one = leases.candidate("one");
    one.becomes(true).await;
    let two = leases.candidate("two");
    tokio::time::sleep(Duration::from_mins(1)).await;
    let before = two.counts.total(|_| true);
    tokio::time::sleep(Duration::from_mins(4)).await;
    assert_eq!(*two.elector.leadership().borrow(), Leadership::Standby { holder: Some("one".into()) });
    assert!(two.counts.total(|_| true) - before <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_hands_over_at_once() {
    let leases = Leases::default();
    let (one, two) = (leases.candidate("one"), leases.candidate("two"));
    let (first, second) = tokio::select! {
        _ = one.becomes(true) => (&one, &two),
        _ = two.becomes(true) => (&two, &one),
    };
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!second.fence.is_open());
    assert!(first.stops().await < SECOND);
    assert!(!first.fence.is_open());
    assert!(second.becomes(true).await < SECOND);
    // And the last one leaves it to nobody.
    second.stops().await;
    assert_eq!(leases.state().lease.clone().unwrap()["spec"].get("holderIdentity"), None);
}

#[tokio::test(start_paused = true)]
async fn a_crashed_holder_is_followed_within_fifteen_seconds() {
    let leases = Leases::default();
    leases.state().write(&json!({"metadata": {"name": "operator"}, "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 14}}).to_string().into());
    let one = leases.candidate("one");
    let took = one.becomes(true).await;
    assert!(took >= 14 * SECOND && took <= 15 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_ends_leadership_at_the_deadline() {
    for is_silent in [true, false] {
        let leases = Leases::default();
        let one = leases.candidate("one");
        one.becomes(true).await;
        tokio::time::sleep(Duration::from_secs(22)).await;
        leases.state().is_silent = is_silent;
        leases.state().is_down = !is_silent;
        let left = one.fence.remaining().unwrap();
        let write = one.fence.run(SECOND, std::future::pending::<Result<(), Failure>>());
        let begun = Instant::now();
        assert_eq!(write.await, Err(Failure::Fenced));
        assert_eq!(begun.elapsed(), left);
        assert!(one.becomes(false).await < SECOND);
        // It is back as soon as the server is.
        leases.state().is_silent = false;
        leases.state().is_down = false;
        assert!(one.becomes(true).await < 5 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_else_took_is_over_at_once() {
    let leases = Leases::default();
    let one = leases.candidate("one");
    one.becomes(true).await;
    let mut taken = leases.state().lease.clone().unwrap();
    taken["spec"]["holderIdentity"] = "other".into();
    leases.state().write(&taken.to_string().into());
    assert!(one.becomes(false).await <= 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_others_put_into_the_lease_stays() {
    let leases = Leases::default();
    leases.state().write(
        &json!({"metadata": {"name": "operator", "labels": {"a": "b"}}, "spec": {"leaseTransitions": 4}})
            .to_string()
            .into(),
    );
    let one = leases.candidate("one");
    one.becomes(true).await;
    let lease = leases.state().lease.clone().unwrap();
    assert_eq!(
        (&lease["metadata"]["labels"]["a"], &lease["spec"]["leaseTransitions"]),
        (&json!("b"), &json!(5))
    );
    assert!(matches!(*one.elector.leadership().borrow(), Leadership::Leading { transitions: 5, .. }));
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_a_server_that_is_away() {
    let leases = Leases::default();
    let one = leases.candidate("one");
    one.becomes(true).await;
    leases.state().is_silent = true;
    assert!(one.stops().await <= 3 * SECOND);
    assert!(!one.fence.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_does_not_make_two() {
    let leases = Leases::default();
    let one = leases.candidate("one");
    one.becomes(true).await;
    let two = leases.candidate("two");
    tokio::time::sleep(Duration::from_secs(12)).await;
    {
        let mut state = leases.state();
        let lease = state.lease.take().unwrap();
        state.tell("DELETED", &lease);
    }
    for _ in 0..60 {
        tokio::time::sleep(SECOND / 2).await;
        assert!(one.fence.is_open() && !two.fence.is_open());
    }
}
