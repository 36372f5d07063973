//! The store's methods. Writes go to the writer, reads to a small pool of connections.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bridge_core::clock::Timestamp;
use bridge_core::envelope::{Lane, Source};
use bridge_core::event::Session;
use bridge_core::id::{ChatId, PersonId, SenderId};
use bridge_core::portal::Chat;
use bridge_core::secret::Secret;
use futures_util::FutureExt;
use ruma::{EventId, RoomId, UserId};
use sqlx::query::QueryScalar;
use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::mpsc;

use super::apply::remote_columns;
use super::sql::{chunks, with_rows};
use super::writer::Writer;
use super::{figures, purge, rows};
use crate::commit::{Commit, Committed};
use crate::error::StoreError;
use crate::feed::{Feed, Gate};
use crate::figures::{ChatFigures, Depth, Purged, Retention};
use crate::ghosts::{Person, Profile};
use crate::inbox::{InboxItem, InboxSeq, ParkedInbox};
use crate::link::Link;
use crate::messages::{MessageMapping, Remote};
use crate::outbox::{Failed, Network, OutboxRow, OutboxSeq, OutboxState};
use crate::seal::{Place, Sealer};
use crate::store::{Answer, Store};

pub(super) struct Sqlite {
    pub(super) path: PathBuf,
    pub(super) sealer: Arc<Sealer>,
    pub(super) gate: Arc<Gate>,
    pub(super) readers: SqlitePool,
    pub(super) writer: Writer,
    pub(super) next_outbox: AtomicI64,
}

/// States of an inbox row.
pub(super) const PENDING: u8 = 0;
pub(super) const HELD: u8 = 1;
const PARKED: u8 = 2;

