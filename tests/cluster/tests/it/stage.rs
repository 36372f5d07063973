//! The cluster that most tests share, and what they do with it.

use std::{
    path::Path,
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use cluster::{Cluster, ClusterOptions, Init, Programs, Unfit};
use container_image::{File, Image, Source};
use tokio::{runtime::Runtime, sync::OnceCell};

/// What a pod may take to be there, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// An image with a shell and a web server, whose user is nobody in particular.
pub(crate) const WEB: &str = "docker.io/local/web:1";

/// What a container must say to be let into a restricted namespace.
pub(crate) const RESTRICTED: &str = "securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true, \
     readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}";

/// The shared cluster outlives every test, so it needs a runtime that does, too.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Runs a test on the shared cluster, or says why it cannot run here. The cluster ends with this process.
pub(crate) fn shared(test: impl AsyncFnOnce(&'static Cluster)) {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    alone(async || {
        let start = async || {
            static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
            let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap());
            let mut options = options("shared", folder.path());
            options.audit = true;
            let cluster = Cluster::start(options, &programs().await, &say).await.unwrap();
            load_web(&cluster).await;
            cluster
        };
        test(CLUSTER.get_or_init(start).await).await;
    });
}

/// Runs a test that brings its own cluster, or says why it cannot run here.
pub(crate) fn alone(test: impl AsyncFnOnce()) {
    match cluster::check() {
        Err(unfit @ (Unfit::NotRoot | Unfit::NotLinux(_))) => eprintln!("skipped: {unfit}"),
        _ => RUNTIME.block_on(test()),
    }
}

pub(crate) async fn programs() -> Programs {
    Programs::ensure(&say).await.unwrap()
}

pub(crate) fn options(name: &str, dir: &Path) -> ClusterOptions {
    let init = Some(Init::program(env!("CARGO_BIN_EXE_cluster-init")));
    ClusterOptions { init, ..ClusterOptions::new(name, dir) }
}

pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Makes the image of [`WEB`] and loads it.
pub(crate) async fn load_web(cluster: &Cluster) {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).is_file());
    let link = |name: &str| (format!("/bin/{name}"), "busybox".to_owned());
    let image = Image {
        reference: WEB.into(),
        files: vec![
            File::program("/bin/busybox", busybox.unwrap()),
            File {
                path: "/www/index.html".into(),
                source: Source::Bytes(b"from the image".to_vec()),
                mode: 0o644,
            },
            File { path: "/www/exact".into(), source: Source::Bytes(b"exactly".to_vec()), mode: 0o644 },
        ],
        links: ["sh", "wget", "cat", "sleep", "httpd", "id", "nslookup"].map(link).to_vec(),
        entrypoint: ["/bin/busybox", "httpd", "-f", "-v", "-p", "8080", "-h", "/www"]
            .map(str::to_owned)
            .to_vec(),
        user: "65532:65532".into(),
        env: vec![("PATH".into(), "/bin".into())],
        exposed: vec![8080],
        ..Image::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("web.tar");
    image.write(&archive).unwrap();
    cluster.load_image(&archive).await.unwrap();
}

/// A namespace of its own for a test, at the restricted level, with a web server `web` on port 80.
pub(crate) async fn restricted_web(cluster: &Cluster, namespace: &str) {
    cluster
        .apply(&format!(
            "
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}
"
        ))
        .await
        .unwrap();
    // Without it no pod is let in, and a controller makes it.
    test_support::wait_until(LIMIT, "the namespace's account", async || {
        cluster.kubectl(&["get", "-n", namespace, "serviceaccount/default"]).await.ok()
    })
    .await
    .unwrap();
    cluster
        .apply(&format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: {namespace}, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: web, image: {WEB}, {RESTRICTED}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {namespace}}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
"
        ))
        .await
        .unwrap();
    ready(cluster, namespace, "web").await;
}

/// A pod that waits for `kubectl exec`.
pub(crate) async fn idle_pod(cluster: &Cluster, namespace: &str, name: &str) {
    let pod = format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: idle, image: {WEB}, command: [sleep, '100000'], {RESTRICTED}}}]
"
    );
    cluster.apply(&pod).await.unwrap();
    ready(cluster, namespace, name).await;
}

/// Waits until a pod is ready.
pub(crate) async fn ready(cluster: &Cluster, namespace: &str, pod: &str) {
    let limit = format!("--timeout={}s", LIMIT.as_secs());
    let pod = format!("pod/{pod}");
    let waited = cluster.kubectl(&["wait", "-n", namespace, "--for=condition=Ready", &limit, &pod]).await;
    if let Err(error) = waited {
        let described = cluster.kubectl(&["describe", "-n", namespace, &pod]).await;
        panic!("{error:#}\n{}", described.unwrap_or_default());
    }
}

/// Fetches an address from within a pod, again and again until it is there: addresses become known a moment later.
pub(crate) async fn fetch_in_pod(cluster: &Cluster, namespace: &str, pod: &str, url: &str) -> String {
    let what = format!("{url} to be reached from {namespace}/{pod}");
    let words = ["exec", "-n", namespace, pod, "--", "wget", "-qO-", url];
    test_support::wait_until(LIMIT, &what, async || cluster.kubectl(&words).await.ok()).await.unwrap()
}
