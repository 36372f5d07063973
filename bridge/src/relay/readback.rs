//! Fetches from the portals' timelines what the homeserver did not deliver.
//!
//! No homeserver can be relied on to deliver again: one drops what was not answered 200, another backs off for
//! minutes, and a proxy in between answers for a bridge that is away. So each portal has a watermark, the newest event
//! up to which nothing is missing; a reading walks back to it and takes what is not known, in the timeline's order.
//! An event that comes by push as well is recognised by its id.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::delivery::key::{KeySeed, Purpose};
use bridge_core::envelope::Lane;
use bridge_core::portal::{Chat, PortalChange};
use bridge_core::reply::Reply;
use bridge_matrix::wire::transaction::{Sorted, sort};
use bridge_store::{Commit, Network, OutboxItem, StoreError};
use ruma::OwnedRoomId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::relay::lanes::Lanes;
use crate::relay::op::bot_says;
use crate::relay::step::StepError;

/// Events asked for at once.
const PAGE: u32 = 100;

/// Most pages read for one portal before the room is told about a gap.
const MOST_PAGES: usize = 200;

/// How often all portals are read without a reason.
const IDLE: Duration = Duration::from_mins(10);

/// Shortest time between two readings, however many reasons there are.
const SETTLE: Duration = Duration::from_secs(2);

/// Reads all portals at start, when asked, and now and then.
pub(crate) async fn run(app: Arc<App>, lanes: Arc<Lanes>, ask: Arc<Notify>, stop: CancellationToken) {
    loop {
        if app.health.homeserver().is_none() {
            read_all(&app, &lanes, &stop).await;
        }
        tokio::select! {
            () = tokio::time::sleep(IDLE) => {}
            () = ask.notified() => tokio::time::sleep(SETTLE).await,
            () = stop.cancelled() => return,
        }
    }
}

async fn read_all(app: &App, lanes: &Arc<Lanes>, stop: &CancellationToken) {
    let chats = match app.store.chats().await {
        Ok(chats) => chats,
        Err(error) => {
            tracing::warn!(code = error.code(), "the portals could not be listed for reading back");
            return;
        }
    };
    for chat in chats {
        if stop.is_cancelled() {
            return;
        }
        if !chat.is_open() {
            continue;
        }
        let Some(room) = chat.room.clone() else { continue };
        if let Err(error) = read_portal(app, lanes, chat, &room).await {
            tracing::warn!(
                room = room.as_str(),
                code = error.code(),
                "a room could not be read back: {error}"
            );
        }
    }
}

/// The newest event of a room, from which a new portal is read.
pub(crate) async fn newest(app: &App, room: &OwnedRoomId) -> Result<Option<String>, StepError> {
    let page = app.matrix.messages_back(room, None, 1).await.map_err(StepError::Homeserver)?;
    Ok(page.chunk.first().map(|event| event.id.to_string()))
}

async fn read_portal(app: &App, lanes: &Arc<Lanes>, chat: Chat, room: &OwnedRoomId) -> Result<(), StepError> {
    let now = app.now();
    let mut found = Vec::new();
    let mut newest = None;
    let mut from: Option<String> = None;
    let mut complete = chat.synced_to.is_none();
    'pages: for _ in 0..MOST_PAGES {
        let page =
            app.matrix.messages_back(room, from.as_deref(), PAGE).await.map_err(StepError::Homeserver)?;
        for event in page.chunk {
            newest.get_or_insert_with(|| event.id.to_string());
            if chat.synced_to.as_deref() == Some(event.id.as_str()) {
                complete = true;
                break 'pages;
            }
            if let Sorted::Envelope(envelope) = sort(&event.raw, &app.own, now) {
                found.push(envelope);
            }
        }
        from = page.end;
        if from.is_none() || chat.synced_to.is_none() {
            complete = true;
            break;
        }
    }
    let Some(newest) = newest else { return Ok(()) };
    if chat.synced_to.as_deref() == Some(newest.as_str()) {
        return Ok(());
    }
    // Without a watermark the room is new to us: what was said before is not ours.
    if chat.synced_to.is_none() {
        found.clear();
    }
    found.reverse();
    for envelope in &mut found {
        envelope.lane = Lane::from_room(room.as_str());
    }
    let missed = missed(app, &mut found).await?;
    if missed > 0 {
        tracing::info!(room = room.as_str(), missed, "took events that were not delivered");
        app.metrics.read_back(missed);
    }
    let synced = PortalChange::Synced { room: room.clone(), event: newest };
    let mut commit = Commit { accept: found, portals: vec![(chat.id.clone(), synced)], ..Commit::default() };
    let mut wake = HashSet::new();
    if !complete {
        commit.enqueue.extend(gap_notice(app, room, now)?);
        wake.insert(gap_lane(room));
    }
    app.store.commit(commit).await?;
    app.forget_chat(&chat.id, &[]);
    lanes.recover(wake);
    Ok(())
}

/// How many of these were not known.
async fn missed(app: &App, found: &mut Vec<bridge_core::envelope::Envelope>) -> Result<usize, StoreError> {
    let keys: Vec<String> = found.iter().map(|envelope| envelope.key.clone()).collect();
    let seen = app.store.seen(&keys).await?;
    let mut seen = seen.into_iter();
    found.retain(|_| !seen.next().unwrap_or(false));
    Ok(found.len())
}

fn gap_lane(room: &OwnedRoomId) -> Lane {
    Lane::from_room(&format!("{room}/gap"))
}

fn gap_notice(app: &App, room: &OwnedRoomId, now: Timestamp) -> Result<Option<OutboxItem>, StepError> {
    let op = bot_says(room.clone(), &Reply::Gap.bilingual(), None);
    let seq = app.store.next_outbox_seq();
    Ok(Some(OutboxItem {
        seq,
        lane: gap_lane(room),
        network: Network::Matrix,
        key: KeySeed::new(Purpose::Notice, &format!("gap/{room}/{seq}")).part(0).as_str().to_owned(),
        cause: None,
        op: serde_json::to_vec(&op).map_err(|error| StepError::Unrenderable(error.to_string()))?,
        created_at: now,
    }))
}
