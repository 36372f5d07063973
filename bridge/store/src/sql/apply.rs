//! Writes commits inside one transaction, field by field over all of them.

use std::collections::HashSet;

use bridge_core::envelope::Envelope;
use bridge_core::id::{ChatId, CorpId, PersonId, RobotCode, SenderId};
use bridge_core::portal::{Chat, ChatState, PortalChange};

use super::{Arg, Columns};
use crate::commit::{Commit, Committed};
use crate::error::StoreError;
use crate::ghosts::{Person, Profile};
use crate::inbox::InboxSeq;
use crate::link::Link;
use crate::messages::{MessageMapping, Remote};
use crate::outbox::{OutboxItem, OutboxSeq, OutboxState, Settlement};
use crate::seal::{Place, SealError, Sealer};

/// A connection inside a transaction. Many rows at once are written in each database's fastest way.
pub(crate) trait Writes: Send {
    /// What a row comes as.
    type Row: Columns + Send + Sync;

    /// Runs a statement; the number of rows it changed.
    fn run<'a>(
        &'a mut self,
        statement: &'a str,
        args: &'a [Arg<'a>],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send + 'a;

    /// All rows of a statement.
    fn rows<'a>(
        &'a mut self,
        statement: &'a str,
        args: &'a [Arg<'a>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send + 'a;

    /// Runs `head`, which ends in the name of a column, for the rows where it is one of the numbers.
    fn for_numbers<'a>(
        &'a mut self,
        head: &'a str,
        numbers: &'a [i64],
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'a;

    /// Remembers the keys of envelopes; answers those that were not known.
    fn remember<'a>(
        &'a mut self,
        envelopes: &'a [&'a Envelope],
    ) -> impl Future<Output = Result<HashSet<String>, StoreError>> + Send + 'a;

    /// Inserts inbox rows.
    fn insert_inbox<'a>(
        &'a mut self,
        rows: &'a [NewInbox<'a>],
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'a;

    /// Inserts outbox rows.
    fn insert_outbox<'a>(
        &'a mut self,
        rows: &'a [NewOutbox<'a>],
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'a;

    /// Inserts mappings, or replaces them. No two of them have the same event and part.
    fn insert_mappings<'a>(
        &'a mut self,
        rows: &'a [&'a MessageMapping],
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'a;
}

/// An inbox row to be inserted.
pub(crate) struct NewInbox<'a> {
    pub(crate) seq: i64,
    pub(crate) envelope: &'a Envelope,
    /// Its body, sealed.
    pub(crate) body: Vec<u8>,
}

/// An outbox row to be inserted.
pub(crate) struct NewOutbox<'a> {
    pub(crate) item: &'a OutboxItem,
    /// Its operation, sealed.
    pub(crate) op: Vec<u8>,
}

/// What a transaction did.
pub(crate) struct Applied {
    /// For each commit.
    pub(crate) results: Vec<Committed>,
    /// For each accepted envelope in order its number; none for a repetition.
    pub(crate) seqs: Vec<Option<InboxSeq>>,
    /// The number of the next inbox row.
    pub(crate) next_inbox: i64,
}

fn sealing(column: &'static str) -> impl Fn(SealError) -> StoreError {
    move |source| StoreError::Seal { column, source }
}

pub(crate) async fn apply(
    conn: &mut impl Writes,
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
            edits: _,
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
            reseal: _,
            crypto: _,
        } = commit;
        done.extend(finished.iter().map(|seq| seq.0));
        keep.extend(held.iter().map(|seq| seq.0));
        enqueue.extend(new);
        sending.extend(marked.iter().map(|seq| seq.0));
        settle.extend(settled);
        map.extend(mapped);
        unpark.extend(again.iter().map(|seq| seq.0));
    }
    conn.for_numbers("DELETE FROM inbox WHERE seq", &done).await?;
    for (seq, code) in commits.iter().flat_map(|commit| &commit.park_inbox) {
        let statement = "UPDATE inbox SET state = 2, code = $1 WHERE seq = $2";
        conn.run(statement, &[code.into(), seq.0.into()]).await?;
    }
    conn.for_numbers("UPDATE inbox SET state = 1 WHERE seq", &keep).await?;
    insert_outbox(conn, sealer, &enqueue).await?;
    for rewrite in commits.iter().flat_map(|commit| &commit.rewrite) {
        let place = Place { column: "outbox.op", row: &rewrite.key };
        let op = sealer.seal(place, &rewrite.op).map_err(sealing("outbox.op"))?;
        let statement = "UPDATE outbox SET op = $1 WHERE seq = $2 AND key = $3";
        conn.run(statement, &[(&op).into(), rewrite.seq.0.into(), (&rewrite.key).into()]).await?;
    }
    let head = format!("UPDATE outbox SET state = {} WHERE seq", OutboxState::Sending as u8);
    conn.for_numbers(&head, &sending).await?;
    settle_rows(conn, &settle).await?;
    insert_mappings(conn, &map).await?;
    state(conn, sealer, commits).await?;
    let head = format!(
        "UPDATE outbox SET state = {}, attempts = 0, at = NULL, code = NULL WHERE state >= {} AND seq",
        OutboxState::Queued as u8,
        OutboxState::Parked as u8
    );
    conn.for_numbers(&head, &unpark).await?;
    for row in commits.iter().flat_map(|commit| &commit.reseal) {
        super::sealing::write(conn, row).await?;
    }
    for record in commits.iter().flat_map(|commit| &commit.crypto) {
        super::crypto::write(conn, sealer, record).await?;
    }
    Ok(applied)
}

