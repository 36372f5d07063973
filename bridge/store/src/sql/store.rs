//! The store's methods. Writes go to the writer, reads to a small pool of connections.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bridge_core::clock::Timestamp;
use bridge_core::envelope::{Lane, Source};
use bridge_core::event::Session;
use bridge_core::id::{ChatId, PersonId, SenderId};
use bridge_core::portal::Chat;
use bridge_core::secret::Secret;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ruma::{EventId, OwnedEventId, RoomId, UserId};
use tokio::sync::mpsc;

use super::apply::remote_columns;
use super::writer::Writer;
use super::{Arg, Columns, Reads, crypto, figures, purge, rows, sealing};
use crate::commit::{Commit, Committed};
use crate::crypto::CryptoRecords;
use crate::error::StoreError;
use crate::feed::{Feed, Gate};
use crate::figures::{ChatFigures, Depth, Purged, Retention};
use crate::ghosts::{Person, Profile};
use crate::inbox::{InboxItem, InboxSeq, ParkedInbox};
use crate::link::Link;
use crate::messages::{MessageMapping, Remote};
use crate::outbox::{Failed, Network, OutboxRow, OutboxSeq, OutboxState};
use crate::seal::{Place, Sealer};
use crate::sealing::{ResealPosition, Resealed, Sealing};
use crate::store::{Answer, Store};

/// Keys asked for at once.
const KEYS_AT_ONCE: usize = 500;

/// The store on a database.
pub(crate) struct Sql<R> {
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) reads: R,
    pub(crate) writer: Writer,
    pub(crate) next_outbox: AtomicI64,
}

/// States of an inbox row.
pub(super) const PENDING: u8 = 0;
pub(super) const HELD: u8 = 1;
const PARKED: u8 = 2;

impl<R: Reads> Sql<R> {
    async fn inbox(
        &self,
        lane: &Lane,
        state: u8,
        after: InboxSeq,
        limit: u32,
    ) -> Result<Vec<InboxItem>, StoreError> {
        let statement = "SELECT seq, key, lane, source, received_at, body FROM inbox
                         WHERE lane = $1 AND state = $2 AND seq > $3 ORDER BY seq LIMIT $4";
        let args = [lane.as_str().into(), state.into(), after.0.into(), limit.into()];
        let found = self.reads.rows(statement, &args).await?;
        found.iter().map(|row| rows::inbox(row, &self.sealer)).collect()
    }

    /// `statement` has the value as `$1`.
    async fn one_person(&self, statement: &'static str, value: &str) -> Result<Option<Person>, StoreError> {
        let found = self.reads.row(statement, &[value.into()]).await?;
        found.as_ref().map(rows::person).transpose()
    }

    /// `statement` has the value as `$1`.
    async fn one_chat(&self, statement: &'static str, value: &str) -> Result<Option<Chat>, StoreError> {
        let found = self.reads.row(statement, &[value.into()]).await?;
        found.as_ref().map(rows::chat).transpose()
    }

    async fn mappings(
        &self,
        statement: &'static str,
        args: &[Arg<'_>],
    ) -> Result<Vec<MessageMapping>, StoreError> {
        let found = self.reads.rows(statement, args).await?;
        found.iter().map(rows::mapping).collect()
    }
}

impl<R: Reads> Store for Sql<R> {
    fn commit(&self, commit: Commit) -> Answer<'_, Committed> {
        self.writer.commit(commit).boxed()
    }

    fn take_feed(&self) -> Option<mpsc::UnboundedReceiver<Feed>> {
        self.gate.take()
    }

    fn feed_resumed(&self, lane: &Lane, through: InboxSeq) -> bool {
        self.gate.resumed(lane, through)
    }

    fn next_outbox_seq(&self) -> OutboxSeq {
        OutboxSeq(self.next_outbox.fetch_add(1, Ordering::Relaxed))
    }

