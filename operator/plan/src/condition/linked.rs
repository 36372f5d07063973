//! `DingTalkLinked`: what the bridge says.

use dingtalk_crds::{ConditionStatus, Reason};

use super::{Check, Verdict, View};
use crate::ReportFact;

pub(super) const CHECKS: &[Check] = &[report];

fn report(view: &View<'_>) -> Option<Verdict> {
    Some(match view.facts.report {
        ReportFact::Unknown => Verdict::Keep,
        ReportFact::Unreachable(words) => Verdict::Is(
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
