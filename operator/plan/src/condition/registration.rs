//! `RegistrationReady`.

use dingtalk_crds::{ConditionStatus, ConditionType, Reason, names, names::keys};

use super::{Check, Verdict, View};
use crate::{AdminFact, ChildKind, WhoamiFact, asks, condition};

pub(super) const CHECKS: &[Check] = &[closed, unwritten, admin_token, admin, former, suspended, whoami];

fn closed(view: &View<'_>) -> Option<Verdict> {
    view.closed().then_some(Verdict::Keep)
}

fn unwritten(view: &View<'_>) -> Option<Verdict> {
    let child = view.child(ChildKind::RegistrationSecret);
    if child.in_sync() {
        return None;
    }
    let secret = view.describe(ChildKind::RegistrationSecret);
    Some(match child.seen() {
        Some(_) => Verdict::Keep,
        None => {
            Verdict::waits(format!("the {secret} with the registration is not there yet; see SecretsReady"))
        }
    })
}

fn admin_token(view: &View<'_>) -> Option<Verdict> {
    view.visit.workspace.as_ref().ok()?.homeserver.admin.as_ref()?;
    let trouble = view.visit.troubles.iter().find(|trouble| trouble.is_admin_token)?;
    Some(Verdict::fails(Reason::AdminTokenRefused, trouble.message.as_str()))
}

fn admin(view: &View<'_>) -> Option<Verdict> {
    let homeserver = &view.visit.workspace.as_ref().ok()?.homeserver;
    let admin = homeserver.admin.as_ref()?;
    let url = &admin.url;
    match view.facts.admin {
        // Until an order was carried out, all stays as it was.
        AdminFact::Unknown | AdminFact::Absent | AdminFact::Present { same: false, .. } => {
            Some(Verdict::Keep)
        }
        AdminFact::Present { same: true, .. } => None,
        AdminFact::TokenRefused => Some(Verdict::fails(
            Reason::AdminTokenRefused,
            format!(
                "the homeserver's admin API at {url} refused the token in the Secret {}, key {}: put the access token of an admin of the homeserver there",
                admin.token.name, admin.token.key
            ),
        )),
        AdminFact::Refused(words) => Some(Verdict::fails(
            Reason::RegistrationRefused,
            format!("the homeserver's admin API at {url} refused the registration. It says: {words}"),
        )),
        AdminFact::Unreachable(words) => Some(unreachable(url.as_str(), words)),
    }
}

/// A registration of before that is still there. It does not keep the bridge from being used, so it is told only when
/// nothing else is to be told.
fn former(view: &View<'_>) -> Option<Verdict> {
    let (facts, places) = (view.facts, &view.visit.places);
    let is_off = matches!(facts.admin, AdminFact::Present { enabled: false, .. });
    if places.former().is_empty() || !(is_off || *facts.whoami == WhoamiFact::Accepted) {
        return None;
    }
    let Some(words) = asks::not_taken_back(facts, places.former()) else {
        // Between two attempts nothing is known.
        let told = condition::old(facts, ConditionType::RegistrationReady)?;
        return (told.reason == Reason::UnregisterFailed.as_str()).then_some(Verdict::Keep);
    };
    Some(Verdict::IsNow(
        ConditionStatus::True,
        Reason::UnregisterFailed,
        format!(
            "the homeserver accepts the bridge, but a former registration could not be taken back; it is tried again. To leave it behind, give the object the annotation {}: \"true\" until this is gone. {words}",
            names::SKIP_UNREGISTER
        ),
    ))
}

/// At the admin API a bridge that is suspended is switched off; then its token may be refused.
fn suspended(view: &View<'_>) -> Option<Verdict> {
    let workspace = view.visit.workspace.as_ref().ok()?;
    workspace.homeserver.admin.as_ref()?;
    match view.facts.admin {
        AdminFact::Present { enabled: false, .. } if workspace.suspended => Some(Verdict::holds(
            Reason::Suspended,
            "the homeserver has the registration, switched off as long as spec.suspend is true",
        )),
        AdminFact::Present { enabled, .. } if *enabled == workspace.suspended => Some(Verdict::Keep),
        _ => None,
    }
}

fn whoami(view: &View<'_>) -> Option<Verdict> {
    let homeserver = &view.visit.workspace.as_ref().ok()?.homeserver;
    let secret = view.describe(ChildKind::RegistrationSecret);
    Some(match view.facts.whoami {
        WhoamiFact::Unknown => Verdict::Keep,
        WhoamiFact::Refused if offered(view) => Verdict::holds(
            Reason::HomeserverRestartNeeded,
            if homeserver.admin.is_some() {
                format!(
                    "the homeserver's admin API has the new tokens, but the homeserver does not know them yet: it also needs the file {} of the {secret} among its registrations, and must be restarted then; the former ones are good until it has",
                    keys::REGISTRATION
                )
            } else {
                format!(
                    "the tokens are being replaced: restart the homeserver, so that it reads the file {} of the {secret} again; the former ones are good until it has",
                    keys::REGISTRATION
                )
            },
        ),
        WhoamiFact::Accepted => Verdict::holds(Reason::AllGood, "the homeserver accepts the bridge's token"),
        WhoamiFact::Refused => Verdict::fails(
            Reason::HomeserverRestartNeeded,
            if homeserver.admin.is_some() {
                format!(
                    "the homeserver has the registration through its admin API, but refuses the bridge's token: it also needs the file {} of the {secret} among its registrations, and must be restarted then",
                    keys::REGISTRATION
                )
            } else {
                format!(
                    "the homeserver at {} does not know the bridge's token: mount the {secret}, name its file {} in the homeserver's app_service_config_files, and restart the homeserver",
                    homeserver.url,
                    keys::REGISTRATION
                )
            },
        ),
        WhoamiFact::Unreachable(words) => unreachable(homeserver.url.as_str(), words),
    })
}

/// Whether new tokens wait for the homeserver, while the former ones are good.
fn offered(view: &View<'_>) -> bool {
    view.visit.material.as_ref().is_some_and(|material| material.pairs.is_offered())
}

fn unreachable(url: &str, words: &str) -> Verdict {
    Verdict::IsNow(
        ConditionStatus::False,
        Reason::HomeserverUnreachable,
        format!(
            "the homeserver does not answer at {url}: look whether it runs and whether the address is right. {words}"
        ),
    )
}
