//! `kubectl dtb`, as an administrator uses it.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    api::text,
    operator::Operator,
    stage::{Shared, shared},
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
        std::os::unix::fs::symlink(crate::operator::program(), &program).unwrap();
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
        let output = command.output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
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

        let (good, _, error) = plugin.try_run(&["pause", "nobody"]).await;
        assert!(!good && error.contains("no DingTalkBridge nobody"), "{error}");
        let unchanged = plugin.diff(&shared.operator, "docker.io/local/dingtalk-bridge:none").await;
        assert_eq!(unchanged, json!([]));
    });
}
