//! Sets the device up, sends what it wants to be sent, and finds out whether the homeserver plays along.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Encryption, Problem, State, arrivals};
use crate::app::App;

/// How long a message to our own device may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// How often is looked whether there is something to send when nothing tells so.
const LOOK: Duration = Duration::from_secs(30);

/// How often what the homeserver keeps for the device is fetched, so that little of it is there at the next start.
const CATCH_UP: Duration = Duration::from_mins(15);

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The name of the device, for people who look at the bot's devices.
const NAME: &str = "DingTalk bridge, encrypted rooms";

/// What to do about a homeserver that delivers no messages to devices.
pub(crate) const NOTHING_ARRIVES: &str = "the homeserver delivers no messages to devices to this bridge: set \
    experimental_features.msc2409_to_device_messages_enabled and msc3202_transaction_extensions to true in Synapse's \
    configuration, see that the registration has receive_ephemeral: true and org.matrix.msc3202: true, and restart it";

/// Works until the bridge stops.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let Some(encryption) = &app.encryption else { return };
    let work = async {
        let mut pause = FIRST_PAUSE;
        // The bot's account is made by whoever looks after the homeserver.
        while app.health.homeserver().is_some() {
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        while let Err(problem) = set_up(&app, encryption).await {
            tracing::warn!("the bot's device could not be set up: {problem}");
            encryption.set_state(State::Fails(problem.to_string()));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        tokio::join!(catch_up(&app, encryption), tend(&app, encryption), prove(&app, encryption));
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// The device exists, its keys are known and it is signed by the bot's own identity. Everything can be repeated.
async fn set_up(app: &App, encryption: &Encryption) -> Result<(), Problem> {
    let machine = &encryption.machine;
    app.matrix.put_device(&app.own.bot, machine.device(), NAME).await?;
    let identity = machine.identity_requests().await?;
    if !identity.is_empty() {
        for request in &identity {
            encryption.send(&app.matrix, request).await?;
        }
        machine.signed().await?;
        tracing::info!(
            device = machine.device().as_str(),
            fingerprint = machine.fingerprint(),
            "the bot has a device for encrypted rooms"
        );
    }
    Ok(())
}

/// Fetches what the homeserver keeps for the device, now and then: it keeps what its transactions have brought, too, until it
/// is fetched. What is missing is fetched again when an event waits for it.
async fn catch_up(app: &App, encryption: &Encryption) {
    loop {
        if let Err(problem) = arrivals::fetch(app, encryption).await {
            tracing::warn!("what the homeserver keeps for the bot's device could not be fetched: {problem}");
        }
        tokio::time::sleep(CATCH_UP).await;
    }
}

/// Sends what the device wants to be sent, whenever there is something.
async fn tend(app: &App, encryption: &Encryption) {
    loop {
        let sent = async {
            let machine = &encryption.machine;
            let _one = machine.sharing().await;
            for request in machine.requests().await? {
                encryption.send(&app.matrix, &request).await?;
            }
            if let Some(request) = machine.claim(&[]).await? {
                encryption.send(&app.matrix, &request).await?;
            }
            Ok::<_, Problem>(())
        };
        if let Err(problem) = sent.await {
            tracing::warn!("the bot's device could not send what it has to: {problem}");
            tokio::time::sleep(LONGEST_PAUSE).await;
        }
        tokio::select! {
            () = encryption.work.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Writes to the device itself until that arrives, and again when somebody wants to know whether what was sent before has.
async fn prove(app: &App, encryption: &Encryption) {
    let mut arrived = encryption.probe.subscribe();
    loop {
        let sent_at = app.now();
        let sent = async {
            let request = encryption.machine.probe(&sent_at.0.to_string())?;
            encryption.send(&app.matrix, &request).await
        };
        let works = encryption.state() == State::Works;
        match sent.await {
            Ok(()) => {
                let came = arrived.wait_for(|last| *last >= Some(sent_at));
                if tokio::time::timeout(PROBE_PATIENCE, came).await.is_ok() {
                    if !works {
                        encryption.set_state(State::Works);
                        tracing::info!("messages to the bot's device arrive: encrypted rooms work");
                    }
                    encryption.doubt.notified().await;
                    continue;
                }
                // One that has delivered before is only late: it may pause for minutes after the bridge was away.
                if !works {
                    tracing::error!("encrypted rooms do not work: {NOTHING_ARRIVES}");
                    encryption.set_state(State::NothingArrives);
                }
            }
            Err(problem) if works => {
                tracing::warn!("the bot's device could not write to itself: {problem}");
            }
            Err(problem) => encryption.set_state(State::Fails(problem.to_string())),
        }
        tokio::time::sleep(LONGEST_PAUSE).await;
    }
}
