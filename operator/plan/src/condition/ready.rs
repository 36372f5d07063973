//! `Ready`: the sum of the others.

use dingtalk_crds::{Condition, ConditionStatus, ConditionType, Reason};

use super::{Verdict, View, settled};

/// What must hold, in the order in which it is named when it does not. A bridge that nobody has linked to DingTalk yet
/// is ready: linking is the next thing to do with it.
const NEEDED: [ConditionType; 6] = [
    ConditionType::ConfigValid,
    ConditionType::SecretsReady,
    ConditionType::DatabaseReady,
    ConditionType::RegistrationReady,
    ConditionType::WorkloadAvailable,
    ConditionType::RouteAccepted,
];

pub(super) fn ready(view: &View<'_>, concerns: &[Condition]) -> Condition {
    let needed: Vec<&Condition> = NEEDED
        .iter()
        .filter_map(|type_| concerns.iter().find(|condition| condition.type_ == type_.as_str()))
        .collect();
    let mut condition = settled(view, ConditionType::Ready, verdict(view, &needed));
    // What was kept from an older generation is not known of this one.
    let observed = needed.iter().filter_map(|condition| condition.observed_generation).min();
    condition.observed_generation = observed.or(condition.observed_generation);
    condition
}

fn verdict(view: &View<'_>, needed: &[&Condition]) -> Verdict {
    if view.facts.object.metadata.deletion_timestamp.is_some() {
        return Verdict::fails(Reason::Deleting, "the object is being deleted");
    }
    let config = needed.first().map(|condition| condition.status);
    if view.facts.object.spec.suspend == Some(true) && config != Some(ConditionStatus::False) {
        return Verdict::fails(
            Reason::Suspended,
            "no pod runs, because spec.suspend is true: remove it to start the bridge again",
        );
    }
    let failing = |status| needed.iter().find(|condition| condition.status == status);
    match failing(ConditionStatus::False).or_else(|| failing(ConditionStatus::Unknown)) {
        None => Verdict::holds(Reason::AllGood, "the bridge runs and can be used"),
        Some(condition) => {
            let reason = Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason);
            let message = format!("{}: {}", condition.type_, condition.message);
            Verdict::Is(condition.status, reason.copied().unwrap_or(Reason::NotYetKnown), message)
        }
    }
}
