//! From `spec` and the platform's defaults to a [`Workspace`], or to the one thing that is in the way.

mod names;
mod parts;
mod settings;

use bridge_config::{BaseUrl, ServerName};
use dingtalk_crds::{ConfigMapKeyRef, DingTalkBridge, DingTalkBridgeSpec, RegistrationMode, names::keys};

use self::names::Names;
use crate::{
    Platform,
    platform::RouteType,
    rotation::Beside,
    template::Template,
    workspace::{Admin, CredentialsFrom, Homeserver, Invalid, KeyOf, Network, Workspace},
};

/// Resolves everything. `beside` is what stands beside the tokens and keys in use.
pub(crate) fn resolve(
    object: &DingTalkBridge,
    platform: &Platform,
    beside: &Beside,
) -> Result<Workspace, Invalid> {
    let spec = &object.spec;
    let meta = &object.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let mut names = Names::new(&name, &namespace, spec, platform);
    let host = names.host()?;
    let server_name = names.server_name()?;
    let homeserver = homeserver(spec, platform, &names, server_name)?;
    let dingtalk_ca = parts::ca(
        spec.dingtalk.as_ref().and_then(|dingtalk| dingtalk.ca_config_map_ref.as_ref()),
        platform.dingtalk.ca_config_map_ref.as_ref(),
        ("spec.dingtalk.caConfigMapRef", "the platform's dingtalk.caConfigMapRef"),
    );
    let credentials = parts::credentials(spec)?;
    let webhook_secret = spec
        .dingtalk
        .as_ref()
        .and_then(|dingtalk| dingtalk.webhook.as_ref())
        .map(|webhook| webhook.secret_ref.name.clone());
    let database = parts::database(spec, platform)?;
    let route = parts::route(spec, platform, &names)?;
    let pod = parts::pod(spec, platform)?;
    let own = settings::Own {
        names: &names,
        homeserver: &homeserver,
        dingtalk_ca: dingtalk_ca.is_some(),
        credentials: credentials.as_ref(),
        webhook: webhook_secret.is_some(),
        database: &database,
        beside,
    };
    let (config_text, config) = settings::config(spec, platform, &own)?;
    let network = network(spec, platform, &homeserver, &config);
    Ok(Workspace {
        uid: meta.uid.clone().unwrap_or_default(),
        id: spec.workspace.clone(),
        host,
        homeserver,
        dingtalk_ca,
        credentials,
        webhook_secret,
        database,
        route,
        network,
        pod,
        suspended: spec.suspend == Some(true),
        config,
        config_text,
        name,
        namespace,
    })
}

/// How the homeserver learns of the bridge; known even when nothing else is.
pub(crate) fn registration_mode(spec: &DingTalkBridgeSpec, platform: &Platform) -> RegistrationMode {
    spec.homeserver
        .as_ref()
        .and_then(|homeserver| homeserver.registration.as_ref())
        .map_or(platform.homeserver.registration.mode, |registration| registration.mode)
}

/// The public host, as far as it is known; for the index of hosts.
pub(crate) fn host(object: &DingTalkBridge, platform: &Platform) -> Option<String> {
    let meta = &object.metadata;
    let (name, namespace) = (meta.name.as_deref()?, meta.namespace.as_deref()?);
    let routed = match &object.spec.route {
        Some(route) if route.disabled == Some(true) => false,
        Some(route) if route.ingress.is_some() || route.gateway.is_some() => true,
        _ => platform.route.type_ != RouteType::None,
    };
    if routed { Names::new(name, namespace, &object.spec, platform).host().ok() } else { None }
}

fn homeserver(
    spec: &DingTalkBridgeSpec,
    platform: &Platform,
    names: &Names<'_>,
    server_name: ServerName,
) -> Result<Homeserver, Invalid> {
    let own = spec.homeserver.as_ref();
    let url = address(
        own.and_then(|own| own.url.as_deref()),
        platform.homeserver.url_template.as_ref(),
        names,
        ("spec.homeserver.url", "homeserver.urlTemplate"),
    )?;
    let Some(url) = url else {
        return Err(Invalid::default_missing(
            "spec.homeserver.url is not set and the platform has no template for it: set spec.homeserver.url, or homeserver.urlTemplate in the operator's values",
        ));
    };
    let admin = match registration_mode(spec, platform) {
        RegistrationMode::Secret => None,
        RegistrationMode::AdminApi => Some(admin(spec, platform, names, &url)?),
    };
    let ca = parts::ca(
        own.and_then(|own| own.ca_config_map_ref.as_ref()),
        platform.homeserver.ca_config_map_ref.as_ref(),
        ("spec.homeserver.caConfigMapRef", "the platform's homeserver.caConfigMapRef"),
    );
    Ok(Homeserver { server_name, url, ca, admin })
}

