//! Names, namespaces and labels.

use std::collections::{BTreeMap, BTreeSet};

use crate::helm::{self, Object};

/// Kinds that belong to no namespace.
const OF_THE_CLUSTER: [&str; 2] = ["FlowSchema", "PriorityLevelConfiguration"];

/// Kinds whose names are not host names.
const WITH_LONG_NAMES: [&str; 4] = ["FlowSchema", "PriorityLevelConfiguration", "Role", "RoleBinding"];

fn id(object: &Object) -> (String, String, String) {
    (
        object.kind().to_owned(),
        object.text("/metadata/namespace").to_owned(),
        object.text("/metadata/name").to_owned(),
    )
}

#[test]
fn every_object_says_its_namespace_or_belongs_to_none() {
    for object in helm::rendered() {
        let of_the_cluster = OF_THE_CLUSTER.contains(&object.kind());
        assert_eq!(object.text("/metadata/namespace").is_empty(), of_the_cluster, "{object}");
    }
}

#[test]
fn every_object_and_every_pod_has_the_usual_labels() {
    let usual = ["name", "instance", "version", "component", "part-of", "managed-by"];
    for object in helm::rendered() {
        let labels =
            [Some(object.at("/metadata/labels")), object.pod().map(|pod| &pod["metadata"]["labels"])];
        for labels in labels.into_iter().flatten() {
            for name in usual {
                let label = format!("app.kubernetes.io/{name}");
                assert!(labels[&label].as_str().is_some_and(|value| !value.is_empty()), "{object}: {label}");
            }
            // This value is how the operator knows its own objects: it would take those of the chart for them.
            assert_ne!(
                labels["app.kubernetes.io/managed-by"],
                dingtalk_crds::names::MANAGED_BY.1,
                "{object}"
            );
        }
    }
}

#[test]
fn no_name_is_too_long_or_there_twice() {
    for release in ["dingtalk-operator", "a", "a-release-with-a-name-of-exactly-fifty-3-characters"] {
        let full =
            std::fs::read_to_string(charts_test::root().join(helm::OPERATOR).join("ci/full-values.yaml"))
                .unwrap();
        let Some(objects) = helm::render_as(release, helm::OPERATOR, &full) else { return };
        let mut seen = BTreeSet::new();
        for object in &objects.unwrap() {
            let name = object.text("/metadata/name");
            let most = if WITH_LONG_NAMES.contains(&object.kind()) { 253 } else { 63 };
            assert!(!name.is_empty() && name.len() <= most && !name.ends_with('-'), "{object}");
            assert!(seen.insert(id(object)), "twice: {object}");
        }
    }
}

#[test]
fn releases_of_one_name_in_two_namespaces_do_not_meet() {
    let values = format!("{}watch: {{namespaces: [workspaces]}}\n", helm::LEAST);
    let Some(objects) = helm::render(&values) else { return };
    for object in objects.iter().filter(|object| object.text("/metadata/namespace") != helm::NAMESPACE) {
        let name = object.text("/metadata/name");
        assert!(name.contains(helm::NAMESPACE), "{object} does not say whose it is");
    }
}

#[test]
fn without_the_switches_only_the_usual_kinds_are_left() {
    let mut kinds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for object in helm::rendered() {
        kinds.entry(&object.file).or_default().insert(object.kind());
    }
    let Some(least) = kinds.get("namespaced-values.yaml") else { return };
    let expected = ["ConfigMap", "Deployment", "Role", "RoleBinding", "Service", "ServiceAccount"];
    assert_eq!(*least, BTreeSet::from(expected));
    let all = &kinds["full-values.yaml"];
    for kind in ["FlowSchema", "NetworkPolicy", "PodDisruptionBudget", "PrometheusRule", "ServiceMonitor"] {
        assert!(all.contains(kind), "{kind}");
    }
}
