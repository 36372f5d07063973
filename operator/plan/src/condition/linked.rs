//! `DingTalkLinked`: what the bridge says.

use dingtalk_crds::Reason;

use super::{Check, Verdict, View, unanswered};
use crate::ReportFact;

pub(super) const CHECKS: &[Check] = &[unanswered, told];

fn told(view: &View<'_>) -> Option<Verdict> {
    let ReportFact::Report(report) = view.facts.report else { return None };
    if report.linked {
        return Some(Verdict::holds(
            Reason::Linked,
            match &report.organization {
                Some(organization) => format!("linked to {}", organization.name),
                None => "linked to DingTalk".to_owned(),
            },
        ));
    }
    let bot = view.visit.workspace.as_ref().map(|workspace| workspace.config.bot_user_id());
    let bot = bot.unwrap_or_else(|_| "the bot".to_owned());
    Some(Verdict::fails(
        Reason::NotLinked,
        format!(
            "nobody has linked the bridge to DingTalk yet: an admin says `login` to {bot}, or spec.dingtalk.credentials names a Secret"
        ),
    ))
}
