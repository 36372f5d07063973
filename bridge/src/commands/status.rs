//! `status` and `retry`.

use bridge_core::clock::Timestamp;
use bridge_core::reply::{Reply, Status};

use crate::commands::{Run, VERSION};
use crate::observe::standing::Standing;
use crate::relay::step::StepError;

/// Failed messages that `status` names.
const NAMED: u32 = 5;

/// Failed messages that one `retry` takes.
const RETRIED: u32 = 10_000;

impl Run<'_> {
    pub(super) async fn status(&mut self) -> Result<(), StepError> {
        let app = self.app;
        let standing = Standing::read(app).await;
        let chats = app.store.chat_figures().await?;
        let failed = app.store.failed(NAMED).await?;
        let age = |at: Timestamp| self.now.since(at);
        let linked = standing.linked.as_ref();
        let status = Status {
            version: VERSION.to_owned(),
            homeserver: standing.homeserver.clone(),
            organisation: linked.map(|linked| linked.link.organisation.clone()),
            dingtalk: standing.dingtalk.clone(),
            receiving: super::receiving::line(standing.receive, &standing.stream, self.now),
            database: standing.depth.err().map(str::to_owned),
            to_matrix: standing.to_matrix(),
            // The command itself is on its way through the inbox.
            to_dingtalk: standing.to_dingtalk(1),
            last_event: standing.last_event(&chats).map(|(kind, at)| (kind, age(at))),
            silence: standing.silence.map(|silence| crate::away::silence_line(silence, self.now)),
            bridged: usize::try_from(chats.bridged).unwrap_or(usize::MAX),
            seen: usize::try_from(chats.seen).unwrap_or(usize::MAX),
            held: standing.depth.map_or(0, |depth| depth.from_dingtalk.held),
            over_quota: app.health.over_quota(),
            failed: failed.into_iter().map(|failed| (failed.code, age(failed.at))).collect(),
            failed_total: standing.failed(),
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
