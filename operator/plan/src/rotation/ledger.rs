//! What is remembered of replacements: a line in the Secret that holds the value, written together with it.

use dingtalk_crds::RotationPhase;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Secret, Seen, condition, registration::value};

/// How far a replacement is, and what led to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ledger {
    pub phase: RotationPhase,
    /// Since when.
    pub since: Option<String>,
    /// How often it was replaced.
    pub generation: u32,
    /// The request that was taken up last.
    pub request: Option<String>,
}

impl Ledger {
    /// Reads it. One that cannot be read beside two values forgets neither of them.
    pub(super) fn read(seen: Option<&Seen>, key: &str, has_other: bool) -> Self {
        let read = seen
            .and_then(|seen| value(seen, key))
            .and_then(|text| serde_json::from_str::<Self>(text.expose()).ok());
        let phase = if has_other { RotationPhase::Overlapping } else { RotationPhase::Settled };
        read.unwrap_or(Self { phase, ..Self::default() })
    }

    /// As it stands in the Secret; `None` while there is nothing to remember.
    pub(crate) fn line(&self) -> Option<Secret> {
        if *self == Self::default() {
            return None;
        }
        serde_json::to_string(self).ok().map(Secret::new)
    }

    /// When the phase began, if that is known.
    pub(super) fn began(&self) -> Option<Timestamp> {
        self.since.as_ref()?.parse().ok()
    }

    /// Goes on to a phase.
    pub(super) fn enter(&mut self, phase: RotationPhase, now: Timestamp) {
        self.phase = phase;
        self.since = Some(condition::time(now));
    }
}
