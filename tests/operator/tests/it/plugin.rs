//! `kubectl dtb`, as an administrator uses it.

use std::{path::PathBuf, process::Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use test_support::wait_until;
use tokio::process::Command;

use crate::{
    api::{Api, path, text},
    operator::Operator,
    stage::{LIMIT, Shared, shared},
};

/// The operator's program under the plugin's name.
pub(crate) struct Plugin {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    /// Where the operator is; there are several here.
    home: String,
}

impl Plugin {
    /// The plugin beside an operator, with the objects of its chart by which it is found.
    pub(crate) async fn new(shared: &Shared, operator: &Operator, home: &str, namespace: &str) -> Self {
        let metadata = json!({
            "name": "dingtalk-operator", "namespace": home,
            "labels": {"app.kubernetes.io/name": "dingtalk-operator"},
        });
        let pod = json!({"metadata": {"labels": {"app": "o"}}, "spec": {"containers": [{"name": "c", "image": "none:1"}]}});
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
             "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "o"}}, "template": pod}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"operator.yaml": operator.file()}},
        ]});
        shared.stage.cluster.apply(&objects.to_string()).await.unwrap();
        let program = shared.stage.folder().join(format!("{namespace}/kubectl-dtb"));
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        // Tests beside each other use the same.
        match std::os::unix::fs::symlink(crate::operator::program(), &program) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.unwrap(),
        }
        let kubeconfig = shared.stage.cluster.kubeconfig().to_owned();
        Self { program, kubeconfig, namespace: namespace.to_owned(), home: home.to_owned() }
    }

    /// What it prints.
    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        let (good, out, error) = self.try_run(arguments).await;
        assert!(good, "{arguments:?}: {error}");
        out
    }

    async fn try_run(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = self.command(arguments).output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .arg("--namespace")
            .arg(&self.namespace)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig);
        if matches!(arguments[0], "rollout" | "diff") {
            command.args(["--operator-namespace", &self.home]);
        }
        command.kill_on_drop(true);
        command
    }

    /// What another image of the platform would change.
    pub(crate) async fn diff(&self, operator: &Operator, image: &str) -> Value {
        let mut file: Value = serde_json::from_str(&operator.file()).unwrap();
        file["platform"]["image"]["reference"] = image.into();
        let path = self.program.with_file_name("other.yaml");
        std::fs::write(&path, file.to_string()).unwrap();
        let path = path.to_str().unwrap().to_owned();
        serde_json::from_str(&self.run(&["diff", "--json", "--file", &path]).await).unwrap()
    }
}

const HERE: &str = "t-plugin";

#[test]
fn the_plugin_shows_and_changes_what_its_user_may() {
    shared(async |shared| {
        let api = &shared.stage.api;
        let plugin = Plugin::new(shared, &shared.operator, "o-shared", HERE).await;
        api.bridge(HERE, "acme", &json!({"workspace": "plugin-acme", "suspend": true})).await;
        api.settled(HERE, "acme").await;

        let listed: Value = serde_json::from_str(&plugin.run(&["status", "--json"]).await).unwrap();
        assert_eq!((&listed[0]["name"], &listed[0]["reason"]), (&json!("acme"), &json!("Suspended")));
        let one = plugin.run(&["status", "acme"]).await;
        assert!(one.contains("plugin-acme") && one.contains("RegistrationReady"), "{one}");

        plugin.run(&["pause", "acme"]).await;
        api.condition_until(HERE, "acme", ["Paused", "True", "HandsOff"]).await;
        plugin.run(&["resume", "acme"]).await;
        plugin.run(&["unsuspend", "acme"]).await;
        api.condition_until(HERE, "acme", ["Paused", "False", "Active"]).await;
        plugin.run(&["suspend", "acme"]).await;
        api.condition_until(HERE, "acme", ["Paused", "True", "Suspended"]).await;
        plugin.run(&["reconcile", "acme"]).await;
        api.bridge_until(HERE, "acme", "to have been looked at", |object| {
            !text(object, "/status/lastHandledReconcileAt").is_empty()
        })
        .await;

        plugin.run(&["rotate", "acme", "status,webhook"]).await;
        let asked = api.get("DingTalkBridge", HERE, "acme").await.unwrap();
        let asked = text(&asked, "/metadata/annotations/bridges.meldry.com~1rotate").to_owned();
        assert!(asked.starts_with("status,webhook@"), "{asked}");
        plugin.run(&["rotate", "acme", "everything"]).await;
        let told = api.bridge_until(HERE, "acme", "to name the mistake", |object| {
            text(object, "/status/rotation/problem").contains("everything")
        });
        told.await;

        let (good, _, error) = plugin.try_run(&["pause", "nobody"]).await;
        assert!(!good && error.contains("no DingTalkBridge nobody"), "{error}");
        let changes = plugin.diff(&shared.operator, "docker.io/local/dingtalk-bridge:none").await;
        // Tests beside this one have objects in the same namespace, of which some are just being made.
        let own = changes.as_array().unwrap().iter().find(|change| change["name"] == "acme");
        assert_eq!(own, None);
    });
}

