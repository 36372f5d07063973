//! The claim for the database file.

use serde_json::json;

use super::{NONE, Plans};
use crate::{ChildKind, SeenMore, outcome::Wanted, quantity::Quantity, workspace::DatabaseFrom};

pub(super) fn build(plans: &Plans<'_>) -> Option<Wanted> {
    let DatabaseFrom::Sqlite { size, class } = &plans.workspace.database else { return None };
    let (size, class) = match plans.claim.map(|seen| &seen.more) {
        // Volumes never shrink, and a claim never changes its class: what it has, it keeps.
        Some(SeenMore::Claim { requested, class, .. }) => {
            let requested = requested.as_deref().and_then(Quantity::parse);
            (requested.filter(|requested| requested > size).unwrap_or(*size), class.clone())
        }
        _ => (*size, class.clone()),
    };
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size.to_string()}},
    });
    if let Some(class) = class {
        spec["storageClassName"] = class.into();
    }
    Some(plans.object(ChildKind::Claim, NONE, json!({"spec": spec})))
}
