//! Writes: server-side apply of objects that are ours, finalizers and deletion, all behind the fence.
//!
//! How an object of somebody else stays untouched (checked against a real API server):
//!
//! - To create, we apply with `resourceVersion: "1"`. An object that does not exist is created, since there is nothing
//!   whose version could differ; one that exists has another version (1 is the version of an empty store), and the server
//!   answers 409 without touching it. A plain POST would be recorded as `Update`, so that our fields would not be ours to apply.
//! - To change, we apply with the `uid` of the object that is meant. Another object of that name is refused as a change
//!   of an immutable field (422), and none at all with a conflict (409).

pub mod steps;

use std::time::Duration;

use http::Method;
use kube::{Client, core::ApiResource};
use serde_json::{Value, json};

use crate::{
    Failure, Fence, Key, Meta,
    client::{TIMEOUT, Verb},
    request::{Call, item},
};

/// A write is not begun when the fence stays open for less than this.
const LEAST: Duration = Duration::from_secs(1);

/// A version that no object has and that is a precondition nevertheless, which 0 is not.
const NO_VERSION: &str = "1";

const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";

/// What the server says when a test of a JSON patch fails; it gives no other sign.
const TEST_FAILED: &str = "the server rejected our request due to an error in our request";

/// What becomes of the objects that a deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted before.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// Writes objects in the name of one manager. No write is repeated here: whoever asks for it decides that, from a new look.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    manager: String,
    fence: Fence,
}

impl Writer {
    /// A writer whose writes go through `fence` and are recorded under the name `manager`.
    pub fn new(client: Client, manager: impl Into<String>, fence: Fence) -> Self {
        Self { client, manager: manager.into(), fence }
    }

    /// The name under which writes are recorded.
    pub fn manager(&self) -> &str {
        &self.manager
    }

    /// Creates an object by server-side apply. [`Failure::Taken`] when there is one of its name, which stays as it is.
    pub async fn create(
        &self,
        resource: &ApiResource,
        wanted: &Value,
        why: &'static str,
    ) -> Result<Value, Failure> {
        let condition = ("resourceVersion", NO_VERSION);
        match self.patch(resource, wanted, None, condition, false, why).await {
            // Fields that are in the way are found before the version is looked at.
            Err(Failure::Stale { message } | Failure::Conflict { message, .. }) => {
                Err(Failure::Taken { message })
            }
            other => other,
        }
    }

    /// Applies an object to the one with this UID: [`Failure::Taken`] when that is not there. With `force`, fields that
    /// others own become ours; without, they are a [`Failure::Conflict`].
    pub async fn apply(
        &self,
        resource: &ApiResource,
        wanted: &Value,
        uid: &str,
        force: bool,
        why: &'static str,
    ) -> Result<Value, Failure> {
        self.patch(resource, wanted, None, ("uid", uid), force, why).await.map_err(Failure::stale_is_taken)
    }

    /// Applies the status of an object in the state `of`, by force: [`Failure::Stale`] when it changed meanwhile. `status`
    /// has the object's name and the status only.
    ///
    /// The condition is the version, because for custom resources the server ignores a UID here.
    pub async fn apply_status(
        &self,
        resource: &ApiResource,
        status: &Value,
        of: &Meta,
        why: &'static str,
    ) -> Result<Value, Failure> {
        if of.version == 0 {
            return Err(Failure::refused("an object without version cannot be meant"));
        }
        let version = of.version.to_string();
        self.patch(resource, status, Some("status"), ("resourceVersion", &version), true, why).await
    }

    async fn patch(
        &self,
        resource: &ApiResource,
        wanted: &Value,
        subresource: Option<&str>,
        (condition, value): (&str, &str),
        force: bool,
        why: &'static str,
    ) -> Result<Value, Failure> {
        // An empty condition would be none.
        if value.is_empty() {
            return Err(Failure::refused("an object without UID cannot be meant"));
        }
        let key = Meta::of(wanted).ok_or_else(|| Failure::refused("an object without a name"))?.key;
        let mut path = item(resource, &key.namespace, &key.name)?;
        if let Some(subresource) = subresource {
            path.push('/');
            path.push_str(subresource);
        }
        let mut body = wanted.clone();
        body["apiVersion"] = resource.api_version.as_str().into();
        body["kind"] = resource.kind.as_str().into();
        body["metadata"][condition] = value.into();
        let call = Call::new(Method::PATCH, Verb::Apply, path, why)
            .query("fieldManager", &self.manager)
            .query_if("force", force.then_some("true"))
            .body(APPLY, &body);
        self.write(call).await
    }

    /// Changes the metadata of the object with this UID by steps, all or none: [`Failure::Stale`] when one of them does not
    /// find what it was made for.
    pub async fn amend(
        &self,
        resource: &ApiResource,
        key: &Key,
        uid: &str,
        mut steps: Vec<Value>,
        why: &'static str,
    ) -> Result<Value, Failure> {
        steps.insert(0, json!({"op": "test", "path": "/metadata/uid", "value": uid}));
        let call = Call::new(Method::PATCH, Verb::Patch, item(resource, &key.namespace, &key.name)?, why)
            .query("fieldManager", &self.manager)
            .body(JSON_PATCH, &Value::Array(steps));
        self.write(call).await.map_err(|failure| match failure {
            Failure::Refused { denied: false, message } if message == TEST_FAILED => {
                Failure::Stale { message }
            }
            other => other,
        })
    }

    /// Deletes the object with this UID. Fine when there is none of its name; [`Failure::Taken`] when another one has it.
    pub async fn delete(
        &self,
        resource: &ApiResource,
        key: &Key,
        uid: &str,
        propagation: Propagation,
        why: &'static str,
    ) -> Result<(), Failure> {
        if uid.is_empty() {
            return Err(Failure::refused("an object without UID cannot be meant"));
        }
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid},
            "propagationPolicy": propagation.as_str()});
        let call = Call::new(Method::DELETE, Verb::Delete, item(resource, &key.namespace, &key.name)?, why)
            .body("application/json", &options);
        match self.write(call).await {
            Ok(_) | Err(Failure::Gone { .. }) => Ok(()),
            Err(failure) => Err(failure.stale_is_taken()),
        }
    }

    /// Sends a write once, behind the fence. The server is told, too, how long it may take, so that a write that waits
    /// there does not happen long after another one is in charge.
    async fn write(&self, call: Call) -> Result<Value, Failure> {
        let within = self.fence.remaining().ok_or(Failure::Fenced)?.min(TIMEOUT);
        let call = call.query("timeout", &format!("{}s", within.as_secs().max(1))).within(within);
        self.fence.run(LEAST, call.send(&self.client)).await
    }
}

#[cfg(test)]
mod tests;
