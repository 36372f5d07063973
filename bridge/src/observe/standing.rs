//! How the bridge stands. Read here and nowhere else, and told in four places: the command `status`, `/readyz`,
//! `/metrics` and the report under `/status`.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::decide::away::Silence;
use bridge_core::receive::Receive;
use bridge_core::reply::Queue;
use bridge_store::{ChatFigures, Depth, InboxDepth, OutboxDepth};

use crate::app::{App, Linked};
use crate::encryption::{Encryption, State};
use crate::stream::state::StreamFigures;

/// How long the oldest message may wait while the bridge is ready.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// How long a Stream connection may be missing while the bridge is ready.
const REPLACING: Duration = Duration::from_secs(30);

/// What is known at a moment, without asking a peer.
pub(crate) struct Standing {
    pub(crate) now: Timestamp,
    /// The queues, or the code of the database's error.
    pub(crate) depth: Result<Depth, &'static str>,
    /// Why the homeserver is not usable.
    pub(crate) homeserver: Option<String>,
    /// How encrypted rooms stand, where encryption is on.
    pub(crate) encryption: Option<State>,
    /// Why DingTalk is not usable.
    pub(crate) dingtalk: Option<String>,
    pub(crate) linked: Option<Arc<Linked>>,
    /// DingTalk withholds messages.
    pub(crate) over_quota: bool,
    /// By which way pushes come.
    pub(crate) receive: Receive,
    pub(crate) stream: StreamFigures,
    /// What the silence of the subscription means, while there is one.
    pub(crate) silence: Option<Silence>,
    last_event: Option<(String, Timestamp)>,
}

impl Standing {
    pub(crate) async fn read(app: &App) -> Self {
        Self {
            depth: app.store.depth().await.map_err(|error| error.code()),
            now: app.now(),
            homeserver: app.health.homeserver(),
            encryption: app.encryption.as_ref().map(Encryption::state),
            dingtalk: app.health.dingtalk(),
            linked: app.linked(),
            over_quota: app.health.over_quota(),
            receive: app.receiving.get(),
            stream: app.stream.figures(),
            silence: app.health.silence(),
            last_event: app.health.last_event(),
        }
    }

