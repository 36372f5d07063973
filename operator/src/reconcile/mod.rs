//! One pass over one object: snapshot, plan, questions, writes, status.
//!
//! A pass writes children until the plan has none left, then the status once. What it wrote it knows from the answers,
//! so it never waits for its own changes to come back by a watch. A pass over a settled object makes no request.

mod ask;
mod write;

pub(crate) use self::ask::read_reference;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dingtalk_crds::{Difference, DingTalkBridge};
use jiff::Timestamp;
use operator_cluster::{Failure, Fence, Reader, Writer, events::Recorder};
use operator_plan::{Facts, FinalizerChange, Fresh, OperatorInfo, Plan, Platform, RouteType, Secret, Turn};
use tokio::time::Instant;

use crate::{
    clock::Clock,
    homeserver,
    key::Key,
    lanes::{self, Lane, Queue},
    observe::metrics::{Metrics, PassResult},
    report::Reporter,
    rollout::Fleet,
    state::{Snapshot, State, is_told},
};

/// How long a pass may take.
const LIMIT: Duration = Duration::from_mins(1);

/// How often a pass plans anew after it has written or read something. Four are usual with a finalizer, objects that
/// `spec` names and children; many more mean that the cluster changes what is written.
const MOST_ROUNDS: usize = 8;

/// How long the status waits for answers that are on their way and for children that follow at once, so that it is
/// written once instead of twice.
const QUIET: Duration = Duration::from_millis(400);

/// The same for a status that this process looks at for the first time, of an object that is as it was: after a restart
/// all questions are asked anew, many at a time, and nobody waits for an answer that is most likely the same.
const FIRST_QUIET: Duration = Duration::from_secs(10);

/// Pause after a write that failed for a reason that passes. It doubles with each further one, up to 32 s, so that many
/// objects that wait for the same do not hold it up themselves.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// How often that pause doubles.
const MOST_DOUBLINGS: u32 = 4;

/// Pause after a write into a namespace that is about to end, or of a kind that is gone. An event comes sooner if there
/// is news.
const AFTER_GONE: Duration = Duration::from_secs(30);

/// All that is known about an object now.
pub(crate) fn facts<'a>(
    snapshot: &'a Snapshot,
    platform: &'a Platform,
    operator: &'a OperatorInfo,
    turn: Turn,
    fresh: &'a Fresh,
    now: Timestamp,
) -> Facts<'a> {
    Facts {
        object: &snapshot.object,
        platform,
        operator,
        seen: &snapshot.seen,
        refused: &snapshot.refused,
        pod: snapshot.pod.as_ref(),
        references: &snapshot.references,
        applied: &snapshot.applied,
        rivals: &snapshot.rivals,
        whoami: &snapshot.whoami,
        admin: &snapshot.admin,
        former: &snapshot.former,
        report: &snapshot.report,
        turn,
        fresh,
        now,
    }
}

/// Everything a pass needs.
pub(crate) struct Reconciler {
    pub(crate) state: State,
    pub(crate) queue: Queue,
    pub(crate) platform: Platform,
    pub(crate) namespace: String,
    pub(crate) http_routes: AtomicBool,
    /// Told when an object wants an `HTTPRoute` and the cluster has no such kind.
    pub(crate) http_routes_wanted: tokio::sync::Notify,
    pub(crate) writer: Writer,
    pub(crate) reader: Reader,
    pub(crate) fence: Fence,
    pub(crate) recorder: Recorder,
    pub(crate) reporter: Reporter,
    pub(crate) fleet: Fleet,
    /// Where the cluster's definition of the kind differs from this program's.
    pub(crate) definition: tokio::sync::watch::Sender<Arc<Difference>>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) resync: Duration,
    pub(crate) homeservers: homeserver::Clients,
    /// Places for questions to homeservers.
    pub(crate) to_homeservers: tokio::sync::Semaphore,
    /// Places for questions to bridges: thousands of them may be away at once, each of which takes seconds.
    pub(crate) to_bridges: tokio::sync::Semaphore,
}

