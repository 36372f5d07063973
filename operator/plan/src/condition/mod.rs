//! The conditions: per concern a list of checks, of which the first that has something to say decides.

mod config;
mod database;
mod encryption;
mod linked;
mod paused;
mod progressing;
mod ready;
mod registration;
mod route;
mod secrets;
mod workload;

pub(crate) use self::workload::is_broken;
use dingtalk_crds::{Condition, ConditionStatus, ConditionType, Reason, names};

use crate::{
    ChildKind, Facts, Refusal, ReportFact, SeenMore,
    diff::Child,
    standing::Standing,
    visit::{self, Visit, me},
};

/// All that a check may look at.
pub(crate) struct View<'a> {
    pub facts: &'a Facts<'a>,
    pub visit: &'a Visit,
    pub children: &'a [Child<'a>],
}

/// What a check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// How it is.
    Is(ConditionStatus, Reason, String),
    /// How it is, in words of the moment such as a network error's: what was said before stays while nothing else is
    /// different, so that words that vary cost no writes.
    IsNow(ConditionStatus, Reason, String),
    /// Something that decides is not known at the moment: it stays as it was.
    Keep,
}

impl Verdict {
    fn holds(reason: Reason, message: impl Into<String>) -> Self {
        Self::Is(ConditionStatus::True, reason, message.into())
    }

    fn fails(reason: Reason, message: impl Into<String>) -> Self {
        Self::Is(ConditionStatus::False, reason, message.into())
    }

    fn waits(message: impl Into<String>) -> Self {
        Self::Is(ConditionStatus::Unknown, Reason::NotYetKnown, message.into())
    }
}

/// A check; `None` leaves the word to the next one.
type Check = fn(&View<'_>) -> Option<Verdict>;

/// Longest message, in characters.
const LONGEST: usize = 1000;

/// All conditions, in the order of their types.
pub(crate) fn all(view: &View<'_>) -> Vec<Condition> {
    let concerns: Vec<Condition> = ConditionType::ALL
        .iter()
        .filter(|type_| **type_ != ConditionType::Ready)
        .map(|type_| settled(view, *type_, first(view, checks(*type_))))
        .collect();
    let ready = ready::ready(view, &concerns);
    std::iter::once(ready).chain(concerns).collect()
}

fn checks(type_: ConditionType) -> &'static [Check] {
    match type_ {
        ConditionType::Ready => &[],
        ConditionType::Progressing => progressing::CHECKS,
        ConditionType::ConfigValid => config::CHECKS,
        ConditionType::SecretsReady => secrets::CHECKS,
        ConditionType::DatabaseReady => database::CHECKS,
        ConditionType::RegistrationReady => registration::CHECKS,
        ConditionType::WorkloadAvailable => workload::CHECKS,
        ConditionType::RouteAccepted => route::CHECKS,
        ConditionType::DingTalkLinked => linked::CHECKS,
        ConditionType::EncryptionReady => encryption::CHECKS,
        ConditionType::Paused => paused::CHECKS,
    }
}

fn first(view: &View<'_>, checks: &[Check]) -> Verdict {
    checks.iter().find_map(|check| check(view)).unwrap_or(Verdict::Keep)
}

/// The condition of a verdict. Its time moves only when its status does.
fn settled(view: &View<'_>, type_: ConditionType, verdict: Verdict) -> Condition {
    let old = old(view.facts, type_);
    let (status, reason, message) = match (verdict, old) {
        (Verdict::Keep, Some(old)) => return old.clone(),
        (Verdict::Keep, None) => {
            (ConditionStatus::Unknown, Reason::NotYetKnown, "this has not been looked at yet".to_owned())
        }
        (Verdict::IsNow(status, reason, _), Some(old))
            if old.status == status
                && old.reason == reason.as_str()
                && old.observed_generation == view.facts.object.metadata.generation =>
        {
            return old.clone();
        }
        (Verdict::Is(status, reason, message) | Verdict::IsNow(status, reason, message), _) => {
            (status, reason, message)
        }
    };
    let last_transition_time = match old {
        Some(old) if old.status == status => old.last_transition_time.clone(),
        _ => time(view.facts.now),
    };
    Condition {
        type_: type_.as_str().to_owned(),
        status,
        observed_generation: view.facts.object.metadata.generation,
        last_transition_time,
        reason: reason.as_str().to_owned(),
        message: bounded(&message),
    }
}

