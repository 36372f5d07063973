//! The parts of a workspace that stand for themselves: database, route, pod.

use std::collections::BTreeMap;

use dingtalk_crds::{
    ConfigMapKeyRef, DingTalkBridgeSpec, ResourceList, Resources, SecretRef, Workload,
    names::{keys, tls_secret as tls_secret_name},
};

use super::{certificates, names::Names};
use crate::{
    Platform,
    platform::RouteType,
    quantity::Quantity,
    workspace::{CredentialsFrom, DatabaseFrom, Invalid, KeyOf, Pod, Route},
};

/// Annotations that ask cert-manager for a certificate.
const ISSUERS: [&str; 2] = ["cert-manager.io/cluster-issuer", "cert-manager.io/issuer"];

/// Certificates from `spec`, else from the platform. `fields` are their names.
pub(super) fn ca(
    own: Option<&ConfigMapKeyRef>,
    default: Option<&ConfigMapKeyRef>,
    fields: (&'static str, &'static str),
) -> Option<KeyOf> {
    own.map(|own| certificates(own, fields.0))
        .or_else(|| default.map(|default| certificates(default, fields.1)))
}

pub(super) fn credentials(spec: &DingTalkBridgeSpec) -> Result<Option<CredentialsFrom>, Invalid> {
    let Some(given) = spec.dingtalk.as_ref().and_then(|dingtalk| dingtalk.credentials.as_ref()) else {
        return Ok(None);
    };
    let from = match (&given.secret_ref, &given.app_key, &given.agent_id, &given.app_secret_ref) {
        (Some(secret), None, None, None) => CredentialsFrom::Secret(secret.name.clone()),
        (None, Some(app_key), Some(agent_id), Some(app_secret)) => CredentialsFrom::Parts {
            app_key: app_key.clone(),
            agent_id: agent_id.clone(),
            app_secret: KeyOf {
                name: app_secret.name.clone(),
                key: app_secret.key.clone(),
                field: "spec.dingtalk.credentials.appSecretRef",
            },
        },
        _ => {
            return Err(Invalid::setting(
                "spec.dingtalk.credentials names no single source: set secretRef alone, or appKey, agentID and appSecretRef together",
            ));
        }
    };
    Ok(Some(from))
}

pub(super) fn database(spec: &DingTalkBridgeSpec, platform: &Platform) -> Result<DatabaseFrom, Invalid> {
    let given = spec.database.as_ref();
    if let Some(postgresql) = given.and_then(|given| given.postgresql.as_ref()) {
        if given.is_some_and(|given| given.sqlite.is_some()) {
            return Err(Invalid::setting("spec.database names two databases: set sqlite or postgresql"));
        }
        let key = match (&postgresql.secret_ref, &postgresql.cloud_native_pg) {
            (Some(secret), None) => KeyOf {
                name: secret.name.clone(),
                key: secret.key.clone(),
                field: "spec.database.postgresql.secretRef",
            },
            (None, Some(cluster)) => KeyOf {
                name: format!("{}-app", cluster.cluster),
                key: keys::DATABASE_URI.to_owned(),
                field: "spec.database.postgresql.cloudNativePG.cluster",
            },
            _ => {
                return Err(Invalid::setting(
                    "spec.database.postgresql names no single source of the address: set secretRef or cloudNativePG",
                ));
            }
        };
        return Ok(DatabaseFrom::PostgreSql(key));
    }
    let sqlite = given.and_then(|given| given.sqlite.as_ref());
    let own = sqlite.and_then(|sqlite| sqlite.size.as_deref());
    let size = Quantity::parse(own.unwrap_or(&platform.storage.size)).ok_or_else(|| {
        let field = if own.is_some() { "spec.database.sqlite.size" } else { "the platform's storage.size" };
        Invalid::setting(format!("{field} is not an amount: write it like 1Gi"))
    })?;
    let class = sqlite
        .and_then(|sqlite| sqlite.storage_class_name.clone())
        .or_else(|| platform.storage.class_name.clone());
    Ok(DatabaseFrom::Sqlite { size, class })
}

