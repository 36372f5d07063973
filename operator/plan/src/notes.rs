//! Events: what `kubectl describe` tells as a story. Only transitions are told, never a state again and again.

use dingtalk_crds::{
    Condition, ConditionStatus, ConditionType, DingTalkBridgeStatus, Reason, Rotated, RotationPhase,
    SecretRotation,
};

use crate::{Change, Facts, Note, NoteType, condition};

/// Reasons that are a step on the way: nobody needs to look.
const STEPS: [Reason; 14] = [
    Reason::WaitingForWave,
    Reason::NotYetKnown,
    Reason::RollingOut,
    Reason::Settled,
    Reason::Active,
    Reason::Deleting,
    Reason::PodStarting,
    Reason::VolumePending,
    Reason::RoutePending,
    Reason::RouteDisabled,
    Reason::NotLinked,
    Reason::ReportUnavailable,
    Reason::EncryptionOff,
    Reason::AllGood,
];

/// Reasons that are somebody's wish.
const WISHES: [Reason; 3] = [Reason::Suspended, Reason::HandsOff, Reason::Linked];

/// What the new status tells that the old one does not.
pub(crate) fn transitions(facts: &Facts<'_>, status: Option<&DingTalkBridgeStatus>) -> Vec<Note> {
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut notes: Vec<Note> = Vec::new();
    for type_ in ConditionType::ALL {
        let Some(new) = conditions.iter().find(|condition| condition.type_ == type_.as_str()) else {
            continue;
        };
        let old = condition::old(facts, *type_);
        let changed = old.is_none_or(|old| old.status != new.status || old.reason != new.reason);
        let told = changed.then(|| note(*type_, old, new)).flatten();
        // Two concerns may have the same cause.
        notes.extend(told.filter(|note| notes.iter().all(|other| other.reason != note.reason)));
    }
    notes
}

fn note(type_: ConditionType, old: Option<&Condition>, new: &Condition) -> Option<Note> {
    let reason = Reason::ALL.iter().copied().find(|reason| reason.as_str() == new.reason)?;
    let type_of_note = match (type_, new.status) {
        (ConditionType::Ready, ConditionStatus::True) => NoteType::Normal,
        // Its causes are told by the others.
        (ConditionType::Ready, _) => return None,
        (ConditionType::Paused, _) if reason == Reason::Active => {
            old.filter(|old| old.status == ConditionStatus::True)?;
            NoteType::Normal
        }
        _ if WISHES.contains(&reason) => NoteType::Normal,
        _ if STEPS.contains(&reason) => return None,
        _ => NoteType::Warning,
    };
    Some(Note { type_: type_of_note, reason, action: type_.as_str(), note: new.message.clone() })
}

/// What a bridge is told that failed with a change of the platform's, when the rollout halts because of it.
pub fn halted() -> Note {
    Note {
        type_: NoteType::Warning,
        reason: Reason::RolloutHalted,
        action: "Rollout",
        note: "this bridge was available and is not since a change of the platform's came to it, so the change goes no further: see WorkloadAvailable; set the change back, correct it, or go on with kubectl dtb rollout resume"
            .to_owned(),
    }
}

/// Replacements of tokens and keys that began or ended.
pub(crate) fn rotations(facts: &Facts<'_>, status: Option<&DingTalkBridgeStatus>) -> Vec<Note> {
    let of = |status: Option<&DingTalkBridgeStatus>| {
        status.and_then(|status| status.rotation.clone()).map(|rotation| rotation.secrets).unwrap_or_default()
    };
    let before = of(facts.object.status.as_ref());
    let told = |new: SecretRotation| {
        let old = before.iter().find(|old| old.name == new.name)?;
        let settled = |secret: &SecretRotation| secret.phase == RotationPhase::Settled;
        let (reason, what) = match (settled(old), settled(&new)) {
            (true, false) => {
                (Reason::RotationStarted, "is being replaced; the former one stays good meanwhile")
            }
            (false, true) => (Reason::RotationFinished, "was replaced, and the former one is gone"),
            // It went by between two looks.
            (true, true) if old.generation < new.generation => {
                (Reason::RotationFinished, "was replaced, and the former one is gone")
            }
            _ => return None,
        };
        let subject = match new.name {
            Rotated::Appservice => "the pair of tokens between homeserver and bridge",
            Rotated::Status => "the operator's token towards the bridge",
            Rotated::Sealing => "the sealing key",
            Rotated::Webhook => "the pair of token and AES key of the webhook",
        };
        let note = format!("{subject} {what}");
        Some(Note { type_: NoteType::Normal, reason, action: new.name.word(), note })
    };
    of(status).into_iter().filter_map(told).collect()
}

/// Children that somebody else changed and that are set back.
pub(crate) fn repairs(facts: &Facts<'_>, writes: &[Change]) -> Vec<Note> {
    let name = facts.object.metadata.name.as_deref().unwrap_or_default();
    let repaired = writes.iter().filter(|change| change.repair);
    repaired
        .map(|change| Note {
            type_: NoteType::Normal,
            reason: Reason::DriftRepaired,
            action: change.child.kind(),
            note: format!(
                "the {} {} was changed or deleted by somebody else and is set back to what spec says",
                change.child.kind(),
                change.child.name(name)
            ),
        })
        .collect()
}
