//! The worker of one lane.

mod recover;
mod tell;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::delivery::attempt::{self, Outcome, Tried};
use bridge_core::delivery::key::OpKey;
use bridge_core::envelope::Lane;
use bridge_core::event::RoomEventKind;
use bridge_core::id::ChatId;
use bridge_core::portal::PortalChange;
use bridge_dingtalk::client::Gate;
use bridge_store::{Commit, InboxItem, InboxSeq, Network, OutboxItem, OutboxRewrite, OutboxSeq, StoreError};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::encryption::{reading, sealing};
use crate::media::{self, Moved};
use crate::relay::lanes::{Lanes, Next};
use crate::relay::mark::{Settled, lock, mark, split};
use crate::relay::op::Rendered;
use crate::relay::step::{self, Decoded};
use crate::relay::{outcome, send};

/// Rows read from the database at once.
const PAGE: u32 = 64;

/// Longest pause before a step that failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(crate) struct Worker {
    app: Arc<App>,
    lanes: Arc<Lanes>,
    lane: Lane,
    stop: CancellationToken,
    /// The last inbox row that was taken.
    last: InboxSeq,
}

/// An operation on its way.
struct InFlight {
    seq: OutboxSeq,
    key: OpKey,
    op: Rendered,
    created_at: Timestamp,
    attempts: u32,
    /// When its own attempts began, as far as is known.
    since: Option<Timestamp>,
    /// Not before this moment.
    due: Timestamp,
}

/// How sending went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Went {
    /// All that was to be sent is settled.
    Through,
    /// One had to wait; those that were behind it are in the database.
    Waiting,
}

/// The bridge is stopping: what is not done stays in the database.
struct Stopped;

impl Worker {
    pub(crate) fn new(app: Arc<App>, lanes: Arc<Lanes>, lane: Lane, stop: CancellationToken) -> Self {
        Self { app, lanes, lane, stop, last: InboxSeq(0) }
    }

    pub(crate) async fn run(mut self) {
        loop {
            if self.stop.is_cancelled() {
                return;
            }
            let next = self.lanes.next(&self.lane);
            let result = match next {
                Next::Recover => self.recover().await,
                Next::Items(items) => self.handle(items).await,
                Next::Read => self.read().await,
                Next::End => return,
            };
            if result.is_err() {
                return;
            }
        }
    }

