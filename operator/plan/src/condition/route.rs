//! `RouteAccepted`.

use dingtalk_crds::Reason;

use super::{Check, Verdict, View, obstacle};
use crate::{ChildKind, SeenMore, workspace::Route};

pub(super) const CHECKS: &[Check] = &[
    closed,
    disabled,
    unknown_kind,
    |view| obstacle(view, &[ChildKind::Ingress, ChildKind::HttpRoute]),
    unwritten,
    gateway,
    ingress,
];

fn closed(view: &View<'_>) -> Option<Verdict> {
    view.closed().then_some(Verdict::Keep)
}

fn route<'a>(view: &View<'a>) -> Option<&'a Route> {
    view.visit.workspace.as_ref().ok().map(|workspace| &workspace.route)
}

fn disabled(view: &View<'_>) -> Option<Verdict> {
    (*route(view)? == Route::None).then(|| {
        Verdict::holds(
            Reason::RouteDisabled,
            "no route is wanted: the webhook is reached by a route of your own, or not at all in Stream mode",
        )
    })
}

fn unknown_kind(view: &View<'_>) -> Option<Verdict> {
    (matches!(route(view)?, Route::Gateway { .. }) && !view.facts.operator.has_http_routes).then(|| {
        Verdict::fails(
            Reason::RouteKindMissing,
            "the cluster does not have the kind HTTPRoute (gateway.networking.k8s.io/v1): install the Gateway API, or use spec.route.ingress",
        )
    })
}

fn kind(view: &View<'_>) -> Option<ChildKind> {
    match route(view)? {
        Route::Ingress { .. } => Some(ChildKind::Ingress),
        Route::Gateway { .. } => Some(ChildKind::HttpRoute),
        Route::None => None,
    }
}

fn unwritten(view: &View<'_>) -> Option<Verdict> {
    let kind = kind(view)?;
    view.child(kind)
        .seen()
        .is_none()
        .then(|| Verdict::waits(format!("the {} is about to be written", view.describe(kind))))
}

fn gateway(view: &View<'_>) -> Option<Verdict> {
    let SeenMore::HttpRoute { accepted } = &view.child(ChildKind::HttpRoute).seen()?.more else {
        return None;
    };
    let Route::Gateway { parents } = route(view)? else { return None };
    let what = view.describe(ChildKind::HttpRoute);
    let parents: Vec<&str> = parents.iter().map(|parent| parent.name.as_str()).collect();
    let parents = parents.join(", ");
    Some(match accepted {
        None => Verdict::fails(
            Reason::RoutePending,
            format!(
                "the {what} waits for the Gateway {parents}: look whether it exists and its controller runs"
            ),
        ),
        Some(Err(words)) => Verdict::fails(
            Reason::RouteRefused,
            format!(
                "the {what} was refused by the Gateway {parents}: look at its listeners and the namespaces that they allow. It says: {words}"
            ),
        ),
        Some(Ok(())) => {
            Verdict::holds(Reason::AllGood, format!("the {what} was accepted by the Gateway {parents}"))
        }
    })
}

fn ingress(view: &View<'_>) -> Option<Verdict> {
    view.child(ChildKind::Ingress).seen()?;
    let workspace = view.visit.workspace.as_ref().ok()?;
    let Route::Ingress { class, .. } = &workspace.route else { return None };
    let by = match class {
        Some(class) => format!("the controller of the class {class}"),
        None => "the controller of the cluster's default class".to_owned(),
    };
    Some(Verdict::holds(
        Reason::AllGood,
        format!(
            "the {} is there; {by} serves {}",
            view.describe(ChildKind::Ingress),
            workspace.webhook_url()
        ),
    ))
}
