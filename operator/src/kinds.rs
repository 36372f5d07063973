//! The kinds that the operator writes and watches, as the API server names them.

use kube::core::{ApiResource, GroupVersionKind};
use operator_plan::ChildKind;

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// `DingTalkBridge`.
pub(crate) fn bridges() -> ApiResource {
    use dingtalk_crds::names;
    resource(names::GROUP, names::VERSION, names::KIND, names::PLURAL)
}

/// Secrets.
pub(crate) fn secrets() -> ApiResource {
    resource("", "v1", "Secret", "secrets")
}

/// `ConfigMap`s.
pub(crate) fn config_maps() -> ApiResource {
    resource("", "v1", "ConfigMap", "configmaps")
}

/// Pods.
pub(crate) fn pods() -> ApiResource {
    resource("", "v1", "Pod", "pods")
}

/// Jobs.
pub(crate) fn jobs() -> ApiResource {
    resource("batch", "v1", "Job", "jobs")
}

/// `HTTPRoute`s of the Gateway API.
pub(crate) fn http_routes() -> ApiResource {
    resource("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
}

/// The kind of a child.
pub(crate) fn of(child: ChildKind) -> ApiResource {
    match child {
        ChildKind::RegistrationSecret | ChildKind::TokensSecret | ChildKind::SealingSecret => secrets(),
        ChildKind::ConfigMap => config_maps(),
        ChildKind::ServiceAccount => resource("", "v1", "ServiceAccount", "serviceaccounts"),
        ChildKind::Claim => resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        ChildKind::Deployment => resource("apps", "v1", "Deployment", "deployments"),
        ChildKind::Service => resource("", "v1", "Service", "services"),
        ChildKind::Ingress => resource("networking.k8s.io", "v1", "Ingress", "ingresses"),
        ChildKind::HttpRoute => http_routes(),
        ChildKind::NetworkPolicy => resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    }
}

/// A kind of child for each resource that has children.
pub(crate) const WATCHED: [ChildKind; 9] = [
    ChildKind::RegistrationSecret,
    ChildKind::ConfigMap,
    ChildKind::ServiceAccount,
    ChildKind::Claim,
    ChildKind::Deployment,
    ChildKind::Service,
    ChildKind::Ingress,
    ChildKind::HttpRoute,
    ChildKind::NetworkPolicy,
];
