//! `DingTalkLinked`: what the bridge says.

use dingtalk_crds::{ConditionStatus, Reason};

use super::{Check, Verdict, View};
use crate::{ChildKind, ReportFact, SeenMore, visit::standing};

pub(super) const CHECKS: &[Check] = &[report];

#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
fn report(view: &View<'_>) -> Option<Verdict> {
    Some(match view.facts.report {
        ReportFact::Unknown => Verdict::Keep,
        // A pod that is not ready is told about elsewhere, and need not answer yet.
        ReportFact::Unreachable(_) if !is_available(view) => Verdict::Keep,
        ReportFact::Unreachable(words) => Verdict::IsNow(
            ConditionStatus::Unknown,
            Reason::ReportUnavailable,
            format!(
                "the bridge did not answer the operator's question: a NetworkPolicy may keep the operator from its port 9090. {words}"
            ),
        ),
        ReportFact::Report(report) if report.linked => Verdict::holds(
            Reason::Linked,
            match &report.organization {
                Some(organization) => format!("linked to {}", organization.name),
                None => "linked to DingTalk".to_owned(),
            },
        ),
        ReportFact::Report(_) => {
            let bot = view.visit.workspace.as_ref().map(|workspace| workspace.config.bot_user_id());
            let bot = bot.unwrap_or_else(|_| "the bot".to_owned());
            Verdict::fails(
                Reason::NotLinked,
                format!(
                    "nobody has linked the bridge to DingTalk yet: an admin says `login` to {bot}, or spec.dingtalk.credentials names a Secret"
                ),
            )
        }
    })
}

fn is_available(view: &View<'_>) -> bool {
    let seen = standing(view.facts, ChildKind::Deployment).ours();
    matches!(seen.map(|seen| &seen.more), Some(SeenMore::Deployment { available, .. }) if *available > 0)
}
