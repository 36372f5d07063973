//! A `Lease` as JSON, and what counts of it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object::resource_version;

/// What counts of a lease that was seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Who has it; empty when nobody has.
    pub(super) holder: String,
    /// How long it is theirs without a change.
    pub(super) duration: Duration,
    /// How often it changed hands.
    pub(super) transitions: u64,
    /// Its version.
    pub(super) version: String,
    /// All of it, so that what others put there stays.
    pub(super) object: Value,
}

impl Seen {
    pub(super) fn read(object: Value) -> Self {
        let spec = &object["spec"];
        let number = |field: &str| spec[field].as_u64().unwrap_or_default();
        Self {
            holder: spec["holderIdentity"].as_str().unwrap_or_default().to_owned(),
            duration: Duration::from_secs(number("leaseDurationSeconds")),
            transitions: number("leaseTransitions"),
            version: resource_version(&object).to_owned(),
            object,
        }
    }

    /// Whether `other` was there before this one. Versions that are no numbers are not compared.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        match (self.version.parse::<u64>(), other.version.parse::<u64>()) {
            (Ok(this), Ok(other)) => this > other,
            _ => self.version != other.version,
        }
    }

    /// The lease, held by `holder` from now on, or by nobody.
    pub(super) fn held_by(&self, holder: Option<&str>, duration: Duration) -> Value {
        let mut lease = self.object.clone();
        if let Some(metadata) = lease["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let now = format!("{:.6}", Timestamp::now());
        let spec = &mut lease["spec"];
        if let Some(holder) = holder {
            if holder != self.holder {
                spec["acquireTime"] = now.as_str().into();
                spec["leaseTransitions"] = (self.transitions + 1).into();
            }
            spec["holderIdentity"] = holder.into();
            spec["leaseDurationSeconds"] = duration.as_secs().max(1).into();
        } else {
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("holderIdentity");
            }
            spec["leaseDurationSeconds"] = 1.into();
        }
        spec["renewTime"] = now.into();
        lease
    }

    /// A lease that does not exist yet.
    pub(super) fn absent(namespace: &str, name: &str) -> Self {
        Self::read(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"namespace": namespace, "name": name}, "spec": {}}))
    }
}
