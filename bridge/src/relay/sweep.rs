//! What happens by the clock: throwing away what is too old, and looking whether the peers are there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bridge_store::Retention;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::relay::send;

const PURGE: Duration = Duration::from_mins(10);
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How often a homeserver that is away is looked for: its people wait.
const HOMESERVER_PAUSE: Duration = Duration::from_secs(4);

/// Between a doubt about the homeserver and the look at it.
const DOUBT: Duration = Duration::from_millis(100);

/// How often DingTalk is asked while all is well.
const DINGTALK_CHECK: Duration = Duration::from_mins(5);

/// Throws away what is older than its retention.
pub(crate) async fn purge(app: Arc<App>, stop: CancellationToken) {
    let queue = &app.config.queue;
    let retention = Retention {
        done: queue.done_for.get(),
        held: queue.held_for.get(),
        failed: queue.failed_for.get(),
        mappings: queue.mappings_for.as_ref().map(|span| span.get()),
    };
    loop {
        match app.store.purge(app.now(), retention).await {
            Ok(purged) => {
                for held in &purged.held {
                    tracing::warn!(
                        lane = held.lane.as_str(),
                        count = held.count,
                        "held messages expired: their chat was not bridged in time"
                    );
                }
            }
            Err(error) => tracing::warn!(code = error.code(), "old rows could not be removed"),
        }
        tokio::select! {
            () = tokio::time::sleep(PURGE) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Looks after the homeserver: is it there, does it know us, can it reach us. `back` is told when it is there again.
pub(crate) async fn homeserver(app: Arc<App>, back: Arc<Notify>, stop: CancellationToken) {
    let mut pause = SHORTEST_PAUSE;
    let mut set_up = false;
    let mut other_token = false;
    loop {
        let problem = check(&app, &mut set_up).await.err();
        if app.matrix.uses_other_token() != other_token {
            other_token = !other_token;
            tracing::info!("the homeserver has changed to the other of the two registrations");
            // What it did not deliver while it changed is in the timelines.
            back.notify_one();
        }
        if let Some(problem) = &problem {
            tracing::warn!("the homeserver is not usable: {problem}");
        }
        let was = app.health.homeserver();
        let now_fine = problem.is_none();
        app.health.set_homeserver(problem);
        if now_fine && was.is_some() {
            tracing::info!("the homeserver is there and knows the bridge");
            let probe = format!("ping-{}", app.now().0);
            if let Err(error) = app.matrix.ping(app.config.appservice.id.as_str(), &probe).await {
                tracing::warn!("the homeserver could not ping the bridge: {error}");
            }
            back.notify_one();
        }
        pause = if now_fine { crate::app::PEER_CHECK } else { (pause * 2).min(HOMESERVER_PAUSE) };
        let looked_at_soon = async {
            app.health.homeserver_in_doubt().await;
            // However many doubt it at once.
            tokio::time::sleep(DOUBT).await;
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = looked_at_soon => pause = SHORTEST_PAUSE,
            () = stop.cancelled() => return,
        }
        if now_fine {
            pause = SHORTEST_PAUSE;
        }
    }
}

async fn check(app: &App, set_up: &mut bool) -> Result<(), String> {
    let text = |error: bridge_matrix::error::MatrixError| error.to_string();
    if !*set_up {
        let sender = app.own.sender.clone();
        if app.matrix.whoami(&sender).await.is_err() {
            // Not every homeserver has the technical account from the start; the bot is what counts.
            tracing::debug!("whoami as the technical account failed");
        }
        match app.matrix.register(&app.own.bot).await {
            Ok(()) => {}
            Err(error) if matches!(error.class, bridge_matrix::error::Class::Throttled { .. }) => {}
            Err(error) => return Err(text(error)),
        }
        send::make_device(app, &app.own.bot)
            .await
            .map_err(|outcome| crate::relay::outcome::code(&outcome).to_owned())?;
        let wanted = app.config.bot.display_name.as_str();
        let profile = app.matrix.get_profile(&app.own.bot).await.map_err(text)?;
        if profile.and_then(|profile| profile.displayname).as_deref() != Some(wanted) {
            app.matrix.set_displayname(&app.own.bot, wanted).await.map_err(text)?;
        }
        *set_up = true;
    }
    app.matrix.whoami(&app.own.bot).await.map(drop).map_err(text)
}

/// Looks whether DingTalk answers, while an app is linked: seldom while all is well, for DingTalk does not like to be
/// asked for tokens, and soon again after a failure.
pub(crate) async fn dingtalk(app: Arc<App>, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut fine = true;
        if app.linked().is_some() {
            let problem = app.dingtalk.ping().await.err().map(|error| error.code);
            if let Some(code) = &problem {
                tracing::warn!(code, "DingTalk is not usable");
                fine = false;
            }
            app.health.set_dingtalk(problem);
        }
        // A failed send reports itself in between: the shorter pause looks after that as well.
        let until = app.now().plus(if fine { DINGTALK_CHECK } else { pause });
        pause = if fine { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        while app.now() < until {
            tokio::select! {
                () = tokio::time::sleep(FIRST_PAUSE) => {}
                () = stop.cancelled() => return,
            }
            if fine && app.health.dingtalk().is_some() {
                break;
            }
        }
    }
}

/// Turns a hand once a second: when the runtime is stuck it stops, and the liveness probe fails.
pub(crate) async fn heartbeat(app: Arc<App>, stop: CancellationToken) {
    loop {
        app.health.heartbeat.store(app.now().0, Ordering::Relaxed);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => return,
        }
    }
}