/// What came of a pass.
struct Outcome {
    result: PassResult,
    /// When to look again, from memory.
    again: Option<Duration>,
}

impl Reconciler {
    /// Makes the pass of an object whose turn has come.
    pub(crate) async fn turn(self: Arc<Self>, turn: lanes::Turn) {
        let began = Instant::now();
        self.metrics.waited(turn.lane, began - turn.since);
        let key = turn.key.clone();
        let outcome = tokio::time::timeout(LIMIT, self.pass(&turn)).await.unwrap_or_else(|_| {
            tracing::warn!(object = %key, "a pass took longer than {} s and was ended", LIMIT.as_secs());
            Outcome { result: PassResult::Failed, again: Some(AFTER_FAILURE) }
        });
        let failed = outcome.result == PassResult::Failed;
        self.state.with_record(&key, |record| {
            record.failures = if failed { record.failures.saturating_add(1) } else { 0 };
        });
        self.metrics.passed(outcome.result, began.elapsed());
        let resync = spread(self.resync, &key);
        self.queue.push_after(&key, outcome.again.map_or(resync, |again| again.min(resync)));
        self.queue.done(&key);
    }

    async fn pass(self: &Arc<Self>, turn: &lanes::Turn) -> Outcome {
        let key = &turn.key;
        let mut wrote = false;
        for _ in 0..MOST_ROUNDS {
            // A request may come while a pass is under way. The status says that it was handled, so it waits for the look.
            if let Err(failure) = self.read_all(key).await {
                tracing::warn!(object = %key, error = %failure, "the children could not be read");
                return self.failed(key, &failure);
            }
            let Some(snapshot) = self.state.snapshot(key) else {
                return Outcome { result: PassResult::Settled, again: None };
            };
            if snapshot.is_unread {
                continue;
            }
            if !self.http_routes.load(Ordering::Relaxed) && self.wants_http_route(&snapshot) {
                self.http_routes_wanted.notify_one();
            }
            let plan = self.plan(key, &snapshot);
            self.fleet.tell(key, plan.member.clone(), plan.writes.is_empty());
            match self.carry_out(turn, &snapshot, plan, &mut wrote).await {
                Ok(Step::Again) => {}
                Ok(Step::Done { again }) => {
                    let result = if wrote { PassResult::Wrote } else { PassResult::Settled };
                    return Outcome { result, again };
                }
                Err(failure) => {
                    tracing::warn!(object = %key, error = %failure, "a pass could not be finished");
                    return self.failed(key, &failure);
                }
            }
        }
        tracing::warn!(object = %key, "the cluster changes what is written; trying again later");
        Outcome { result: PassResult::Failed, again: Some(Duration::from_mins(1)) }
    }

    /// What a failure of the pass leads to.
    fn failed(&self, key: &Key, failure: &Failure) -> Outcome {
        let failures = self.state.with_record(key, |record| record.failures).unwrap_or_default();
        Outcome { result: PassResult::Failed, again: Some(pause_after(failure, failures)) }
    }

    fn wants_http_route(&self, snapshot: &Snapshot) -> bool {
        let route = snapshot.object.spec.route.clone().unwrap_or_default();
        let by_default = self.platform.route.type_ == RouteType::Gateway && route.ingress.is_none();
        route.gateway.is_some() || (by_default && route.disabled != Some(true))
    }

    fn plan(&self, key: &Key, snapshot: &Snapshot) -> Plan {
        let operator = OperatorInfo {
            namespace: self.namespace.clone(),
            has_http_routes: self.http_routes.load(Ordering::Relaxed),
            definition: Arc::clone(&self.definition.borrow()),
        };
        let fresh = fresh();
        operator_plan::plan(&facts(
            snapshot,
            &self.platform,
            &operator,
            self.fleet.turn(key),
            &fresh,
            self.clock.now(),
        ))
    }