impl Sqlite {
    async fn inbox(
        &self,
        lane: &Lane,
        state: u8,
        after: InboxSeq,
        limit: u32,
    ) -> Result<Vec<InboxItem>, StoreError> {
        let found = sqlx::query(
            "SELECT seq, key, lane, source, received_at, body FROM inbox
             WHERE lane = ? AND state = ? AND seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(lane.as_str())
        .bind(state)
        .bind(after.0)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        found.iter().map(|row| rows::inbox(row, &self.sealer)).collect()
    }

    async fn one_person(&self, column: &'static str, value: &str) -> Result<Option<Person>, StoreError> {
        // A member of the organisation comes before an external person of the same id: "s:" before "x:".
        let statement = AssertSqlSafe(format!("SELECT * FROM person WHERE {column} = ? ORDER BY id LIMIT 1"));
        let found = sqlx::query(statement).bind(value).fetch_optional(&self.readers).await?;
        found.as_ref().map(rows::person).transpose()
    }

    async fn one_chat(&self, column: &'static str, value: &str) -> Result<Option<Chat>, StoreError> {
        let statement = AssertSqlSafe(format!("SELECT * FROM chat WHERE {column} = ?"));
        let found = sqlx::query(statement).bind(value).fetch_optional(&self.readers).await?;
        found.as_ref().map(rows::chat).transpose()
    }
}

impl Store for Sqlite {
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
            let lanes: Vec<String> = sqlx::query_scalar(
                "SELECT lane FROM inbox WHERE state = 0 UNION SELECT lane FROM outbox WHERE state <= 2 ORDER BY lane",
            )
            .fetch_all(&self.readers)
            .await?;
            Ok(lanes.into_iter().map(Lane::from_key).collect())
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
            let found = sqlx::query(
                "SELECT seq, source, lane, code, received_at FROM inbox WHERE state = ? ORDER BY seq DESC LIMIT ?",
            )
            .bind(PARKED)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
            let parked = |row: &sqlx::sqlite::SqliteRow| {
                Ok(ParkedInbox {
                    seq: InboxSeq(row.try_get("seq")?),
                    source: Source::from_u8(row.try_get("source")?)
                        .ok_or(StoreError::Unreadable { column: "inbox.source" })?,
                    lane: Lane::from_key(row.try_get("lane")?),
                    code: row.try_get::<Option<String>, _>("code")?.unwrap_or_default(),
                    received_at: Timestamp(row.try_get("received_at")?),
                })
            };
            found.iter().map(parked).collect()
        }
        .boxed()
    }

    fn unfinished_outbox<'a>(&'a self, lane: &'a Lane, limit: u32) -> Answer<'a, Vec<OutboxRow>> {
        async move {
            let found =
                sqlx::query("SELECT * FROM outbox WHERE lane = ? AND state <= 2 ORDER BY seq LIMIT ?")
                    .bind(lane.as_str())
                    .bind(limit)
                    .fetch_all(&self.readers)
                    .await?;
            found.iter().map(|row| rows::outbox(row, &self.sealer)).collect()
        }
        .boxed()
    }

    fn failed(&self, limit: u32) -> Answer<'_, Vec<Failed>> {
        async move {
            let found = sqlx::query(
                "SELECT seq, lane, network, state, cause, code, attempts, at FROM outbox
                 WHERE state >= 3 ORDER BY at DESC, seq DESC LIMIT ?",
            )
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
            let failed = |row: &sqlx::sqlite::SqliteRow| {
                Ok(Failed {
                    seq: OutboxSeq(row.try_get("seq")?),
                    lane: Lane::from_key(row.try_get("lane")?),
                    network: Network::from_u8(row.try_get("network")?)
                        .ok_or(StoreError::Unreadable { column: "outbox.network" })?,
                    state: OutboxState::from_u8(row.try_get("state")?)
                        .ok_or(StoreError::Unreadable { column: "outbox.state" })?,
                    cause: row.try_get("cause")?,
                    code: row.try_get::<Option<String>, _>("code")?.unwrap_or_default(),
                    attempts: row.try_get("attempts")?,
                    at: Timestamp(row.try_get::<Option<i64>, _>("at")?.unwrap_or_default()),
                })
            };
            found.iter().map(failed).collect()
        }
        .boxed()
    }

    fn outbox_item(&self, seq: OutboxSeq) -> Answer<'_, Option<OutboxRow>> {
        async move {
            let found = sqlx::query("SELECT * FROM outbox WHERE seq = ?")
                .bind(seq.0)
                .fetch_optional(&self.readers)
                .await?;
            found.as_ref().map(|row| rows::outbox(row, &self.sealer)).transpose()
        }
        .boxed()
    }

    fn chat<'a>(&'a self, id: &'a ChatId) -> Answer<'a, Option<Chat>> {
        self.one_chat("id", id.as_str()).boxed()
    }

    fn chat_by_room<'a>(&'a self, room: &'a RoomId) -> Answer<'a, Option<Chat>> {
        self.one_chat("room", room.as_str()).boxed()
    }

    fn chats(&self) -> Answer<'_, Vec<Chat>> {
        async move {
            let found = sqlx::query("SELECT * FROM chat ORDER BY id").fetch_all(&self.readers).await?;
            found.iter().map(rows::chat).collect()
        }
        .boxed()
    }

    fn person<'a>(&'a self, id: &'a PersonId) -> Answer<'a, Option<Person>> {
        async move { self.one_person("id", &id.to_key()).await }.boxed()
    }

    fn person_by_mxid<'a>(&'a self, mxid: &'a UserId) -> Answer<'a, Option<Person>> {
        self.one_person("mxid", mxid.as_str()).boxed()
    }

    fn person_by_sender_id<'a>(&'a self, sender: &'a SenderId) -> Answer<'a, Option<Person>> {
        self.one_person("sender_id", sender.as_str()).boxed()
    }

    fn people_named<'a>(&'a self, name: &'a str, limit: u32) -> Answer<'a, Vec<Person>> {
        async move {
            let found = sqlx::query("SELECT * FROM person WHERE name = ? ORDER BY id LIMIT ?")
                .bind(name)
                .bind(limit)
                .fetch_all(&self.readers)
                .await?;
            found.iter().map(rows::person).collect()
        }
        .boxed()
    }

    fn departed<'a>(&'a self, id: &'a PersonId) -> Answer<'a, Option<Timestamp>> {
        async move {
            let found: Option<i64> = sqlx::query_scalar("SELECT at FROM departed WHERE person = ?")
                .bind(id.to_key())
                .fetch_optional(&self.readers)
                .await?;
            Ok(found.map(Timestamp))
        }
        .boxed()
    }

    fn profile<'a>(&'a self, id: &'a PersonId) -> Answer<'a, Option<Profile>> {
        async move {
            let found = sqlx::query("SELECT asked_at, source, avatar FROM profile WHERE person = ?")
                .bind(id.to_key())
                .fetch_optional(&self.readers)
                .await?;
            let profile = |row: sqlx::sqlite::SqliteRow| {
                Ok(Profile {
                    asked_at: Timestamp(row.try_get("asked_at")?),
                    source: row.try_get("source")?,
                    avatar: row.try_get("avatar")?,
                })
            };
            found.map(profile).transpose()
        }
        .boxed()
    }

    fn is_joined<'a>(&'a self, mxid: &'a UserId, room: &'a RoomId) -> Answer<'a, bool> {
        async move {
            let found: i64 =
                sqlx::query_scalar("SELECT count(*) FROM membership WHERE mxid = ? AND room = ?")
                    .bind(mxid.as_str())
                    .bind(room.as_str())
                    .fetch_one(&self.readers)
                    .await?;
            Ok(found > 0)
        }
        .boxed()
    }

    fn session<'a>(&'a self, chat: &'a ChatId) -> Answer<'a, Option<Session>> {
        async move {
            let found = sqlx::query("SELECT webhook, expires_at FROM session WHERE chat = ?")
                .bind(chat.as_str())
                .fetch_optional(&self.readers)
                .await?;
            let Some(row) = found else { return Ok(None) };
            let sealed: Vec<u8> = row.try_get("webhook")?;
            let webhook = self
                .sealer
                .open_secret(Place { column: "session.webhook", row: chat.as_str() }, &sealed)
                .map_err(|source| StoreError::Seal { column: "session.webhook", source })?;
            Ok(Some(Session { webhook, expires_at: Timestamp(row.try_get("expires_at")?) }))
        }
        .boxed()
    }

    fn mapping_by_event<'a>(&'a self, event: &'a EventId) -> Answer<'a, Vec<MessageMapping>> {
        async move {
            let found = sqlx::query("SELECT * FROM message WHERE event = ? ORDER BY part")
                .bind(event.as_str())
                .fetch_all(&self.readers)
                .await?;
            found.iter().map(rows::mapping).collect()
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
            let found = sqlx::query(
                "SELECT * FROM message WHERE remote = ? AND chat = ? AND remote_kind = ? ORDER BY part, event",
            )
            .bind(remote)
            .bind(chat.as_str())
            .bind(kind)
            .fetch_all(&self.readers)
            .await?;
            found.iter().map(rows::mapping).collect()
        }
        .boxed()
    }

    fn seen<'a>(&'a self, keys: &'a [String]) -> Answer<'a, Vec<bool>> {
        async move {
            let mut found = std::collections::HashSet::new();
            for piece in chunks(keys) {
                let statement =
                    sqlx::query_scalar(with_rows("SELECT key FROM seen WHERE key IN", piece.len(), 1, ""));
                let statement = piece.iter().fold(statement, QueryScalar::bind);
                let known: Vec<String> = statement.fetch_all(&self.readers).await?;
                found.extend(known);
            }
            Ok(keys.iter().map(|key| found.contains(key)).collect())
        }
        .boxed()
    }

    fn link(&self) -> Answer<'_, Option<Link>> {
        async move {
            let found = sqlx::query("SELECT * FROM link").fetch_optional(&self.readers).await?;
            found.as_ref().map(|row| rows::link(row, &self.sealer)).transpose()
        }
        .boxed()
    }

    fn setting<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Secret>> {
        async move {
            let found: Option<Vec<u8>> = sqlx::query_scalar("SELECT value FROM setting WHERE name = ?")
                .bind(key)
                .fetch_optional(&self.readers)
                .await?;
            let place = Place { column: "setting.value", row: key };
            found
                .map(|sealed| self.sealer.open_secret(place, &sealed))
                .transpose()
                .map_err(|source| StoreError::Seal { column: "setting.value", source })
        }
        .boxed()
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

    fn check(&self) -> Answer<'_, ()> {
        async move {
            let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.readers).await?;
            if found == "ok" {
                return Ok(());
            }
            Err(StoreError::Damaged(found))
        }
        .boxed()
    }

    fn size_bytes(&self) -> Answer<'_, u64> {
        async move {
            let mut total = 0;
            for suffix in ["", "-wal"] {
                let mut name = self.path.as_os_str().to_owned();
                name.push(suffix);
                total += tokio::fs::metadata(&name).await.map_or(0, |metadata| metadata.len());
            }
            Ok(total)
        }
        .boxed()
    }

    fn close(&self) -> Answer<'_, ()> {
        async move {
            // The writer's connection is the last: it takes the log into the database.
            self.readers.close().await;
            self.writer.close().await;
            Ok(())
        }
        .boxed()
    }
}
