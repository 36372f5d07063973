//! The children as they should be: objects for server-side apply.
//!
//! What is sent is exactly what the API server stores in the fields that are sent: keys of list items are spelt out,
//! amounts are canonical, and inside lists that are replaced as a whole every default is written. Otherwise the
//! operator would see a difference where there is none, and write for ever.

mod claim;
mod config_map;
mod deployment;
mod http_route;
mod ingress;
mod network_policy;
mod pod;
mod secrets;
mod service;
mod service_account;

use std::collections::BTreeMap;

use dingtalk_crds::names;
use serde_json::{Map, Value, json};

use crate::{
    ChildKind, Children, Digest, Seen,
    outcome::Wanted,
    registration::Material,
    workspace::{Route, Workspace},
};

/// What the children are built from.
pub(crate) struct Plans<'a> {
    pub workspace: &'a Workspace,
    pub material: &'a Material,
    /// The claim that is there and is ours.
    pub claim: Option<&'a Seen>,
    /// Former sealing keys.
    pub old_keys: &'a [String],
    /// Digest of what the pod gets from the user's Secrets and `ConfigMap`s; `None` while it is not known.
    pub references: Option<Digest>,
    /// The operator's namespace.
    pub operator_namespace: &'a str,
}

/// Builds all children. `None`: not wanted, or not known yet.
pub(crate) fn build(plans: &Plans<'_>) -> Children<Option<Wanted>> {
    let workspace = plans.workspace;
    let is_ingress = matches!(workspace.route, Route::Ingress { .. });
    let is_gateway = matches!(workspace.route, Route::Gateway { .. });
    Children {
        registration_secret: Some(secrets::registration(plans)),
        tokens_secret: Some(secrets::tokens(plans)),
        sealing_secret: plans.material.sealing_key.as_ref().map(|key| secrets::sealing(plans, key)),
        config_map: Some(config_map::build(plans)),
        service_account: Some(service_account::build(plans)),
        claim: claim::build(plans),
        deployment: plans.references.and_then(|references| deployment::build(plans, references)),
        service: Some(service::build(plans)),
        ingress: is_ingress.then(|| ingress::build(plans)),
        http_route: is_gateway.then(|| http_route::build(plans)),
        network_policy: workspace.network.as_ref().map(|network| network_policy::build(plans, network)),
    }
}

impl Plans<'_> {
    /// An object with the names, labels and owner that every child has, and its own fields.
    fn object(&self, child: ChildKind, annotations: &BTreeMap<String, String>, fields: Value) -> Wanted {
        let workspace = self.workspace;
        let mut metadata = json!({
            "name": child.name(&workspace.name),
            "namespace": workspace.namespace,
            "labels": self.labels(),
        });
        if !annotations.is_empty() {
            metadata["annotations"] = json!(annotations);
        }
        if !child.is_user_data() {
            metadata["ownerReferences"] = json!([{
                "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
                "kind": names::KIND,
                "name": workspace.name,
                "uid": workspace.uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }]);
        }
        let mut object = Map::new();
        object.insert("apiVersion".to_owned(), child.api_version().into());
        object.insert("kind".to_owned(), child.kind().into());
        object.insert("metadata".to_owned(), metadata);
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        Wanted::new(Value::Object(object))
    }

    /// Labels of every child.
    fn labels(&self) -> BTreeMap<&'static str, &str> {
        BTreeMap::from([
            (names::MANAGED_BY.0, names::MANAGED_BY.1),
            (names::APP.0, names::APP.1),
            (names::INSTANCE, self.workspace.name.as_str()),
            (names::WORKSPACE, self.workspace.id.as_str()),
        ])
    }

    /// Labels that tell the pod from every other one. They never change, since a Deployment's selector cannot.
    fn selector(&self) -> BTreeMap<&'static str, &str> {
        BTreeMap::from([(names::APP.0, names::APP.1), (names::INSTANCE, self.workspace.name.as_str())])
    }
}

/// No annotations.
const NONE: &BTreeMap<String, String> = &BTreeMap::new();
