//! The Ingress. It takes exactly the webhook's path: everything else of the host is the homeserver's.

use dingtalk_crds::names;
use serde_json::json;

use super::{NONE, Plans};
use crate::{ChildKind, outcome::Wanted, workspace::Route};

pub(super) fn build(plans: &Plans<'_>) -> Wanted {
    let workspace = plans.workspace;
    let (class, annotations, tls_secret) = match &workspace.route {
        Route::Ingress { class, annotations, tls_secret } => {
            (class.as_deref(), annotations, tls_secret.as_deref())
        }
        _ => (None, NONE, None),
    };
    let service = json!({"name": names::child(&workspace.name), "port": {"name": "http"}});
    let mut tls = json!({"hosts": [workspace.host]});
    if let Some(name) = tls_secret {
        tls["secretName"] = name.into();
    }
    let mut spec = json!({
        "rules": [{
            "host": workspace.host,
            "http": {"paths": [{"path": names::WEBHOOK_PATH, "pathType": "Exact", "backend": {"service": service}}]},
        }],
        "tls": [tls],
    });
    if let Some(class) = class {
        spec["ingressClassName"] = class.into();
    }
    plans.object(ChildKind::Ingress, annotations, json!({"spec": spec}))
}
