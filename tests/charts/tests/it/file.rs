//! The operator's file.

use serde_json::{Value, json};

use crate::helm::{self, Object};

/// The file as the operator reads it.
pub(crate) fn file(objects: &[Object]) -> Value {
    serde_saphyr::from_str(helm::one(objects, "ConfigMap").text("/data/operator.yaml")).unwrap()
}

fn rendered(values: &str) -> Option<Value> {
    Some(file(&helm::render(&format!("{}{values}", helm::LEAST))?))
}

#[test]
fn the_platforms_defaults_are_passed_on_as_they_are() {
    let Some(file) = rendered("platform: {baseDomain: chat.example.com, admins: ['@admin:{serverName}']}\n")
    else {
        return;
    };
    assert_eq!(file["platform"]["baseDomain"], json!("chat.example.com"));
    assert_eq!(file["platform"]["admins"], json!(["@admin:{serverName}"]));
}

#[test]
fn the_bridges_image_has_the_operators_registry_and_tag_unless_it_is_named() {
    let Some(plain) = rendered("") else { return };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        plain["platform"]["image"]["reference"],
        json!(format!("registry.example.com/dingtalk/dingtalk-bridge:{version}"))
    );
    let named =
        rendered("platform: {image: {reference: 'other.example.com/bridge:2', pullPolicy: Always}}\n")
            .unwrap();
    assert_eq!(named["platform"]["image"]["reference"], json!("other.example.com/bridge:2"));
    assert_eq!(named["platform"]["image"]["pullPolicy"], json!("Always"));
}

#[test]
fn the_operator_is_told_its_namespaces_its_lease_and_its_address() {
    let Some(file) =
        rendered("watch: {namespaces: [b, a]}\noperator: {healthAddress: '::', log: {format: text}}\n")
    else {
        return;
    };
    assert_eq!(
        file["operator"],
        json!({
            "namespaces": ["a", "b"],
            "leaderElection": {"enabled": true, "leaseName": "dingtalk-operator"},
            "health": {"listen": "[::]:8081"},
            "log": {"filter": "info", "format": "text"},
            "concurrency": 32,
        })
    );
    assert_eq!(rendered("").unwrap()["operator"]["namespaces"], json!([helm::NAMESPACE]));
    assert_eq!(rendered("").unwrap()["operator"]["health"]["listen"], json!("0.0.0.0:8081"));
}

#[test]
fn a_changed_file_makes_new_pods_and_a_changed_number_of_pods_does_not() {
    let template = |values: &str| {
        let objects = helm::render(&format!("{}{values}", helm::LEAST))?;
        Some(helm::one(&objects, "Deployment").pod().unwrap().clone())
    };
    let Some(plain) = template("") else { return };
    assert_eq!(plain, template("replicas: 3\n").unwrap());
    assert_ne!(plain, template("platform: {baseDomain: chat.example.com}\n").unwrap());
}

#[test]
fn the_file_is_mounted_where_the_operator_is_told_to_read_it() {
    for (object, container) in helm::containers() {
        let arguments: Vec<&str> =
            container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let [command, flag, path] = arguments[..] else { panic!("{object}: {arguments:?}") };
        assert_eq!((command, flag), ("run", "--config"), "{object}");
        let (folder, key) = path.rsplit_once('/').unwrap();
        assert_eq!(container["volumeMounts"][0]["mountPath"], json!(folder), "{object}");
        let config_map = helm::rendered()
            .iter()
            .find(|found| found.kind() == "ConfigMap" && found.file == object.file)
            .unwrap();
        assert!(config_map.at("/data").get(key).is_some(), "{object}: {path}");
        let volume = &object.pod().unwrap()["spec"]["volumes"][0]["configMap"]["name"];
        assert_eq!(volume, config_map.at("/metadata/name"), "{object}");
    }
}