    /// Why the bridge is not ready, a line each. A line stays the same while its reason does, so that who compares
    /// does not see a change where nothing changed.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match &self.depth {
            Err(code) => problems.push(format!("database: {code}")),
            Ok(depth) => {
                let oldest = [
                    depth.from_dingtalk.oldest,
                    depth.from_matrix.oldest,
                    depth.to_matrix.oldest,
                    depth.to_dingtalk.oldest,
                ];
                if oldest.into_iter().flatten().any(|oldest| self.now.since(oldest) > LONGEST_WAIT) {
                    let minutes = LONGEST_WAIT.as_secs() / 60;
                    problems.push(format!("queue: a message has waited longer than {minutes} minutes"));
                }
            }
        }
        problems.extend(self.homeserver.as_ref().map(|problem| format!("homeserver: {problem}")));
        let encryption = self.encryption.as_ref().and_then(State::problem);
        problems.extend(encryption.map(|problem| format!("encryption: {problem}")));
        if self.linked.is_some() {
            problems.extend(self.dingtalk.as_ref().map(|problem| format!("dingtalk: {problem}")));
            problems.extend(self.stream_problem().map(|problem| format!("stream: {problem}")));
        }
        problems
    }

    /// Why nothing can come over Stream, when it could come by no other way. A connection that is being replaced is
    /// no problem yet; one that never stood is.
    fn stream_problem(&self) -> Option<&str> {
        let stream = &self.stream;
        if self.receive != Receive::Stream || stream.connected() {
            return None;
        }
        let being_replaced = stream.last_frame.is_some() && self.now.since(stream.since) < REPLACING;
        (!being_replaced).then(|| stream.problem.as_deref().unwrap_or("connecting"))
    }

    /// What is on its way to Matrix.
    pub(crate) fn to_matrix(&self) -> Queue {
        let depth = self.depth();
        self.queue(&depth.from_dingtalk, &depth.to_matrix, 0)
    }

    /// What is on its way to DingTalk, without so many messages that are the asker's own.
    pub(crate) fn to_dingtalk(&self, own: u64) -> Queue {
        let depth = self.depth();
        self.queue(&depth.from_matrix, &depth.to_dingtalk, own)
    }

    /// Messages that were given up and wait for `retry`.
    pub(crate) fn failed(&self) -> u64 {
        let depth = self.depth();
        depth.to_matrix.failed + depth.to_dingtalk.failed
    }

    /// When this process last heard of DingTalk.
    pub(crate) fn heard(&self) -> Option<Timestamp> {
        self.last_event.as_ref().map(|(_, at)| *at)
    }

    /// What came in and could not be read.
    pub(crate) fn unreadable(&self) -> u64 {
        let depth = self.depth();
        depth.from_matrix.parked + depth.from_dingtalk.parked
    }

    /// What came last from DingTalk. A process that has heard nothing yet knows of messages from the database.
    pub(crate) fn last_event(&self, chats: &ChatFigures) -> Option<(String, Timestamp)> {
        let stored = chats.last_message.map(|at| ("callback".to_owned(), at));
        match (&self.last_event, stored) {
            (Some(heard), Some(stored)) if stored.1 > heard.1 => Some(stored),
            (Some(heard), _) => Some(heard.clone()),
            (None, stored) => stored,
        }
    }

    /// The queues; empty while the database does not tell.
    fn depth(&self) -> Depth {
        self.depth.unwrap_or_default()
    }

    fn queue(&self, inbox: &InboxDepth, outbox: &OutboxDepth, own: u64) -> Queue {
        let waiting = inbox.pending.saturating_sub(own) + outbox.unfinished;
        let oldest = [inbox.oldest, outbox.oldest].into_iter().flatten().min();
        let oldest = oldest.filter(|_| waiting > 0).map(|at| self.now.since(at));
        Queue { waiting, oldest: oldest.or((waiting > 0).then_some(Duration::ZERO)) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn standing(depth: Depth) -> Standing {
        Standing {
            now: Timestamp(1_000_000),
            depth: Ok(depth),
            homeserver: None,
            encryption: None,
            dingtalk: Some("unreachable".to_owned()),
            linked: None,
            over_quota: false,
            receive: Receive::Webhook,
            stream: StreamFigures::default(),
            silence: None,
            last_event: None,
        }
    }

    #[test]
    fn a_line_does_not_change_while_its_reason_lasts() {
        let mut depth = Depth::default();
        depth.to_matrix.oldest = Some(Timestamp(1_000_000 - 299_000));
        assert!(standing(depth).problems().is_empty(), "DingTalk is no problem before an app is linked");
        depth.to_matrix.oldest = Some(Timestamp(1_000_000 - 301_000));
        let first = standing(depth).problems();
        assert_eq!(first, ["queue: a message has waited longer than 5 minutes"]);
        let later = Standing { now: Timestamp(2_000_000), ..standing(depth) };
        assert_eq!(later.problems(), first);
    }

    #[test]
    fn a_stream_that_is_missing_is_a_problem_where_nothing_else_receives() {
        let missing = |receive, stream| {
            let standing = Standing { receive, stream, ..standing(Depth::default()) };
            standing.stream_problem().map(str::to_owned)
        };
        let fresh = StreamFigures { wanted: true, ..StreamFigures::default() };
        assert_eq!(missing(Receive::Webhook, StreamFigures::default()), None);
        assert_eq!(missing(Receive::Both, fresh.clone()), None);
        assert_eq!(missing(Receive::Stream, fresh.clone()).as_deref(), Some("connecting"));
        let wrong = StreamFigures { problem: Some("authFailed".to_owned()), ..fresh.clone() };
        assert_eq!(missing(Receive::Stream, wrong.clone()).as_deref(), Some("authFailed"));
        let lost = |since| StreamFigures { since, last_frame: Some(Timestamp(1)), ..wrong.clone() };
        assert_eq!(missing(Receive::Stream, lost(Timestamp(990_000))), None);
        assert_eq!(missing(Receive::Stream, lost(Timestamp(960_000))).as_deref(), Some("authFailed"));
        assert_eq!(missing(Receive::Stream, StreamFigures { open: 1, ..wrong }), None);
    }

    #[test]
    fn a_database_that_is_away_is_a_problem_and_no_crash() {
        let standing = Standing { depth: Err("database_busy"), ..standing(Depth::default()) };
        assert_eq!(standing.problems(), ["database: database_busy"]);
        assert_eq!((standing.to_matrix().waiting, standing.failed()), (0, 0));
    }

    #[test]
    fn the_asker_does_not_count_itself() {
        let mut depth = Depth::default();
        depth.from_matrix.pending = 1;
        depth.from_matrix.oldest = Some(Timestamp(999_000));
        assert_eq!(standing(depth).to_dingtalk(1), Queue::default());
        let seen = standing(depth).to_dingtalk(0);
        assert_eq!((seen.waiting, seen.oldest), (1, Some(Duration::from_secs(1))));
    }

    #[test]
    fn the_last_message_is_known_after_a_restart() {
        let chats = ChatFigures { last_message: Some(Timestamp(500)), ..ChatFigures::default() };
        let fresh = standing(Depth::default());
        assert_eq!(fresh.last_event(&ChatFigures::default()), None);
        assert_eq!(fresh.last_event(&chats), Some(("callback".to_owned(), Timestamp(500))));
        let heard = |at| Standing {
            last_event: Some(("event".to_owned(), Timestamp(at))),
            ..standing(Depth::default())
        };
        assert_eq!(heard(600).last_event(&chats), Some(("event".to_owned(), Timestamp(600))));
        assert_eq!(heard(400).last_event(&chats), Some(("callback".to_owned(), Timestamp(500))));
    }
}
