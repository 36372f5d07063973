//! The end of an object. Kubernetes collects the children that it owns; here is only what it cannot know.

use std::time::Duration;

use dingtalk_crds::{Condition, ConditionStatus, ConditionType, DataPolicy, Reason, RegistrationMode, names};

use crate::{
    AdminFact, AdminOrder, Ask, ChildKind, Deletion, Facts, FinalizerChange, Note, NoteType, Plan, asks,
    condition,
    plan::has_finalizer,
    resolve, status,
    visit::{Visit, is_true, standing},
};

/// Pause before the homeserver is asked again to take the registration back.
const PAUSE: Duration = Duration::from_secs(10);

/// How long an object waits for a homeserver that does not take its registration back. After that it goes all the same:
/// it may keep a namespace from ending, and with the namespace the token may be gone that it waits for.
const DEADLINE: Duration = Duration::from_hours(1);

/// How far the taking back of the registration is.
enum Unregistered {
    /// There is nothing left to take back.
    Done,
    /// This has to be asked first.
    Asks(Vec<Ask>),
    /// Something is in the way.
    Stuck(String),
}

pub(crate) fn plan(facts: &Facts<'_>) -> Plan {
    let visit = Visit::new(facts);
    let children = visit.children(facts);
    let mut plan = Plan::default();
    let mut trouble = None;
    let mut left_behind = None;
    if has_finalizer(facts) && !visit.paused {
        let mut unregistered = unregistered(facts, &visit);
        if let Unregistered::Stuck(message) = &unregistered
            && is_overdue(facts)
        {
            left_behind = Some(message.clone());
            unregistered = Unregistered::Done;
        }
        match unregistered {
            Unregistered::Asks(asks) => plan.asks = asks,
            Unregistered::Stuck(message) => {
                trouble = Some(message);
                plan.look_again = Some(PAUSE);
            }
            Unregistered::Done => {
                plan.deletions = data(facts);
                if plan.deletions.is_empty() {
                    // After this the object is gone; nobody would read its status.
                    plan.finalizer = Some(FinalizerChange::Remove);
                    plan.notes = left_behind.as_deref().map(given_up).into_iter().collect();
                    return plan;
                }
            }
        }
    }
    let mut status = status::status(facts, &visit, &children);
    if let Some(message) = trouble {
        status = stuck(facts, status, &message);
    }
    if status.is_some() {
        plan.notes = told(facts, status.as_ref());
    }
    plan.status = status;
    plan
}

fn unregistered(facts: &Facts<'_>, visit: &Visit) -> Unregistered {
    if resolve::registration_mode(&facts.object.spec, facts.platform) == RegistrationMode::Secret
        || is_true(facts, names::SKIP_UNREGISTER)
        || *facts.admin == AdminFact::Absent
    {
        return Unregistered::Done;
    }
    let workspace = match &visit.workspace {
        Ok(workspace) => workspace,
        // It never registered: the older object's registration is not touched.
        Err(invalid) if matches!(invalid.reason, Reason::WorkspaceTaken | Reason::HostTaken) => {
            return Unregistered::Done;
        }
        Err(invalid) => return Unregistered::Stuck(invalid.message.clone()),
    };
    let asks = visit.needed.admin_asks(facts.references);
    if !asks.is_empty() {
        return Unregistered::Asks(asks);
    }
    let words = match facts.admin {
        AdminFact::TokenRefused => "the admin's token was refused",
        AdminFact::Refused(words) | AdminFact::Unreachable(words) => words,
        AdminFact::Unknown | AdminFact::Absent | AdminFact::Present { .. } => {
            if let Some(ask) = asks::order_at(facts, workspace, AdminOrder::Remove) {
                return Unregistered::Asks(vec![ask]);
            }
            let trouble = visit.troubles.iter().find(|trouble| trouble.is_admin_token);
            trouble.map_or("a token or a certificate is missing", |trouble| &trouble.message)
        }
    };
    Unregistered::Stuck(words.to_owned())
}

/// Whether the object has waited long enough for its homeserver.
fn is_overdue(facts: &Facts<'_>) -> bool {
    let since = facts.object.metadata.deletion_timestamp.as_ref();
    since.is_some_and(|since| facts.now.duration_since(since.0).as_secs() >= DEADLINE.as_secs().cast_signed())
}

/// What is told when a registration stays behind.
fn given_up(message: &str) -> Note {
    Note {
        type_: NoteType::Warning,
        reason: Reason::UnregisterFailed,
        action: ConditionType::RegistrationReady.as_str(),
        note: condition::bounded(&format!(
            "the object goes after {} minutes without its registration taken back: remove it from the homeserver by hand. {message}",
            DEADLINE.as_secs() / 60
        )),
    }
}

/// Data that goes with the object, because it says so.
fn data(facts: &Facts<'_>) -> Vec<Deletion> {
    if facts.object.spec.data_policy != Some(DataPolicy::Delete) {
        return Vec::new();
    }
    [ChildKind::Claim, ChildKind::SealingSecret]
        .into_iter()
        .filter_map(|child| Some(Deletion { child, uid: standing(facts, child).ours()?.uid.clone() }))
        .collect()
}

/// The status, with the trouble in it.
fn stuck(
    facts: &Facts<'_>,
    status: Option<dingtalk_crds::DingTalkBridgeStatus>,
    message: &str,
) -> Option<dingtalk_crds::DingTalkBridgeStatus> {
    let old = facts.object.status.clone().unwrap_or_default();
    let mut new = status.unwrap_or_else(|| old.clone());
    let type_ = ConditionType::RegistrationReady;
    let before = condition::old(facts, type_);
    let wanted = Condition {
        type_: type_.as_str().to_owned(),
        status: ConditionStatus::False,
        observed_generation: facts.object.metadata.generation,
        last_transition_time: match before {
            Some(before) if before.status == ConditionStatus::False => before.last_transition_time.clone(),
            _ => condition::time(facts.now),
        },
        reason: Reason::UnregisterFailed.as_str().to_owned(),
        message: condition::bounded(&format!(
            "the registration could not be taken back from the homeserver, so the object stays; it is tried again. To let it go anyway, give it the annotation {}: \"true\". {message}",
            names::SKIP_UNREGISTER
        )),
    };
    match new.conditions.iter_mut().find(|condition| condition.type_ == type_.as_str()) {
        Some(condition) => *condition = wanted,
        None => new.conditions.push(wanted),
    }
    (new != old).then_some(new)
}

fn told(facts: &Facts<'_>, status: Option<&dingtalk_crds::DingTalkBridgeStatus>) -> Vec<Note> {
    let find = |conditions: &[Condition]| {
        conditions.iter().find(|condition| condition.reason == Reason::UnregisterFailed.as_str()).cloned()
    };
    let new = status.and_then(|status| find(&status.conditions));
    let old = facts.object.status.as_ref().and_then(|status| find(&status.conditions));
    match (new, old) {
        (Some(new), None) => vec![Note {
            type_: NoteType::Warning,
            reason: Reason::UnregisterFailed,
            action: ConditionType::RegistrationReady.as_str(),
            note: new.message,
        }],
        _ => Vec::new(),
    }
}