    async fn carry_out(
        self: &Arc<Self>,
        turn: &lanes::Turn,
        snapshot: &Snapshot,
        plan: Plan,
        wrote: &mut bool,
    ) -> Result<Step, Failure> {
        let key = &turn.key;
        if let Some(FinalizerChange::Set { registered }) = &plan.finalizer {
            self.set_finalizer(key, snapshot, registered.as_deref()).await?;
            *wrote = true;
            return Ok(Step::Again);
        }
        let asked = self.ask(key, snapshot, &plan.asks).await?;
        if asked.read {
            return Ok(Step::Again);
        }
        let mut again = earliest(earliest(plan.look_again, asked.again), snapshot.expires);
        // With writes a plan tells of repairs, without of what the status tells.
        let (repairs, news) =
            if plan.writes.is_empty() { (Vec::new(), plan.notes) } else { (plan.notes, Vec::new()) };
        let written = self.write(turn, snapshot, plan.writes, wrote).await?;
        if !written.refused {
            self.publish(snapshot, repairs);
        }
        let deleted = self.delete(key, plan.deletions).await?;
        *wrote |= written.some || deleted;
        if written.some || deleted {
            self.state.with_record(key, |record| record.wrote_at = Some(Instant::now()));
            return Ok(Step::Again);
        }
        if plan.finalizer == Some(FinalizerChange::Remove) {
            self.remove_finalizer(key, snapshot).await?;
            *wrote = true;
            self.publish(snapshot, news);
            return Ok(Step::Done { again: None });
        }
        if let Some(status) = plan.status {
            let patience = self.patience(key, &snapshot.object, asked.under_way);
            if patience.is_zero() {
                self.write_status(key, snapshot, &status).await?;
                *wrote = true;
                self.publish(snapshot, news);
            } else {
                // The answers, or what controllers make of the children, will change the status at once; one write
                // instead of two.
                again = earliest(again, Some(patience));
            }
        } else {
            // The answers came, and they changed nothing.
            self.state.with_record(key, |record| {
                record.status_held = None;
                record.told |= !asked.under_way;
            });
        }
        Ok(Step::Done { again })
    }

    /// How much longer a status may wait: for answers that are under way, or for the controllers of children that were just
    /// written.
    fn patience(&self, key: &Key, object: &DingTalkBridge, under_way: bool) -> Duration {
        let now = Instant::now();
        let left = self.state.with_record(key, |record| {
            let as_it_was = !record.told && record.wrote_at.is_none() && is_told(object);
            let Some(quiet) = quiet(under_way, as_it_was, record.wrote_at.map(|at| now - at)) else {
                return Duration::ZERO;
            };
            let since = *record.status_held.get_or_insert(now);
            quiet.saturating_sub(now - since)
        });
        left.unwrap_or_default()
    }

    /// Begins to work: all objects get in line, those first that changed while nobody or another process worked.
    pub(crate) fn begin(&self) {
        self.queue.open();
        for (key, is_told) in self.state.standing() {
            self.queue.push(&key, if is_told { Lane::Resync } else { Lane::Spec });
        }
    }
}

/// How long a status waits from when it is known; `None`: not at all. `as_it_was`: this process has neither told of the
/// object nor changed anything of it. `written`: how long ago it wrote a child of it.
fn quiet(under_way: bool, as_it_was: bool, written: Option<Duration>) -> Option<Duration> {
    match under_way {
        true if as_it_was => Some(FIRST_QUIET),
        true => Some(QUIET),
        false => written.is_some_and(|ago| ago < QUIET).then_some(QUIET),
    }
}

enum Step {
    /// Something has changed: plan anew.
    Again,
    /// Nothing more to do now.
    Done { again: Option<Duration> },
}

