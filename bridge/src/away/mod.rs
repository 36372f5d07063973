//! What DingTalk could not deliver: the time in which nothing could be received, a subscription that has gone silent,
//! and ([`failed`]) the event pushes that were given up.
//!
//! When the bridge could last receive is kept in the database, so that a gap is known after the process was away. It is
//! told in the rooms in the commit that ends it: once per outage.

pub(crate) mod failed;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::decide::away::{Hearing, Outage, Silence, may_have_missed, outage, silence, tells};
use bridge_core::delivery::key::{KeySeed, Purpose};
use bridge_core::envelope::Lane;
use bridge_core::reply::Reply;
use bridge_core::secret::Secret;
use bridge_store::{Commit, Network, OutboxItem, StoreError};
use ruma::OwnedRoomId;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::relay::lanes::Lanes;
use crate::relay::op::bot_says;

/// Settings: until when something could be received, when something last came, when its absence was told.
const RECEIVING: &str = "receiving-until";
const HEARD: &str = "heard-at";
const TOLD: &str = "silence-told-at";

/// How often the facts are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often they are written down, at most; sooner where a shorter outage counts.
const WRITE: Duration = Duration::from_mins(1);

/// Looks after both until the bridge stops.
pub(crate) async fn run(app: Arc<App>, lanes: Arc<Lanes>, stop: CancellationToken) {
    let mut watch = loop {
        match Watch::read(Arc::clone(&app), Arc::clone(&lanes)).await {
            Ok(watch) => break watch,
            Err(error) => {
                tracing::warn!(code = error.code(), "the time of the last reception is not known yet");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
    };
    loop {
        if let Err(error) = watch.look().await {
            tracing::warn!(code = error.code(), "what was received until now could not be written down");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => break,
        }
    }
    watch.last_words().await;
}

struct Watch {
    app: Arc<App>,
    lanes: Arc<Lanes>,
    /// Until when something could be received.
    receiving: Option<Timestamp>,
    /// When something last came, as far as it is written down.
    heard: Option<Timestamp>,
    told: Option<Timestamp>,
    written: Timestamp,
}

impl Watch {
    async fn read(app: Arc<App>, lanes: Arc<Lanes>) -> Result<Self, StoreError> {
        let read = async |name: &str| -> Result<Option<Timestamp>, StoreError> {
            let value = app.store.setting(name).await?;
            Ok(value.and_then(|value| value.expose().parse().ok()).map(Timestamp))
        };
        let (receiving, heard, told) = (read(RECEIVING).await?, read(HEARD).await?, read(TOLD).await?);
        Ok(Self { app, lanes, receiving, heard, told, written: Timestamp::default() })
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let now = self.app.now();
        let Some(linked) = self.app.linked() else {
            self.app.health.set_silence(None);
            if self.receiving.is_some() || self.heard.is_some() {
                let settings = [RECEIVING, HEARD, TOLD].map(|name| (name.to_owned(), None)).to_vec();
                self.app.store.commit(Commit { settings, ..Commit::default() }).await?;
                (self.receiving, self.heard, self.told) = (None, None, None);
            }
            return Ok(());
        };
        let receive = self.app.receiving.get();
        let connected = self.app.stream.figures().connected();
        if receive.webhook() || connected {
            let span = self.app.config.dingtalk.gap_after.get();
            if let Some(outage) = outage(self.receiving, now, span) {
                self.tell_outage(outage).await?;
                self.app.ask_failed.notify_one();
            } else if now.since(self.written) >= (span / 5).clamp(LOOK, WRITE) {
                let heard = self.last_heard().await?;
                self.write(now, heard, Commit::default()).await?;
            }
            self.receiving = Some(now);
        }
        let hearing = Hearing {
            heard: self.heard.max(self.app.health.last_event().map(|(_, at)| at)),
            linked_at: linked.link.linked_at,
            receive,
            connected,
            gone: self.app.health.subscription_gone(),
        };
        let silence = silence(&hearing, now, self.app.config.dingtalk.silence_after.get());
        self.app.health.set_silence(silence);
        if let Some(silence) = silence
            && tells(silence, &hearing, self.told)
        {
            self.tell_silence(silence, linked.link.room.clone(), now).await?;
        }
        Ok(())
    }

    /// When something last came. A process that has heard nothing yet knows of messages from the database.
    async fn last_heard(&self) -> Result<Option<Timestamp>, StoreError> {
        let stored = match self.heard {
            Some(heard) => Some(heard),
            None => self.app.store.chat_figures().await?.last_message,
        };
        Ok(stored.max(self.app.health.last_event().map(|(_, at)| at)))
    }

    async fn write(
        &mut self,
        now: Timestamp,
        heard: Option<Timestamp>,
        commit: Commit,
    ) -> Result<(), StoreError> {
        let value = |at: Timestamp| Some(Secret::new(at.0.to_string()));
        let mut commit = commit;
        commit.settings.push((RECEIVING.to_owned(), value(now)));
        if let Some(heard) = heard {
            commit.settings.push((HEARD.to_owned(), value(heard)));
        }
        self.app.store.commit(commit).await?;
        (self.written, self.heard) = (now, heard);
        Ok(())
    }

    /// Tells the rooms, in the commit that ends the outage.
    async fn tell_outage(&mut self, outage: Outage) -> Result<(), StoreError> {
        let mut commit = Commit::default();
        let mut wake = HashSet::new();
        for chat in self.app.store.chats().await? {
            let Some(room) = chat.room.clone().filter(|_| may_have_missed(&chat, &outage)) else { continue };
            let cause = format!("outage/{room}/{}", outage.from.0);
            let said = Reply::Outage { lasting: outage.lasting() }.bilingual();
            self.say(room, &said, &cause, outage.until, &mut commit, &mut wake);
        }
        tracing::warn!(
            seconds = outage.lasting().as_secs(),
            rooms = commit.enqueue.len(),
            "nothing could be received for longer than DingTalk repeats messages"
        );
        let heard = self.last_heard().await?;
        self.write(outage.until, heard, commit).await?;
        self.lanes.recover(wake);
        Ok(())
    }

    /// Tells the room in which the app was linked.
    async fn tell_silence(
        &mut self,
        silence: Silence,
        room: Option<OwnedRoomId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        tracing::warn!("the event subscription of DingTalk seems to be paused or gone");
        let mut commit = Commit::default();
        let mut wake = HashSet::new();
        if let Some(room) = room {
            let cause = format!("silence/{room}/{}", now.0);
            let said = Reply::Silent(silence_line(silence, now)).bilingual();
            self.say(room, &said, &cause, now, &mut commit, &mut wake);
        }
        commit.settings.push((TOLD.to_owned(), Some(Secret::new(now.0.to_string()))));
        self.app.store.commit(commit).await?;
        self.told = Some(now);
        self.lanes.recover(wake);
        Ok(())
    }

    fn say(
        &self,
        room: OwnedRoomId,
        text: &str,
        cause: &str,
        now: Timestamp,
        commit: &mut Commit,
        wake: &mut HashSet<Lane>,
    ) {
        let lane = Lane::from_room(&format!("{room}/away"));
        let Ok(op) = serde_json::to_vec(&bot_says(room, text, None)) else { return };
        commit.enqueue.push(OutboxItem {
            seq: self.app.store.next_outbox_seq(),
            lane: lane.clone(),
            network: Network::Matrix,
            key: KeySeed::new(Purpose::Notice, cause).part(0).as_str().to_owned(),
            cause: None,
            op,
            created_at: now,
        });
        wake.insert(lane);
    }

    /// The bridge stops: until when it received is written down, as far as there is time.
    async fn last_words(&mut self) {
        self.written = Timestamp::default();
        if let Err(error) = self.look().await {
            tracing::debug!(code = error.code(), "the time of the end could not be written down");
        }
    }
}

/// A silence as people are told of it.
pub(crate) fn silence_line(silence: Silence, now: Timestamp) -> bridge_core::reply::SilenceLine {
    use bridge_core::reply::SilenceLine;
    match silence {
        Silence::Quiet { since } => SilenceLine::Quiet(now.since(since)),
        Silence::Never { since } => SilenceLine::Never(now.since(since)),
        Silence::Gone => SilenceLine::Gone,
    }
}
