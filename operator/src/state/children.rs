//! Kinds of children and their places.

use dingtalk_crds::names;
use operator_plan::{ChildKind, Children};

/// The place of a kind.
pub(crate) fn slot<T>(children: &Children<T>, child: ChildKind) -> &T {
    match child {
        ChildKind::RegistrationSecret => &children.registration_secret,
        ChildKind::TokensSecret => &children.tokens_secret,
        ChildKind::SealingSecret => &children.sealing_secret,
        ChildKind::ConfigMap => &children.config_map,
        ChildKind::ServiceAccount => &children.service_account,
        ChildKind::Claim => &children.claim,
        ChildKind::Deployment => &children.deployment,
        ChildKind::Service => &children.service,
        ChildKind::Ingress => &children.ingress,
        ChildKind::HttpRoute => &children.http_route,
        ChildKind::NetworkPolicy => &children.network_policy,
    }
}

/// The place of a kind, to be changed.
pub(crate) fn slot_mut<T>(children: &mut Children<T>, child: ChildKind) -> &mut T {
    match child {
        ChildKind::RegistrationSecret => &mut children.registration_secret,
        ChildKind::TokensSecret => &mut children.tokens_secret,
        ChildKind::SealingSecret => &mut children.sealing_secret,
        ChildKind::ConfigMap => &mut children.config_map,
        ChildKind::ServiceAccount => &mut children.service_account,
        ChildKind::Claim => &mut children.claim,
        ChildKind::Deployment => &mut children.deployment,
        ChildKind::Service => &mut children.service,
        ChildKind::Ingress => &mut children.ingress,
        ChildKind::HttpRoute => &mut children.http_route,
        ChildKind::NetworkPolicy => &mut children.network_policy,
    }
}

/// Which child of which object a name is; `None` for a name that is no child's.
pub(crate) fn child_of(kind: &str, name: &str, instance: &str) -> Option<ChildKind> {
    let child = match kind {
        "Secret" if name == names::registration_secret(instance) => return Some(ChildKind::RegistrationSecret),
        "Secret" if name == names::tokens_secret(instance) => return Some(ChildKind::TokensSecret),
        "Secret" if name == names::sealing_secret(instance) => return Some(ChildKind::SealingSecret),
        "PersistentVolumeClaim" if name == names::data_claim(instance) => return Some(ChildKind::Claim),
        "ConfigMap" => ChildKind::ConfigMap,
        "ServiceAccount" => ChildKind::ServiceAccount,
        "Deployment" => ChildKind::Deployment,
        "Service" => ChildKind::Service,
        "Ingress" => ChildKind::Ingress,
        "HTTPRoute" => ChildKind::HttpRoute,
        "NetworkPolicy" => ChildKind::NetworkPolicy,
        _ => return None,
    };
    (name == names::child(instance)).then_some(child)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_an_instance_are_its_children() {
        assert_eq!(child_of("Secret", "dingtalk-acme-tokens", "acme"), Some(ChildKind::TokensSecret));
        assert_eq!(child_of("Secret", "dingtalk-acme", "acme"), None);
        assert_eq!(child_of("Deployment", "dingtalk-acme", "acme"), Some(ChildKind::Deployment));
        assert_eq!(child_of("Deployment", "dingtalk-acme-2", "acme"), None);
        assert_eq!(child_of("Pod", "dingtalk-acme", "acme"), None);
    }
}
