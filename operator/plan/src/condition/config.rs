//! `ConfigValid`.

use dingtalk_crds::Reason;

use super::{Check, Verdict, View};

pub(super) const CHECKS: &[Check] = &[invalid, valid];

fn invalid(view: &View<'_>) -> Option<Verdict> {
    view.visit
        .workspace
        .as_ref()
        .err()
        .map(|invalid| Verdict::fails(invalid.reason, invalid.message.as_str()))
}

#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
fn valid(_: &View<'_>) -> Option<Verdict> {
    Some(Verdict::holds(
        Reason::AllGood,
        "spec and the platform's defaults give a configuration that the bridge takes",
    ))
}