#[test]
fn a_person_halts_every_rollout_and_lets_it_go_on() {
    shared(async |shared| {
        let api = &shared.stage.api;
        let plugin = Plugin::new(shared, &shared.operator, "o-shared", HERE).await;
        let said = async || {
            let map = api.get("ConfigMap", "o-shared", "dingtalk-operator-rollout").await.unwrap();
            text(&map, "/data/halted").to_owned()
        };
        let told = plugin.run(&["rollout", "halt"]).await;
        assert!(told.contains("halted"), "{told}");
        assert_eq!(said().await, "true");
        plugin.run(&["rollout", "resume"]).await;
        assert_eq!(said().await, "false");
        let standing: Value =
            serde_json::from_str(&plugin.run(&["rollout", "status", "--json"]).await).unwrap();
        assert_eq!((&standing["halted"], &standing["waiting"]), (&json!(false), &json!(0)));
    });
}

#[test]
fn a_move_is_refused_before_anything_is_touched_when_its_goal_is_not_there() {
    shared(async |shared| {
        let api = &shared.stage.api;
        let plugin = Plugin::new(shared, &shared.operator, "o-shared", HERE).await;
        api.bridge(HERE, "staying", &json!({"workspace": "plugin-staying", "suspend": true})).await;
        let before = api.settled(HERE, "staying").await;
        for (arguments, reason) in [
            (["move-database", "staying", "--to-secret=nothing/url"], "no Secret nothing with the key url"),
            (["move-database", "staying", "--cancel"], "no move is under way"),
        ] {
            let (good, _, error) = plugin.try_run(&arguments).await;
            assert!(!good && error.contains(reason), "{error}");
        }
        let after = api.get("DingTalkBridge", HERE, "staying").await.unwrap();
        assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);
        assert!(api.get("ConfigMap", HERE, "dingtalk-staying-from").await.is_none());
    });
}

/// Waits until the pod of the Job that copies is there, says how it has ended, as a kubelet would, and waits until the Job has
/// ended so. The node's own kubelet, which finds no image, may say a moment later what it saw before; then it is said again.
async fn copies(api: &Api, name: &str, phase: &str) {
    let labels = format!("job-name=dingtalk-{name}-move");
    let condition = if phase == "Failed" { "\"Failed\"" } else { "\"Complete\"" };
    let ended = wait_until(LIMIT, "the Job to have ended", async || {
        let pods = api.list("Pod", HERE, &labels).await;
        for pod in pods.iter().filter(|pod| pod["status"]["phase"] == "Pending") {
            ends(api, pod, phase).await;
        }
        match api.get("Job", HERE, &format!("dingtalk-{name}-move")).await {
            Some(job) => job["status"]["conditions"].to_string().contains(condition).then_some(()),
            // Who waited for its end has taken it away.
            None => Some(()),
        }
    });
    ended.await.unwrap();
}

/// Says how a pod has ended.
async fn ends(api: &Api, pod: &Value, phase: &str) {
    let container = &pod["spec"]["containers"][0];
    assert_eq!((&container["args"][0], &container["args"][1]), (&json!("db"), &json!("copy")));
    let code = i32::from(phase == "Failed");
    let status = json!({"status": {"phase": phase, "containerStatuses": [{
        "name": container["name"], "image": container["image"], "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "finishedAt": "2026-03-01T08:00:00Z"}},
    }]}});
    let address = format!("{}/status", path("Pod", HERE, text(pod, "/metadata/name")));
    let body = ("application/merge-patch+json", status.to_string());
    let (code, answer) = api.send(Method::PATCH, &address, Some(body)).await.unwrap();
    // It goes with its Job.
    assert!([200, 404].contains(&code), "{code} {answer}");
}

