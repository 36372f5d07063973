//! What is worth knowing when something did not come to pass, taken out of the cluster before it ends.

use std::path::Path;

use super::{
    kubectl::Kubectl,
    platform::{self, Names, Status},
};

/// Writes logs, events and objects into a folder; answers with the sentences that are most likely to explain it.
pub(crate) async fn collect(kubectl: &Kubectl, names: &Names, dir: &Path) -> String {
    let folder = dir.join("evidence");
    if let Err(error) = std::fs::create_dir_all(&folder) {
        return format!("{}: {error}", folder.display());
    }
    let (namespace, name) = (names.namespace(), names.workspace.as_str());
    let instance = format!("app.kubernetes.io/instance={name}");
    let operator = format!("app.kubernetes.io/name={}", platform::OPERATOR);
    let logs = ["--prefix", "--tail=2000", "--ignore-errors"];
    let questions: [(&str, Vec<&str>); 7] = [
        ("object.yaml", vec!["-n", namespace, "get", "dingtalkbridge", name, "-o", "yaml"]),
        ("objects.txt", vec!["get", "all,ingress,pvc,endpointslices", "-A", "-o", "wide"]),
        ("events.txt", vec!["get", "events", "-A", "--sort-by=.lastTimestamp"]),
        ("pods.txt", vec!["-n", namespace, "describe", "pods"]),
        ("operator-pods.txt", vec!["-n", platform::OPERATOR, "describe", "pods"]),
        ("bridge.log", [&["-n", namespace, "logs", "-l", &instance][..], &logs].concat()),
        ("operator.log", [&["-n", platform::OPERATOR, "logs", "-l", &operator][..], &logs].concat()),
    ];
    for (file, question) in questions {
        let answer = kubectl.run(&question).await.unwrap_or_else(|error| format!("{error:#}\n"));
        // The error that brought us here is the one that counts.
        let _ = std::fs::write(folder.join(file), answer);
    }
    let object = kubectl.json(&["-n", namespace, "get", "dingtalkbridge", name]).await;
    let conditions = object.map(|object| Status::of(&object).in_the_way()).unwrap_or_default();
    let said = if conditions.is_empty() { String::new() } else { format!("{}; ", conditions.join("; ")) };
    format!("{said}logs and objects of the cluster are in {}", folder.display())
}
