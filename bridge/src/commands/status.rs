//! `status` and `retry`.

use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::portal::ChatState;
use bridge_core::reply::{Queue, Reply, Status};
use bridge_store::{InboxDepth, OutboxDepth};

use crate::commands::{Run, VERSION};
use crate::relay::step::StepError;

/// Failed messages that `status` names.
const NAMED: u32 = 5;

/// Failed messages that one `retry` takes.
const RETRIED: u32 = 10_000;

impl Run<'_> {
    pub(super) async fn status(&mut self) -> Result<(), StepError> {
        let app = self.app;
        let depth = app.store.depth().await?;
        let chats = app.store.chats().await?;
        let failed = app.store.failed(NAMED).await?;
        let age = |at: Timestamp| self.now.since(at);
        let count = |states: &[ChatState]| chats.iter().filter(|chat| states.contains(&chat.state)).count();
        let linked = app.linked();
        let status = Status {
            version: VERSION.to_owned(),
            homeserver: app.health.homeserver(),
            organisation: linked.map(|linked| linked.link.organisation.clone()),
            dingtalk: app.health.dingtalk(),
            database: None,
            to_matrix: queue(&depth.from_dingtalk, &depth.to_matrix, self.now, 0),
            // The command itself is on its way through the inbox.
            to_dingtalk: queue(&depth.from_matrix, &depth.to_dingtalk, self.now, 1),
            last_event: app.health.last_event().map(|(kind, at)| (kind, age(at))),
            bridged: count(&[ChatState::Bridging, ChatState::Bridged]),
            seen: count(&[ChatState::Seen]),
            held: depth.from_dingtalk.held,
            over_quota: app.health.over_quota(),
            failed: failed.into_iter().map(|failed| (failed.code, age(failed.at))).collect(),
            failed_total: depth.to_matrix.failed + depth.to_dingtalk.failed,
        };
        self.answer(&Reply::Status(Box::new(status)));
        Ok(())
    }

    pub(super) async fn retry(&mut self) -> Result<(), StepError> {
        let failed = self.app.store.failed(RETRIED).await?;
        self.answer(&Reply::Retrying(failed.len()));
        self.stepped.commit.unpark.extend(failed.iter().map(|failed| failed.seq));
        self.stepped.wake.extend(failed.into_iter().map(|failed| failed.lane));
        Ok(())
    }
}

fn queue(inbox: &InboxDepth, outbox: &OutboxDepth, now: Timestamp, own: u64) -> Queue {
    let waiting = inbox.pending.saturating_sub(own) + outbox.unfinished;
    let oldest = [inbox.oldest, outbox.oldest].into_iter().flatten().min();
    let oldest = oldest.filter(|_| waiting > 0).map(|at| now.since(at));
    Queue { waiting, oldest: oldest.or((waiting > 0).then_some(Duration::ZERO)) }
}
