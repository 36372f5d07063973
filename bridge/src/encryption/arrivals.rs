//! What comes for the device: transactions bring it, and what they left out is fetched.

use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Envelope;
use bridge_crypto::{Arrived, PROBE};
use bridge_matrix::wire::device::{self, ForDevice, Kept, Touch};
use ruma::OneTimeKeyAlgorithm;

use super::{Encryption, Problem, settings};
use crate::app::App;

/// Longest pause before taking in is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Takes in all that a transaction brings for the device and for the encryption of its rooms. Tries again for at most
/// `patience`; answers whether it is durable.
pub(crate) async fn take_in(app: &App, content: &[u8], envelopes: &[Envelope], patience: Duration) -> bool {
    let Some(encryption) = &app.encryption else { return true };
    let started = tokio::time::Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        let left = patience.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, once(app, encryption, content, envelopes)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => {
                tracing::error!(
                    code = error.code(),
                    "what came for the bot's device was not kept yet: {error}"
                );
            }
            // The database is away. What was begun goes on; the transaction comes again.
            Err(_) => return false,
        }
        if started.elapsed() + pause >= patience {
            return false;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn once(
    app: &App,
    encryption: &Encryption,
    content: &[u8],
    envelopes: &[Envelope],
) -> Result<(), bridge_crypto::CryptoError> {
    for touch in envelopes.iter().filter_map(|envelope| device::touch(&envelope.body)) {
        match touch {
            Touch::Members(room) => {
                encryption.members.remove(&room);
                encryption.settled.remove(&room);
            }
            Touch::Encrypted(room, content) => {
                encryption.machine.turn_on(&room, &settings(&content)).await?;
                encryption.rooms.remove(&room);
                encryption.settled.remove(&room);
            }
        }
    }
    let what = device::for_device(content, &app.own.bot, encryption.machine.device());
    let unreadable = receive(app, encryption, what).await?;
    if unreadable > 0 {
        tracing::warn!(count = unreadable, "messages to the bot's device could not be read");
    }
    Ok(())
}

/// Fetches what the homeserver keeps for the device. Transactions bring the same, but Synapse leaves it out of those that
/// it could not deliver the first time. Afterwards all that was sent before the call is here.
pub(super) async fn fetch(app: &App, encryption: &Encryption) -> Result<(), Problem> {
    let asked_at = app.now();
    let mut fetched = encryption.fetched.lock().await;
    if *fetched > Some(asked_at) {
        return Ok(());
    }
    let started_at = app.now();
    let machine = &encryption.machine;
    let mut taken = machine.taken().await?;
    loop {
        let Kept { next, what } = app.matrix.kept_for_device(machine.device(), taken.as_deref()).await?;
        let is_last = what.to_device.is_empty();
        // Most were read before, when a transaction brought them; a second time they cannot be.
        let unreadable = receive(app, encryption, what).await?;
        tracing::debug!(count = unreadable, "fetched messages to the bot's device say nothing new");
        // A crash before this line has the same handed out again, which changes nothing.
        machine.taken_to(&next).await?;
        if is_last {
            break;
        }
        taken = Some(next);
    }
    *fetched = Some(started_at);
    Ok(())
}

/// Makes durable what came for the device, and tells who waits for it. Answers how many messages could not be read.
async fn receive(
    app: &App,
    encryption: &Encryption,
    what: ForDevice,
) -> Result<usize, bridge_crypto::CryptoError> {
    let ForDevice { to_device, changed, one_time_keys, fallback_keys } = what;
    let probe = to_device.iter().rev().find_map(|message| device::probe(message, PROBE, &app.own.bot));
    let probe = probe.and_then(|number| number.parse().ok()).map(Timestamp);
    let one_time_keys = one_time_keys.map(|counts| {
        let mut counts: std::collections::BTreeMap<_, _> =
            counts.into_iter().map(|(name, count)| (OneTimeKeyAlgorithm::from(name), count.into())).collect();
        // A homeserver that has none left may leave the algorithm out.
        counts.entry(OneTimeKeyAlgorithm::SignedCurve25519).or_default();
        counts
    });
    let fallback_keys =
        fallback_keys.map(|keys| keys.into_iter().map(OneTimeKeyAlgorithm::from).collect::<Vec<_>>());
    let arrived = Arrived { to_device, changed, one_time_keys, fallback_keys };
    if arrived.is_empty() {
        return Ok(0);
    }
    // A message to the device may ask for a key, or say that a connection to another one has to be made anew.
    let unsettles = !(arrived.changed.is_empty() && arrived.to_device.is_empty());
    let received = encryption.machine.receive(arrived).await?;
    if unsettles {
        encryption.settled.clear();
    }
    if received.room_keys > 0 {
        encryption.keys.send_modify(|number| *number += 1);
    }
    // After the keys that came before it. One that comes again says nothing new.
    encryption.probe.send_if_modified(|last| {
        let is_newer = probe > *last;
        *last = probe.max(*last);
        is_newer
    });
    encryption.work.notify_one();
    Ok(received.unreadable)
}