#[test]
fn a_move_that_is_interrupted_and_fails_once_goes_on_until_it_is_done() {
    shared(async |shared| {
        let api = &shared.stage.api;
        let plugin = Plugin::new(shared, &shared.operator, "o-shared", HERE).await;
        api.bridge(HERE, "moved", &json!({"workspace": "plugin-moved", "suspend": true})).await;
        api.settled(HERE, "moved").await;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "moved-to", "namespace": HERE},
            "stringData": {"url": "postgres://b:c@127.0.0.1/d"},
        });
        api.create(&secret).await;
        let command = ["move-database", "moved", "--to-secret=moved-to/url"];

        // It dies while it waits for the copy.
        let mut first = plugin.command(&command).stdout(Stdio::null()).spawn().unwrap();
        api.until("Job", HERE, "dingtalk-moved-move", |_| true).await;
        first.kill().await.unwrap();
        let kept = api.get("ConfigMap", HERE, "dingtalk-moved-from").await.unwrap();
        assert!(text(&kept, "/data/config.toml").contains("sqlite:"), "{kept:#}");
        let config = api.get("ConfigMap", HERE, "dingtalk-moved").await.unwrap();
        assert!(text(&config, "/data/config.toml").contains("url_file"), "{config:#}");

        copies(api, "moved", "Failed").await;
        let failed = api.get("Job", HERE, "dingtalk-moved-move").await.unwrap();
        let before = failed["metadata"]["uid"].clone();
        // Who comes then deletes that Job and has another one copy.
        let again = plugin.try_run(&command);
        let copied = async {
            api.until("Job", HERE, "dingtalk-moved-move", |job| job["metadata"]["uid"] != before).await;
            copies(api, "moved", "Succeeded").await;
        };
        let ((good, said, error), ()) = tokio::join!(again, copied);
        assert!(good && said.contains("its database is PostgreSQL"), "{said}{error}");
        for (kind, name) in [("ConfigMap", "dingtalk-moved-from"), ("Job", "dingtalk-moved-move")] {
            assert!(api.get(kind, HERE, name).await.is_none(), "{kind}");
        }
        let object = api.get("DingTalkBridge", HERE, "moved").await.unwrap();
        assert_eq!(object["spec"]["suspend"], json!(true), "it was suspended before");
        assert_eq!(
            object["spec"]["database"]["postgresql"]["secretRef"],
            json!({"name": "moved-to", "key": "url"})
        );
        assert!(api.get("PersistentVolumeClaim", HERE, "dingtalk-moved-data").await.is_some(), "it stays");
        let again = plugin.run(&command).await;
        assert_eq!(again.lines().count(), 1, "{again}");
    });
}

#[test]
fn a_move_that_is_called_off_leaves_the_object_as_it_was() {
    shared(async |shared| {
        let api = &shared.stage.api;
        let plugin = Plugin::new(shared, &shared.operator, "o-shared", HERE).await;
        let spec =
            json!({"workspace": "plugin-back", "suspend": true, "database": {"sqlite": {"size": "2Gi"}}});
        let before = api.bridge(HERE, "back", &spec).await;
        api.settled(HERE, "back").await;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "not-to", "namespace": HERE},
            "stringData": {"uri": "postgres://b:c@127.0.0.1/d"},
        });
        api.create(&secret).await;
        let mut first = plugin
            .command(&["move-database", "back", "--to-secret=not-to"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        api.until("Job", HERE, "dingtalk-back-move", |_| true).await;
        first.kill().await.unwrap();
        let (good, _, error) = plugin.try_run(&["move-database", "back", "--cancel"]).await;
        assert!(!good && error.contains("it is being copied"), "{error}");
        copies(api, "back", "Succeeded").await;
        plugin.run(&["move-database", "back", "--cancel"]).await;
        let after = api.get("DingTalkBridge", HERE, "back").await.unwrap();
        assert_eq!(after["spec"], before["spec"]);
        for (kind, name) in [("ConfigMap", "dingtalk-back-from"), ("Job", "dingtalk-back-move")] {
            assert!(api.get(kind, HERE, name).await.is_none(), "{kind}");
        }
    });
}
