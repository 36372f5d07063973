//! The API server for a person: an administrator, by `kubectl proxy`.

use std::{sync::Arc, time::Duration};

use cluster::Cluster;
pub(crate) use operator_e2e::path;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use test_support::{Process, Spawn, wait_until};

use crate::stage::LIMIT;

/// The administrator's way to the API server.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    http: reqwest::Client,
    _proxy: Arc<Process>,
}

/// The children of an object, as kinds and names.
pub(crate) fn children(of: &str) -> Vec<(&'static str, String)> {
    let plain = format!("dingtalk-{of}");
    vec![
        ("Secret", format!("{plain}-registration")),
        ("Secret", format!("{plain}-tokens")),
        ("Secret", format!("{plain}-sealing-key")),
        ("ConfigMap", plain.clone()),
        ("ServiceAccount", plain.clone()),
        ("PersistentVolumeClaim", format!("{plain}-data")),
        ("Deployment", plain.clone()),
        ("Service", plain.clone()),
        ("Ingress", plain.clone()),
        ("NetworkPolicy", plain),
    ]
}

impl Api {
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        test_support::install_crypto();
        let port = test_support::free_port().unwrap();
        let proxy = Spawn::new(&cluster.description().kubectl)
            .args(["proxy", "--port", &port.to_string()])
            .env("KUBECONFIG", cluster.kubeconfig())
            .start()
            .await
            .unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let api = Self { base: format!("http://127.0.0.1:{port}"), http, _proxy: Arc::new(proxy) };
        let ready = async || api.send(Method::GET, "/readyz", None).await.filter(|(code, _)| *code == 200);
        wait_until(LIMIT, "kubectl proxy", ready).await.unwrap();
        api
    }

    /// One request; nothing where the API server is not there.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, String)>,
    ) -> Option<(u16, Value)> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some((type_, body)) = body {
            request = request.header(header::CONTENT_TYPE, type_).body(body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status();
        let text = answer.text().await.ok()?;
        if status == StatusCode::BAD_GATEWAY {
            return None;
        }
        Some((status.as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    async fn good(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Value {
        let what = format!("{method} {path}");
        let (code, answer) =
            self.send(method, path, body).await.unwrap_or_else(|| panic!("{what}: no answer"));
        assert!((200..300).contains(&code), "{what}: {code} {answer}");
        answer
    }

    /// An object, if it is there.
    pub(crate) async fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let (code, object) = self.send(Method::GET, &path(kind, namespace, name), None).await?;
        (code == 200).then_some(object)
    }

    /// The objects of a kind that a selector finds.
    pub(crate) async fn list(&self, kind: &str, namespace: &str, labels: &str) -> Vec<Value> {
        let path = format!("{}?labelSelector={labels}", path(kind, namespace, ""));
        self.good(Method::GET, &path, None).await["items"].as_array().cloned().unwrap_or_default()
    }

    /// Makes an object that is not there, as somebody who does not know the operator.
    pub(crate) async fn create(&self, object: &Value) -> Value {
        let path = path(object["kind"].as_str().unwrap(), text(object, "/metadata/namespace"), "");
        self.good(Method::POST, &path, Some(("application/json", object.to_string()))).await
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn merge(&self, kind: &str, namespace: &str, name: &str, change: &Value) -> Value {
        let body = ("application/merge-patch+json", change.to_string());
        self.good(Method::PATCH, &path(kind, namespace, name), Some(body)).await
    }

    /// Deletes an object that is there.
    pub(crate) async fn delete(&self, kind: &str, namespace: &str, name: &str) {
        self.good(Method::DELETE, &path(kind, namespace, name), None).await;
    }

    /// Makes a `DingTalkBridge`; `spec` is YAML in one line.
    pub(crate) async fn bridge(&self, namespace: &str, name: &str, spec: &Value) -> Value {
        self.create(&json!({
            "apiVersion": "bridges.meldry.com/v1alpha1",
            "kind": "DingTalkBridge",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }))
        .await
    }

    /// Gives an object an annotation that makes the operator look at it anew, and waits until it has.
    pub(crate) async fn reconcile(&self, namespace: &str, name: &str, value: &str) -> Value {
        let change =
            json!({"metadata": {"annotations": {"bridges.meldry.com/reconcile-requested-at": value}}});
        self.merge("DingTalkBridge", namespace, name, &change).await;
        self.bridge_until(namespace, name, "to have been looked at anew", |object| {
            text(object, "/status/lastHandledReconcileAt") == value
        })
        .await
    }

    /// Waits until a `DingTalkBridge` is as asked for.
    pub(crate) async fn bridge_until(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        mut is: impl FnMut(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let waited = wait_until(LIMIT, &format!("{namespace}/{name} {what}"), async || {
            last = self.get("DingTalkBridge", namespace, name).await?;
            is(&last).then(|| last.clone())
        })
        .await;
        waited.unwrap_or_else(|error| panic!("{error}; it is {:#}", last["status"]))
    }

    /// Waits until a condition has a status and a reason, and answers its message.
    pub(crate) async fn condition_until(&self, namespace: &str, name: &str, wanted: [&str; 3]) -> String {
        let [type_, status, reason] = wanted;
        let what = format!("to have {type_}={status} because of {reason}");
        let object = self
            .bridge_until(namespace, name, &what, |object| {
                let found = condition(object, type_);
                found["status"] == status && found["reason"] == reason && is_current(object)
            })
            .await;
        text(condition(&object, type_), "/message").to_owned()
    }

    /// Waits until the operator has told of all children of a `DingTalkBridge` without a pod.
    pub(crate) async fn settled(&self, namespace: &str, name: &str) -> Value {
        self.bridge_until(namespace, name, "to be settled", |object| {
            let is = |type_, status: &str| condition(object, type_)["status"] == status;
            is_current(object)
                && is("ConfigValid", "True")
                && is("SecretsReady", "True")
                && is("RouteAccepted", "True")
                && is("RegistrationReady", "True")
                && condition(object, "Progressing")["status"] == "False"
        })
        .await
    }

    /// Waits until an object is gone.
    pub(crate) async fn gone(&self, kind: &str, namespace: &str, name: &str) {
        wait_until(LIMIT, &format!("the {kind} {namespace}/{name} to be gone"), async || {
            let (code, _) = self.send(Method::GET, &path(kind, namespace, name), None).await?;
            (code == 404).then_some(())
        })
        .await
        .unwrap();
    }

    /// Waits until an object is as asked for.
    pub(crate) async fn until(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        mut is: impl FnMut(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let waited = wait_until(LIMIT, &format!("the {kind} {namespace}/{name}"), async || {
            last = self.get(kind, namespace, name).await?;
            is(&last).then(|| last.clone())
        })
        .await;
        waited.unwrap_or_else(|error| panic!("{error}; it is {last:#}"))
    }
}

/// A text in an object; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A condition of an object; null where it is not there.
pub(crate) fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().find(|found| found["type"] == type_).unwrap_or(&Value::Null)
}

/// Whether the status is about the object as it is.
fn is_current(object: &Value) -> bool {
    object.pointer("/status/observedGeneration") == object.pointer("/metadata/generation")
}
