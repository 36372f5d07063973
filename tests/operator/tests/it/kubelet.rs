//! Pods that nobody runs: what a kubelet would say of them, said by the test. No node fits them, so no real one does.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::api::{Api, path, text};

/// Images with this in their name cannot be pulled.
pub(crate) const BROKEN: &str = "broken";

/// How often the pods are looked at.
const PACE: Duration = Duration::from_millis(200);

/// Says of the pods of a namespace that they are ready, or that their image cannot be pulled, until it is dropped.
pub(crate) struct Kubelet(JoinHandle<()>);

impl Kubelet {
    pub(crate) fn start(api: Arc<Api>, namespace: &'static str) -> Self {
        Self(tokio::spawn(async move {
            let mut pace = tokio::time::interval(PACE);
            loop {
                pace.tick().await;
                // What was said of a pod that runs is not said again.
                let waiting = format!("{}?fieldSelector=status.phase=Pending", path("Pod", namespace, ""));
                let (_, list) = api.send(Method::GET, &waiting, None).await.unwrap_or_default();
                for pod in list["items"].as_array().into_iter().flatten() {
                    if pod["status"]["containerStatuses"].is_null() {
                        say(&api, namespace, pod).await;
                    }
                }
            }
        }))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn say(api: &Api, namespace: &str, pod: &Value) {
    let container = &pod["spec"]["containers"][0];
    let image = container["image"].as_str().unwrap_or_default();
    let runs = !image.contains(BROKEN);
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap();
    let state = if runs {
        json!({"running": {"startedAt": now}})
    } else {
        json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
    };
    let ready = if runs { "True" } else { "False" };
    let condition = |type_: &str| json!({"type": type_, "status": ready, "lastTransitionTime": now});
    let status = json!({"status": {
        "phase": if runs { "Running" } else { "Pending" },
        "conditions": [condition("Ready"), condition("ContainersReady")],
        "containerStatuses": [{
            "name": container["name"], "image": image, "imageID": "", "ready": runs, "restartCount": 0, "state": state,
        }],
    }});
    let address = format!("{}/status", path("Pod", namespace, text(pod, "/metadata/name")));
    let body = ("application/merge-patch+json", status.to_string());
    // A pod that is gone meanwhile needs nothing.
    let _ = api.send(Method::PATCH, &address, Some(body)).await;
}
