//! The children of a `DingTalkBridge`: which kinds there are, and a value per kind.

use dingtalk_crds::names;

/// The kinds of children, one object each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// Secret with `registration.yaml`.
    RegistrationSecret,
    /// Secret with the operator's own tokens.
    TokensSecret,
    /// Secret with the sealing key.
    SealingSecret,
    /// `ConfigMap` with `config.toml`.
    ConfigMap,
    /// `ServiceAccount` without rights.
    ServiceAccount,
    /// Claim for SQLite.
    Claim,
    /// The pod's Deployment.
    Deployment,
    /// Service of webhook, transactions and health.
    Service,
    /// Ingress of the webhook.
    Ingress,
    /// `HTTPRoute` of the webhook.
    HttpRoute,
    /// `NetworkPolicy` of the pod.
    NetworkPolicy,
}

impl ChildKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::RegistrationSecret,
        Self::TokensSecret,
        Self::SealingSecret,
        Self::ConfigMap,
        Self::ServiceAccount,
        Self::Claim,
        Self::Deployment,
        Self::Service,
        Self::Ingress,
        Self::HttpRoute,
        Self::NetworkPolicy,
    ];

    /// Its kind in Kubernetes.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::RegistrationSecret | Self::TokensSecret | Self::SealingSecret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::ServiceAccount => "ServiceAccount",
            Self::Claim => "PersistentVolumeClaim",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::Ingress => "Ingress",
            Self::HttpRoute => "HTTPRoute",
            Self::NetworkPolicy => "NetworkPolicy",
        }
    }

    /// Its group and version.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment => "apps/v1",
            Self::Ingress | Self::NetworkPolicy => "networking.k8s.io/v1",
            Self::HttpRoute => "gateway.networking.k8s.io/v1",
            _ => "v1",
        }
    }

    /// Its name, for a `DingTalkBridge` of this name.
    pub fn name(self, of: &str) -> String {
        match self {
            Self::RegistrationSecret => names::registration_secret(of),
            Self::TokensSecret => names::tokens_secret(of),
            Self::SealingSecret => names::sealing_secret(of),
            Self::Claim => names::data_claim(of),
            _ => names::child(of),
        }
    }

    /// Whether its content is made by chance where there is none yet.
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::RegistrationSecret | Self::TokensSecret | Self::SealingSecret)
    }

    /// Whether it holds data of the user's, or what opens it. Such a child has no owner, so that it is not collected
    /// with the `DingTalkBridge`.
    pub const fn is_user_data(self) -> bool {
        matches!(self, Self::SealingSecret | Self::Claim)
    }
}

/// One value per kind of child. Destructure it without `..` where all must be handled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Children<T> {
    /// Secret with `registration.yaml`.
    pub registration_secret: T,
    /// Secret with the operator's own tokens.
    pub tokens_secret: T,
    /// Secret with the sealing key.
    pub sealing_secret: T,
    /// `ConfigMap` with `config.toml`.
    pub config_map: T,
    /// `ServiceAccount` without rights.
    pub service_account: T,
    /// Claim for SQLite.
    pub claim: T,
    /// The pod's Deployment.
    pub deployment: T,
    /// Service of webhook, transactions and health.
    pub service: T,
    /// Ingress of the webhook.
    pub ingress: T,
    /// `HTTPRoute` of the webhook.
    pub http_route: T,
    /// `NetworkPolicy` of the pod.
    pub network_policy: T,
}

impl<T> Children<T> {
    /// The value for a kind.
    pub const fn get(&self, kind: ChildKind) -> &T {
        match kind {
            ChildKind::RegistrationSecret => &self.registration_secret,
            ChildKind::TokensSecret => &self.tokens_secret,
            ChildKind::SealingSecret => &self.sealing_secret,
            ChildKind::ConfigMap => &self.config_map,
            ChildKind::ServiceAccount => &self.service_account,
            ChildKind::Claim => &self.claim,
            ChildKind::Deployment => &self.deployment,
            ChildKind::Service => &self.service,
            ChildKind::Ingress => &self.ingress,
            ChildKind::HttpRoute => &self.http_route,
            ChildKind::NetworkPolicy => &self.network_policy,
        }
    }

    /// The place of a kind's value.
    pub const fn get_mut(&mut self, kind: ChildKind) -> &mut T {
        match kind {
            ChildKind::RegistrationSecret => &mut self.registration_secret,
            ChildKind::TokensSecret => &mut self.tokens_secret,
            ChildKind::SealingSecret => &mut self.sealing_secret,
            ChildKind::ConfigMap => &mut self.config_map,
            ChildKind::ServiceAccount => &mut self.service_account,
            ChildKind::Claim => &mut self.claim,
            ChildKind::Deployment => &mut self.deployment,
            ChildKind::Service => &mut self.service,
            ChildKind::Ingress => &mut self.ingress,
            ChildKind::HttpRoute => &mut self.http_route,
            ChildKind::NetworkPolicy => &mut self.network_policy,
        }
    }

    /// All values, with their kinds.
    pub fn iter(&self) -> impl Iterator<Item = (ChildKind, &T)> {
        ChildKind::ALL.into_iter().map(|kind| (kind, self.get(kind)))
    }
}
