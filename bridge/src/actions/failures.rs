//! Messages that were given up, and sending them again.

use bridge_core::command::Failures;
use bridge_core::reply::Retrying;
use bridge_store::{Failed, Network, OutboxState};

use crate::app::App;
use crate::relay::step::{StepError, Stepped};

/// Failed messages that one `retry` takes.
const RETRIED: u32 = 10_000;

/// Has failed messages sent again, in their lanes and with their keys.
pub(crate) async fn retry(app: &App, which: &Failures, stepped: &mut Stepped) -> Result<Retrying, StepError> {
    let all = app.store.failed(RETRIED).await?;
    let nothing = all.is_empty();
    let chosen: Vec<Failed> = all.into_iter().filter(|failed| is_meant(which, failed)).collect();
    if chosen.is_empty() {
        return Ok(if nothing || *which == Failures::All { Retrying::Nothing } else { Retrying::Unknown });
    }
    let count = |network| chosen.iter().filter(|failed| failed.network == network).count();
    let did = Retrying::Some {
        to_matrix: count(Network::Matrix),
        to_dingtalk: count(Network::DingTalk),
        maybe_twice: chosen.iter().filter(|failed| failed.state == OutboxState::MaybeSent).count(),
    };
    stepped.commit.unpark.extend(chosen.iter().map(|failed| failed.seq));
    stepped.wake.extend(chosen.into_iter().map(|failed| failed.lane));
    Ok(did)
}

fn is_meant(which: &Failures, failed: &Failed) -> bool {
    match which {
        Failures::All => true,
        Failures::Number(number) => failed.seq.0 == *number,
        Failures::Cause(cause) => failed.cause.as_ref() == Some(cause),
    }
}
