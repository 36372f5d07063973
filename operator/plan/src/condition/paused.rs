//! `Paused`.

use dingtalk_crds::{Reason, names};

use super::{Check, Verdict, View};

pub(super) const CHECKS: &[Check] = &[hands_off, suspended, active];

fn hands_off(view: &View<'_>) -> Option<Verdict> {
    view.visit.paused.then(|| {
        let waits = if view.facts.object.metadata.deletion_timestamp.is_some() {
            ", and the deletion waits"
        } else {
            ""
        };
        Verdict::holds(
            Reason::HandsOff,
            format!(
                "the annotation {} is \"true\": nothing is written or repaired{waits} until it is removed",
                names::PAUSED
            ),
        )
    })
}

fn suspended(view: &View<'_>) -> Option<Verdict> {
    (view.facts.object.spec.suspend == Some(true)).then(|| {
        Verdict::holds(
            Reason::Suspended,
            "spec.suspend is true: no pod runs; data, Secrets and addresses stay",
        )
    })
}

#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
fn active(_: &View<'_>) -> Option<Verdict> {
    Some(Verdict::fails(Reason::Active, "the operator is at work"))
}
