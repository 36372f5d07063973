//! Decrypts events of rooms.

use std::time::Duration;

use bridge_core::envelope::Envelope;
use bridge_core::event::{RoomEvent, RoomEventKind};
use bridge_crypto::Decrypted;
use bridge_matrix::wire::{device, event};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Encryption, Problem, arrivals};
use crate::app::App;

/// Pause before an event is looked at again that could not be looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// What is in an encrypted event.
enum Opened {
    What(Box<RoomEventKind>),
    NoKey,
}

/// The event with what is in it; `None` while its key is missing, and where encryption is off. Does not wait.
pub(crate) fn open<'a>(
    app: &'a App,
    event: &'a RoomEvent,
    raw: &'a [u8],
) -> BoxFuture<'a, Result<Option<RoomEvent>, Problem>> {
    open_now(app, event, raw).boxed()
}

async fn open_now(app: &App, event: &RoomEvent, raw: &[u8]) -> Result<Option<RoomEvent>, Problem> {
    let Some(encryption) = &app.encryption else { return Ok(None) };
    Ok(match once(app, encryption, event, raw).await? {
        Opened::What(what) => Some(RoomEvent { what: *what, ..event.clone() }),
        Opened::NoKey => None,
    })
}

/// The event with what is in it. Waits for its key, asks the sender's devices for it, and gives up some time after the
/// event came. An event that was read back is here before its key where the homeserver has not delivered yet what it
/// owes, or never will: so what it keeps for the device is fetched, and the event is not given up before all has come that was
/// sent to the device before it.
/// `None` when the bridge stops meanwhile.
pub(crate) fn wait<'a>(
    app: &'a App,
    event: RoomEvent,
    envelope: &'a Envelope,
    stop: &'a CancellationToken,
) -> BoxFuture<'a, Option<RoomEvent>> {
    wait_for_key(app, event, envelope, stop).boxed()
}

async fn wait_for_key(
    app: &App,
    event: RoomEvent,
    envelope: &Envelope,
    stop: &CancellationToken,
) -> Option<RoomEvent> {
    let encryption = app.encryption.as_ref()?;
    let Envelope { body: raw, received_at, .. } = envelope;
    let (mut keys, mut probes) = (encryption.keys.subscribe(), encryption.probe.subscribe());
    let until = received_at.plus(app.config.encryption.wait_for_keys.get());
    let longest = received_at.plus(app.config.queue.give_up_after.get());
    let mut asked = false;
    let mut is_fetched = false;
    let mut waiting = None;
    loop {
        keys.borrow_and_update();
        let is_delivered = is_fetched || *probes.borrow_and_update() > Some(*received_at);
        match once(app, encryption, &event, raw).await {
            Ok(Opened::What(what)) => return Some(RoomEvent { what: *what, ..event }),
            Ok(Opened::NoKey) => {}
            // A database that is away is no reason to give an event up.
            Err(error) => {
                tracing::error!(event = event.id.as_str(), "an event was not decrypted yet: {error}");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => continue,
                    () = stop.cancelled() => return None,
                }
            }
        }
        let now = app.now();
        let left = until.since(now);
        if left.is_zero() && (is_delivered || longest.since(now).is_zero()) {
            tracing::warn!(
                room = event.room.as_str(),
                event = event.id.as_str(),
                "the key of an event has not come: the room is told"
            );
            app.metrics.decrypted("no_key");
            return Some(RoomEvent { what: RoomEventKind::Undecryptable, ..event });
        }
        waiting.get_or_insert_with(|| app.metrics.awaits_key());
        if !is_fetched {
            match arrivals::fetch(app, encryption).await {
                Ok(()) => {
                    is_fetched = true;
                    continue;
                }
                Err(problem) => {
                    tracing::warn!("what is kept for the bot's device was not fetched: {problem}");
                }
            }
        }
        if !asked {
            asked = true;
            ask(app, encryption, &event, raw).await;
        }
        if left.is_zero() {
            encryption.doubt.notify_one();
        }
        tokio::select! {
            _ = keys.changed() => {}
            _ = probes.changed(), if left.is_zero() => {}
            () = tokio::time::sleep(left.max(PAUSE)) => {}
            () = stop.cancelled() => return None,
        }
    }
}

async fn once(app: &App, encryption: &Encryption, outer: &RoomEvent, raw: &[u8]) -> Result<Opened, Problem> {
    let what = match encryption.machine.decrypt(&outer.room, &String::from_utf8_lossy(raw)).await? {
        Decrypted::NoKey => return Ok(Opened::NoKey),
        Decrypted::Event(inner) => {
            app.metrics.decrypted("read");
            match event::decode_inside(&inner) {
                // What only the homeserver can vouch for is never taken from inside.
                Some(
                    what @ (RoomEventKind::Message(_)
                    | RoomEventKind::File(_)
                    | RoomEventKind::Unsupported { .. }),
                ) => what,
                _ => RoomEventKind::Ignored,
            }
        }
        Decrypted::Never(code) => {
            tracing::warn!(
                room = outer.room.as_str(),
                event = outer.id.as_str(),
                code,
                "an event is unreadable"
            );
            app.metrics.unreadable(code);
            app.metrics.decrypted("never");
            RoomEventKind::Undecryptable
        }
    };
    Ok(Opened::What(Box::new(what)))
}

/// Asks once; what becomes of it, other messages or the end of the time tell.
async fn ask(app: &App, encryption: &Encryption, event: &RoomEvent, raw: &[u8]) {
    let Some((sender, session)) = device::key_of(&String::from_utf8_lossy(raw)) else { return };
    let sent = async {
        let request = encryption.machine.ask(&sender, &event.room, &session)?;
        encryption.send(&app.matrix, &request).await
    };
    if let Err(error) = sent.await {
        tracing::warn!(event = event.id.as_str(), "the key of an event could not be asked for: {error}");
    }
}