    /// Waits, or learns that the bridge stops.
    async fn pause(&self, span: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = tokio::time::sleep(span) => Ok(()),
            () = self.stop.cancelled() => Err(Stopped),
        }
    }

    /// Waits for another attempt, which is made at once when a peer is usable again.
    async fn pause_until_return(
        &self,
        span: Duration,
        returns: Option<watch::Receiver<()>>,
    ) -> Result<(), Stopped> {
        let returned = async {
            match returns {
                Some(mut returns) => returns.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            paused = self.pause(span) => paused,
            _ = returned => Ok(()),
        }
    }

    /// Whether it is known to be; one that was not is looked at now.
    fn homeserver_is_away(&self) -> bool {
        let away = self.app.health.homeserver().is_some();
        if !away {
            self.app.health.doubt_homeserver();
        }
        away
    }

    /// One of the places at work. Nobody who only waits holds one.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, Stopped> {
        self.lanes.permits().acquire_owned().await.map_err(|_| Stopped)
    }

    /// Repeats a call of the store until it works.
    async fn insist<T, F>(&self, what: &str, mut call: impl FnMut() -> F) -> Result<T, Stopped>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = Duration::from_millis(50);
        loop {
            match call().await {
                Ok(value) => return Ok(value),
                Err(error) => {
                    tracing::error!(lane = self.lane.as_str(), code = error.code(), "{what}: {error}");
                    self.app.forget();
                }
            }
            self.pause(pause).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn read(&mut self) -> Result<(), Stopped> {
        let most = if self.is_held_up() { 1 } else { self.lanes.share(PAGE) };
        let page = self.insist("inbox", || self.app.store.pending_inbox(&self.lane, self.last, most)).await?;
        let short = page.len() < most as usize;
        if !page.is_empty() {
            self.handle(page).await?;
        }
        if short && self.app.store.feed_resumed(&self.lane, self.last) {
            self.lanes.caught_up(&self.lane);
        }
        Ok(())
    }

    /// Handles inbox rows in order. Those that need nothing of one another share a commit.
    async fn handle(&mut self, items: Vec<InboxItem>) -> Result<(), Stopped> {
        let mut batch: Vec<(InboxItem, Decoded)> = Vec::new();
        for item in items {
            self.last = item.seq;
            let mut decoded = step::decode(&item);
            if let Decoded::Room(event) = &decoded
                && event.what == RoomEventKind::Encrypted
                && self.app.encryption.is_some()
            {
                // Waiting for a key must not hold up what came before.
                self.carry_out(std::mem::take(&mut batch)).await?;
                let envelope = &item.envelope;
                let event = (**event).clone();
                let opened = reading::wait(&self.app, event, envelope, &self.stop).await;
                decoded = Decoded::Room(Box::new(opened.ok_or(Stopped)?));
            }
            if let Decoded::Backfill(chat) = &decoded {
                let chat = chat.clone();
                self.carry_out(std::mem::take(&mut batch)).await?;
                self.backfill(item.seq, &chat).await?;
            } else if decoded.stands_alone(&self.app) {
                self.carry_out(std::mem::take(&mut batch)).await?;
                self.app.settler.flush().await;
                self.carry_out(vec![(item, decoded)]).await?;
            } else {
                batch.push((item, decoded));
            }
        }
        self.carry_out(batch).await
    }

    /// Everything that was held for a chat, in order, before anything newer; then the chat is bridged. After a crash
    /// in between it goes on with what is still held.
    async fn backfill(&mut self, seq: InboxSeq, chat: &ChatId) -> Result<(), Stopped> {
        // This row may be here before the command's lane knows that its commit is done: what is remembered of the chat
        // may still say that its messages are to be held.
        self.app.forget_chat(chat, &[]);
        let mut after = InboxSeq(0);
        loop {
            let page = self.insist("held", || self.app.store.held(&self.lane, after, PAGE)).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for item in page {
                let decoded = step::decode(&item).released();
                if decoded.stands_alone(&self.app) {
                    self.app.settler.flush().await;
                }
                self.carry_out(vec![(item, decoded)]).await?;
            }
        }
        self.commit(|| Commit {
            done: vec![seq],
            portals: vec![(chat.clone(), PortalChange::Open)],
            ..Commit::default()
        })
        .await?;
        self.app.forget_chat(chat, &[]);
        Ok(())
    }

    /// Decides about rows, commits what follows in one transaction, then sends it.
    async fn carry_out(&mut self, batch: Vec<(InboxItem, Decoded)>) -> Result<(), Stopped> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut batch = batch;
        let mut pause = Duration::from_millis(100);
        while !batch.is_empty() {
            if self.stop.is_cancelled() {
                return Err(Stopped);
            }
            let permit = self.permit().await?;
            let most = if self.is_held_up() { 1 } else { batch.len() };
            let decided = self.decide(&batch[..most]).await;
            drop(permit);
            match decided {
                Ok((decided, flights)) => {
                    batch.drain(..decided);
                    if self.send_all(flights).await? == Went::Waiting {
                        self.recover().await?;
                    }
                    continue;
                }
                Err(error) if !error.is_retryable() => return self.set_aside(batch, &error).await,
                Err(error) => {
                    tracing::warn!(
                        lane = self.lane.as_str(),
                        code = error.code(),
                        "a step is tried again: {error}"
                    );
                    self.app.forget();
                }
            }
            self.pause(pause).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// A step that will never work must not stop the lane: the rows of a batch are tried one by one, and the one to
    /// blame is kept under its code.
    async fn set_aside(
        &mut self,
        batch: Vec<(InboxItem, Decoded)>,
        error: &step::StepError,
    ) -> Result<(), Stopped> {
        self.app.forget();
        if let [(item, _)] = batch.as_slice() {
            let (seq, code) = (item.seq, error.code());
            tracing::error!(
                lane = self.lane.as_str(),
                seq = seq.0,
                code,
                "an inbox row is kept aside: {error}"
            );
            self.app.metrics.unreadable(code);
            return self
                .commit(|| Commit { park_inbox: vec![(seq, code.to_owned())], ..Commit::default() })
                .await;
        }
        for one in batch {
            Box::pin(self.carry_out(vec![one])).await?;
        }
        Ok(())
    }

    /// Decides about as many rows as need nothing of one another, and commits what follows. A row that changes a chat
    /// ends them: others may know of the change only when it is durable. Answers how many it were.
    async fn decide(
        &self,
        batch: &[(InboxItem, Decoded)],
    ) -> Result<(usize, Vec<InFlight>), step::StepError> {
        let mut commit = Commit::default();
        let mut flights: Vec<InFlight> = Vec::new();
        let mut again = std::collections::HashSet::new();
        let (mut after, mut guards) = (Vec::new(), Vec::new());
        let now = self.app.now();
        let mut decided = 0;
        for (item, decoded) in batch {
            let stepped = step::step(&self.app, item, decoded, now).await?;
            decided += 1;
            step::merge(&mut commit, stepped.commit);
            again.extend(stepped.wake);
            after.extend(stepped.after);
            guards.extend(stepped.guard);
            for (key, op) in stepped.ops {
                flights.push(self.flight(key, op, now));
            }
            if !commit.chats.is_empty() || !commit.portals.is_empty() {
                break;
            }
        }
        for flight in &flights {
            commit.enqueue.push(self.row(flight)?);
        }
        let (chats, portals) = (commit.chats.clone(), commit.portals.clone());
        self.app.store.commit(commit).await?;
        self.app.took(&chats, &portals, after);
        drop(guards);
        if !again.is_empty() {
            self.lanes.recover(again);
        }
        Ok((decided, flights))
    }

    fn flight(&self, key: OpKey, op: Rendered, now: Timestamp) -> InFlight {
        InFlight {
            seq: self.app.store.next_outbox_seq(),
            key,
            op,
            created_at: now,
            attempts: 0,
            since: None,
            due: now,
        }
    }

    fn row(&self, flight: &InFlight) -> Result<OutboxItem, step::StepError> {
        flight.op.to_row(flight.seq, self.lane.clone(), &flight.key, flight.created_at)
    }

    /// Whether the peer that this lane sends to is known to be away: then no more is taken into memory than has to be.
    fn is_held_up(&self) -> bool {
        let health = &self.app.health;
        let problem = if self.lane.is_from_room() { health.dingtalk() } else { health.homeserver() };
        problem.is_some()
    }

    /// Sends in order. A failure that may pass holds the lane up: order is kept. Those behind it are let go of, since their
    /// rows have them.
    async fn send_all(&self, flights: Vec<InFlight>) -> Result<Went, Stopped> {
        let mut queue: VecDeque<InFlight> = flights.into();
        let mut settled = Settled::new();
        let mut returns = None;
        let mut went = Went::Through;
        while let Some(mut flight) = queue.pop_front() {
            let wait = flight.due.since(self.app.now());
            if !wait.is_zero() {
                self.write(&mut settled, Vec::new()).await?;
                self.pause_until_return(wait, returns.take()).await?;
            }
            if self.stop.is_cancelled() {
                self.write(&mut settled, Vec::new()).await?;
                return Err(Stopped);
            }
            flight.attempts += 1;
            let since = *flight.since.get_or_insert(self.app.now());
            let mut sent = self.attempt(&mut flight, &mut settled, &mut queue).await?;
            if let Outcome::Failed { code } = &sent.outcome {
                returns = Some(self.app.health.returns());
                if flight.op.network() == Network::Matrix && self.homeserver_is_away() {
                    sent.outcome = Outcome::Away { code: code.clone() };
                }
            }
            let now = self.app.now();
            self.app.metrics.sent(&flight.op, &sent.outcome, now);
            let (chance, policy) = (self.app.chance(), self.app.policy());
            let tried = Tried { attempts: flight.attempts, queued_at: flight.created_at, since };
            let next = attempt::next(&sent.outcome, tried, now, chance, &policy);
            let settlement = outcome::settlement(&next, &sent.outcome, flight.attempts, now);
            match &next {
                attempt::Next::Done if flight.op.network() == Network::Matrix => {
                    self.app.settler.settled(flight.seq, settlement, sent.mapping).await;
                }
                attempt::Next::Done => {
                    settled.push((flight.seq, settlement, sent.mapping));
                    if let Some(notice) = sent.notice.and_then(|reply| self.told_after(&flight, &reply)) {
                        self.write(&mut settled, self.insist_row(&notice)).await?;
                        queue.push_front(notice);
                    }
                }
                attempt::Next::Retry(at) => {
                    log_failure(&self.lane, &flight, &sent.outcome, "will be tried again");
                    settled.push((flight.seq, settlement, None));
                    self.write(&mut settled, Vec::new()).await?;
                    flight.due = *at;
                    queue.clear();
                    queue.push_front(flight);
                    went = Went::Waiting;
                }
                attempt::Next::Park | attempt::Next::MaybeSent => {
                    log_failure(&self.lane, &flight, &sent.outcome, "was given up");
                    settled.push((flight.seq, settlement, None));
                    if let Some(notice) = self.failure_notice(&flight, &next, &sent.outcome) {
                        self.write(&mut settled, self.insist_row(&notice)).await?;
                        queue.push_front(notice);
                    }
                }
            }
        }
        self.write(&mut settled, Vec::new()).await?;
        Ok(went)
    }

    /// One attempt. A message for DingTalk is marked as being sent when its request stands and before its body
    /// leaves; the same commit writes what became of the messages before it.
    async fn attempt(
        &self,
        flight: &mut InFlight,
        settled: &mut Settled,
        queue: &mut VecDeque<InFlight>,
    ) -> Result<send::Sent, Stopped> {
        if media::is_file(&flight.op)
            && let Err(outcome) = self.move_on(flight, settled, queue).await?
        {
            return Ok(send::Sent::without_mapping(outcome));
        }
        if let Err(outcome) = self.seal(flight).await? {
            return Ok(send::Sent::without_mapping(outcome));
        }
        let _permit = self.permit().await?;
        if flight.op.is_repeatable() {
            return Ok(send::attempt(&self.app, &flight.key, &flight.op, &Gate::open()).await);
        }
        let before = Arc::new(Mutex::new(std::mem::take(settled)));
        let gate = Gate::new(mark(Arc::clone(&self.app), flight.seq, Arc::clone(&before)));
        let sent = send::attempt(&self.app, &flight.key, &flight.op, &gate).await;
        // Whatever the gate did not write is still there.
        settled.append(&mut lock(&before));
        Ok(sent)
    }

    /// Encrypts a message for an encrypted room. The ciphertext is in its row before it leaves, and never made again.
    async fn seal(&self, flight: &mut InFlight) -> Result<Result<(), Outcome>, Stopped> {
        let Rendered::Matrix(send) = &mut flight.op else { return Ok(Ok(())) };
        if send.sealed.is_some() {
            return Ok(Ok(()));
        }
        match sealing::seal(&self.app, &send.room, &send.content).await {
            Ok(None) => return Ok(Ok(())),
            Ok(sealed) => send.sealed = sealed,
            Err(problem) => return Ok(Err(problem.outcome())),
        }
        self.rewrite(flight, Vec::new()).await
    }

    /// Writes what an operation has become into its row.
    async fn rewrite(
        &self,
        flight: &InFlight,
        enqueue: Vec<OutboxItem>,
    ) -> Result<Result<(), Outcome>, Stopped> {
        let Ok(row) = self.row(flight) else {
            return Ok(Err(Outcome::Refused { code: "unrenderable".to_owned() }));
        };
        self.commit(|| Commit {
            rewrite: vec![OutboxRewrite { seq: row.seq, key: row.key.clone(), op: row.op.clone() }],
            enqueue: enqueue.clone(),
            ..Commit::default()
        })
        .await?;
        Ok(Ok(()))
    }

    /// Carries a file over, which may take long: it has a place of its own, keeps nobody's result from being written,
    /// and is given up when the bridge stops. What was done is in its row.
    async fn move_on(
        &self,
        flight: &mut InFlight,
        settled: &mut Settled,
        queue: &mut VecDeque<InFlight>,
    ) -> Result<Result<(), Outcome>, Stopped> {
        self.write(settled, Vec::new()).await?;
        let work = async {
            let _place = self.app.media.place().await;
            let row = media::Row { seq: flight.seq, key: &flight.key };
            media::move_on(&self.app, row, &mut flight.op).await
        };
        let moved = tokio::select! {
            moved = work => moved,
            () = self.stop.cancelled() => return Err(Stopped),
        };
        let Moved { next, beside } = match moved {
            Ok(moved) => moved,
            Err(outcome) => return Ok(Err(outcome)),
        };
        flight.op = next;
        let beside = beside.map(|op| self.notice(flight, 1, op));
        let enqueue = beside.as_ref().map(|notice| self.insist_row(notice)).unwrap_or_default();
        let written = self.rewrite(flight, enqueue).await?;
        if let (Ok(()), Some(notice)) = (&written, beside) {
            queue.push_front(notice);
        }
        Ok(written)
    }

    fn insist_row(&self, flight: &InFlight) -> Vec<OutboxItem> {
        self.row(flight).into_iter().collect()
    }

    /// Commits what became of messages, and new rows.
    async fn write(&self, settled: &mut Settled, enqueue: Vec<OutboxItem>) -> Result<(), Stopped> {
        if settled.is_empty() && enqueue.is_empty() {
            return Ok(());
        }
        let (settle, map) = split(std::mem::take(settled));
        self.commit(|| Commit {
            settle: settle.clone(),
            map: map.clone(),
            enqueue: enqueue.clone(),
            ..Commit::default()
        })
        .await
    }

    async fn commit(&self, make: impl Fn() -> Commit) -> Result<(), Stopped> {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.app.store.commit(make()).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    tracing::error!(lane = self.lane.as_str(), code = error.code(), "outbox: {error}");
                }
            }
            self.pause(pause).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn log_failure(lane: &Lane, flight: &InFlight, outcome: &Outcome, fate: &str) {
    tracing::warn!(
        lane = lane.as_str(),
        cause = flight.op.cause(),
        attempts = flight.attempts,
        code = outcome::code(outcome),
        "a message {fate}"
    );
}
