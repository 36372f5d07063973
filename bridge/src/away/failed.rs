//! Fetches the event pushes that DingTalk gave up (API.md section 3.5), while the webhook is in use.
//!
//! DingTalk forgets what a call returned. So all of a list is committed before the next call, however long that takes;
//! what only the memory holds when the process is killed is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::envelope::Envelope;
use bridge_dingtalk::error::ApiError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::relay::intake;

/// How often the list is asked for without a reason; each call counts against the monthly quota.
const IDLE: Duration = Duration::from_hours(6);

/// After a reason: a push is given up after 40 s and stands in the list within 3 to 5 minutes.
const AFTER: [Duration; 3] = [Duration::ZERO, Duration::from_mins(1), Duration::from_mins(6)];

/// The pause after a call that failed.
const AGAIN: Duration = Duration::from_mins(1);

/// How long one attempt to commit may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most lists fetched for one reason.
const MOST_LISTS: usize = 200;

/// Fetches at start, when asked, and now and then.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut due: BTreeSet<Instant> = BTreeSet::from([Instant::now()]);
    let mut changes = app.receiving.changes();
    loop {
        let next = due.first().copied().unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.ask_failed.notified() => due.extend(AFTER.map(|pause| Instant::now() + pause)),
            () = tokio::time::sleep_until(next) => {
                due.retain(|at| *at > Instant::now());
                if app.linked().is_none() || !app.receiving.get().webhook() {
                    // There is nothing to ask for until an app is linked or the way changes.
                    tokio::select! {
                        () = stop.cancelled() => return,
                        _ = changes.changed() => {}
                    }
                    due.insert(Instant::now());
                    continue;
                }
                match fetch(&app, &stop).await {
                    Ok(()) => due.insert(Instant::now() + IDLE),
                    Err(error) => {
                        tracing::debug!(code = error.code, "failed pushes could not be asked for: {error}");
                        due.insert(Instant::now() + if again(&error) { AGAIN } else { IDLE })
                    }
                };
            }
        }
    }
}

/// Whether the same call may work soon.
fn again(error: &ApiError) -> bool {
    use bridge_dingtalk::error::Class;
    matches!(error.class, Class::Retry | Class::Throttled { .. } | Class::TokenExpired)
}

async fn fetch(app: &App, stop: &CancellationToken) -> Result<(), ApiError> {
    for _ in 0..MOST_LISTS {
        let list = match app.dingtalk.failed_events(app.now()).await {
            Ok(list) => list,
            Err(error) => {
                if error.is_no_subscription() {
                    app.health.set_subscription_gone(true);
                }
                return Err(error);
            }
        };
        app.health.set_subscription_gone(false);
        if list.unreadable > 0 {
            tracing::warn!(count = list.unreadable, "failed pushes that cannot be read");
            app.metrics.unreadable("undecodable_failed_push");
        }
        if !list.events.is_empty() {
            tracing::info!(count = list.events.len(), "fetched event pushes that DingTalk gave up");
        }
        app.metrics.failed_pushes(list.events.len());
        keep(app, list.events, stop).await;
        if !list.more {
            break;
        }
    }
    Ok(())
}

/// Commits, trying until it works: nobody else has these events any more.
async fn keep(app: &App, events: Vec<Envelope>, stop: &CancellationToken) {
    let mut pause = Duration::from_millis(500);
    loop {
        match intake::accept(app, events.clone(), PATIENCE).await {
            Ok(_) => return,
            Err(error) => {
                tracing::error!(
                    code = error.code(),
                    count = events.len(),
                    "failed pushes could not be written yet; they are nowhere else: {error}"
                );
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}
