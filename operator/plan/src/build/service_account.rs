//! The pod's `ServiceAccount`. It has no rights and gives no token.

use serde_json::json;

use super::{NONE, Plans};
use crate::{ChildKind, outcome::Wanted};

pub(super) fn build(plans: &Plans<'_>) -> Wanted {
    plans.object(ChildKind::ServiceAccount, NONE, json!({"automountServiceAccountToken": false}))
}
