//! `spec.database`.

#![expect(unreachable_pub, reason = "the derive macro repeats each type inside a function")]

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::SecretKeyRef;

/// Where the bridge keeps what it must not lose. Default: SQLite on a claim of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.sqlite) && has(self.postgresql))")
    .message("name one database: either sqlite or postgresql"))]
pub struct Database {
    /// An SQLite file on a PersistentVolumeClaim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<Sqlite>,
    /// A PostgreSQL database (14 or newer) that exists already. The bridge makes its tables in it; nothing else of it is
    /// touched, and nothing is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<PostgreSql>,
}

/// An SQLite file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
    .message("storageClassName cannot change: a claim keeps its class; make a new object and move the data"))]
#[x_kube(validation = Rule::new("!has(self.size) || !has(oldSelf.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0")
    .message("size cannot shrink: volumes only grow; set it to the former value or more"))]
pub struct Sqlite {
    /// Size of the claim, e.g. `1Gi`. It may grow where the storage class allows it. Default: the platform's.
    #[schemars(length(min = 1, max = 20), regex(pattern = "^[0-9]+(\\.[0-9]+)?(Mi|Gi|Ti|M|G|T)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Storage class of the claim; it must give local or block storage, not a network share. Default: the platform's,
    /// else the cluster's.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.cloudNativePG)")
    .message("name one source of the address: either secretRef or cloudNativePG"))]
pub struct PostgreSql {
    /// Where the address is, `postgres://user:password@host/database`, with `?sslmode=verify-full` behind it to insist
    /// on TLS. The user must be able to create tables in its schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// A CloudNativePG Cluster whose application Secret is used.
    #[serde(rename = "cloudNativePG")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_native_pg: Option<CloudNativePg>,
}

/// A CloudNativePG Cluster in the namespace of this object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudNativePg {
    /// Name of the Cluster; the key `uri` of the Secret `<cluster>-app` is used.
    #[schemars(length(min = 1, max = 50))]
    pub cluster: String,
}
