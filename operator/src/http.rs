//! `/livez`, `/readyz` and `/metrics`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use dingtalk_crds::names;
use operator_cluster::watch::{Progress, State as WatchState};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{lanes::Lane, reconcile::Reconciler, watches::Watches};

/// How long an object may be in line before the operator counts as stuck.
const STUCK: Duration = Duration::from_mins(10);

/// What the pages are made from.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) reconciler: Arc<Reconciler>,
    pub(crate) watches: Arc<Watches>,
    pub(crate) counts: operator_cluster::client::RequestCounts,
    /// Whether the first list of every watch has come.
    pub(crate) synced: watch::Receiver<bool>,
}

/// Serves until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    pages: Pages,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(pages);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn livez(State(pages): State<Pages>) -> impl IntoResponse {
    let dead = pages.watches.progress().filter(|(_, progress)| progress.dead);
    let mut problems: Vec<String> = dead.map(|(kind, _)| format!("the watch of {kind} is dead")).collect();
    if let Some(waited) = pages.reconciler.queue.oldest_wait()
        && waited > STUCK
    {
        problems.push(format!("an object has waited for {} s", waited.as_secs()));
    }
    answer(&problems)
}

/// A standby is ready as well: it knows all that it needs to take over.
async fn readyz(State(pages): State<Pages>) -> impl IntoResponse {
    let problems =
        if *pages.synced.borrow() { without_kind(&pages.watches) } else { waiting(&pages.watches) };
    if problems.is_empty() {
        // It goes on serving with a definition of another version, and says so.
        let mut lines = vec!["ok".to_owned()];
        lines.extend(pages.reconciler.definition.borrow().sentences());
        return (StatusCode::OK, format!("{}\n", lines.join("\n")));
    }
    answer(&problems)
}

/// Without the kind there is nothing to work on, however complete the lists are.
fn without_kind(watches: &Watches) -> Vec<String> {
    let is_missing =
        |(kind, progress): (&str, Progress)| kind == names::PLURAL && progress.state == WatchState::Missing;
    let missing = watches.progress().any(is_missing);
    let say =
        || "the cluster has no DingTalkBridge kind: install the chart dingtalk-operator-crds".to_owned();
    missing.then(say).into_iter().collect()
}

fn waiting(watches: &Watches) -> Vec<String> {
    let mut problems = vec!["the first lists are not complete".to_owned()];
    problems.extend(
        watches.progress().filter_map(|(kind, progress)| {
            progress.last_error.as_ref().map(|error| format!("{kind}: {error}"))
        }),
    );
    problems
}

fn answer(problems: &[String]) -> (StatusCode, String) {
    if problems.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", problems.join("\n")))
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    let metrics = &pages.reconciler.metrics;
    for lane in Lane::ALL {
        metrics.queued(lane, pages.reconciler.queue.depth(lane));
    }
    metrics.objects(pages.reconciler.state.count(), pages.reconciler.state.conditions());
    metrics.definition(&pages.reconciler.definition.borrow());
    metrics.rollout(pages.reconciler.fleet.standing());
    let (paused, since) = pages.reconciler.state.paused();
    let longest = since.map(|since| pages.reconciler.clock.now().duration_since(since));
    let longest = longest.and_then(|longest| Duration::try_from(longest).ok()).unwrap_or_default();
    metrics.paused(paused, longest);
    metrics.requests(&pages.counts);
    let mut sums: std::collections::BTreeMap<&str, (Duration, u64, usize)> =
        std::collections::BTreeMap::new();
    for (kind, progress) in pages.watches.progress() {
        let sum = sums.entry(kind).or_default();
        *sum = (sum.0.max(progress.silent), sum.1 + progress.restarts, sum.2 + progress.objects);
    }
    for (kind, (silent, restarts, objects)) in sums {
        metrics.watch(kind, silent, restarts, objects);
    }
    let type_ = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, type_)], metrics.page())
}
