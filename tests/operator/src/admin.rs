//! The administrator of a cluster, by the operator's own client: measurements compare with the same one.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use dingtalk_crds::names;
use kube::{
    Client,
    core::{ApiResource, GroupVersionKind},
};
use operator_cluster::{
    Fence, Reader, Writer,
    client::{self, RequestCounts, Source},
};
use serde_json::Value;

/// How long an answer about all objects of a kind may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// A person with all rights.
#[derive(Clone)]
pub struct Admin {
    client: Client,
    writer: Writer,
    reader: Reader,
}

/// Kinds, with their groups, versions and plurals.
type Kinds<const COUNT: usize> = [(&'static str, &'static str, &'static str, &'static str); COUNT];

/// The kinds of an operator's children.
pub const KINDS: Kinds<8> = [
    ("Secret", "", "v1", "secrets"),
    ("ConfigMap", "", "v1", "configmaps"),
    ("ServiceAccount", "", "v1", "serviceaccounts"),
    ("Service", "", "v1", "services"),
    ("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims"),
    ("Deployment", "apps", "v1", "deployments"),
    ("Ingress", "networking.k8s.io", "v1", "ingresses"),
    ("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
];

/// Other kinds that are looked at.
const OTHERS: Kinds<6> = [
    (names::KIND, names::GROUP, names::VERSION, names::PLURAL),
    ("Pod", "", "v1", "pods"),
    ("Job", "batch", "v1", "jobs"),
    ("HTTPRoute", "gateway.networking.k8s.io", "v1", "httproutes"),
    ("Event", "events.k8s.io", "v1", "events"),
    ("Lease", "coordination.k8s.io", "v1", "leases"),
];

/// Kinds that belong to no namespace.
const CLUSTERS: Kinds<2> = [
    ("Namespace", "", "v1", "namespaces"),
    ("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions"),
];

/// A kind by its name.
///
/// # Panics
///
/// One that stands nowhere here is a test's mistake.
#[expect(clippy::panic, reason = "helpers of tests may end a test")]
pub fn resource(kind: &str) -> ApiResource {
    let all = KINDS.iter().chain(&OTHERS).chain(&CLUSTERS);
    let Some((kind, group, version, plural)) = all.copied().find(|known| known.0 == kind) else {
        panic!("the kind {kind} is in no table");
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// The path of the objects of a kind, or of one; `namespace` counts for kinds that belong to one.
pub fn path(kind: &str, namespace: &str, name: &str) -> String {
    let ApiResource { group, version, plural, .. } = resource(kind);
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    let item = if name.is_empty() { String::new() } else { format!("/{name}") };
    if CLUSTERS.iter().any(|known| known.0 == kind) {
        return format!("{root}/{plural}{item}");
    }
    format!("{root}/namespaces/{namespace}/{plural}{item}")
}

impl Admin {
    /// Connects as a kubeconfig says, and writes in the name of `manager`.
    pub async fn connect(kubeconfig: &Path, manager: &str) -> anyhow::Result<Self> {
        let options = client::Options {
            source: Source::Kubeconfig { path: Some(kubeconfig.to_owned()), context: None },
            user_agent: format!("{manager}/1"),
            timeout: PATIENCE,
            counts: RequestCounts::default(),
        };
        let client = client::connect(options).await?.main;
        let writer = Writer::new(client.clone(), manager, Fence::open());
        let reader = Reader::new(client.clone());
        Ok(Self { client, writer, reader })
    }

    /// Creates an object.
    pub async fn create(&self, kind: &str, object: &Value) -> anyhow::Result<Value> {
        Ok(self.writer.create(&resource(kind), object, "test").await?)
    }

    /// All objects of a kind that have the labels.
    pub async fn list(&self, kind: &str, namespace: &str, labels: &str) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        let labels = Some(labels).filter(|labels| !labels.is_empty());
        self.reader.list(&resource(kind), Some(namespace), labels, "test", |object| all.push(object)).await?;
        Ok(all)
    }

    /// Any other request; its answer's body.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = http::Request::builder().method(method).uri(path).header("content-type", content_type);
        let answer: Value =
            self.client.request(request.body(body)?).await.with_context(|| format!("{method} {path}"))?;
        Ok(answer)
    }

    /// Deletes the objects of a kind that have the labels; of thousands, as many as the API server manages in the time that it
    /// has for one request.
    pub async fn delete_all(&self, kind: &str, namespace: &str, labels: &str) -> anyhow::Result<()> {
        let path = format!("{}?labelSelector={}", path(kind, namespace, ""), labels.replace('=', "%3D"));
        match self.send("DELETE", &path, "application/json", &Value::Null).await {
            Err(error) if is_timeout(&error) => Ok(()),
            done => done.map(drop),
        }
    }

    /// Sets the status of an object, as a controller does.
    pub async fn set_status(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        status: &Value,
    ) -> anyhow::Result<()> {
        let path = format!("{}/status", path(kind, namespace, name));
        let body = serde_json::json!({"status": status});
        self.send("PATCH", &path, "application/merge-patch+json", &body).await?;
        Ok(())
    }
}

/// Whether the API server had too little time: it says so, or closes the connection without a word.
fn is_timeout(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(kube::Error::Api(status)) => status.code == 504,
        Some(kube::Error::Service(_)) => true,
        _ => false,
    }
}
