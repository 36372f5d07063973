//! The status: a function of the facts. Nothing in it moves by itself, so a settled object gives none.

use bridge_config::Report;
use dingtalk_crds::{
    Condition, ConditionType, DingTalkBridgeStatus, DingTalkStatus, HomeserverStatus, RegistrationStatus,
    names,
};
use jiff::Timestamp;

use crate::{
    ChildKind, Digest, Facts, LAST_EVENT_STEP, ReportFact, SeenMore,
    condition::{self, View},
    diff::Child,
    visit::{Visit, annotation_of, standing},
    workspace::Workspace,
};

/// The status to write; `None` when the object has it.
pub(crate) fn status(
    facts: &Facts<'_>,
    visit: &Visit,
    children: &[Child<'_>],
) -> Option<DingTalkBridgeStatus> {
    let old = facts.object.status.clone().unwrap_or_default();
    let conditions = condition::all(&View { facts, visit, children });
    let mut new = old.clone();
    new.conditions = conditions;
    new.observed_generation = facts.object.metadata.generation;
    new.last_handled_reconcile_at = annotation_of(facts, names::RECONCILE).map(str::to_owned);
    if let Ok(workspace) = &visit.workspace {
        new.webhook_url = Some(workspace.webhook_url());
        new.bot_user_id = Some(workspace.config.bot_user_id());
        new.homeserver = Some(homeserver(visit, workspace, children, old.homeserver.as_ref()));
    }
    if let Some(SeenMore::Deployment { image: Some(image), .. }) =
        standing(facts, ChildKind::Deployment).ours().map(|seen| &seen.more)
    {
        new.image = Some(image.clone());
    }
    if let Some(material) = &visit.material {
        new.rotation = Some(material.pairs.status(facts, children));
    }
    if let ReportFact::Report(report) = facts.report {
        reported(&mut new, report);
    }
    let new = storable(facts, new);
    let same_conditions = of_ours(&old.conditions).eq(new.conditions.iter());
    let still = DingTalkBridgeStatus { conditions: old.conditions.clone(), ..new.clone() };
    if same_conditions && (still == old || is_only_a_newer_event(&old, &still)) {
        return None;
    }
    Some(new)
}

/// The status as the cluster can store it. One that drops a field would never look like the one that is wanted, and be
/// written for ever.
fn storable(facts: &Facts<'_>, status: DingTalkBridgeStatus) -> DingTalkBridgeStatus {
    let definition = &facts.operator.definition;
    if definition.lacking.is_empty() {
        return status;
    }
    let pruned = serde_json::to_value(&status).ok().and_then(|mut value| {
        definition.prune(&mut value);
        serde_json::from_value(value).ok()
    });
    pruned.unwrap_or(status)
}

/// The operator's conditions of a status, in their order.
fn of_ours(conditions: &[Condition]) -> impl Iterator<Item = &Condition> {
    ConditionType::ALL
        .iter()
        .filter_map(|type_| conditions.iter().find(|condition| condition.type_ == type_.as_str()))
}

fn homeserver(
    visit: &Visit,
    workspace: &Workspace,
    children: &[Child<'_>],
    old: Option<&HomeserverStatus>,
) -> HomeserverStatus {
    let written = children.iter().any(|child| child.kind == ChildKind::RegistrationSecret && child.in_sync());
    let digest = match &visit.material {
        Some(material) if written => {
            Some(Digest::of_bytes(material.registration_file.expose().as_bytes()).short())
        }
        _ => old.and_then(|old| old.registration.digest.clone()),
    };
    HomeserverStatus {
        server_name: workspace.homeserver.server_name.to_string(),
        url: workspace.homeserver.url.to_string(),
        registration: RegistrationStatus {
            id: workspace.config.appservice.id.to_string(),
            secret_name: ChildKind::RegistrationSecret.name(&workspace.name),
            digest,
        },
    }
}

fn reported(status: &mut DingTalkBridgeStatus, report: &Report) {
    let organization = report.organization.as_ref();
    let event = report.last_event.as_ref();
    let old = status.dingtalk.take().unwrap_or_default();
    status.dingtalk = Some(DingTalkStatus {
        linked: report.linked,
        organization: organization.map(|organization| organization.name.clone()),
        corp_id: organization.and_then(|organization| organization.corp_id.clone()),
        // A bridge that has just started may not remember it.
        last_event_time: event.map(|event| event.time.to_string()).or(old.last_event_time),
        last_event_kind: event.map(|event| event.kind.clone()).or(old.last_event_kind),
    });
    status.bridged_chats = Some(i64::try_from(report.bridged_chats).unwrap_or(i64::MAX));
    status.failed_messages = Some(i64::try_from(report.failed_messages).unwrap_or(i64::MAX));
    status.version = Some(report.version.clone());
}

/// Whether nothing but the last event differs, and that by less than is worth a write.
fn is_only_a_newer_event(old: &DingTalkBridgeStatus, new: &DingTalkBridgeStatus) -> bool {
    let (Some(before), Some(after)) = (&old.dingtalk, &new.dingtalk) else { return false };
    let mut rest = new.clone();
    rest.dingtalk = Some(DingTalkStatus {
        last_event_time: before.last_event_time.clone(),
        last_event_kind: before.last_event_kind.clone(),
        ..after.clone()
    });
    if rest != *old {
        return false;
    }
    let time = |status: &DingTalkStatus| status.last_event_time.as_ref()?.parse::<Timestamp>().ok();
    match (time(before), time(after)) {
        (Some(before), Some(after)) => {
            let step = i64::try_from(LAST_EVENT_STEP.as_secs()).unwrap_or(i64::MAX);
            after.duration_since(before).as_secs().abs() < step
        }
        _ => false,
    }
}