async fn accept(
    conn: &mut impl Writes,
    sealer: &Sealer,
    mut next_inbox: i64,
    commits: &[Commit],
) -> Result<Applied, StoreError> {
    let envelopes: Vec<&Envelope> = commits.iter().flat_map(|commit| &commit.accept).collect();
    let mut fresh = if envelopes.is_empty() { HashSet::new() } else { conn.remember(&envelopes).await? };
    let mut rows = Vec::with_capacity(fresh.len());
    let mut seqs = Vec::with_capacity(envelopes.len());
    let mut results = Vec::with_capacity(commits.len());
    for commit in commits {
        let mut result = Committed::default();
        for envelope in &commit.accept {
            if fresh.remove(&envelope.key) {
                let place = Place { column: "inbox.body", row: &envelope.key };
                let body = sealer.seal(place, &envelope.body).map_err(sealing("inbox.body"))?;
                rows.push(NewInbox { seq: next_inbox, envelope, body });
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
    if !rows.is_empty() {
        conn.insert_inbox(&rows).await?;
    }
    Ok(Applied { results, seqs, next_inbox })
}

async fn insert_outbox(
    conn: &mut impl Writes,
    sealer: &Sealer,
    items: &[&OutboxItem],
) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        let place = Place { column: "outbox.op", row: &item.key };
        rows.push(NewOutbox { item, op: sealer.seal(place, &item.op).map_err(sealing("outbox.op"))? });
    }
    conn.insert_outbox(&rows).await
}

async fn settle_rows(conn: &mut impl Writes, settled: &[&(OutboxSeq, Settlement)]) -> Result<(), StoreError> {
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
        let statement = "UPDATE outbox SET state = $1, attempts = coalesce($2, attempts), at = $3, code = $4
                         WHERE seq = $5";
        let args = [(state as u8).into(), attempts.into(), at.0.into(), code.into(), seq.0.into()];
        conn.run(statement, &args).await?;
    }
    conn.for_numbers("DELETE FROM outbox WHERE seq", &done).await
}

async fn insert_mappings(conn: &mut impl Writes, map: &[&MessageMapping]) -> Result<(), StoreError> {
    if map.is_empty() {
        return Ok(());
    }
    // The later of two of the same event and part counts, and no statement may change a row twice.
    let mut known = HashSet::with_capacity(map.len());
    let mut rows: Vec<&MessageMapping> =
        map.iter().rev().copied().filter(|mapping| known.insert((&mapping.event, mapping.part))).collect();
    rows.reverse();
    conn.insert_mappings(&rows).await
}

/// How a [`Remote`] is stored.
pub(crate) fn remote_columns(remote: &Remote) -> (u8, Option<&str>) {
    match remote {
        Remote::Message(id) => (0, Some(id.as_str())),
        Remote::Query(key) => (1, Some(key.as_str())),
        Remote::None => (2, None),
    }
}

