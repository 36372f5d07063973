//! Writes commits inside one transaction, field by field over all of them.

use std::collections::HashSet;

use bridge_core::envelope::Envelope;
use bridge_core::id::{ChatId, CorpId, PersonId, RobotCode, SenderId};
use bridge_core::portal::{ChatState, PortalChange};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::sql::{chunks, for_numbers, insert, with_rows};
use crate::commit::{Commit, Committed};
use crate::error::StoreError;
use crate::ghosts::Person;
use crate::inbox::InboxSeq;
use crate::link::Link;
use crate::messages::{MessageMapping, Remote};
use crate::outbox::{OutboxItem, OutboxSeq, OutboxState, Settlement};
use crate::seal::{Place, SealError, Sealer};

/// What a transaction did.
pub(super) struct Applied {
    /// For each commit.
    pub(super) results: Vec<Committed>,
    /// For each accepted envelope in order its number; none for a repetition.
    pub(super) seqs: Vec<Option<InboxSeq>>,
    /// The number of the next inbox row.
    pub(super) next_inbox: i64,
}

fn sealing(column: &'static str) -> impl Fn(SealError) -> StoreError {
    move |source| StoreError::Seal { column, source }
}

pub(super) async fn apply(
    conn: &mut SqliteConnection,
    sealer: &Sealer,
    next_inbox: i64,
    commits: &[Commit],
) -> Result<Applied, StoreError> {
    let applied = accept(conn, sealer, next_inbox, commits).await?;
    let mut done = Vec::new();
    let mut keep = Vec::new();
    let mut enqueue = Vec::new();
    let mut sending = Vec::new();
    let mut settle = Vec::new();
    let mut map = Vec::new();
    let mut unpark = Vec::new();
    for commit in commits {
        // No `..`: a field that is not written does not compile.
        let Commit {
            accept: _,
            done: finished,
            park_inbox: _,
            hold: held,
            enqueue: new,
            rewrite: _,
            sending: marked,
            settle: settled,
            map: mapped,
            chats: _,
            portals: _,
            people: _,
            departed: _,
            profiles: _,
            memberships: _,
            session: _,
            link: _,
            settings: _,
            unpark: again,
        } = commit;
        done.extend(finished.iter().map(|seq| seq.0));
        keep.extend(held.iter().map(|seq| seq.0));
        enqueue.extend(new);
        sending.extend(marked.iter().map(|seq| seq.0));
        settle.extend(settled);
        map.extend(mapped);
        unpark.extend(again.iter().map(|seq| seq.0));
    }
    for_numbers(conn, "DELETE FROM inbox WHERE seq IN", &done, "").await?;
    for (seq, code) in commits.iter().flat_map(|commit| &commit.park_inbox) {
        let statement =
            sqlx::query("UPDATE inbox SET state = 2, code = ? WHERE seq = ?").bind(code).bind(seq.0);
        statement.execute(&mut *conn).await?;
    }
    for_numbers(conn, "UPDATE inbox SET state = 1 WHERE seq IN", &keep, "").await?;
    insert_outbox(conn, sealer, &enqueue).await?;
    for rewrite in commits.iter().flat_map(|commit| &commit.rewrite) {
        let place = Place { column: "outbox.op", row: &rewrite.key };
        let op = sealer.seal(place, &rewrite.op).map_err(sealing("outbox.op"))?;
        let statement = sqlx::query("UPDATE outbox SET op = ? WHERE seq = ? AND key = ?");
        statement.bind(op).bind(rewrite.seq.0).bind(&rewrite.key).execute(&mut *conn).await?;
    }
    let head = format!("UPDATE outbox SET state = {} WHERE seq IN", OutboxState::Sending as u8);
    for_numbers(conn, &head, &sending, "").await?;
    settle_rows(conn, &settle).await?;
    insert_mappings(conn, &map).await?;
    state(conn, sealer, commits).await?;
    let head = format!(
        "UPDATE outbox SET state = {}, attempts = 0, at = NULL, code = NULL WHERE state >= {} AND seq IN",
        OutboxState::Queued as u8,
        OutboxState::Parked as u8
    );
    for_numbers(conn, &head, &unpark, "").await?;
    Ok(applied)
}

