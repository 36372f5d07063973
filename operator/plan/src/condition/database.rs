//! `DatabaseReady`.

use dingtalk_crds::{ConditionStatus, ConditionType, Reason, names::keys};

use super::{Check, Verdict, View, conflict, obstacle, old, refused};
use crate::{
    ChildKind, ReportFact, SeenMore, quantity::Quantity, standing::Standing, workspace::DatabaseFrom,
};

pub(super) const CHECKS: &[Check] =
    &[invalid, server, foreign, sealing_key, refusal, leaving, unwritten, lost, pending, size, bound];

fn invalid(view: &View<'_>) -> Option<Verdict> {
    view.visit.workspace.is_err().then_some(Verdict::Keep)
}

/// What the bridge says of a database that is not the operator's.
fn server(view: &View<'_>) -> Option<Verdict> {
    let workspace = view.visit.workspace.as_ref().ok()?;
    let DatabaseFrom::PostgreSql(address) = &workspace.database else { return None };
    let named = format!(
        "the PostgreSQL database of {} ({} of the Secret {})",
        address.field, address.key, address.name
    );
    let ReportFact::Report(report) = view.facts.report else {
        return Some(match old(view.facts, ConditionType::DatabaseReady) {
            Some(known) if known.reason != Reason::NotYetKnown.as_str() => Verdict::Keep,
            _ => Verdict::waits(format!("the bridge has not said yet whether it can use {named}")),
        });
    };
    Some(match report.problems.iter().find(|problem| problem.starts_with("database: ")) {
        Some(problem) => Verdict::fails(
            Reason::DatabaseUnreachable,
            format!("{named} does not serve the bridge, whose messages wait meanwhile: {problem}"),
        ),
        None => Verdict::holds(Reason::AllGood, format!("{named} is in use")),
    })
}

fn foreign(view: &View<'_>) -> Option<Verdict> {
    let child = view.child(ChildKind::Claim);
    (child.wanted.is_some() && child.standing == Standing::Foreign).then(|| conflict(view, ChildKind::Claim))
}

fn sealing_key(view: &View<'_>) -> Option<Verdict> {
    let (claim, secret) = (view.describe(ChildKind::Claim), view.describe(ChildKind::SealingSecret));
    view.visit.sealing_missing.then(|| {
        Verdict::fails(
            Reason::SealingKeyMissing,
            format!(
                "the {claim} exists, but the {secret} with the key {} that opens its data does not, or holds no key of 32 bytes: restore this Secret with its labels from your backup, or delete the claim to begin with an empty database",
                keys::SEALING_KEY
            ),
        )
    })
}

fn refusal(view: &View<'_>) -> Option<Verdict> {
    let child = view.child(ChildKind::Claim);
    let refusal = child.refused?;
    let Some(seen) = child.seen() else { return obstacle(view, &[ChildKind::Claim]) };
    let SeenMore::Claim { requested, .. } = &seen.more else { return None };
    let requested = requested.as_deref().unwrap_or_default();
    let wanted = size_wanted(view)?;
    if Quantity::parse(requested).is_none_or(|requested| wanted <= requested) {
        return Some(refused(view, ChildKind::Claim, refusal));
    }
    // What is there can still be used.
    Some(Verdict::holds(
        Reason::ResizeRefused,
        format!(
            "the {} has {requested} and was not allowed to grow to {wanted}: use a storage class that lets volumes grow, or set the size back. The cluster says: {}",
            view.describe(ChildKind::Claim),
            refusal.message
        ),
    ))
}

fn leaving(view: &View<'_>) -> Option<Verdict> {
    (view.child(ChildKind::Claim).standing == Standing::Leaving).then(|| {
        Verdict::fails(
            Reason::VolumeLost,
            format!(
                "the {} is being deleted with all that is in it, and goes when no pod uses it any more; a new one is made then",
                view.describe(ChildKind::Claim)
            ),
        )
    })
}

fn unwritten(view: &View<'_>) -> Option<Verdict> {
    let child = view.child(ChildKind::Claim);
    (child.wanted.is_some() && child.seen().is_none())
        .then(|| Verdict::waits(format!("the {} is about to be written", view.describe(ChildKind::Claim))))
}

fn phase<'a>(view: &View<'a>) -> Option<&'a str> {
    match &view.child(ChildKind::Claim).seen()?.more {
        SeenMore::Claim { phase, .. } => Some(phase),
        _ => None,
    }
}

fn lost(view: &View<'_>) -> Option<Verdict> {
    (phase(view)? == "Lost").then(|| {
        Verdict::fails(
            Reason::VolumeLost,
            format!(
                "the {} has lost its volume: restore the volume, or delete the claim to begin with an empty database",
                view.describe(ChildKind::Claim)
            ),
        )
    })
}

/// Not a failure: with many storage classes the volume comes only with the pod, and what keeps the pod is told elsewhere.
fn pending(view: &View<'_>) -> Option<Verdict> {
    (phase(view)? != "Bound").then(|| {
        let message = format!(
            "the {} waits for its volume; with some storage classes it comes when the pod does. If it stays so, `kubectl describe` of the claim tells why",
            view.describe(ChildKind::Claim)
        );
        Verdict::Is(ConditionStatus::Unknown, Reason::VolumePending, message)
    })
}

fn size_wanted(view: &View<'_>) -> Option<Quantity> {
    match &view.visit.workspace.as_ref().ok()?.database {
        DatabaseFrom::Sqlite { size, .. } => Some(*size),
        DatabaseFrom::PostgreSql(_) => None,
    }
}

fn size(view: &View<'_>) -> Option<Verdict> {
    let SeenMore::Claim { requested, capacity, trouble, .. } = &view.child(ChildKind::Claim).seen()?.more
    else {
        return None;
    };
    let claim = view.describe(ChildKind::Claim);
    let wanted = size_wanted(view)?;
    let requested = Quantity::parse(requested.as_deref()?)?;
    if wanted < requested {
        return Some(Verdict::holds(
            Reason::AllGood,
            format!(
                "the {claim} has a volume of {requested}; it stays so although only {wanted} are asked for, since volumes do not shrink"
            ),
        ));
    }
    let capacity = Quantity::parse(capacity.as_deref()?)?;
    if requested <= capacity {
        return None;
    }
    Some(match trouble {
        Some(trouble) => Verdict::holds(
            Reason::ResizeRefused,
            format!(
                "the {claim} has {capacity} and does not grow to {requested}: look at its storage class. The cluster says: {trouble}"
            ),
        ),
        None => Verdict::holds(Reason::AllGood, format!("the {claim} grows from {capacity} to {requested}")),
    })
}

fn bound(view: &View<'_>) -> Option<Verdict> {
    phase(view)?;
    Some(Verdict::holds(Reason::AllGood, format!("the {} has its volume", view.describe(ChildKind::Claim))))
}
