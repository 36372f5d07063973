//! A backup is made in the pod and put back, as docs/operator.md says.

use serde_json::{Value, json};
use test_support::wait_until;
use world::{BridgedChat, ClusterWorld};

use crate::{LIMIT, MANY, TIMEOUT, all_arrive_once, arrive_once, write_many, write_to_dingtalk};

const CONFIG: &str = "/etc/dingtalk-bridge/config/config.toml";
const BACKUP: &str = "/var/lib/dingtalk-bridge/backup.db";
const ASIDE: &str = "/var/lib/dingtalk-bridge/before.db";

/// What crossed since the backup is not posted again, and what is written after the restore crosses.
pub(crate) async fn a_backup_is_put_back_and_nothing_is_posted_twice(
    world: &ClusterWorld,
    chat: &BridgedChat,
) {
    let (namespace, name) = (world.namespace(), world.name());
    let deployment = format!("deployment/dingtalk-{name}");
    let bridge = ["exec", &deployment, "--", "dingtalk-bridge"];
    let backup = ["db", "backup", BACKUP, "--config", CONFIG];
    let said = kubectl(world, &[&bridge[..], &backup].concat()).await;
    assert!(said.contains("Keep the sealing key elsewhere"), "{said}");
    write_many(world, chat, "since the backup").await;
    all_arrive_once(world, chat, "since the backup").await;

    let suspend = async |suspend: Value| {
        let patch = json!({"spec": {"suspend": suspend}}).to_string();
        kubectl(world, &["patch", "dtb", name, "--type=merge", "--patch", &patch]).await;
    };
    suspend(json!(true)).await;
    let instance = format!("app.kubernetes.io/instance={name}");
    let gone = wait_until(LIMIT, "the pod to end", async || {
        let pods = world.kubectl().json(&["-n", namespace, "get", "pods", "-l", &instance]).await.ok()?;
        pods["items"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
    gone.await.unwrap();
    let job = restore_job(&world.kubectl().json(&["-n", namespace, "get", &deployment]).await.unwrap());
    let file = world.dir().join("restore.json");
    std::fs::write(&file, job.to_string()).unwrap();
    kubectl(world, &["apply", "-f", file.to_str().unwrap()]).await;
    kubectl(world, &["wait", "--for=condition=Complete", "job/restore", TIMEOUT]).await;
    let said = kubectl(world, &["logs", "job/restore"]).await;
    assert!(said.contains("rooms are read from now on"), "{said}");
    kubectl(world, &["delete", "job/restore"]).await;
    suspend(Value::Null).await;
    kubectl(world, &["wait", "--for=condition=Ready", "dtb", name, TIMEOUT]).await;

    let crossing = world.cross_to_matrix(chat, "恢复之后", LIMIT).await.unwrap();
    assert_eq!(crossing.read, crossing.written);
    write_to_dingtalk(world, chat, "after the restore").await;
    arrive_once(world, chat, "after the restore", "left", MANY).await;
    all_arrive_once(world, chat, "since the backup").await;
}

async fn kubectl(world: &ClusterWorld, arguments: &[&str]) -> String {
    let namespace = ["-n", world.namespace()];
    world.kubectl().run(&[&namespace[..], arguments].concat()).await.unwrap()
}

/// The Deployment's pod with another command, which ends.
fn restore_job(deployment: &Value) -> Value {
    let mut pod = deployment["spec"]["template"]["spec"].clone();
    pod["restartPolicy"] = "Never".into();
    let container = pod["containers"][0].as_object_mut().unwrap();
    for of_a_server in ["ports", "startupProbe", "livenessProbe", "readinessProbe"] {
        container.remove(of_a_server);
    }
    container
        .insert("args".to_owned(), json!(["db", "restore", BACKUP, "--move-to", ASIDE, "--config", CONFIG]));
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "restore", "namespace": deployment["metadata"]["namespace"]},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    })
}
