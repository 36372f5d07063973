//! `SecretsReady`.

use dingtalk_crds::Reason;

use super::{Check, Verdict, View, obstacle};
use crate::ChildKind;

const OWN: [ChildKind; 3] =
    [ChildKind::RegistrationSecret, ChildKind::TokensSecret, ChildKind::SealingSecret];

pub(super) const CHECKS: &[Check] =
    &[closed, |view| obstacle(view, &OWN), troubles, unread, unwritten, in_order];

fn closed(view: &View<'_>) -> Option<Verdict> {
    view.closed().then_some(Verdict::Keep)
}

fn troubles(view: &View<'_>) -> Option<Verdict> {
    let troubles = &view.visit.troubles;
    let reason = troubles.first()?.reason;
    let mut sentences: Vec<&str> = troubles.iter().map(|trouble| trouble.message.as_str()).collect();
    sentences.dedup();
    Some(Verdict::fails(reason, sentences.join("; also, ")))
}

fn unread(view: &View<'_>) -> Option<Verdict> {
    (!view.visit.needed.known(view.facts.references)).then_some(Verdict::Keep)
}

fn unwritten(view: &View<'_>) -> Option<Verdict> {
    let lacking = OWN.into_iter().find(|kind| {
        let child = view.child(*kind);
        child.wanted.is_some() && child.seen().is_none()
    });
    lacking.map(|kind| Verdict::waits(format!("the {} is about to be written", view.describe(kind))))
}

#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
fn in_order(view: &View<'_>) -> Option<Verdict> {
    let message = if view.visit.sealing_missing {
        "every Secret and ConfigMap that spec names is there; for the sealing key see DatabaseReady"
    } else {
        "the operator's Secrets and every Secret and ConfigMap that spec names are there"
    };
    Some(Verdict::holds(Reason::AllGood, message))
}
