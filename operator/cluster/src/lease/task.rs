//! Carries out what the machine says.

use http::Method;
use k8s_openapi::api::coordination::v1::Lease;
use kube::core::ApiResource;
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Leadership, LeaseSpec,
    machine::{Machine, Step},
    record::Seen,
};
use crate::{
    Failure, Fence,
    client::Verb,
    request::{Call, collection, item},
    watch::{WatchEvent, WatchSpec, spawn},
};

/// Why these calls are made.
const WHY: &str = "lease";

/// What a call told.
enum Told {
    Saw(Option<Seen>),
    Wrote(Seen),
    LostRace,
    Failed(Failure),
}

pub(super) async fn run(
    spec: LeaseSpec,
    fence: Fence,
    stop: CancellationToken,
    leadership: watch::Sender<Leadership>,
) {
    let mut machine = Machine::new(spec.identity.clone(), spec.timing.clone(), Instant::now());
    let mut observer: Option<Observer> = None;
    let mut end = None;
    loop {
        let now = Instant::now();
        if stop.is_cancelled() && end.is_none() {
            machine.stop();
            end = Some(now + spec.timing.call);
        }
        publish(&machine, &fence, &leadership, now);
        match machine.leading_until(now) {
            Some(_) => observer = None,
            None if observer.is_none() && end.is_none() => observer = Some(Observer::start(&spec)),
            None => {}
        }
        // Whoever stops has no more time than one call takes.
        if end.is_some_and(|end| now >= end) {
            tracing::warn!(lease = spec.name, "stopped without releasing the lease");
            return;
        }
        let next = match machine.next(now) {
            Step::Done => return,
            Step::Wait(until) => {
                let until = end.map_or(until, |end| until.min(end));
                tokio::select! {
                    () = sleep_until(until) => {}
                    seen = Observer::next(&mut observer) => machine.saw(seen, Instant::now()),
                    () = stop.cancelled(), if end.is_none() => {}
                }
                continue;
            }
            call => call,
        };
        let mut bound = now + spec.timing.call;
        if let Some(until) = machine.leading_until(now).into_iter().chain(end).min() {
            bound = bound.min(until);
        }
        let told = tokio::select! {
            told = timeout_at(bound, call(&spec, &next)) => {
                told.unwrap_or_else(|_| Told::Failed(Failure::unavailable("no answer in time")))
            }
            () = stop.cancelled(), if end.is_none() => {
                machine.stop_in_flight();
                end = Some(Instant::now() + spec.timing.call);
                continue;
            }
        };
        let after = Instant::now();
        match told {
            Told::Saw(seen) => machine.saw(seen, after),
            Told::Wrote(seen) => machine.wrote(now, seen, after),
            Told::LostRace => machine.lost_race(),
            Told::Failed(failure) => {
                tracing::warn!(lease = spec.name, %failure, "the lease could not be read or written");
                machine.failed(after);
            }
        }
    }
}

/// Tells fence and listeners how it stands.
fn publish(machine: &Machine, fence: &Fence, leadership: &watch::Sender<Leadership>, now: Instant) {
    let standing = if let Some(until) = machine.leading_until(now) {
        fence.open_until(until);
        let transitions = machine.holder().map_or(0, |(_, transitions)| transitions);
        Leadership::Leading { since: now, transitions }
    } else {
        fence.close();
        Leadership::Standby { holder: machine.holder().map(|(holder, _)| holder.to_owned()) }
    };
    leadership.send_if_modified(|current| {
        let is_news = match (&*current, &standing) {
            (Leadership::Leading { .. }, Leadership::Leading { .. }) => false,
            (before, after) => before != after,
        };
        if is_news {
            *current = standing;
        }
        is_news
    });
}

fn leases() -> ApiResource {
    ApiResource::erase::<Lease>(&())
}

async fn call(spec: &LeaseSpec, step: &Step) -> Told {
    let result = match step {
        Step::Read => read(spec).await.map(Told::Saw),
        Step::Create => {
            let absent = Seen::absent(&spec.namespace, &spec.name);
            let lease = absent.held_by(Some(&spec.identity), spec.timing.duration);
            let path = collection(&leases(), Some(&spec.namespace));
            write(spec, Method::POST, Verb::Create, path, &lease).await
        }
        Step::Hold(seen) => replace(spec, &seen.held_by(Some(&spec.identity), spec.timing.duration)).await,
        Step::Release(seen) => replace(spec, &seen.held_by(None, spec.timing.duration)).await,
        Step::Wait(_) | Step::Done => return Told::LostRace,
    };
    match result {
        Ok(told) => told,
        Err(Failure::Stale { .. } | Failure::Taken { .. }) => Told::LostRace,
        Err(failure) => Told::Failed(failure),
    }
}

async fn read(spec: &LeaseSpec) -> Result<Option<Seen>, Failure> {
    let call = Call::new(Method::GET, Verb::Get, item(&leases(), &spec.namespace, &spec.name)?, WHY);
    match call.send(&spec.client).await {
        Ok(lease) => Ok(Some(Seen::read(lease))),
        Err(Failure::Gone { .. }) => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn replace(spec: &LeaseSpec, lease: &Value) -> Result<Told, Failure> {
    let path = item(&leases(), &spec.namespace, &spec.name)?;
    match write(spec, Method::PUT, Verb::Update, path, lease).await {
        Err(Failure::Gone { .. }) => Ok(Told::Saw(None)),
        other => other,
    }
}

async fn write(
    spec: &LeaseSpec,
    method: Method,
    verb: Verb,
    path: String,
    lease: &Value,
) -> Result<Told, Failure> {
    let seconds = format!("{}s", spec.timing.call.as_secs().max(1));
    let call = Call::new(method, verb, path, WHY).query("timeout", &seconds).body("application/json", lease);
    Ok(Told::Wrote(Seen::read(call.send(&spec.client).await?)))
}

/// A watch of the lease, for as long as somebody else has it: so its release is known at once, and each renewal that is
/// seen is one request less.
struct Observer {
    seen: mpsc::Receiver<WatchEvent<Seen>>,
    _stop: DropGuard,
}

impl Observer {
    fn start(spec: &LeaseSpec) -> Self {
        let mut watch = WatchSpec::new(spec.client.clone(), leases());
        watch.namespace = Some(spec.namespace.clone());
        watch.fields = Some(format!("metadata.name={}", spec.name));
        let (sink, seen) = mpsc::channel(8);
        let stop = CancellationToken::new();
        spawn(watch, |_, lease| Ok(Seen::read(lease)), |event| event, sink, stop.clone());
        Self { seen, _stop: stop.drop_guard() }
    }

    /// What was seen next; never, when nobody watches.
    async fn next(observer: &mut Option<Self>) -> Option<Seen> {
        let Some(observer) = observer else { return std::future::pending().await };
        loop {
            match observer.seen.recv().await {
                Some(WatchEvent::Applied { value, .. }) => return Some(value),
                Some(WatchEvent::Deleted { .. }) => return None,
                Some(_) => {}
                None => return std::future::pending().await,
            }
        }
    }
}