/// Everything that changes seldom: a statement a row.
async fn state(conn: &mut impl Writes, sealer: &Sealer, commits: &[Commit]) -> Result<(), StoreError> {
    for edit in commits.iter().flat_map(|commit| &commit.edits) {
        let statement =
            "INSERT INTO edit (event, original, at) VALUES ($1, $2, $3) ON CONFLICT (event) DO NOTHING";
        conn.run(statement, &[edit.event.as_str().into(), edit.original.as_str().into(), edit.at.0.into()])
            .await?;
    }
    for chat in commits.iter().flat_map(|commit| &commit.chats) {
        write_chat(conn, chat).await?;
    }
    for (chat, change) in commits.iter().flat_map(|commit| &commit.portals) {
        change_portal(conn, chat, change).await?;
    }
    for person in commits.iter().flat_map(|commit| &commit.people) {
        write_person(conn, person).await?;
    }
    for (person, at) in commits.iter().flat_map(|commit| &commit.departed) {
        let person = person.to_key();
        if let Some(at) = at {
            let statement = "INSERT INTO departed (person, at) VALUES ($1, $2)
                             ON CONFLICT (person) DO UPDATE SET at = excluded.at";
            conn.run(statement, &[(&person).into(), at.0.into()]).await?;
        } else {
            conn.run("DELETE FROM departed WHERE person = $1", &[(&person).into()]).await?;
        }
    }
    for (person, profile) in commits.iter().flat_map(|commit| &commit.profiles) {
        write_profile(conn, person, profile).await?;
    }
    for (user, room, joined) in commits.iter().flat_map(|commit| &commit.memberships) {
        let statement = if *joined {
            "INSERT INTO membership (mxid, room) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        } else {
            "DELETE FROM membership WHERE mxid = $1 AND room = $2"
        };
        conn.run(statement, &[user.as_str().into(), room.as_str().into()]).await?;
    }
    for (chat, session) in commits.iter().flat_map(|commit| &commit.session) {
        let place = Place { column: "session.webhook", row: chat.as_str() };
        let webhook =
            sealer.seal(place, session.webhook.expose().as_bytes()).map_err(sealing("session.webhook"))?;
        let statement =
            "INSERT INTO session (chat, webhook, expires_at) VALUES ($1, $2, $3) ON CONFLICT (chat)
                         DO UPDATE SET webhook = excluded.webhook, expires_at = excluded.expires_at";
        conn.run(statement, &[chat.as_str().into(), (&webhook).into(), session.expires_at.0.into()]).await?;
    }
    for link in commits.iter().filter_map(|commit| commit.link.as_ref()) {
        // At most one row: the former link goes whatever its key is.
        conn.run("DELETE FROM link", &[]).await?;
        match link {
            Some(link) => write_link(conn, sealer, link).await?,
            None => drop(conn.run("DELETE FROM session", &[]).await?),
        }
    }
    for (name, value) in commits.iter().flat_map(|commit| &commit.settings) {
        let Some(value) = value else {
            conn.run("DELETE FROM setting WHERE name = $1", &[name.into()]).await?;
            continue;
        };
        let place = Place { column: "setting.value", row: name };
        let value = sealer.seal(place, value.expose().as_bytes()).map_err(sealing("setting.value"))?;
        let statement = "INSERT INTO setting (name, value) VALUES ($1, $2)
                         ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        conn.run(statement, &[name.into(), (&value).into()]).await?;
    }
    Ok(())
}

async fn write_chat(conn: &mut impl Writes, chat: &Chat) -> Result<(), StoreError> {
    let peer = chat.peer.as_ref().map(PersonId::to_key);
    // Only the row of the same id is changed: a room that belongs to another chat must fail, not take its row.
    let statement =
        "INSERT INTO chat (id, kind, title, state, room, robot, peer, announced, first_seen, last_message, synced_to)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, title = excluded.title, robot = excluded.robot,
         peer = excluded.peer, announced = (chat.announced OR excluded.announced),
         last_message = CASE WHEN excluded.last_message > chat.last_message
         THEN excluded.last_message ELSE chat.last_message END";
    let args = [
        chat.id.as_str().into(),
        (chat.kind as u8).into(),
        chat.title.as_deref().into(),
        chat.state.as_str().into(),
        chat.room.as_ref().map(|room| room.as_str()).into(),
        chat.robot.as_ref().map(RobotCode::as_str).into(),
        peer.as_deref().into(),
        chat.announced.into(),
        chat.first_seen.0.into(),
        chat.last_message.0.into(),
        chat.synced_to.as_deref().into(),
    ];
    conn.run(statement, &args).await.map(drop)
}

