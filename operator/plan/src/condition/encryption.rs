//! `EncryptionReady`: what the bridge says.

use bridge_config::{EncryptionReport, EncryptionState};
use dingtalk_crds::Reason;

use super::{Check, Verdict, View, unanswered};
use crate::ReportFact;

pub(super) const CHECKS: &[Check] = &[unanswered, told];

fn told(view: &View<'_>) -> Option<Verdict> {
    let ReportFact::Report(report) = view.facts.report else { return None };
    Some(match &report.encryption {
        Some(encryption) => verdict(encryption),
        None => Verdict::waits("the running version of the bridge does not tell of encryption"),
    })
}

fn verdict(encryption: &EncryptionReport) -> Verdict {
    match encryption.state {
        EncryptionState::Off => Verdict::fails(
            Reason::EncryptionOff,
            "encryption is off: in an encrypted room the bot says what to do instead. Set spec.encryption.enabled to true, when the homeserver has what it needs",
        ),
        EncryptionState::Starting => Verdict::waits(
            "the bot's device is being set up; the bridge writes to it to see whether that arrives",
        ),
        EncryptionState::Works if encryption.kept => Verdict::holds(
            Reason::EncryptionKept,
            format!(
                "encryption is switched off, but {} of the bridged chats have encrypted rooms: it stays on until they are unbridged and the bridge is started again. {}",
                encryption.chats,
                device(encryption)
            ),
        ),
        EncryptionState::Works => {
            Verdict::holds(Reason::AllGood, format!("encrypted rooms work. {}", device(encryption)))
        }
        EncryptionState::NothingArrives => Verdict::fails(
            Reason::HomeserverLacksEncryption,
            "a message to the bot's own device did not arrive: the homeserver delivers no messages to devices to the bridge. In Synapse's configuration set experimental_features.msc2409_to_device_messages_enabled and experimental_features.msc3202_transaction_extensions to true, see that it has read the registration anew, and restart it",
        ),
        EncryptionState::Fails => Verdict::fails(
            Reason::EncryptionFails,
            format!(
                "the bot's device for encrypted rooms could not be set up; it is tried again. The bridge says: {}",
                encryption.problem.as_deref().unwrap_or("nothing")
            ),
        ),
        EncryptionState::Other => Verdict::waits(
            "the bridge tells of encryption in words that this operator does not know: upgrade it",
        ),
    }
}

/// What people compare who look at the bot's device.
fn device(encryption: &EncryptionReport) -> String {
    let word = |text: &Option<String>| text.as_deref().unwrap_or("?").to_owned();
    format!(
        "The bot's device is {}, its fingerprint {}",
        word(&encryption.device),
        word(&encryption.fingerprint)
    )
}
