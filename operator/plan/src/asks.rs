//! What is to be asked of the homeserver, of the bridge and of the objects that `spec` names.

use std::time::Duration;

use bridge_config::REPORT_PATH;
use dingtalk_crds::names::{self, keys};

use crate::{
    AdminFact, AdminOrder, Ask, ChildKind, Facts, Place, RefKey, ReferenceFact, ReportFact, Secret,
    WhoamiFact,
    diff::{Child, undeletable},
    registration,
    visit::{Visit, standing},
    workspace::{Homeserver, Workspace},
};

/// Pause before a homeserver is asked again that did not know the token or did not answer.
const HOMESERVER_PAUSE: Duration = Duration::from_secs(10);

/// Pause before an object of the user's is looked for again.
const REFERENCE_PAUSE: Duration = Duration::from_secs(30);

/// Pause between two reports of a bridge.
const REPORT_PAUSE: Duration = Duration::from_secs(20);

/// All questions.
pub(crate) fn asks(facts: &Facts<'_>, visit: &Visit, children: &[Child<'_>]) -> Vec<Ask> {
    if visit.paused {
        return Vec::new();
    }
    let mut asks = Vec::new();
    if let (Ok(workspace), true) = (&visit.workspace, visit.open()) {
        asks.extend(visit.needed.asks(facts.references));
        asks.extend(take_back(facts, visit.places.former()));
        if settled_registration(children) {
            asks.extend(admin(facts, visit, workspace));
            asks.extend(whoami(facts, visit, workspace));
        }
    }
    if *facts.report == ReportFact::Unknown {
        asks.extend(report(facts));
    }
    asks
}

