//! The `ConfigMap` with the bridge's configuration file.

use dingtalk_crds::names::keys;
use serde_json::json;

use super::{NONE, Plans};
use crate::{ChildKind, outcome::Wanted};

pub(super) fn build(plans: &Plans<'_>) -> Wanted {
    plans.object(ChildKind::ConfigMap, NONE, json!({"data": {keys::CONFIG: plans.workspace.config_text}}))
}
