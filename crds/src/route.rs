//! `spec.route`: how DingTalk reaches the webhook.

#![expect(unreachable_pub, reason = "the derive macro repeats each type inside a function")]

use std::collections::BTreeMap;

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How DingTalk reaches the webhook. Default: the platform's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.ingress), has(self.gateway), has(self.disabled) && self.disabled].filter(x, x).size() <= 1")
    .message("name one way: ingress, gateway, or disabled: true"))]
pub struct Route {
    /// An Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// An HTTPRoute of the Gateway API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// `true`: no route is made. For Stream mode, or a route that somebody else makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// An Ingress for the webhook's path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Class of the Ingress. Default: the platform's, else the cluster's.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Annotations, e.g. for cert-manager or the controller. They are added to the platform's.
    #[schemars(extend("maxProperties" = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Secret with the host's certificate. Default: the platform's template; else `dingtalk-<name>-tls` where an annotation
    /// asks cert-manager for a certificate; else the controller's own certificate is used.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_secret_name: Option<String>,
}

/// An HTTPRoute for the webhook's path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Gateways that the route attaches to.
    #[schemars(length(min = 1, max = 4))]
    pub parent_refs: Vec<ParentRef>,
}

/// A Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Gateway. Default: that of this object.
    #[schemars(length(min = 1, max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the Gateway's listener. Default: all that fit.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}
