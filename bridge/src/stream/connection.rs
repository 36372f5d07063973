//! One Stream connection: takes frames, commits, then answers.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::envelope::Envelope;
use bridge_dingtalk::client::{Received, Stream};
use bridge_dingtalk::error::ApiError;
use bridge_dingtalk::wire::stream::{Answer, Beat, Incoming, Pulse, read};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::relay::intake;

/// DingTalk waits 3 s (API.md section 2.5).
const PATIENCE: Duration = Duration::from_millis(2_400);

/// How long DingTalk has for closing a connection that it asked to leave; it takes about 10 s (API.md section 4.2).
const GRACE: Duration = Duration::from_secs(30);

/// Most frames, and most bytes of them, that are committed at once.
const MOST_FRAMES: usize = 64;
const MOST_BYTES: usize = 4 << 20;

/// Frames that are none, in one connection, before it is given up.
const MOST_NONSENSE: usize = 64;

/// What a connection tells its keeper.
#[derive(Clone, Copy)]
pub(super) enum Told {
    /// DingTalk will close it: the next one is to be made.
    Leaving,
    /// It is gone.
    Ended(End),
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The bridge does not want it any more.
    Asked,
    /// DingTalk closed it.
    Closed,
    /// It broke.
    Broken,
    /// Nothing was heard for too long.
    Dead,
    /// DingTalk asked it to leave and then did not close it.
    Left,
    /// Its app is not linked any more.
    Foreign,
    /// What came were no frames.
    Nonsense,
}

impl End {
    /// The label in metrics and logs; never changes.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Dead => "dead",
            Self::Left => "left",
            Self::Foreign => "foreign",
            Self::Nonsense => "nonsense",
        }
    }
}

pub(super) struct Connection {
    pub(super) app: Arc<App>,
    pub(super) id: u64,
    /// The app it was opened for.
    pub(super) app_key: String,
    pub(super) tell: mpsc::UnboundedSender<(u64, Told)>,
    pub(super) close: CancellationToken,
}

/// What a frame that holds an envelope is answered with.
struct Owed {
    id: String,
    event: bool,
}

#[derive(Default)]
struct Batch {
    envelopes: Vec<Envelope>,
    owed: Vec<Owed>,
    /// Answers that wait for no commit.
    answers: Vec<String>,
    frames: usize,
    bytes: usize,
    nonsense: usize,
    leaving: Option<String>,
}

impl Batch {
    fn has_room(&self) -> bool {
        self.frames < MOST_FRAMES && self.bytes < MOST_BYTES
    }
}

impl Connection {
    /// Serves until it ends, and tells the keeper.
    pub(super) async fn serve(self, stream: Stream) {
        let end = self.work(stream).await;
        let _ = self.tell.send((self.id, Told::Ended(end)));
    }

    async fn work(&self, mut stream: Stream) -> End {
        let mut pulse = Pulse::new(self.app.config.dingtalk.stream_silence.get(), self.app.now());
        let mut leave_by: Option<Instant> = None;
        let mut nonsense = 0;
        loop {
            let pause = match pulse.beat(self.app.now()) {
                Beat::Wait(pause) => pause,
                Beat::Ask if stream.ping().await.is_err() => return End::Broken,
                Beat::Ask => continue,
                Beat::Dead => return End::Dead,
            };
            let beat = Instant::now() + pause;
            let wake = leave_by.map_or(beat, |leave_by| leave_by.min(beat));
            let first = tokio::select! {
                biased;
                () = self.close.cancelled() => {
                    stream.close().await;
                    return End::Asked;
                }
                first = stream.next() => first,
                () = tokio::time::sleep_until(wake) => {
                    if leave_by.is_some_and(|leave_by| leave_by <= Instant::now()) {
                        stream.close().await;
                        return End::Left;
                    }
                    continue;
                }
            };
            let now = self.app.now();
            pulse.heard(now);
            self.app.stream.heard(now);
            let mut batch = Batch::default();
            let mut end = self.take(first, &mut batch);
            // What has come already is committed together: order is kept, and one wait for the disk serves all.
            while end.is_none() && batch.has_room() {
                let Some(next) = stream.ready() else { break };
                end = self.take(next, &mut batch);
            }
            nonsense += batch.nonsense;
            if let Some(reason) = batch.leaving.take() {
                tracing::info!(connection = self.id, reason, "DingTalk asks a Stream connection to leave");
                leave_by.get_or_insert_with(|| Instant::now() + GRACE);
                let _ = self.tell.send((self.id, Told::Leaving));
            }
            // What came before the end counts, answered or not.
            let settled = self.settle(&mut stream, batch).await;
            match (end, settled) {
                (Some(end), _) | (None, Err(end)) => return end,
                (None, Ok(())) if nonsense > MOST_NONSENSE => {
                    stream.close().await;
                    return End::Nonsense;
                }
                (None, Ok(())) => {}
            }
        }
    }