pub(super) fn route(
    spec: &DingTalkBridgeSpec,
    platform: &Platform,
    names: &Names<'_>,
) -> Result<Route, Invalid> {
    let own = spec.route.clone().unwrap_or_default();
    let type_ = match (&own.ingress, &own.gateway, own.disabled == Some(true)) {
        (None, None, true) => RouteType::None,
        (Some(_), None, false) => RouteType::Ingress,
        (None, Some(_), false) => RouteType::Gateway,
        (None, None, false) => platform.route.type_,
        _ => {
            return Err(Invalid::setting(
                "spec.route names more than one way: keep ingress, gateway or disabled",
            ));
        }
    };
    Ok(match type_ {
        RouteType::None => Route::None,
        RouteType::Ingress => {
            let default = &platform.route.ingress;
            let own = own.ingress.unwrap_or_default();
            let tls_secret =
                match (own.tls_secret_name, &default.tls_secret_name) {
                    (Some(own), _) => Some(own),
                    (None, Some(template)) => Some(names.render(
                        template,
                        ("spec.route.ingress.tlsSecretName", "route.ingress.tlsSecretName"),
                    )?),
                    (None, None) => None,
                };
            let annotations = merged(&default.annotations, own.annotations);
            // cert-manager puts a certificate into the Secret that is named, and makes none where none is.
            let is_asked = ISSUERS.iter().any(|issuer| annotations.contains_key(*issuer));
            let tls_secret = tls_secret.or_else(|| is_asked.then(|| tls_secret_name(names.name)));
            Route::Ingress {
                class: own.class_name.or_else(|| default.class_name.clone()),
                annotations,
                tls_secret,
            }
        }
        RouteType::Gateway => {
            let parents =
                own.gateway.map_or_else(|| platform.route.gateway.parent_refs.clone(), |own| own.parent_refs);
            if parents.is_empty() {
                return Err(Invalid::default_missing(
                    "spec.route.gateway.parentRefs names no Gateway and the platform has none: set it, or route.gateway.parentRefs in the operator's values",
                ));
            }
            Route::Gateway { parents }
        }
    })
}

pub(super) fn pod(spec: &DingTalkBridgeSpec, platform: &Platform) -> Result<Pod, Invalid> {
    let Workload {
        image,
        image_pull_policy,
        image_pull_secrets,
        resources,
        labels,
        annotations,
        node_selector,
        tolerations,
        priority_class_name,
        extra_env,
    } = spec.workload.clone().unwrap_or_default();
    let default = &platform.workload;
    let default_image = image.is_none();
    let Some(image) = image.or_else(|| platform.image.reference.clone()) else {
        return Err(Invalid::default_missing(
            "spec.workload.image is not set and the platform has no image: set it, or image.reference in the operator's values",
        ));
    };
    let pull_secrets = image_pull_secrets.unwrap_or_else(|| platform.image.pull_secrets.clone());
    let env = extra_env.unwrap_or_default();
    if let Some(twice) =
        env.iter().enumerate().find(|(at, one)| env[..*at].iter().any(|other| other.name == one.name))
    {
        return Err(Invalid::setting(format!(
            "spec.workload.extraEnv names {} twice: keep one of them",
            twice.1.name
        )));
    }
    Ok(Pod {
        image,
        default_image,
        pull_policy: image_pull_policy.or(platform.image.pull_policy),
        pull_secrets: distinct(pull_secrets),
        resources: amounts(resources.unwrap_or_else(|| default.resources.clone()))?,
        labels: merged(&default.labels, labels),
        annotations: merged(&default.annotations, annotations),
        node_selector: node_selector.unwrap_or_else(|| default.node_selector.clone()),
        tolerations: tolerations.unwrap_or_else(|| default.tolerations.clone()),
        priority_class: priority_class_name.or_else(|| default.priority_class_name.clone()),
        env,
    })
}

/// Names in their order, each once: the server takes a name as the key of the list.
fn distinct(secrets: Vec<SecretRef>) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(secrets.len());
    for secret in secrets {
        if !names.contains(&secret.name) {
            names.push(secret.name);
        }
    }
    names
}

fn merged(
    default: &BTreeMap<String, String>,
    own: Option<BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut all = default.clone();
    all.extend(own.unwrap_or_default());
    all
}

/// Amounts as the API server stores them.
fn amounts(resources: Resources) -> Result<Resources, Invalid> {
    let list = |list: Option<ResourceList>, field: &str| -> Result<Option<ResourceList>, Invalid> {
        let amount = |text: Option<String>, name: &str| {
            text.map(|text| {
                Quantity::parse(&text).map(|quantity| quantity.to_string()).ok_or_else(|| {
                    Invalid::setting(format!(
                        "spec.workload.resources.{field}.{name} is not an amount: write it like 100m or 64Mi"
                    ))
                })
            })
            .transpose()
        };
        list.map(|list| {
            Ok(ResourceList { cpu: amount(list.cpu, "cpu")?, memory: amount(list.memory, "memory")? })
        })
        .transpose()
    };
    Ok(Resources {
        requests: list(resources.requests, "requests")?,
        limits: list(resources.limits, "limits")?,
    })
}
