//! What is reached from inside a bridge's pod: from its network, with its files.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dingtalk_crds::names;
use serde_json::{Value, json};
use test_support::{Package, wait_until};
use world::ClusterWorld;

use crate::{LIMIT, tell};

/// Another tenant.
const OTHER: &str = "other";

pub(crate) async fn a_bridges_pod_reaches_nothing_of_another_tenants(world: &ClusterWorld) {
    let (kubectl, namespace) = (world.kubectl(), world.namespace());
    let object = json!({
        "apiVersion": format!("{}/{}", names::GROUP, names::VERSION), "kind": names::KIND,
        "metadata": {"name": OTHER, "namespace": namespace}, "spec": {"workspace": OTHER},
    });
    kubectl.apply(&object.to_string(), &[]).await.unwrap();
    let selector = format!("{}={OTHER}", names::INSTANCE);
    let running = wait_until(2 * LIMIT, "the other bridge to run", async || {
        let pods = kubectl.json(&["-n", namespace, "get", "pods", "-l", &selector]).await.ok()?;
        let pod = pods["items"].as_array()?.iter().find(|pod| pod["status"]["phase"] == "Running")?;
        pod["status"]["podIP"].as_str().map(str::to_owned)
    });
    let other = running.await.unwrap();
    let token = async |of: &str| {
        let secret = names::tokens_secret(of);
        let secret = kubectl.json(&["-n", namespace, "get", "secret", &secret]).await.unwrap();
        let token = secret["data"][names::keys::STATUS_TOKEN].as_str().unwrap().to_owned();
        String::from_utf8(STANDARD.decode(token).unwrap()).unwrap()
    };
    let (own, others) = (token(world.name()).await, token(OTHER).await);
    let service = kubectl.json(&["-n", "default", "get", "service", "kubernetes"]).await.unwrap();
    let server = format!("https://{}", service["spec"]["clusterIP"].as_str().unwrap());
    let status = format!("http://{other}:{}/status", names::HEALTH_PORT);
    let mine = format!("http://127.0.0.1:{}/status", names::HEALTH_PORT);

    let process = world.bridge().process().await.unwrap();
    // The other one answers as soon as it serves; what opens it shows that the question itself is right.
    let asked = wait_until(LIMIT, "the other bridge's report", async || {
        let opened = ask(world, &process, &json!([[mine, own], [status, others]])).await?;
        (opened == json!([200, 200])).then_some(())
    });
    asked.await.unwrap();
    let refused = ask(world, &process, &json!([[status, null], [status, own], [mine, others]])).await;
    assert_eq!(refused, Some(json!([401, 401, 401])));
    let secrets = format!("{server}/api/v1/namespaces/{namespace}/secrets");
    let bridges =
        format!("{server}/apis/{}/{}/namespaces/{namespace}/{}", names::GROUP, names::VERSION, names::PLURAL);
    let refused =
        ask(world, &process, &json!([[secrets, null], [bridges, null], [secrets, own]])).await.unwrap();
    for code in refused.as_array().unwrap() {
        assert!(*code == 401 || *code == 403, "{refused}");
    }

    // No token of the cluster is among its files, and nothing of the other's.
    let root = process.join("root");
    assert!(root.join("etc/dingtalk-bridge").is_dir(), "these are the pod's files");
    for account in ["var/run/secrets/kubernetes.io", "run/secrets/kubernetes.io"] {
        assert!(!root.join(account).exists(), "{account}");
    }
    let pod = world.bridge().pod().await.unwrap();
    let pod = kubectl.json(&["-n", namespace, "get", "pod", &pod.name]).await.unwrap();
    assert!(!pod["spec"]["volumes"].to_string().contains(&names::child(OTHER)), "{pod:#}");
    kubectl.run(&["-n", namespace, "delete", "dtb", OTHER, "--wait=false"]).await.unwrap();
}

/// Asks from the network of a process; nothing where somebody does not answer at all.
async fn ask(world: &ClusterWorld, process: &Path, questions: &Value) -> Option<Value> {
    assert!(world.cluster().is_some(), "its processes are on this machine");
    let python = world::install_python(Package::KUBERNETES, &tell).await.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/inside.py");
    let pid = process.file_name().unwrap();
    let output = tokio::process::Command::new("nsenter")
        .arg("-t")
        .arg(pid)
        .arg("-n")
        .arg(python.python())
        .arg(script)
        .arg(questions.to_string())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    serde_json::from_slice(&output.stdout).ok()
}
