//! The `HTTPRoute`. It takes exactly the webhook's path: everything else of the host is the homeserver's.

use dingtalk_crds::{ParentRef, names};
use serde_json::{Value, json};

use super::{NONE, Plans};
use crate::{ChildKind, outcome::Wanted, workspace::Route};

pub(super) fn build(plans: &Plans<'_>) -> Wanted {
    let workspace = plans.workspace;
    let parents: &[ParentRef] = match &workspace.route {
        Route::Gateway { parents } => parents,
        _ => &[],
    };
    // These lists are replaced as a whole, so the defaults of their items are written.
    let parents: Vec<Value> = parents.iter().map(parent).collect();
    plans.object(
        ChildKind::HttpRoute,
        NONE,
        json!({"spec": {
            "parentRefs": parents,
            "hostnames": [workspace.host],
            "rules": [{
                "matches": [{"path": {"type": "Exact", "value": names::WEBHOOK_PATH}}],
                "backendRefs": [{
                    "group": "",
                    "kind": "Service",
                    "name": names::child(&workspace.name),
                    "port": names::HTTP_PORT,
                    "weight": 1,
                }],
            }],
        }}),
    )
}

fn parent(parent: &ParentRef) -> Value {
    let mut object = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": parent.name});
    if let Some(namespace) = &parent.namespace {
        object["namespace"] = namespace.as_str().into();
    }
    if let Some(section) = &parent.section_name {
        object["sectionName"] = section.as_str().into();
    }
    object
}
