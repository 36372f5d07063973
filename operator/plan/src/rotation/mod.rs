//! Replacing tokens and keys without a moment in which none is good.
//!
//! ```text
//! registration  Settled ─▶ Preparing ─▶ Offered ─▶ Overlapping ─▶ Removing ─▶ Settled
//! status token  Settled ──────────────────────────▶ Overlapping ─────────────▶ Settled
//! sealing key   Settled ─▶ Preparing ─────────────▶ Overlapping ─▶ Removing ─▶ Settled
//! webhook       Settled ─▶ Preparing ─▶ Offered ─────────────────────────────▶ Settled
//! ```
//!
//! Both values and the phase stand in the same Secret and are written at once, so a crash leaves one phase or the next.
//! A step is made when the bridge or the homeserver proves that the one before has arrived there: the bridge's report
//! says with which tokens and keys it runs, the homeserver says whether it knows a token. Nothing is concluded from the
//! operator's own memory or from time alone.
//!
//! The webhook's keys are the bridge's own: it makes them when its configuration has a later generation than before, and
//! tells until when the former ones are good. Here is only remembered which generation is wanted.

mod asked;
mod ledger;
mod set;
mod step;

use dingtalk_crds::{Rotated, RotationPhase, names::keys};

use self::ledger::Ledger;
pub(crate) use self::set::{Beside, Pairs};
use crate::{Secret, Seen, registration::value};

/// A value in use and the one beside it.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// What is in use, or to be used; `None` while there is none.
    pub current: Option<Secret>,
    /// The next one while `Preparing`, the former one after that.
    pub other: Option<Secret>,
    /// What is remembered.
    pub ledger: Ledger,
}

impl Pair {
    /// What a Secret holds of it.
    pub(crate) fn of(what: Rotated, seen: Option<&Seen>) -> Self {
        let Some((current, other)) = places(what) else {
            let ledger = Ledger::read(seen, keys::WEBHOOK_ROTATION, false);
            return Self { current: None, other: None, ledger };
        };
        let text = |key: &str| seen.and_then(|seen| value(seen, key)).cloned();
        let (current, other) = (text(current), text(other));
        let ledger = Ledger::read(seen, keys::ROTATION, other.is_some());
        Self { current, other, ledger }.sound()
    }

    /// Without the other one there is nothing under way, whatever is remembered. If the next one was lost before it was
    /// offered, the request is still open.
    fn sound(mut self) -> Self {
        if self.ledger.phase == RotationPhase::Settled {
            // Left behind by who restored a backup, or about to go.
            self.other = None;
        } else if self.other.is_none() {
            if self.ledger.phase == RotationPhase::Preparing {
                self.ledger.request = None;
            }
            self.ledger.phase = RotationPhase::Settled;
        }
        self
    }

    /// The other one, if the bridge's pod is to have it.
    pub(crate) fn mounted(&self) -> Option<&Secret> {
        self.other.as_ref().filter(|_| self.ledger.phase != RotationPhase::Removing)
    }
}

/// Keys of the current and of the other value in a Secret; `None` for what the bridge keeps itself.
const fn places(what: Rotated) -> Option<(&'static str, &'static str)> {
    Some(match what {
        Rotated::Appservice => (keys::REGISTRATION, keys::OTHER_REGISTRATION),
        Rotated::Status => (keys::STATUS_TOKEN, keys::OLD_STATUS_TOKEN),
        Rotated::Sealing => (keys::SEALING_KEY, keys::ROTATED_SEALING_KEY),
        Rotated::Webhook => return None,
    })
}
