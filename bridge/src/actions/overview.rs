//! How the bridge stands, for people.

use bridge_core::clock::Timestamp;
use bridge_core::receive::Receive;
use bridge_core::reply::{EncryptionLine, FailedLine, ReceivingLine, Status, StreamLine};
use bridge_store::Network;

use crate::app::App;
use crate::observe::standing::Standing;
use crate::relay::step::StepError;
use crate::stream::state::StreamFigures;

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Failed messages that are named.
const NAMED: u32 = 5;

/// Everything `status` tells. `own` rows in the inbox are the asker's question itself.
pub(crate) async fn status(app: &App, own: u64) -> Result<Status, StepError> {
    let standing = Standing::read(app).await;
    let chats = app.store.chat_figures().await?;
    let failed = app.store.failed(NAMED).await?;
    let age = |at: Timestamp| standing.now.since(at);
    let linked = standing.linked.as_ref();
    let line = |failed: bridge_store::Failed| FailedLine {
        number: failed.seq.0,
        to_dingtalk: failed.network == Network::DingTalk,
        code: failed.code,
        age: age(failed.at),
    };
    Ok(Status {
        version: VERSION.to_owned(),
        homeserver: standing.homeserver.clone(),
        organisation: linked.map(|linked| linked.link.organisation.clone()),
        dingtalk: standing.dingtalk.clone(),
        database: standing.depth.err().map(str::to_owned),
        to_matrix: standing.to_matrix(),
        to_dingtalk: standing.to_dingtalk(own),
        receiving: receiving_line(standing.receive, &standing.stream, standing.now),
        silence: standing.silence.map(|silence| crate::away::silence_line(silence, standing.now)),
        encryption: encryption_line(app, &standing, chats.encrypted),
        webhook: app.config.appservice.webhook_url.as_ref().map(ToString::to_string),
        last_event: standing.last_event(&chats).map(|(kind, at)| (kind, age(at))),
        bridged: usize::try_from(chats.bridged).unwrap_or(usize::MAX),
        seen: usize::try_from(chats.seen).unwrap_or(usize::MAX),
        held: standing.depth.map_or(0, |depth| depth.from_dingtalk.held),
        over_quota: app.health.over_quota(),
        failed: failed.into_iter().map(line).collect(),
        failed_total: standing.failed(),
        unreadable: standing.unreadable(),
    })
}

fn encryption_line(app: &App, standing: &Standing, chats: u64) -> EncryptionLine {
    let (Some(encryption), Some(state)) = (&app.encryption, &standing.encryption) else {
        return EncryptionLine::Off;
    };
    EncryptionLine::On {
        problem: state.problem().map(str::to_owned),
        chats,
        kept: encryption.kept(),
        device: (encryption.machine.device().to_string(), encryption.machine.fingerprint()),
    }
}

/// By which way messages come, and whether it works.
pub(crate) fn receiving_line(receive: Receive, stream: &StreamFigures, now: Timestamp) -> ReceivingLine {
    let wanted = (receive.stream() && stream.wanted).then(|| StreamLine {
        connected: stream.connected(),
        lasting: now.since(stream.since),
        last_frame: stream.last_frame.map(|at| now.since(at)),
        problem: stream.problem.clone(),
    });
    ReceivingLine { receive, stream: wanted }
}