/// When to forget what does not last. What is asked now is asked again as well: an answer that is the same as before is
/// no news, and nobody would come back to it.
pub(crate) fn look_again(
    facts: &Facts<'_>,
    visit: &Visit,
    children: &[Child<'_>],
    asks: &[Ask],
) -> Option<Duration> {
    if visit.paused {
        return None;
    }
    let mut pauses: Vec<Duration> = asks.iter().filter_map(pause).collect();
    if let (Ok(workspace), true) = (&visit.workspace, visit.open()) {
        pauses.extend(visit.needed.wanting(facts.references).then_some(REFERENCE_PAUSE));
        let stuck = |place: &Place| facts.former.get(place).is_some_and(|fact| !fact.lasts());
        pauses.extend(visit.places.former().iter().any(stuck).then_some(HOMESERVER_PAUSE));
        if settled_registration(children) {
            let whoami = *facts.whoami != WhoamiFact::Unknown && !facts.whoami.lasts();
            let admin = workspace.homeserver.admin.is_some()
                && *facts.admin != AdminFact::Unknown
                && !facts.admin.lasts();
            pauses.extend((whoami || admin).then_some(HOMESERVER_PAUSE));
        }
        if let Some(material) = &visit.material {
            pauses.extend(material.pairs.look_again(facts, workspace));
        }
        for refusal in children.iter().filter_map(|child| child.refused) {
            pauses.push(refusal.rests(facts.now).unwrap_or_default().max(Duration::from_secs(1)));
        }
        pauses.extend(ChildKind::ALL.into_iter().filter_map(|kind| undeletable(facts, kind)));
    }
    if *facts.report != ReportFact::Unknown && report(facts).is_some() {
        pauses.push(REPORT_PAUSE);
    }
    pauses.into_iter().min()
}

/// After how long a question is asked again whose answer does not last.
const fn pause(ask: &Ask) -> Option<Duration> {
    match ask {
        Ask::Read { .. } => None,
        Ask::Whoami { .. } | Ask::Admin { .. } | Ask::TakeBack { .. } => Some(HOMESERVER_PAUSE),
        Ask::Report { .. } => Some(REPORT_PAUSE),
    }
}

/// Whether the homeserver can know the registration: the Secret has it as it should be.
fn settled_registration(children: &[Child<'_>]) -> bool {
    children.iter().any(|child| child.kind == ChildKind::RegistrationSecret && child.in_sync())
}

/// Orders to take back what was registered at these places, where nothing is known yet and the way is.
pub(crate) fn take_back(facts: &Facts<'_>, places: &[Place]) -> Vec<Ask> {
    let order = |place: &Place| {
        let token = value(facts, &RefKey::Secret(place.token.name.clone()), &place.token.key)?;
        let ca = match &place.ca {
            None => None,
            Some(ca) => Some(value(facts, &RefKey::ConfigMap(ca.name.clone()), &ca.key)?.clone()),
        };
        Some(Ask::TakeBack { place: place.clone(), token: trimmed(token), ca })
    };
    places.iter().filter(|place| !facts.former.contains_key(*place)).filter_map(order).collect()
}

/// Why a registration could not be taken back at one of these places: its address, and the words for it.
pub(crate) fn not_taken_back(facts: &Facts<'_>, places: &[Place]) -> Option<String> {
    let why = |place: &Place| {
        let words = match facts.former.get(place) {
            Some(AdminFact::TokenRefused) => format!(
                "the token in the Secret {}, key {}, was refused: put the access token of an admin of that homeserver there",
                place.token.name, place.token.key
            ),
            Some(AdminFact::Refused(words) | AdminFact::Unreachable(words)) => words.clone(),
            _ => lacking(facts, place)?,
        };
        Some(format!("{} at {}: {words}", place.id, place.url))
    };
    places.iter().find_map(why)
}

/// What is missing on the way to a place, once that is known.
fn lacking(facts: &Facts<'_>, place: &Place) -> Option<String> {
    let token = (RefKey::Secret(place.token.name.clone()), &place.token, "Secret");
    let ca = place.ca.as_ref().map(|ca| (RefKey::ConfigMap(ca.name.clone()), ca, "ConfigMap"));
    [Some(token), ca].into_iter().flatten().find_map(|(object, named, kind)| {
        let is_read = facts.references.contains_key(&object);
        (is_read && value(facts, &object, &named.key).is_none()).then(|| {
            format!("the {kind} {} is not there, may not be read or lacks {}", named.name, named.key)
        })
    })
}

/// The next step at the admin API. It is written down before where that is.
fn admin(facts: &Facts<'_>, visit: &Visit, workspace: &Workspace) -> Option<Ask> {
    if !visit.places.is_recorded() {
        return None;
    }
    let material = visit.material.as_ref()?;
    let body = || serde_json::to_string(&material.registration).ok().map(Secret::new);
    let order = match facts.admin {
        // Of a new registration an admin API may not show what is new, so it is not asked but told.
        AdminFact::Unknown if material.pairs.is_offered() => AdminOrder::Register { body: body()? },
        AdminFact::Unknown => AdminOrder::Look { body: body()? },
        AdminFact::Absent | AdminFact::Present { same: false, .. } => AdminOrder::Register { body: body()? },
        AdminFact::Present { enabled: false, .. } if !workspace.suspended => AdminOrder::Enable,
        AdminFact::Present { enabled: true, .. } if workspace.suspended => AdminOrder::Disable,
        AdminFact::Present { .. }
        | AdminFact::TokenRefused
        | AdminFact::Refused(_)
        | AdminFact::Unreachable(_) => {
            return None;
        }
    };
    order_at(facts, workspace, order)
}

/// An order to the admin API; `None` while its token or a certificate is not known.
fn order_at(facts: &Facts<'_>, workspace: &Workspace, order: AdminOrder) -> Option<Ask> {
    let admin = workspace.homeserver.admin.as_ref()?;
    Some(Ask::Admin {
        url: admin.url.to_string(),
        token: trimmed(value(facts, &RefKey::Secret(admin.token.name.clone()), &admin.token.key)?),
        ca: certificates(facts, &workspace.homeserver)?,
        id: workspace.config.appservice.id.to_string(),
        order,
    })
}

fn whoami(facts: &Facts<'_>, visit: &Visit, workspace: &Workspace) -> Option<Ask> {
    if *facts.whoami != WhoamiFact::Unknown {
        return None;
    }
    // Before the admin API has it, there is nothing to ask for.
    let registered = matches!(facts.admin, AdminFact::Present { same: true, enabled: true });
    if workspace.homeserver.admin.is_some() && !registered {
        return None;
    }
    Some(Ask::Whoami {
        url: workspace.homeserver.url.to_string(),
        as_token: Secret::new(visit.material.as_ref()?.registration.as_token.expose()),
        user_id: workspace.config.bot_user_id(),
        ca: certificates(facts, &workspace.homeserver)?,
    })
}

/// The question for the report, if a bridge runs that can answer it. It does not depend on `spec`: a bridge that runs is
/// asked although the last edit was a mistake.
fn report(facts: &Facts<'_>) -> Option<Ask> {
    let meta = &facts.object.metadata;
    let available = match standing(facts, ChildKind::Deployment).ours().map(|seen| &seen.more) {
        Some(crate::SeenMore::Deployment { available, .. }) => *available > 0,
        _ => return None,
    };
    let runs = facts.pod.is_some_and(|pod| pod.waiting.is_none() && pod.unschedulable.is_none());
    if !available && !runs {
        return None;
    }
    let tokens = standing(facts, ChildKind::TokensSecret).ours()?;
    let (name, namespace) = (meta.name.as_deref()?, meta.namespace.as_deref()?);
    Some(Ask::Report {
        url: format!("http://{}.{namespace}.svc:{}{REPORT_PATH}", names::child(name), names::HEALTH_PORT),
        token: registration::value(tokens, keys::STATUS_TOKEN)?.clone(),
        former: registration::value(tokens, keys::OLD_STATUS_TOKEN).cloned(),
    })
}

/// Certificates for the homeserver: `Some(None)` when none are needed, `None` while they are not known.
#[expect(clippy::option_option, reason = "not needed and not known are two things")]
fn certificates(facts: &Facts<'_>, homeserver: &Homeserver) -> Option<Option<Secret>> {
    match &homeserver.ca {
        None => Some(None),
        Some(ca) => {
            value(facts, &RefKey::ConfigMap(ca.name.clone()), &ca.key).map(|value| Some(value.clone()))
        }
    }
}

fn value<'a>(facts: &'a Facts<'_>, object: &RefKey, key: &str) -> Option<&'a Secret> {
    match facts.references.get(object)? {
        ReferenceFact::Present { values, .. } => {
            values.get(key).filter(|value| !value.expose().trim().is_empty())
        }
        ReferenceFact::Missing | ReferenceFact::Denied => None,
    }
}

/// A token without the line end that a file often has.
fn trimmed(token: &Secret) -> Secret {
    Secret::new(token.expose().trim())
}