async fn change_portal(
    conn: &mut impl Writes,
    chat: &ChatId,
    change: &PortalChange,
) -> Result<(), StoreError> {
    let chat = chat.as_str();
    let changed = match change {
        PortalChange::Choose { room, synced_to } => {
            let statement = "UPDATE chat SET state = $1, room = $2, synced_to = $3 WHERE id = $4";
            let state = ChatState::Bridging.as_str();
            let args = [state.into(), room.as_str().into(), synced_to.as_deref().into(), chat.into()];
            conn.run(statement, &args).await
        }
        PortalChange::Open => {
            let statement = "UPDATE chat SET state = $1 WHERE id = $2 AND state = $3";
            let (to, from) = (ChatState::Bridged.as_str(), ChatState::Bridging.as_str());
            conn.run(statement, &[to.into(), chat.into(), from.into()]).await
        }
        PortalChange::Move { from, to } => {
            let statement = "UPDATE chat SET room = $1, synced_to = NULL WHERE id = $2 AND room = $3";
            conn.run(statement, &[to.as_str().into(), chat.into(), from.as_str().into()]).await
        }
        PortalChange::Close { room } => {
            let statement =
                "UPDATE chat SET state = $1, room = NULL, synced_to = NULL WHERE id = $2 AND room = $3";
            let state = ChatState::Unbridged.as_str();
            conn.run(statement, &[state.into(), chat.into(), room.as_str().into()]).await
        }
        PortalChange::End => {
            let statement = "UPDATE chat SET state = $1 WHERE id = $2";
            conn.run(statement, &[ChatState::Dead.as_str().into(), chat.into()]).await
        }
        PortalChange::Release { room } => {
            let statement =
                "UPDATE chat SET room = NULL, synced_to = NULL WHERE id = $1 AND room = $2 AND state = $3";
            let state = ChatState::Dead.as_str();
            conn.run(statement, &[chat.into(), room.as_str().into(), state.into()]).await
        }
        PortalChange::Synced { room, event } => {
            let statement = "UPDATE chat SET synced_to = $1 WHERE id = $2 AND room = $3";
            conn.run(statement, &[event.into(), chat.into(), room.as_str().into()]).await
        }
    };
    changed.map(drop)
}

async fn write_person(conn: &mut impl Writes, person: &Person) -> Result<(), StoreError> {
    let id = person.id.to_key();
    let statement = "INSERT INTO person (id, mxid, name, sender_id, registered, device, shown_name, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (id) DO UPDATE SET mxid = excluded.mxid, name = excluded.name, sender_id = excluded.sender_id,
         registered = excluded.registered, device = excluded.device, shown_name = excluded.shown_name,
         updated_at = excluded.updated_at";
    let args = [
        (&id).into(),
        person.mxid.as_str().into(),
        (&person.name).into(),
        person.sender_id.as_ref().map(SenderId::as_str).into(),
        person.registered.into(),
        person.device.into(),
        person.shown_name.as_deref().into(),
        person.updated_at.0.into(),
    ];
    conn.run(statement, &args).await.map(drop)
}

async fn write_profile(
    conn: &mut impl Writes,
    person: &PersonId,
    profile: &Profile,
) -> Result<(), StoreError> {
    let person = person.to_key();
    let statement = "INSERT INTO profile (person, asked_at, source, avatar) VALUES ($1, $2, $3, $4)
         ON CONFLICT (person) DO UPDATE SET asked_at = excluded.asked_at, source = excluded.source,
         avatar = excluded.avatar";
    let args = [
        (&person).into(),
        profile.asked_at.0.into(),
        profile.source.as_deref().into(),
        profile.avatar.as_deref().into(),
    ];
    conn.run(statement, &args).await.map(drop)
}

async fn write_link(conn: &mut impl Writes, sealer: &Sealer, link: &Link) -> Result<(), StoreError> {
    let place = Place { column: "link.app_secret", row: link.app_key.as_str() };
    let secret =
        sealer.seal(place, link.app_secret.expose().as_bytes()).map_err(sealing("link.app_secret"))?;
    let agent_id = link.agent_id.to_string();
    let statement = "INSERT INTO link
         (id, app_key, app_secret, agent_id, corp, organisation, linked_by, linked_at, room, source)
         VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let args = [
        link.app_key.as_str().into(),
        (&secret).into(),
        (&agent_id).into(),
        link.corp.as_ref().map(CorpId::as_str).into(),
        (&link.organisation).into(),
        link.linked_by.as_str().into(),
        link.linked_at.0.into(),
        link.room.as_ref().map(|room| room.as_str()).into(),
        (link.source as u8).into(),
    ];
    conn.run(statement, &args).await.map(drop)
}
