//! What every pod keeps to.

use serde_json::json;

use crate::helm;

#[test]
fn every_pod_keeps_to_the_restricted_profile() {
    for (object, pod) in helm::pods() {
        let spec = &pod["spec"];
        for key in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
            assert!(spec[key].is_null(), "{object}: {key}");
        }
        let context = &spec["securityContext"];
        assert_eq!(context["runAsNonRoot"], json!(true), "{object}");
        assert_eq!(context["runAsUser"], json!(65532), "{object}");
        assert_eq!(context["runAsGroup"], json!(65532), "{object}");
        assert_eq!(context["seccompProfile"]["type"], json!("RuntimeDefault"), "{object}");
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            let kinds: Vec<&String> =
                volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
            assert!(
                ["configMap", "secret", "emptyDir", "projected"].contains(&kinds[0].as_str()),
                "{object}: {kinds:?}"
            );
        }
    }
    for (object, container) in helm::containers() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], json!(false), "{object}");
        assert_eq!(context["readOnlyRootFilesystem"], json!(true), "{object}");
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{object}");
        assert!(context["privileged"].is_null(), "{object}");
    }
}

#[test]
fn every_container_says_whether_it_lives_and_is_ready() {
    for (object, container) in helm::containers() {
        let ports = container["ports"].as_array().unwrap();
        for (probe, path) in
            [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
        {
            let get = &container[probe]["httpGet"];
            assert_eq!(get["path"], json!(path), "{object}: {probe}");
            assert!(
                ports.iter().any(|port| port["name"] == get["port"]),
                "{object}: {probe} asks no port that exists"
            );
        }
    }
}

#[test]
fn every_container_has_requests_and_a_limit_of_memory() {
    for (object, container) in helm::containers() {
        let resources = &container["resources"];
        for pointer in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
            assert!(resources.pointer(pointer).is_some(), "{object}: {pointer}");
        }
    }
}

#[test]
fn every_image_has_a_version() {
    for (object, container) in helm::containers() {
        let image = container["image"].as_str().unwrap();
        let (_, name) = image.rsplit_once('/').unwrap_or_else(|| panic!("{object}: {image} has no registry"));
        let version = name.rsplit_once(['@', ':']).map(|(_, version)| version);
        assert!(
            version.is_some_and(|version| !version.is_empty() && version != "latest"),
            "{object}: {image}"
        );
    }
}

#[test]
fn only_the_operators_pods_get_a_token_and_their_account_gives_none_by_itself() {
    for (object, pod) in helm::pods() {
        assert_eq!(pod["spec"]["automountServiceAccountToken"], json!(true), "{object}");
        assert_eq!(pod["spec"]["enableServiceLinks"], json!(false), "{object}");
    }
    for account in helm::rendered().iter().filter(|object| object.kind() == "ServiceAccount") {
        assert_eq!(*account.at("/automountServiceAccountToken"), json!(false), "{account}");
    }
}

#[test]
fn two_pods_on_one_node_are_a_wish_and_not_a_rule() {
    for (object, pod) in helm::pods() {
        let spread = pod["spec"]["topologySpreadConstraints"].as_array().unwrap();
        assert!(!spread.is_empty(), "{object}");
        for constraint in spread {
            assert_eq!(constraint["whenUnsatisfiable"], json!("ScheduleAnyway"), "{object}");
            assert_selects(&constraint["labelSelector"]["matchLabels"], &pod["metadata"]["labels"], object);
        }
    }
}

fn assert_selects(selector: &serde_json::Value, labels: &serde_json::Value, object: &helm::Object) {
    let selector = selector.as_object().unwrap();
    assert!(!selector.is_empty(), "{object}");
    for (key, value) in selector {
        assert_eq!(labels.get(key), Some(value), "{object}: {key}");
    }
}

#[test]
fn whatever_selects_pods_selects_the_operators() {
    let (_, pod) = helm::pods().next().expect("a pod");
    let labels = &pod["metadata"]["labels"];
    for object in helm::rendered() {
        let pointer = match object.kind() {
            "Deployment" | "PodDisruptionBudget" | "ServiceMonitor" => "/spec/selector/matchLabels",
            "NetworkPolicy" => "/spec/podSelector/matchLabels",
            "Service" => "/spec/selector",
            _ => continue,
        };
        // A ServiceMonitor selects the Service, which has the same labels.
        assert_selects(object.at(pointer), labels, object);
    }
}

#[test]
fn a_single_pod_has_no_budget_that_would_block_a_drain() {
    let Some(objects) = helm::render(&format!("{}replicas: 1\n", helm::LEAST)) else { return };
    assert!(!objects.iter().any(|object| object.kind() == "PodDisruptionBudget"));
    let Some(objects) = helm::render(helm::LEAST) else { return };
    let budget = helm::one(&objects, "PodDisruptionBudget");
    assert_eq!(*budget.at("/spec/minAvailable"), json!(1));
}
