//! The operator's file.

use operator_plan::{Platform, RolloutSettings};
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

/// The operator's file; the dashboards are ConfigMaps, too.
fn is_file(object: &helm::Object) -> bool {
    object.kind() == "ConfigMap" && object.value().pointer("/data/operator.yaml").is_some()
}

#[test]
fn the_operator_takes_the_platform_of_every_values_file() {
    for map in helm::rendered().iter().filter(|object| is_file(object)) {
        let file: Value = serde_saphyr::from_str(map.text("/data/operator.yaml")).unwrap();
        let platform =
            Platform::parse(&file["platform"].to_string()).unwrap_or_else(|error| panic!("{map}: {error}"));
        assert!(platform.image.reference.is_some(), "{map}");
    }
}

#[test]
fn the_values_say_what_the_operator_takes_for_what_is_not_said() {
    let text = std::fs::read_to_string(charts_test::root().join(helm::OPERATOR).join("values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(Platform::parse(&values["platform"].to_string()).unwrap(), Platform::default());
    let rollout: RolloutSettings = serde_json::from_value(values["rollout"].clone()).unwrap();
    assert_eq!(rollout, RolloutSettings::default());
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
            "resyncHours": 10,
            "rollout": {
                "canaries": 1, "waveSize": "10%", "maxUnavailable": "5%", "soakSeconds": 60,
                "failAfterSeconds": 300, "stopAfterFailures": 3,
            },
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
        let config_map =
            helm::rendered().iter().find(|found| is_file(found) && found.file == object.file).unwrap();
        assert!(config_map.at("/data").get(key).is_some(), "{object}: {path}");
        let volume = &object.pod().unwrap()["spec"]["volumes"][0]["configMap"]["name"];
        assert_eq!(volume, config_map.at("/metadata/name"), "{object}");
    }
}
