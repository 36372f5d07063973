//! Resources, images, ports and addresses of the Tiltfile fit each other, the charts and the sample.

use std::collections::BTreeSet;

use charts_test::root;
use dingtalk_crds::{DingTalkBridge, names};
use serde_json::Value;

use super::{Call, calls, of};
use crate::helm;

const SAMPLE: &str = "tests/tilt/acme.yaml";

fn sample() -> DingTalkBridge {
    serde_saphyr::from_str(&std::fs::read_to_string(root().join(SAMPLE)).unwrap()).unwrap()
}

/// What the calls of Helm render.
fn objects(calls: &[Call]) -> Option<Vec<helm::Object>> {
    let mut all = Vec::new();
    for call in of(calls, "helm") {
        let mut words = vec!["template", call.text("name"), call.text("pathToChartDir")];
        for (flag, parameter) in [
            ("--namespace", "namespace"),
            ("--kube-version", "kube_version"),
            ("--values", "values"),
            ("--set", "set"),
        ] {
            words.extend(call.texts(parameter).into_iter().flat_map(|value| [flag, value]));
        }
        all.extend(helm::template(&words)?.unwrap_or_else(|said| panic!("{said}")));
    }
    Some(all)
}

/// The names of all resources: workloads of the charts, objects of kinds that are declared, and what has a name itself.
fn resources(calls: &[Call], objects: &[helm::Object]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = objects
        .iter()
        .filter(|object| object.pod().is_some())
        .map(|object| object.text("/metadata/name").to_owned())
        .collect();
    if of(calls, "k8s_kind").any(|call| call.text("kind") == names::KIND) {
        names.extend(sample().metadata.name);
    }
    names.extend(of(calls, "local_resource").map(|call| call.text("name").to_owned()));
    names.extend(of(calls, "k8s_resource").map(|call| call.text("new_name").to_owned()));
    names.remove("");
    names
}

#[test]
fn every_resource_that_is_named_exists() {
    let Some(calls) = calls() else { return };
    let Some(objects) = objects(&calls) else { return };
    let resources = resources(&calls, &objects);
    for call in &calls {
        let named = call.texts("resource_deps").into_iter().chain(call.texts("workload"));
        for name in named {
            assert!(resources.contains(name), "{call:?}: {name} is none of {resources:?}");
        }
        for selector in call.texts("objects") {
            let (name, kind) = selector.split_once(':').unwrap();
            assert!(
                objects.iter().any(|object| {
                    object.text("/metadata/name") == name && object.kind().to_lowercase() == kind
                }),
                "{selector} is not in the charts"
            );
        }
    }
}

#[test]
fn every_image_that_is_built_is_used_and_every_own_image_that_is_used_is_built() {
    let Some(calls) = calls() else { return };
    let Some(objects) = objects(&calls) else { return };
    let built: BTreeSet<&str> = of(&calls, "custom_build").map(|call| call.text("ref")).collect();
    let kind = of(&calls, "k8s_kind").find(|call| call.text("kind") == names::KIND).unwrap();
    assert_eq!(kind.texts("image_json_path"), ["{.spec.workload.image}"]);
    let mut used: BTreeSet<String> =
        sample().spec.workload.and_then(|workload| workload.image).into_iter().collect();
    for pod in objects.iter().filter_map(helm::Object::pod) {
        let containers = pod["spec"]["containers"].as_array().unwrap();
        used.extend(containers.iter().map(|container| container["image"].as_str().unwrap().to_owned()));
    }
    assert_eq!(used.iter().map(String::as_str).collect::<BTreeSet<_>>(), built);
}

#[test]
fn every_forwarded_port_is_one_that_is_open() {
    let Some(calls) = calls() else { return };
    let Some(objects) = objects(&calls) else { return };
    let sample = sample().metadata.name.unwrap();
    for call in of(&calls, "k8s_resource") {
        let workload = call.text("workload");
        let open: Vec<u64> = if workload == sample {
            vec![names::HTTP_PORT.into(), names::HEALTH_PORT.into()]
        } else {
            let pods = objects.iter().filter(|object| object.text("/metadata/name") == workload);
            let ports = pods.filter_map(|object| object.pod()?.pointer("/spec/containers/0/ports"));
            ports
                .flat_map(|ports| ports.as_array().unwrap())
                .filter_map(|port| port["containerPort"].as_u64())
                .collect()
        };
        for forward in call.texts("port_forwards") {
            let (_, port) = forward.split_once(':').unwrap();
            assert!(open.contains(&port.parse().unwrap()), "{workload}: {forward}, open are {open:?}");
        }
    }
}

/// A word behind a flag.
fn after<'a>(command: &'a str, flag: &str) -> &'a str {
    command
        .split_once(flag)
        .unwrap_or_else(|| panic!("{flag} is not in {command}"))
        .1
        .split_whitespace()
        .next()
        .unwrap()
}

fn serves<'a>(calls: &'a [Call], name: &str) -> &'a str {
    of(calls, "local_resource").find(|call| call.text("name") == name).unwrap().text("serve_cmd")
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

#[test]
fn sandbox_and_homeserver_listen_where_the_bridges_look_for_them() {
    let Some(calls) = calls() else { return };
    let Some(objects) = objects(&calls) else { return };
    let operator: Vec<helm::Object> =
        objects.into_iter().filter(|object| object.kind() == "ConfigMap").collect();
    let platform = &crate::file::file(&operator)["platform"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let sandbox = serves(&calls, "sandbox");
    for key in ["apiBase", "oapiBase"] {
        assert_eq!(text(&platform["dingtalk"][key]), after(sandbox, "--public-url "));
        assert_eq!(port(&text(&platform["dingtalk"][key])), port(after(sandbox, "--listen ")));
    }
    let host = text(&platform["dingtalk"]["sessionHosts"][0]);
    assert!(text(&platform["dingtalk"]["apiBase"]).contains(&host));
    let homeserver = serves(&calls, "homeserver");
    assert_eq!(port(&text(&platform["homeserver"]["urlTemplate"])), port(after(homeserver, "--listen ")));
    let named = format!("{}.{}", sample().spec.workspace, text(&platform["baseDomain"]));
    assert_eq!(after(homeserver, "--server-name "), named);
}

#[test]
fn the_homeserver_gets_the_registration_of_the_sample() {
    let Some(calls) = calls() else { return };
    let fetch = of(&calls, "local_resource").find(|call| call.text("name") == "registration").unwrap();
    let command = fetch.text("cmd");
    let sample = sample();
    let secret = names::registration_secret(&sample.metadata.name.unwrap());
    assert_eq!(command.matches(&format!(" secret {secret}")).count(), 2, "{command}");
    assert!(command.contains(&format!("\"{}\"", names::keys::REGISTRATION)), "{command}");
    assert!(command.contains(&format!("--namespace {} ", sample.metadata.namespace.unwrap())), "{command}");
    let file = after(command, " > ");
    assert_eq!(after(serves(&calls, "homeserver"), "--registration "), file);
    assert!(command.contains(&format!("http://localhost:{}", names::HTTP_PORT)), "{command}");
}

#[test]
fn the_samples_namespace_is_made_and_served() {
    let Some(calls) = calls() else { return };
    let namespace = sample().metadata.namespace.unwrap();
    let made: Value = serde_saphyr::from_str(of(&calls, "blob").next().unwrap().text("contents")).unwrap();
    assert_eq!(made["metadata"]["name"], namespace.as_str());
    assert!(of(&calls, "helm").any(|call| call.text("namespace") == namespace));
}
