//! A workspace with every default resolved. Nothing that is built from it looks at `spec` or at the platform again.

use std::collections::BTreeMap;

use bridge_config::{BaseUrl, Config, RegistrationNames, ServerName};
use dingtalk_crds::{EnvFromSecret, ParentRef, PullPolicy, Reason, Resources, Toleration, names};

use crate::quantity::Quantity;

/// Why there is no workspace: a reason, and a sentence that names the field and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub reason: Reason,
    pub message: String,
}

impl Invalid {
    pub(crate) fn setting(message: impl Into<String>) -> Self {
        Self { reason: Reason::InvalidSetting, message: message.into() }
    }

    pub(crate) fn default_missing(message: impl Into<String>) -> Self {
        Self { reason: Reason::DefaultMissing, message: message.into() }
    }
}

/// All that the children are made of.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    /// Name of the object.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// The workspace's short name.
    pub id: String,
    /// Public host of the webhook.
    pub host: String,
    /// The homeserver.
    pub homeserver: Homeserver,
    /// Certificates for DingTalk's addresses.
    pub dingtalk_ca: Option<KeyOf>,
    /// Where the app's credentials are, if not with the bridge.
    pub credentials: Option<CredentialsFrom>,
    /// Secret with token and AES key of the webhook, if not with the bridge.
    pub webhook_secret: Option<String>,
    /// The database.
    pub database: DatabaseFrom,
    /// The route.
    pub route: Route,
    /// The rules of the network.
    pub network: Option<Network>,
    /// The pod.
    pub pod: Pod,
    /// Whether no pod is wanted.
    pub suspended: bool,
    /// The configuration, as the bridge will read it.
    pub config: Config,
    /// Its text.
    pub config_text: String,
}

impl Workspace {
    /// Address to paste into the DingTalk console.
    pub(crate) fn webhook_url(&self) -> String {
        webhook_url(&self.host)
    }

    /// Names that the registration is made of.
    pub(crate) fn registration_names(&self) -> RegistrationNames {
        RegistrationNames::of(&self.config)
    }
}

/// Address of the webhook on a host.
pub(crate) fn webhook_url(host: &str) -> String {
    format!("https://{host}{}", names::WEBHOOK_PATH)
}

/// A key of a Secret or a `ConfigMap`, and the field that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyOf {
    pub name: String,
    pub key: String,
    pub field: &'static str,
}

/// The homeserver.
#[derive(Clone, Debug)]
pub(crate) struct Homeserver {
    pub server_name: ServerName,
    pub url: BaseUrl,
    pub ca: Option<KeyOf>,
    /// Its admin API, if the registration is made there.
    pub admin: Option<Admin>,
}

/// A homeserver's admin API.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub url: BaseUrl,
    pub token: KeyOf,
}

/// The credentials of the DingTalk app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CredentialsFrom {
    /// All three from one Secret.
    Secret(String),
    /// The AppSecret from a Secret, the rest from `spec`.
    Parts { app_key: String, agent_id: String, app_secret: KeyOf },
}

/// The database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseFrom {
    Sqlite { size: Quantity, class: Option<String> },
    PostgreSql(KeyOf),
}

/// The route of the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Ingress { class: Option<String>, annotations: BTreeMap<String, String>, tls_secret: Option<String> },
    Gateway { parents: Vec<ParentRef> },
    None,
}

/// The rules of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// Addresses that the bridge calls and that may be those of Services.
    pub called: Vec<BaseUrl>,
    pub egress_cidrs: Vec<String>,
    pub ingress_namespaces: Vec<String>,
    pub metrics_namespaces: Vec<String>,
}

/// The pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub image: String,
    /// Whether it is the platform's.
    pub default_image: bool,
    pub pull_policy: Option<PullPolicy>,
    pub pull_secrets: Vec<String>,
    /// With canonical amounts.
    pub resources: Resources,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub priority_class: Option<String>,
    pub env: Vec<EnvFromSecret>,
}