/// A condition as it stands in the object.
pub(crate) fn old<'a>(facts: &'a Facts<'_>, type_: ConditionType) -> Option<&'a Condition> {
    facts.object.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// The time to the second, as the API server keeps it.
pub(crate) fn time(now: jiff::Timestamp) -> String {
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// At most as many characters as the schema allows.
pub(crate) fn bounded(message: &str) -> String {
    if message.chars().count() <= LONGEST {
        return message.to_owned();
    }
    message.chars().take(LONGEST - 1).chain(['…']).collect()
}

impl<'a> View<'a> {
    fn child(&self, kind: ChildKind) -> Child<'a> {
        self.children.iter().find(|child| child.kind == kind).copied().unwrap_or(Child::absent(kind))
    }

    fn describe(&self, kind: ChildKind) -> String {
        format!(
            "{} {}",
            kind.kind(),
            kind.name(self.facts.object.metadata.name.as_deref().unwrap_or_default())
        )
    }

    /// Whether nothing is built at the moment, so that the cluster's objects say nothing about `spec`.
    fn closed(&self) -> bool {
        self.visit.workspace.is_err()
    }
}

/// What keeps one of these children from being as it is wanted: somebody else's object, or a refusal.
fn obstacle(view: &View<'_>, kinds: &[ChildKind]) -> Option<Verdict> {
    if view.closed() {
        return None;
    }
    kinds.iter().find_map(|kind| {
        let child = view.child(*kind);
        // A sealing key is not wanted beside data of which nobody knows what opens it, but its place is taken.
        if child.wanted.is_none() && *kind != ChildKind::SealingSecret {
            return None;
        }
        if child.standing == Standing::Foreign {
            return Some(conflict(view, *kind));
        }
        child.refused.map(|refusal| refused(view, *kind, refusal))
    })
}

/// The bridge has not said how it stands.
fn unanswered(view: &View<'_>) -> Option<Verdict> {
    match view.facts.report {
        ReportFact::Report(_) => None,
        ReportFact::Unknown => Some(Verdict::Keep),
        // A pod that is not ready is told about elsewhere, and need not answer yet.
        ReportFact::Unreachable(_) if !is_available(view) => Some(Verdict::Keep),
        ReportFact::Unreachable(words) => Some(Verdict::IsNow(
            ConditionStatus::Unknown,
            Reason::ReportUnavailable,
            format!(
                "the bridge did not answer the operator's question: a NetworkPolicy may keep the operator from its port 9090. {words}"
            ),
        )),
    }
}

fn is_available(view: &View<'_>) -> bool {
    let seen = visit::standing(view.facts, ChildKind::Deployment).ours();
    matches!(seen.map(|seen| &seen.more), Some(SeenMore::Deployment { available, .. }) if *available > 0)
}

/// An object of somebody else's at the place of a child.
fn conflict(view: &View<'_>, kind: ChildKind) -> Verdict {
    let me = me(view.facts);
    let whose =
        if kind.is_user_data() { "was not made for this workspace" } else { "was not made for this object" };
    Verdict::fails(
        Reason::NameConflict,
        format!(
            "the {} {whose}, so it is left alone: delete or rename it, or let it be taken over by giving it the annotation {}: {}",
            view.describe(kind),
            names::ADOPT,
            me.uid
        ),
    )
}

/// A write that the API server refused.
fn refused(view: &View<'_>, kind: ChildKind, refusal: &Refusal) -> Verdict {
    let what = view.describe(kind);
    if refusal.denied {
        return Verdict::fails(
            Reason::AccessDenied,
            format!(
                "the operator may not write the {what}: give its ServiceAccount the right to. The cluster says: {}",
                refusal.message
            ),
        );
    }
    let why = if refusal.conflict { "because somebody else manages a field of it" } else { "by the cluster" };
    Verdict::fails(
        Reason::ApplyRefused,
        format!(
            "the {what} was refused {why}; it is tried again every five minutes. The cluster says: {}",
            refusal.message
        ),
    )
}