fn earliest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// How long to wait after a failure of the pass itself, which came after so many other ones.
fn pause_after(failure: &Failure, failures: u32) -> Duration {
    let grown = AFTER_FAILURE * 2_u32.pow(failures.min(MOST_DOUBLINGS));
    match failure {
        Failure::Unavailable { retry_after, .. } => retry_after.unwrap_or_default().max(grown),
        Failure::Refused { .. } | Failure::Conflict { .. } => Duration::from_mins(5),
        Failure::Stale { .. } => Duration::from_millis(100),
        Failure::Gone { .. } => AFTER_GONE,
        Failure::Taken { .. } | Failure::Fenced => AFTER_FAILURE,
    }
}

/// Spreads looks over time, the same for an object each time.
fn spread(span: Duration, key: &Key) -> Duration {
    let digest = crate::state::digest_of(&[key.namespace(), key.name()]);
    let share = f64::from(u16::from_be_bytes([digest.0[0], digest.0[1]])) / f64::from(u16::MAX);
    span.mul_f64(0.8 + 0.4 * share)
}

/// Random material for what does not exist yet.
fn fresh() -> Fresh {
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    let random = || {
        let mut bytes = [0_u8; 32];
        // Without the system's random numbers no secret can be made; an empty one is refused by the bridge.
        if getrandom::fill(&mut bytes).is_err() {
            return None;
        }
        Some(zeroize::Zeroizing::new(bytes))
    };
    let token = || Secret::new(random().map(|bytes| URL_SAFE_NO_PAD.encode(*bytes)).unwrap_or_default());
    Fresh {
        as_token: token(),
        hs_token: token(),
        status_token: token(),
        sealing_key: Secret::new(random().map(|bytes| STANDARD.encode(*bytes)).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_spread_but_steady() {
        let (a, b) = (Key::new("ns", "a"), Key::new("ns", "b"));
        let span = Duration::from_hours(10);
        assert_eq!(spread(span, &a), spread(span, &a));
        assert_ne!(spread(span, &a), spread(span, &b));
        for key in [a, b] {
            assert!(spread(span, &key) >= span.mul_f64(0.8) && spread(span, &key) <= span.mul_f64(1.2));
        }
    }

    #[test]
    fn a_status_waits_long_only_for_an_object_that_is_as_it_was() {
        let (just, before) = (Some(Duration::from_millis(1)), Some(QUIET));
        assert_eq!(quiet(true, true, None), Some(FIRST_QUIET));
        // What was written, e.g. a change of the platform's, is news that nobody is to wait for.
        assert_eq!((quiet(true, false, just), quiet(true, false, before)), (Some(QUIET), Some(QUIET)));
        assert_eq!((quiet(false, false, just), quiet(false, false, before)), (Some(QUIET), None));
        assert_eq!(quiet(false, true, None), None);
    }

    #[test]
    fn pauses_grow_with_failures_and_are_as_long_as_asked_for() {
        let away = |retry_after: Option<u64>| Failure::Unavailable {
            retry_after: retry_after.map(Duration::from_secs),
            message: String::new(),
        };
        let pauses: Vec<u64> =
            [0, 1, 2, 4, 5, u32::MAX].map(|failures| pause_after(&away(None), failures).as_secs()).to_vec();
        assert_eq!(pauses, [2, 4, 8, 32, 32, 32]);
        assert_eq!(pause_after(&away(Some(60)), 1).as_secs(), 60);
        assert_eq!(pause_after(&away(Some(1)), 3).as_secs(), 16);
        assert_eq!(pause_after(&Failure::Fenced, 9), AFTER_FAILURE);
    }

    #[test]
    fn fresh_material_differs_each_time_and_does_not_print() {
        let (a, b) = (fresh(), fresh());
        assert_ne!(a, b);
        assert_ne!(a.as_token, a.hs_token);
        assert_eq!(a.as_token.expose().len(), 43);
        assert!(!format!("{a:?}").contains(a.as_token.expose()));
    }
}
