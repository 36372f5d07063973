//! Keeps a Stream connection to DingTalk while one is wanted (API.md section 4): the app is linked, and the way of
//! receiving includes it. [`crate::http::webhook`] is the other door; both lead to the same inbox.
//!
//! DingTalk sends a message to one of an app's connections, and to none while there is none. So a connection that is
//! asked to leave goes on until the next one stands.

mod connection;
pub(crate) mod state;

use std::sync::Arc;
use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_dingtalk::client::{Credentials, Stream};
use bridge_dingtalk::error::ApiError;
use bridge_dingtalk::wire::stream::Pace;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use connection::{Connection, Told};

/// How long connections may take to finish what they have in hand when the bridge stops.
const FINISH: Duration = Duration::from_secs(3);

/// Keeps the connection until the bridge stops.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let keeper = Keeper {
        app: Arc::clone(&app),
        tell,
        tasks: TaskTracker::new(),
        wanted: None,
        current: None,
        pace: Pace::default(),
        not_before: Instant::now(),
        next_id: 0,
    };
    keeper.keep(&mut told, &stop).await;
}

/// The connection that messages are expected on.
struct Current {
    id: u64,
    credentials: Credentials,
    made: Timestamp,
    /// DingTalk will close it.
    leaving: bool,
    close: CancellationToken,
}

struct Keeper {
    app: Arc<App>,
    tell: mpsc::UnboundedSender<(u64, Told)>,
    tasks: TaskTracker,
    wanted: Option<Credentials>,
    current: Option<Current>,
    pace: Pace,
    not_before: Instant,
    next_id: u64,
}

impl Keeper {
    async fn keep(mut self, told: &mut mpsc::UnboundedReceiver<(u64, Told)>, stop: &CancellationToken) {
        let app = Arc::clone(&self.app);
        let mut changes = app.receiving.changes();
        loop {
            changes.mark_unchanged();
            self.look();
            let due = self.lacks_one().then_some(self.not_before);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some((id, what)) = told.recv() => self.hear(id, what),
                told = changes.changed() => if told.is_err() { break },
                () = at(due) => {
                    let Some(credentials) = self.wanted.clone() else { continue };
                    // A change of what is wanted ends the attempt; it is looked at above.
                    let attempt = app.dingtalk.open_stream(&credentials, &*app.entropy);
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => break,
                        _ = changes.changed() => {}
                        opened = attempt => self.opened(credentials, opened),
                    }
                }
            }
        }
        self.close();
        self.tasks.close();
        let _ = tokio::time::timeout(FINISH, self.tasks.wait()).await;
        app.stream.off();
    }

    /// Compares what is with what is wanted.
    fn look(&mut self) {
        let wanted =
            self.app.linked().filter(|_| self.app.receiving.get().stream()).map(|linked| Credentials {
                app_key: linked.link.app_key.to_string(),
                app_secret: linked.link.app_secret.clone(),
            });
        if wanted != self.wanted {
            self.pace = Pace::default();
            self.not_before = Instant::now();
            // A connection of another app brings what must not be taken; one of the same app stays until the next.
            let same_app = |current: &Current| {
                wanted.as_ref().is_some_and(|wanted| wanted.app_key == current.credentials.app_key)
            };
            if self.current.as_ref().is_some_and(|current| !same_app(current)) {
                self.close();
            }
            match &wanted {
                Some(_) => self.app.stream.wanted(self.app.now()),
                None => self.app.stream.off(),
            }
            self.wanted = wanted;
        }
    }

    /// Whether a connection is to be made.
    fn lacks_one(&self) -> bool {
        let Some(wanted) = &self.wanted else { return false };
        self.current.as_ref().is_none_or(|current| current.leaving || current.credentials != *wanted)
    }

    fn opened(&mut self, credentials: Credentials, opened: Result<Stream, ApiError>) {
        let now = self.app.now();
        let stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                let pause = self.pace.failed(error.class, self.app.chance());
                tracing::warn!(
                    code = error.code,
                    seconds = pause.as_secs(),
                    "no Stream connection could be made; the next attempt follows: {error}"
                );
                self.app.metrics.stream_failed(&error.code);
                self.app.stream.failed(&error, now);
                self.not_before = Instant::now() + pause;
                return;
            }
        };
        self.next_id += 1;
        let close = CancellationToken::new();
        let connection = Connection {
            app: Arc::clone(&self.app),
            id: self.next_id,
            app_key: credentials.app_key.clone(),
            tell: self.tell.clone(),
            close: close.clone(),
        };
        tracing::info!(connection = self.next_id, "a Stream connection stands");
        self.app.metrics.stream_made();
        self.app.stream.connected(self.next_id, now);
        self.tasks.spawn(connection.serve(stream));
        let current = Current { id: self.next_id, credentials, made: now, leaving: false, close };
        // One that was asked to leave drains until DingTalk closes it; one with a former secret is not needed.
        if let Some(former) = self.current.replace(current)
            && !former.leaving
        {
            former.close.cancel();
        }
    }

    fn hear(&mut self, id: u64, what: Told) {
        let now = self.app.now();
        if let Told::Ended(end) = what {
            self.app.metrics.stream_ended(end.label());
            self.app.stream.ended(id, end, now);
            tracing::info!(connection = id, reason = end.label(), "a Stream connection ended");
        }
        let chance = self.app.chance();
        let Some(current) = self.current.as_mut().filter(|current| current.id == id) else { return };
        // Whoever was asked to leave has had its pause.
        let pause = if current.leaving { None } else { Some(self.pace.ended(current.made, now, chance)) };
        match what {
            Told::Leaving => current.leaving = true,
            Told::Ended(_) => self.current = None,
        }
        if let Some(pause) = pause {
            self.not_before = Instant::now() + pause;
        }
    }

    fn close(&mut self) {
        if let Some(current) = self.current.take() {
            current.close.cancel();
        }
    }
}

/// Waits until a moment; without one for ever.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::connection::End;

    #[test]
    fn ends_have_labels_of_their_own() {
        let all = [End::Asked, End::Closed, End::Broken, End::Dead, End::Left, End::Foreign, End::Nonsense];
        let labels: std::collections::BTreeSet<_> = all.into_iter().map(End::label).collect();
        assert_eq!(labels.len(), all.len());
    }
}
