//! The end of an object. Kubernetes collects the children that it owns; here is only what it cannot know.

use std::time::Duration;

use dingtalk_crds::{
    Condition, ConditionStatus, ConditionType, DataPolicy, DingTalkBridgeStatus, Reason, RegistrationMode,
    names,
};

use crate::{
    AdminFact, Ask, ChildKind, Deletion, Facts, FinalizerChange, Note, NoteType, Place, Plan, asks,
    condition,
    diff::undeletable,
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

/// What keeps an object from going.
struct Trouble {
    /// The condition that tells it.
    of: ConditionType,
    reason: Reason,
    message: String,
    /// When it is tried again.
    again: Duration,
}

pub(crate) fn plan(facts: &Facts<'_>) -> Plan {
    let visit = Visit::new(facts);
    let children = visit.children(facts);
    let mut plan = Plan::default();
    let mut trouble = None;
    let mut left_behind = None;
    let mut is_tried_again = false;
    if has_finalizer(facts) && !visit.paused {
        let mut unregistered = unregistered(facts, &visit);
        if let Unregistered::Stuck(message) = &unregistered
            && is_overdue(facts)
        {
            left_behind = Some(message.clone());
            unregistered = Unregistered::Done;
        }
        match unregistered {
            Unregistered::Asks(asks) => {
                plan.asks = asks;
                plan.look_again = Some(PAUSE);
                is_tried_again = true;
            }
            Unregistered::Stuck(words) => trouble = Some(not_taken_back(&words)),
            Unregistered::Done => {
                let data = data(facts);
                trouble = data.iter().find_map(|deletion| kept(facts, deletion));
                let is_resting = |deletion: &Deletion| undeletable(facts, deletion.child).is_some();
                plan.deletions = data.into_iter().filter(|deletion| !is_resting(deletion)).collect();
                if plan.deletions.is_empty() && trouble.is_none() {
                    // After this the object is gone; nobody would read its status.
                    plan.finalizer = Some(FinalizerChange::Remove);
                    plan.notes = left_behind.as_deref().map(given_up).into_iter().collect();
                    return plan;
                }
            }
        }
    }
    let mut status = status::status(facts, &visit, &children);
    if let Some(trouble) = trouble {
        plan.look_again = Some(trouble.again);
        status = stuck(facts, status, &trouble);
    } else if is_tried_again {
        status = as_told(facts, status);
    }
    if status.is_some() {
        plan.notes = told(facts, status.as_ref());
    }
    plan.status = status;
    plan
}

fn unregistered(facts: &Facts<'_>, visit: &Visit) -> Unregistered {
    if is_true(facts, names::SKIP_UNREGISTER) {
        return Unregistered::Done;
    }
    let is_left = |place: &Place| facts.former.get(place) != Some(&AdminFact::Absent);
    let places: Vec<Place> = visit.places.all().into_iter().filter(is_left).collect();
    if places.is_empty() {
        return nowhere(facts, visit);
    }
    let mut asks = visit.needed.admin_asks(facts.references);
    if asks.is_empty() {
        asks = asks::take_back(facts, &places);
    }
    match asks::not_taken_back(facts, &places) {
        Some(words) if asks.is_empty() => Unregistered::Stuck(words),
        _ => Unregistered::Asks(asks),
    }
}

/// When no place is known where something is registered.
fn nowhere(facts: &Facts<'_>, visit: &Visit) -> Unregistered {
    let may_be = resolve::registration_mode(&facts.object.spec, facts.platform) == RegistrationMode::AdminApi
        && facts.object.status.as_ref().is_some_and(|status| status.homeserver.is_some());
    match &visit.workspace {
        // It never registered: the older object's registration is not touched.
        Err(invalid) if matches!(invalid.reason, Reason::WorkspaceTaken | Reason::HostTaken) => {
            Unregistered::Done
        }
        Err(invalid) if may_be => Unregistered::Stuck(invalid.message.clone()),
        _ => Unregistered::Done,
    }
}

fn not_taken_back(words: &str) -> Trouble {
    Trouble {
        of: ConditionType::RegistrationReady,
        reason: Reason::UnregisterFailed,
        message: condition::bounded(&format!(
            "the registration could not be taken back from the homeserver, so the object stays; it is tried again. To let it go anyway, give it the annotation {}: \"true\". {words}",
            names::SKIP_UNREGISTER
        )),
        again: PAUSE,
    }
}

/// Data that the cluster does not let go.
fn kept(facts: &Facts<'_>, deletion: &Deletion) -> Option<Trouble> {
    let again = undeletable(facts, deletion.child)?;
    let refusal = facts.refused.get(deletion.child).as_ref()?;
    let name = facts.object.metadata.name.as_deref().unwrap_or_default();
    let remedy = if refusal.denied {
        "give the operator's ServiceAccount the right to"
    } else {
        "do what the cluster says"
    };
    Some(Trouble {
        of: ConditionType::DatabaseReady,
        reason: Reason::CleanupFailed,
        message: condition::bounded(&format!(
            "the {} {} could not be deleted, so the object stays; it is tried again every five minutes: {remedy}, or let the object go and keep the data with spec.dataPolicy: Retain. The cluster says: {}",
            deletion.child.kind(),
            deletion.child.name(name),
            refusal.message
        )),
        again,
    })
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

/// The status, with the trouble in it and in the sum.
fn stuck(
    facts: &Facts<'_>,
    status: Option<DingTalkBridgeStatus>,
    trouble: &Trouble,
) -> Option<DingTalkBridgeStatus> {
    let old = facts.object.status.clone().unwrap_or_default();
    let mut new = status.unwrap_or_else(|| old.clone());
    let sum = format!("the object is being deleted and cannot go yet. {}: {}", trouble.of, trouble.message);
    set(facts, &mut new, trouble.of, trouble.reason, &trouble.message);
    set(facts, &mut new, ConditionType::Ready, Reason::CleanupFailed, &sum);
    (new != old).then_some(new)
}

/// The status while a registration is tried to be taken back once more: nothing is known yet, so the trouble stays as told.
fn as_told(facts: &Facts<'_>, status: Option<DingTalkBridgeStatus>) -> Option<DingTalkBridgeStatus> {
    let is_told = condition::old(facts, ConditionType::Ready)
        .is_some_and(|ready| ready.reason == Reason::CleanupFailed.as_str());
    let mut new = status?;
    for type_ in [ConditionType::Ready, ConditionType::RegistrationReady] {
        let place = new.conditions.iter_mut().find(|condition| condition.type_ == type_.as_str());
        if let (Some(place), Some(old), true) = (place, condition::old(facts, type_), is_told) {
            place.clone_from(old);
        }
    }
    (facts.object.status.as_ref() != Some(&new)).then_some(new)
}

/// Says of a condition that it does not hold.
fn set(
    facts: &Facts<'_>,
    status: &mut DingTalkBridgeStatus,
    type_: ConditionType,
    reason: Reason,
    message: &str,
) {
    let wanted = Condition {
        type_: type_.as_str().to_owned(),
        status: ConditionStatus::False,
        observed_generation: facts.object.metadata.generation,
        last_transition_time: match condition::old(facts, type_) {
            Some(before) if before.status == ConditionStatus::False => before.last_transition_time.clone(),
            _ => condition::time(facts.now),
        },
        reason: reason.as_str().to_owned(),
        message: condition::bounded(message),
    };
    match status.conditions.iter_mut().find(|condition| condition.type_ == type_.as_str()) {
        Some(condition) => *condition = wanted,
        None => status.conditions.push(wanted),
    }
}

/// A trouble is told when it begins.
fn told(facts: &Facts<'_>, status: Option<&DingTalkBridgeStatus>) -> Vec<Note> {
    let troubles = [
        (ConditionType::RegistrationReady, Reason::UnregisterFailed),
        (ConditionType::DatabaseReady, Reason::CleanupFailed),
    ];
    let note = |(type_, reason): (ConditionType, Reason)| {
        let is_it = |condition: &&Condition| {
            condition.type_ == type_.as_str()
                && condition.reason == reason.as_str()
                && condition.status == ConditionStatus::False
        };
        let new = status?.conditions.iter().find(is_it)?;
        let is_news = !condition::old(facts, type_).as_ref().is_some_and(is_it);
        is_news.then(|| Note {
            type_: NoteType::Warning,
            reason,
            action: type_.as_str(),
            note: new.message.clone(),
        })
    };
    troubles.into_iter().filter_map(note).collect()
}