fn admin(
    spec: &DingTalkBridgeSpec,
    platform: &Platform,
    names: &Names<'_>,
    homeserver: &BaseUrl,
) -> Result<Admin, Invalid> {
    let own = spec
        .homeserver
        .as_ref()
        .and_then(|homeserver| homeserver.registration.as_ref())
        .and_then(|registration| registration.admin_api.as_ref());
    let default = platform.homeserver.registration.admin_api.as_ref();
    let url = address(
        own.and_then(|own| own.url.as_deref()),
        default.and_then(|default| default.url_template.as_ref()),
        names,
        ("spec.homeserver.registration.adminAPI.url", "homeserver.registration.adminAPI.urlTemplate"),
    )?;
    let token = match (own, default) {
        (Some(own), _) => KeyOf {
            name: own.token_secret_ref.name.clone(),
            key: own.token_secret_ref.key.clone(),
            field: "spec.homeserver.registration.adminAPI.tokenSecretRef",
        },
        (None, Some(default)) => KeyOf {
            name: default.token_secret_ref.name.clone(),
            key: default.token_secret_ref.key.clone(),
            field: "the platform's homeserver.registration.adminAPI.tokenSecretRef",
        },
        (None, None) => {
            return Err(Invalid::default_missing(
                "the homeserver's registration has mode AdminAPI, but nothing names an admin's token: set spec.homeserver.registration.adminAPI.tokenSecretRef, or homeserver.registration.adminAPI in the operator's values",
            ));
        }
    };
    Ok(Admin { url: url.unwrap_or_else(|| homeserver.clone()), token })
}

/// An address from `spec`, else from the platform's template. `fields` are their names.
fn address(
    own: Option<&str>,
    default: Option<&Template>,
    names: &Names<'_>,
    fields: (&'static str, &'static str),
) -> Result<Option<BaseUrl>, Invalid> {
    let (text, origin) = match (own, default) {
        (Some(own), _) => (own.to_owned(), fields.0.to_owned()),
        (None, Some(template)) => (names.render(template, fields)?, format!("the platform's {}", fields.1)),
        (None, None) => return Ok(None),
    };
    BaseUrl::parse(&text)
        .map(Some)
        .map_err(|fault| Invalid::setting(format!("{origin} {}; {}", fault.reason, fault.remedy)))
}

fn network(
    spec: &DingTalkBridgeSpec,
    platform: &Platform,
    homeserver: &Homeserver,
    config: &bridge_config::Config,
) -> Option<Network> {
    let own = spec.network_policy.as_ref();
    let default = &platform.network_policy;
    if !own.and_then(|own| own.enabled).unwrap_or(default.enabled) {
        return None;
    }
    let mut egress_cidrs = default.egress_cidrs.clone();
    egress_cidrs.extend(own.and_then(|own| own.egress_cidrs.clone()).unwrap_or_default());
    Some(Network {
        called: vec![
            homeserver.url.clone(),
            config.dingtalk.api_base.clone(),
            config.dingtalk.oapi_base.clone(),
        ],
        egress_cidrs,
        ingress_namespaces: default.ingress_namespaces.clone(),
        metrics_namespaces: default.metrics_namespaces.clone(),
    })
}

/// A reference to a `ConfigMap` with the default of its key.
fn certificates(reference: &ConfigMapKeyRef, field: &'static str) -> KeyOf {
    let key = reference.key.clone().unwrap_or_else(|| keys::CA.to_owned());
    KeyOf { name: reference.name.clone(), key, field }
}

impl CredentialsFrom {
    /// Keys that the Secret must have.
    pub(crate) const KEYS: [&'static str; 3] = [keys::APP_KEY, keys::APP_SECRET, keys::AGENT_ID];
}
