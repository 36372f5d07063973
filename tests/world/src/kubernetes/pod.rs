//! The bridge of a world with a cluster: a pod that the cluster starts again.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;
use test_support::wait_until;

use super::kubectl::Kubectl;

/// Name of the bridge's container.
const CONTAINER: &str = "bridge";

/// How long a pod that is asked to end may take; the bridge promises 10 s.
const END: &str = "--timeout=60s";

/// The bridge in its pod.
#[derive(Debug)]
pub struct PodBridge {
    kubectl: Kubectl,
    namespace: String,
    /// Name of the object.
    name: String,
    metrics: SocketAddr,
}

/// The pod as it is at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether it is ready.
    pub ready: bool,
    /// How often its container was started again.
    pub restarts: u64,
}

impl PodBridge {
    pub(crate) fn new(kubectl: Kubectl, namespace: &str, name: &str, metrics: SocketAddr) -> Self {
        Self { kubectl, namespace: namespace.to_owned(), name: name.to_owned(), metrics }
    }

    /// Address of the metrics.
    pub fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.metrics)
    }

    /// The pod that is there now; one that is ending does not count.
    pub async fn pod(&self) -> anyhow::Result<Pod> {
        let selector = format!("app.kubernetes.io/instance={}", self.name);
        let pods = self.kubectl.json(&["-n", &self.namespace, "get", "pods", "-l", &selector]).await?;
        let pods = pods["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let alive = pods.iter().find(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        alive.and_then(read).with_context(|| format!("the bridge {} has no pod", self.name))
    }

    /// Waits until a pod is ready that fits.
    pub async fn wait_ready(&self, limit: Duration, fits: impl Fn(&Pod) -> bool) -> anyhow::Result<Pod> {
        wait_until(limit, "the bridge's pod to be ready", async || {
            self.pod().await.ok().filter(|pod| pod.ready && fits(pod))
        })
        .await
    }

    /// The folder below `/proc` of its process. The cluster must be one of this machine.
    pub async fn process(&self) -> anyhow::Result<PathBuf> {
        process_of(&self.pod().await?.uid).context("the pod's process is not one of this machine")
    }

    /// `kill -9` of the process; the cluster starts it again in the same pod. Returns when it is ready again. The
    /// cluster must be one of this machine.
    pub async fn kill(&self, limit: Duration) -> anyhow::Result<Pod> {
        let before = self.pod().await?;
        let process = process_of(&before.uid).context("the pod's process is not one of this machine")?;
        let pid = process.file_name().unwrap_or_default();
        // The program, since the call itself would need unsafe code.
        let status = tokio::process::Command::new("kill").arg("-9").arg(pid).status().await?;
        anyhow::ensure!(status.success(), "kill -9 of the bridge: {status}");
        self.wait_ready(limit, |pod| pod.uid != before.uid || pod.restarts > before.restarts).await
    }

    /// Deletes the pod; the cluster makes another one. Returns when that is ready.
    pub async fn replace(&self, limit: Duration) -> anyhow::Result<Pod> {
        let before = self.pod().await?;
        self.kubectl.run(&["-n", &self.namespace, "delete", "pod", &before.name, "--wait=true", END]).await?;
        self.wait_ready(limit, |pod| pod.uid != before.uid).await
    }

    /// What it has logged since it was started, as far as the cluster keeps it.
    pub async fn log(&self) -> anyhow::Result<String> {
        let pod = self.pod().await?;
        self.kubectl.run(&["-n", &self.namespace, "logs", &pod.name, "-c", CONTAINER]).await
    }
}

fn read(pod: &Value) -> Option<Pod> {
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
    let containers = pod["status"]["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let bridge = containers.iter().find(|one| one["name"] == CONTAINER);
    Some(Pod {
        name: pod["metadata"]["name"].as_str()?.to_owned(),
        uid: pod["metadata"]["uid"].as_str()?.to_owned(),
        ready,
        restarts: bridge.and_then(|one| one["restartCount"].as_u64()).unwrap_or_default(),
    })
}

/// The folder below `/proc` of the bridge's process in a pod.
fn process_of(uid: &str) -> Option<PathBuf> {
    let folders = std::fs::read_dir("/proc").ok()?;
    folders.flatten().map(|entry| entry.path()).find(|folder| is_bridge_of(folder, uid))
}

fn is_bridge_of(process: &Path, uid: &str) -> bool {
    let read = |file: &str| std::fs::read(process.join(file)).unwrap_or_default();
    let command = read("cmdline");
    let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
    program.ends_with(b"/dingtalk-bridge")
        && String::from_utf8_lossy(&read("cgroup")).lines().any(|group| group.contains(uid))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_read_as_the_api_server_tells_it() {
        let pod = json!({
            "metadata": {"name": "dingtalk-acme-1", "uid": "u"},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "bridge", "restartCount": 2}],
            },
        });
        let expected =
            Pod { name: "dingtalk-acme-1".to_owned(), uid: "u".to_owned(), ready: true, restarts: 2 };
        assert_eq!(read(&pod), Some(expected));
        assert_eq!(read(&json!({"metadata": {}})), None);
    }

    #[test]
    fn a_process_belongs_to_the_pod_of_its_control_group() {
        let process = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(process.path().join(file), text).unwrap();
        write("cmdline", "/usr/bin/dingtalk-bridge\0run\0");
        write("cgroup", "4:memory:/kubepods/burstable/pod1234/abc\n");
        assert!(is_bridge_of(process.path(), "1234"));
        assert!(!is_bridge_of(process.path(), "5678"));
        write("cmdline", "/pause\0");
        assert!(!is_bridge_of(process.path(), "1234"));
    }
}