    /// Reads one thing that came into the batch.
    fn take(&self, received: Option<Result<Received, ApiError>>, batch: &mut Batch) -> Option<End> {
        let text = match received {
            None => return Some(End::Closed),
            Some(Err(error)) => {
                tracing::debug!(connection = self.id, "a Stream connection broke: {error}");
                return Some(End::Broken);
            }
            Some(Ok(Received::Life)) => return None,
            Some(Ok(Received::Bytes)) => {
                self.nonsense(batch, "bytes");
                return None;
            }
            Some(Ok(Received::Text(text))) => text,
        };
        batch.frames += 1;
        batch.bytes += text.len();
        let kind = match read(&text, self.app.now()) {
            Err(_) => {
                self.nonsense(batch, "no_frame");
                return None;
            }
            Ok(Incoming::Ping { id, data }) => {
                batch.answers.push(Answer::Pong(&data).frame(&id));
                "ping"
            }
            Ok(Incoming::Disconnect { reason }) => {
                batch.leaving = Some(reason);
                "disconnect"
            }
            Ok(Incoming::Notice) => "notice",
            Ok(Incoming::Message { id, envelope }) => {
                batch.owed.push(Owed { id, event: false });
                batch.envelopes.push(envelope);
                "message"
            }
            Ok(Incoming::Event { id, envelope: Some(envelope) }) => {
                batch.owed.push(Owed { id, event: true });
                batch.envelopes.push(envelope);
                "event"
            }
            Ok(Incoming::Event { id, envelope: None }) => {
                batch.answers.push(Answer::Event.frame(&id));
                "event"
            }
            Ok(Incoming::Unhandled { id }) => {
                batch.answers.push(Answer::NoHandler.frame(&id));
                "unhandled"
            }
            Ok(Incoming::Refused { id, refusal }) => {
                self.app.metrics.refused("stream", refusal.code());
                batch.answers.push(Answer::Unreadable.frame(&id));
                "refused"
            }
        };
        self.app.metrics.stream_frame(kind);
        None
    }

    fn nonsense(&self, batch: &mut Batch, code: &'static str) {
        batch.nonsense += 1;
        self.app.metrics.refused("stream", code);
    }

    /// Answers what needs no commit, commits the rest, and answers that. An event that could not be committed is asked
    /// for again; a message has no such answer: DingTalk repeats what is not acknowledged.
    async fn settle(&self, stream: &mut Stream, batch: Batch) -> Result<(), End> {
        let Batch { envelopes, owed, answers, .. } = batch;
        for answer in answers {
            stream.send(answer).await.map_err(|_| End::Broken)?;
        }
        if envelopes.is_empty() {
            return Ok(());
        }
        let ours = self.app.linked().is_some_and(|linked| linked.link.app_key.as_str() == self.app_key);
        if !ours {
            self.app.metrics.refused("stream", "not_linked");
            return Err(End::Foreign);
        }
        let committed = match intake::accept(&self.app, envelopes, PATIENCE).await {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(
                    code = error.code(),
                    count = owed.len(),
                    "what came over Stream could not be written and was not acknowledged: {error}"
                );
                self.app.metrics.refused("stream", error.code());
                false
            }
        };
        if committed {
            let kind = if owed.last().is_some_and(|owed| owed.event) { "event" } else { "callback" };
            self.app.health.heard(kind, self.app.now());
        }
        for Owed { id, event } in owed {
            let answer = match (committed, event) {
                (true, true) => Answer::Event,
                (true, false) => Answer::Message,
                (false, true) => Answer::Later,
                (false, false) => continue,
            };
            stream.send(answer.frame(&id)).await.map_err(|_| End::Broken)?;
        }
        Ok(())
    }
}