    fn pending_lanes(&self) -> Answer<'_, Vec<Lane>> {
        async move {
            let statement = "SELECT lane FROM inbox WHERE state = 0
                             UNION SELECT lane FROM outbox WHERE state <= 2 ORDER BY lane";
            let lanes = self.reads.rows(statement, &[]).await?;
            lanes.iter().map(|row| Ok(Lane::from_key(row.text("lane")?))).collect()
        }
        .boxed()
    }

    fn pending_inbox<'a>(
        &'a self,
        lane: &'a Lane,
        after: InboxSeq,
        limit: u32,
    ) -> Answer<'a, Vec<InboxItem>> {
        self.inbox(lane, PENDING, after, limit).boxed()
    }

    fn held<'a>(&'a self, lane: &'a Lane, after: InboxSeq, limit: u32) -> Answer<'a, Vec<InboxItem>> {
        self.inbox(lane, HELD, after, limit).boxed()
    }

    fn parked_inbox(&self, limit: u32) -> Answer<'_, Vec<ParkedInbox>> {
        async move {
            let statement = "SELECT seq, source, lane, code, received_at FROM inbox
                             WHERE state = $1 ORDER BY seq DESC LIMIT $2";
            let found = self.reads.rows(statement, &[PARKED.into(), limit.into()]).await?;
            let parked = |row: &R::Row| {
                Ok(ParkedInbox {
                    seq: InboxSeq(row.number("seq")?),
                    source: Source::from_u8(row.small("source")?)
                        .ok_or(StoreError::Unreadable { column: "inbox.source" })?,
                    lane: Lane::from_key(row.text("lane")?),
                    code: row.maybe_text("code")?.unwrap_or_default(),
                    received_at: Timestamp(row.number("received_at")?),
                })
            };
            found.iter().map(parked).collect()
        }
        .boxed()
    }

    fn unfinished_outbox<'a>(&'a self, lane: &'a Lane, limit: u32) -> Answer<'a, Vec<OutboxRow>> {
        async move {
            let statement = "SELECT * FROM outbox WHERE lane = $1 AND state <= 2 ORDER BY seq LIMIT $2";
            let found = self.reads.rows(statement, &[lane.as_str().into(), limit.into()]).await?;
            found.iter().map(|row| rows::outbox(row, &self.sealer)).collect()
        }
        .boxed()
    }

    fn failed(&self, limit: u32) -> Answer<'_, Vec<Failed>> {
        async move {
            let statement = "SELECT seq, lane, network, state, cause, code, attempts, at FROM outbox
                             WHERE state >= 3 ORDER BY at DESC, seq DESC LIMIT $1";
            let found = self.reads.rows(statement, &[limit.into()]).await?;
            let failed = |row: &R::Row| {
                Ok(Failed {
                    seq: OutboxSeq(row.number("seq")?),
                    lane: Lane::from_key(row.text("lane")?),
                    network: Network::from_u8(row.small("network")?)
                        .ok_or(StoreError::Unreadable { column: "outbox.network" })?,
                    state: OutboxState::from_u8(row.small("state")?)
                        .ok_or(StoreError::Unreadable { column: "outbox.state" })?,
                    cause: row.maybe_text("cause")?,
                    code: row.maybe_text("code")?.unwrap_or_default(),
                    attempts: u32::try_from(row.number("attempts")?)
                        .map_err(|_| StoreError::Unreadable { column: "outbox.attempts" })?,
                    at: Timestamp(row.maybe_number("at")?.unwrap_or_default()),
                })
            };
            found.iter().map(failed).collect()
        }
        .boxed()
    }

    fn outbox_item(&self, seq: OutboxSeq) -> Answer<'_, Option<OutboxRow>> {
        async move {
            let found = self.reads.row("SELECT * FROM outbox WHERE seq = $1", &[seq.0.into()]).await?;
            found.as_ref().map(|row| rows::outbox(row, &self.sealer)).transpose()
        }
        .boxed()
    }

    fn chat<'a>(&'a self, id: &'a ChatId) -> Answer<'a, Option<Chat>> {
        self.one_chat("SELECT * FROM chat WHERE id = $1", id.as_str()).boxed()
    }

    fn chat_by_room<'a>(&'a self, room: &'a RoomId) -> Answer<'a, Option<Chat>> {
        self.one_chat("SELECT * FROM chat WHERE room = $1", room.as_str()).boxed()
    }

    fn chats(&self) -> Answer<'_, Vec<Chat>> {
        async move {
            let found = self.reads.rows("SELECT * FROM chat ORDER BY id", &[]).await?;
            found.iter().map(rows::chat).collect()
        }
        .boxed()
    }

    fn person<'a>(&'a self, id: &'a PersonId) -> Answer<'a, Option<Person>> {
        async move { self.one_person("SELECT * FROM person WHERE id = $1", &id.to_key()).await }.boxed()
    }

    fn person_by_mxid<'a>(&'a self, mxid: &'a UserId) -> Answer<'a, Option<Person>> {
        self.one_person("SELECT * FROM person WHERE mxid = $1", mxid.as_str()).boxed()
    }

    fn person_by_sender_id<'a>(&'a self, sender: &'a SenderId) -> Answer<'a, Option<Person>> {
        // A member of the organisation comes before an external person of the same id: "s:" before "x:".
        let statement = "SELECT * FROM person WHERE sender_id = $1 ORDER BY id LIMIT 1";
        self.one_person(statement, sender.as_str()).boxed()
    }

    fn people_named<'a>(&'a self, name: &'a str, limit: u32) -> Answer<'a, Vec<Person>> {
        async move {
            let statement = "SELECT * FROM person WHERE name = $1 ORDER BY id LIMIT $2";
            let found = self.reads.rows(statement, &[name.into(), limit.into()]).await?;
            found.iter().map(rows::person).collect()
        }
        .boxed()
    }

    fn departed<'a>(&'a self, id: &'a PersonId) -> Answer<'a, Option<Timestamp>> {
        async move {
            let statement = "SELECT at FROM departed WHERE person = $1";
            let found = self.reads.row(statement, &[(&id.to_key()).into()]).await?;
            found.map(|row| row.number("at").map(Timestamp)).transpose()
        }
        .boxed()
    }

    fn profile<'a>(&'a self, id: &'a PersonId) -> Answer<'a, Option<Profile>> {
        async move {
            let statement = "SELECT asked_at, source, avatar FROM profile WHERE person = $1";
            let found = self.reads.row(statement, &[(&id.to_key()).into()]).await?;
            found.as_ref().map(rows::profile).transpose()
        }
        .boxed()
    }

    fn is_joined<'a>(&'a self, mxid: &'a UserId, room: &'a RoomId) -> Answer<'a, bool> {
        async move {
            let statement = "SELECT mxid FROM membership WHERE mxid = $1 AND room = $2";
            let args = [mxid.as_str().into(), room.as_str().into()];
            Ok(self.reads.row(statement, &args).await?.is_some())
        }
        .boxed()
    }

    fn session<'a>(&'a self, chat: &'a ChatId) -> Answer<'a, Option<Session>> {
        async move {
            let statement = "SELECT webhook, expires_at FROM session WHERE chat = $1";
            let Some(row) = self.reads.row(statement, &[chat.as_str().into()]).await? else {
                return Ok(None);
            };
            let webhook = self
                .sealer
                .open_secret(Place { column: "session.webhook", row: chat.as_str() }, &row.bytes("webhook")?)
                .map_err(|source| StoreError::Seal { column: "session.webhook", source })?;
            Ok(Some(Session { webhook, expires_at: Timestamp(row.number("expires_at")?) }))
        }
        .boxed()
    }

    fn mapping_by_event<'a>(&'a self, event: &'a EventId) -> Answer<'a, Vec<MessageMapping>> {
        async move {
            let statement = "SELECT * FROM message WHERE event = $1 ORDER BY part";
            self.mappings(statement, &[event.as_str().into()]).await
        }
        .boxed()
    }

    fn edits_of<'a>(&'a self, original: &'a EventId) -> Answer<'a, Vec<OwnedEventId>> {
        async move {
            let statement = "SELECT event FROM edit WHERE original = $1 ORDER BY at, event";
            let found = self.reads.rows(statement, &[original.as_str().into()]).await?;
            found.iter().map(rows::event).collect()
        }
        .boxed()
    }

    fn mapping_by_remote<'a>(
        &'a self,
        chat: &'a ChatId,
        remote: &'a Remote,
    ) -> Answer<'a, Vec<MessageMapping>> {
        async move {
            let (kind, Some(remote)) = remote_columns(remote) else { return Ok(Vec::new()) };
            let statement = "SELECT * FROM message WHERE remote = $1 AND chat = $2 AND remote_kind = $3
                             ORDER BY part, event";
            self.mappings(statement, &[remote.into(), chat.as_str().into(), kind.into()]).await
        }
        .boxed()
    }

    fn seen<'a>(&'a self, keys: &'a [String]) -> Answer<'a, Vec<bool>> {
        async move {
            let statement = format!("SELECT key FROM seen WHERE key IN {}", R::TEXTS.replace('@', "$1"));
            let mut found = HashSet::new();
            for some in keys.chunks(KEYS_AT_ONCE) {
                for row in self.reads.rows(&statement, &[some.into()]).await? {
                    found.insert(row.text("key")?);
                }
            }
            Ok(keys.iter().map(|key| found.contains(key)).collect())
        }
        .boxed()
    }

    fn link(&self) -> Answer<'_, Option<Link>> {
        async move {
            let found = self.reads.row("SELECT * FROM link", &[]).await?;
            found.as_ref().map(|row| rows::link(row, &self.sealer)).transpose()
        }
        .boxed()
    }

    fn setting<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Secret>> {
        async move {
            let found = self.reads.row("SELECT value FROM setting WHERE name = $1", &[key.into()]).await?;
            let Some(row) = found else { return Ok(None) };
            let place = Place { column: "setting.value", row: key };
            let value = self.sealer.open_secret(place, &row.bytes("value")?);
            value.map(Some).map_err(|source| StoreError::Seal { column: "setting.value", source })
        }
        .boxed()
    }

    fn crypto_record<'a>(&'a self, kind: &'a str, name: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        crypto::read(&self.reads, &self.sealer, kind, name).boxed()
    }

    fn crypto_records<'a>(
        &'a self,
        kind: &'a str,
        which: CryptoRecords<'a>,
    ) -> Answer<'a, Vec<(String, Vec<u8>)>> {
        crypto::list(&self.reads, &self.sealer, kind, which).boxed()
    }

    fn crypto_count<'a>(&'a self, kind: &'a str, which: CryptoRecords<'a>) -> Answer<'a, u64> {
        crypto::count(&self.reads, kind, which).boxed()
    }

    fn depth(&self) -> Answer<'_, Depth> {
        figures::depth(self).boxed()
    }

    fn chat_figures(&self) -> Answer<'_, ChatFigures> {
        figures::chats(self).boxed()
    }

    fn purge(&self, now: Timestamp, retention: Retention) -> Answer<'_, Purged> {
        purge::purge(self, now, retention).boxed()
    }

    fn sealing(&self) -> Answer<'_, Sealing> {
        sealing::count(&self.reads, &self.sealer).boxed()
    }

    fn reseal(&self, from: ResealPosition) -> Answer<'_, Resealed> {
        sealing::step(self, from).boxed()
    }

    fn check(&self) -> Answer<'_, ()> {
        self.reads.check().boxed()
    }

    fn size_bytes(&self) -> Answer<'_, u64> {
        self.reads.size_bytes().boxed()
    }

    fn taken_over(&self) -> BoxFuture<'_, ()> {
        self.writer.taken_over().boxed()
    }

    fn close(&self) -> Answer<'_, ()> {
        async move {
            // The writer's connection is the last: SQLite's takes its log into the database.
            self.reads.close().await;
            self.writer.close().await;
            Ok(())
        }
        .boxed()
    }
}