async fn accept(
    conn: &mut SqliteConnection,
    sealer: &Sealer,
    mut next_inbox: i64,
    commits: &[Commit],
) -> Result<Applied, StoreError> {
    let envelopes: Vec<&Envelope> = commits.iter().flat_map(|commit| &commit.accept).collect();
    let mut fresh: HashSet<String> = HashSet::new();
    for piece in chunks(&envelopes) {
        let head = "INSERT INTO seen (key, at) VALUES";
        let statement = sqlx::query(with_rows(head, 2, piece.len(), "ON CONFLICT DO NOTHING RETURNING key"));
        let statement = piece.iter().fold(statement, |statement, envelope| {
            statement.bind(&envelope.key).bind(envelope.received_at.0)
        });
        for row in statement.fetch_all(&mut *conn).await? {
            fresh.insert(row.try_get(0)?);
        }
    }
    let mut rows = Vec::with_capacity(fresh.len());
    let mut seqs = Vec::with_capacity(envelopes.len());
    let mut results = Vec::with_capacity(commits.len());
    for commit in commits {
        let mut result = Committed::default();
        for envelope in &commit.accept {
            if fresh.remove(&envelope.key) {
                let place = Place { column: "inbox.body", row: &envelope.key };
                let body = sealer.seal(place, &envelope.body).map_err(sealing("inbox.body"))?;
                rows.push((next_inbox, envelope, body));
                seqs.push(Some(InboxSeq(next_inbox)));
                next_inbox += 1;
                result.accepted += 1;
            } else {
                seqs.push(None);
                result.duplicates += 1;
            }
        }
        results.push(result);
    }
    let head = "INSERT INTO inbox (seq, key, lane, source, received_at, body) VALUES";
    insert(conn, head, 6, "", &rows, |statement, (seq, envelope, body)| {
        statement
            .bind(*seq)
            .bind(&envelope.key)
            .bind(envelope.lane.as_str())
            .bind(envelope.source as u8)
            .bind(envelope.received_at.0)
            .bind(body)
    })
    .await?;
    Ok(Applied { results, seqs, next_inbox })
}

async fn insert_outbox(
    conn: &mut SqliteConnection,
    sealer: &Sealer,
    items: &[&OutboxItem],
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        let place = Place { column: "outbox.op", row: &item.key };
        rows.push((*item, sealer.seal(place, &item.op).map_err(sealing("outbox.op"))?));
    }
    let head = "INSERT INTO outbox (seq, lane, network, key, cause, created_at, state, op) VALUES";
    insert(conn, head, 8, "", &rows, |statement, (item, op)| {
        statement
            .bind(item.seq.0)
            .bind(item.lane.as_str())
            .bind(item.network as u8)
            .bind(&item.key)
            .bind(item.cause.as_deref())
            .bind(item.created_at.0)
            .bind(OutboxState::Queued as u8)
            .bind(op)
    })
    .await
}

async fn settle_rows(
    conn: &mut SqliteConnection,
    settled: &[&(OutboxSeq, Settlement)],
) -> Result<(), StoreError> {
    let mut done = Vec::new();
    for (seq, settlement) in settled {
        let (state, attempts, at, code) = match settlement {
            Settlement::Done => {
                done.push(seq.0);
                continue;
            }
            Settlement::Retry { attempts, at, code } => (OutboxState::Retry, Some(*attempts), at, code),
            Settlement::Parked { attempts, code, at } => (OutboxState::Parked, Some(*attempts), at, code),
            Settlement::MaybeSent { code, at } => (OutboxState::MaybeSent, None, at, code),
        };
        sqlx::query(
            "UPDATE outbox SET state = ?, attempts = coalesce(?, attempts), at = ?, code = ? WHERE seq = ?",
        )
        .bind(state as u8)
        .bind(attempts)
        .bind(at.0)
        .bind(code)
        .bind(seq.0)
        .execute(&mut *conn)
        .await?;
    }
    for_numbers(conn, "DELETE FROM outbox WHERE seq IN", &done, "").await
}

async fn insert_mappings(conn: &mut SqliteConnection, map: &[&MessageMapping]) -> Result<(), StoreError> {
    let head = "INSERT OR REPLACE INTO message (event, part, room, chat, remote_kind, remote, direction, sender, at) VALUES";
    insert(conn, head, 9, "", map, |statement, mapping| {
        let (kind, remote) = remote_columns(&mapping.remote);
        statement
            .bind(mapping.event.as_str())
            .bind(mapping.part)
            .bind(mapping.room.as_str())
            .bind(mapping.chat.as_str())
            .bind(kind)
            .bind(remote)
            .bind(mapping.direction as u8)
            .bind(&mapping.sender)
            .bind(mapping.at.0)
    })
    .await
}

