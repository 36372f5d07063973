//! What a cluster and its tools rely on.

use serde_json::Value;

use super::*;

#[test]
fn the_names_never_change() {
    let definition = definition().unwrap();
    let spec = &definition["spec"];
    assert_eq!(definition["metadata"]["name"], "dingtalkbridges.bridges.meldry.com");
    assert_eq!(spec["group"], names::GROUP);
    assert_eq!(spec["scope"], "Namespaced");
    assert_eq!(spec["names"]["kind"], names::KIND);
    assert_eq!(spec["names"]["plural"], names::PLURAL);
    assert_eq!(spec["names"]["shortNames"], serde_json::json!(["dtb"]));
    assert_eq!(spec["names"]["categories"], serde_json::json!(["meldry"]));
    assert_eq!(spec["versions"][0]["name"], names::VERSION);
}

#[test]
fn the_definition_stays_small_enough_for_every_way_of_applying_it() {
    let text = definition_yaml().unwrap();
    assert!(text.len() <= 64 * 1024, "{} bytes", text.len());
}

#[test]
fn every_field_is_described() {
    let definition = definition().unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut missing = Vec::new();
    walk(&schema["properties"]["spec"], "spec", &mut missing);
    walk(&schema["properties"]["status"], "status", &mut missing);
    assert!(missing.is_empty(), "no description: {missing:?}");
}

fn walk(schema: &Value, path: &str, missing: &mut Vec<String>) {
    if schema["description"].as_str().is_none_or(str::is_empty) {
        missing.push(path.to_owned());
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        walk(field, &format!("{path}.{name}"), missing);
    }
    for (name, field) in schema["items"]["properties"].as_object().into_iter().flatten() {
        walk(field, &format!("{path}[].{name}"), missing);
    }
}

#[test]
fn dump() {
    std::fs::write("/tmp/plan-crd.yaml", definition_yaml().unwrap()).unwrap();
}

#[test]
fn five_lines_are_enough() {
    let object: DingTalkBridge = serde_saphyr::from_str(
        "apiVersion: bridges.meldry.com/v1alpha1\nkind: DingTalkBridge\nmetadata: {name: acme}\nspec:\n  workspace: acme\n",
    )
    .unwrap();
    assert_eq!(object.spec.workspace, "acme");
    let definition = definition().unwrap();
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    assert_eq!(spec["required"], serde_json::json!(["workspace"]), "what the API server asks for");
    assert_eq!(serde_json::to_value(&object.spec).unwrap(), serde_json::json!({"workspace": "acme"}));
}
