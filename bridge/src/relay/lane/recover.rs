//! What a lane has in the outbox from an earlier time: from before a start, or from before one had to wait.

use bridge_core::delivery::attempt::{self, Outcome};
use bridge_core::delivery::key::OpKey;
use bridge_store::{Network, OutboxRow, OutboxState, Settlement};

use super::{InFlight, PAGE, Stopped, Went, Worker, log_failure};
use crate::relay::op::Rendered;
use crate::relay::outcome;

impl Worker {
    /// Looks after outbox rows of an earlier time.
    ///
    /// A row marked as being sent means that the bridge ended between the mark and the answer: it may have been sent,
    /// so it is not repeated and the room is told.
    pub(super) async fn recover(&self) -> Result<(), Stopped> {
        self.app.settler.flush().await;
        // What waits is not kept in memory: one at a time until one went through.
        let mut most = 1;
        loop {
            let rows = self.insist("outbox", || self.app.store.unfinished_outbox(&self.lane, most)).await?;
            if rows.is_empty() {
                return Ok(());
            }
            most = self.lanes.share(PAGE);
            for row in rows {
                if self.recover_row(row).await? == Went::Waiting {
                    most = 1;
                    break;
                }
            }
            self.app.settler.flush().await;
        }
    }

    async fn recover_row(&self, row: OutboxRow) -> Result<Went, Stopped> {
        let now = self.app.now();
        let OutboxRow { item, state, attempts, next_at, .. } = row;
        let Ok(op) = serde_json::from_slice::<Rendered>(&item.op) else {
            tracing::error!(
                lane = self.lane.as_str(),
                seq = item.seq.0,
                "an outbox row of another version was given up"
            );
            let code = "unreadable".to_owned();
            let mut settled = vec![(item.seq, Settlement::Parked { attempts, code, at: now }, None)];
            self.write(&mut settled, Vec::new()).await?;
            return Ok(Went::Through);
        };
        let flight = InFlight {
            seq: item.seq,
            key: OpKey::from_stored(item.key),
            op,
            created_at: item.created_at,
            attempts,
            since: (attempts > 0).then_some(item.created_at),
            due: next_at.unwrap_or(now),
        };
        if state == OutboxState::Sending && flight.op.network() == Network::DingTalk {
            let unknown = Outcome::Unknown { code: outcome::MAYBE_SENT.to_owned() };
            log_failure(&self.lane, &flight, &unknown, "may have been sent before the bridge ended");
            self.app.metrics.sent(&flight.op, &unknown, now);
            let settlement = Settlement::MaybeSent { code: outcome::MAYBE_SENT.to_owned(), at: now };
            let mut settled = vec![(flight.seq, settlement, None)];
            let Some(notice) = self.failure_notice(&flight, &attempt::Next::MaybeSent, &unknown) else {
                self.write(&mut settled, Vec::new()).await?;
                return Ok(Went::Through);
            };
            self.write(&mut settled, self.insist_row(&notice)).await?;
            return self.send_all(vec![notice]).await;
        }
        self.send_all(vec![flight]).await
    }
}