/// How a [`Remote`] is stored.
pub(super) fn remote_columns(remote: &Remote) -> (u8, Option<&str>) {
    match remote {
        Remote::Message(id) => (0, Some(id.as_str())),
        Remote::Query(key) => (1, Some(key.as_str())),
        Remote::None => (2, None),
    }
}

/// Everything that changes seldom: a statement a row.
async fn state(conn: &mut SqliteConnection, sealer: &Sealer, commits: &[Commit]) -> Result<(), StoreError> {
    for chat in commits.iter().flat_map(|commit| &commit.chats) {
        // Not INSERT OR REPLACE: a room that belongs to another chat must fail, not take its row.
        sqlx::query(
            "INSERT INTO chat (id, kind, title, state, room, robot, peer, announced, first_seen, last_message, synced_to)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, title = excluded.title, robot = excluded.robot,
             peer = excluded.peer, announced = max(announced, excluded.announced),
             last_message = max(last_message, excluded.last_message)",
        )
        .bind(chat.id.as_str())
        .bind(chat.kind as u8)
        .bind(chat.title.as_deref())
        .bind(chat.state.as_str())
        .bind(chat.room.as_ref().map(|room| room.as_str()))
        .bind(chat.robot.as_ref().map(RobotCode::as_str))
        .bind(chat.peer.as_ref().map(PersonId::to_key))
        .bind(chat.announced)
        .bind(chat.first_seen.0)
        .bind(chat.last_message.0)
        .bind(chat.synced_to.as_deref())
        .execute(&mut *conn)
        .await?;
    }
    for (chat, change) in commits.iter().flat_map(|commit| &commit.portals) {
        change_portal(conn, chat, change).await?;
    }
    for person in commits.iter().flat_map(|commit| &commit.people) {
        write_person(conn, person).await?;
    }
    for (person, at) in commits.iter().flat_map(|commit| &commit.departed) {
        let statement = if at.is_some() {
            "INSERT OR REPLACE INTO departed (person, at) VALUES (?, ?)"
        } else {
            "DELETE FROM departed WHERE person = ?"
        };
        let statement = sqlx::query(statement).bind(person.to_key());
        let statement = if let Some(at) = at { statement.bind(at.0) } else { statement };
        statement.execute(&mut *conn).await?;
    }
    for (person, profile) in commits.iter().flat_map(|commit| &commit.profiles) {
        sqlx::query("INSERT OR REPLACE INTO profile (person, asked_at, source, avatar) VALUES (?, ?, ?, ?)")
            .bind(person.to_key())
            .bind(profile.asked_at.0)
            .bind(profile.source.as_deref())
            .bind(profile.avatar.as_deref())
            .execute(&mut *conn)
            .await?;
    }
    for (user, room, joined) in commits.iter().flat_map(|commit| &commit.memberships) {
        let statement = if *joined {
            "INSERT INTO membership (mxid, room) VALUES (?, ?) ON CONFLICT DO NOTHING"
        } else {
            "DELETE FROM membership WHERE mxid = ? AND room = ?"
        };
        sqlx::query(statement).bind(user.as_str()).bind(room.as_str()).execute(&mut *conn).await?;
    }
    for (chat, session) in commits.iter().flat_map(|commit| &commit.session) {
        let place = Place { column: "session.webhook", row: chat.as_str() };
        let webhook =
            sealer.seal(place, session.webhook.expose().as_bytes()).map_err(sealing("session.webhook"))?;
        sqlx::query("INSERT OR REPLACE INTO session (chat, webhook, expires_at) VALUES (?, ?, ?)")
            .bind(chat.as_str())
            .bind(webhook)
            .bind(session.expires_at.0)
            .execute(&mut *conn)
            .await?;
    }
    for link in commits.iter().filter_map(|commit| commit.link.as_ref()) {
        if let Some(link) = link {
            write_link(conn, sealer, link).await?;
        } else {
            sqlx::query("DELETE FROM link").execute(&mut *conn).await?;
            sqlx::query("DELETE FROM session").execute(&mut *conn).await?;
        }
    }
    for (name, value) in commits.iter().flat_map(|commit| &commit.settings) {
        let Some(value) = value else {
            sqlx::query("DELETE FROM setting WHERE name = ?").bind(name).execute(&mut *conn).await?;
            continue;
        };
        let place = Place { column: "setting.value", row: name };
        let value = sealer.seal(place, value.expose().as_bytes()).map_err(sealing("setting.value"))?;
        sqlx::query("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)")
            .bind(name)
            .bind(value)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

async fn change_portal(
    conn: &mut SqliteConnection,
    chat: &ChatId,
    change: &PortalChange,
) -> Result<(), StoreError> {
    let statement = match change {
        PortalChange::Choose { room, synced_to } => {
            sqlx::query("UPDATE chat SET state = ?, room = ?, synced_to = ? WHERE id = ?")
                .bind(ChatState::Bridging.as_str())
                .bind(room.as_str())
                .bind(synced_to.as_deref())
                .bind(chat.as_str())
        }
        PortalChange::Open => sqlx::query("UPDATE chat SET state = ? WHERE id = ? AND state = ?")
            .bind(ChatState::Bridged.as_str())
            .bind(chat.as_str())
            .bind(ChatState::Bridging.as_str()),
        PortalChange::Move { from, to } => {
            sqlx::query("UPDATE chat SET room = ?, synced_to = NULL WHERE id = ? AND room = ?")
                .bind(to.as_str())
                .bind(chat.as_str())
                .bind(from.as_str())
        }
        PortalChange::Close { room } => {
            sqlx::query("UPDATE chat SET state = ?, room = NULL, synced_to = NULL WHERE id = ? AND room = ?")
                .bind(ChatState::Unbridged.as_str())
                .bind(chat.as_str())
                .bind(room.as_str())
        }
        PortalChange::End => sqlx::query("UPDATE chat SET state = ? WHERE id = ?")
            .bind(ChatState::Dead.as_str())
            .bind(chat.as_str()),
        PortalChange::Release { room } => sqlx::query(
            "UPDATE chat SET room = NULL, synced_to = NULL WHERE id = ? AND room = ? AND state = ?",
        )
        .bind(chat.as_str())
        .bind(room.as_str())
        .bind(ChatState::Dead.as_str()),
        PortalChange::Synced { room, event } => {
            sqlx::query("UPDATE chat SET synced_to = ? WHERE id = ? AND room = ?")
                .bind(event)
                .bind(chat.as_str())
                .bind(room.as_str())
        }
    };
    statement.execute(conn).await?;
    Ok(())
}

async fn write_person(conn: &mut SqliteConnection, person: &Person) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO person (id, mxid, name, sender_id, registered, device, shown_name, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET mxid = excluded.mxid, name = excluded.name, sender_id = excluded.sender_id,
         registered = excluded.registered, device = excluded.device, shown_name = excluded.shown_name,
         updated_at = excluded.updated_at",
    )
    .bind(person.id.to_key())
    .bind(person.mxid.as_str())
    .bind(&person.name)
    .bind(person.sender_id.as_ref().map(SenderId::as_str))
    .bind(person.registered)
    .bind(person.device)
    .bind(person.shown_name.as_deref())
    .bind(person.updated_at.0)
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_link(conn: &mut SqliteConnection, sealer: &Sealer, link: &Link) -> Result<(), StoreError> {
    let place = Place { column: "link.app_secret", row: link.app_key.as_str() };
    let secret =
        sealer.seal(place, link.app_secret.expose().as_bytes()).map_err(sealing("link.app_secret"))?;
    sqlx::query(
        "INSERT OR REPLACE INTO link
         (id, app_key, app_secret, agent_id, corp, organisation, linked_by, linked_at, room, source)
         VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(link.app_key.as_str())
    .bind(secret)
    .bind(link.agent_id.to_string())
    .bind(link.corp.as_ref().map(CorpId::as_str))
    .bind(&link.organisation)
    .bind(link.linked_by.as_str())
    .bind(link.linked_at.0)
    .bind(link.room.as_ref().map(|room| room.as_str()))
    .bind(link.source as u8)
    .execute(conn)
    .await?;
    Ok(())
}
