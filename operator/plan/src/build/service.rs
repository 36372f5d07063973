//! The Service under which homeserver, route and operator reach the pod.

use dingtalk_crds::names;
use serde_json::json;

use super::{NONE, Plans};
use crate::{ChildKind, outcome::Wanted};

pub(super) fn build(plans: &Plans<'_>) -> Wanted {
    // A bridge that is not ready still takes pushes and transactions and keeps them: what it cannot deliver now waits in
    // its database. And it can be asked why it is not ready.
    plans.object(
        ChildKind::Service,
        NONE,
        json!({"spec": {
            "type": "ClusterIP",
            "publishNotReadyAddresses": true,
            "selector": plans.selector(),
            "ports": [
                {"name": "http", "port": names::HTTP_PORT, "protocol": "TCP", "targetPort": "http"},
                {"name": "health", "port": names::HEALTH_PORT, "protocol": "TCP", "targetPort": "health"},
            ],
        }}),
    )
}
