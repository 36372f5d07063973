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
fn only_what_has_no_default_is_required() {
    let definition = definition().unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert_eq!(schema["properties"]["spec"]["required"], serde_json::json!(["workspace"]));
    let workload = &schema["properties"]["spec"]["properties"]["workload"];
    assert!(workload["required"].is_null() && workload["properties"]["imagePullPolicy"].is_object());
}

#[test]
fn a_choice_keeps_the_text_of_its_field() {
    let definition = definition().unwrap();
    let spec =
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    assert!(spec["dataPolicy"]["description"].as_str().unwrap().contains("`Retain` (default)"));
    assert_eq!(spec["dataPolicy"]["enum"], serde_json::json!(["Retain", "Delete"]));
    assert!(
        spec["workload"]["properties"]["imagePullPolicy"]["description"]
            .as_str()
            .unwrap()
            .contains("Default:")
    );
}

/// Each rule with its place and its answer: a change of one is a change of the API. What they do is tried on a real API
/// server.
#[test]
fn the_rules_are_these_and_each_says_what_to_do() {
    let definition = definition().unwrap();
    let mut rules = Vec::new();
    find_rules(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "", &mut rules);
    insta::assert_snapshot!(rules.join("\n"));
}

fn find_rules(schema: &Value, path: &str, rules: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let text = |key: &str| rule[key].as_str().unwrap_or_default();
        assert!(text("message").len() > 20, "{path}: a rule without an answer");
        rules.push(format!("{path}: {}\n  -> {}", text("rule"), text("message")));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        find_rules(field, &format!("{path}.{name}"), rules);
    }
    if schema["items"].is_object() {
        find_rules(&schema["items"], &format!("{path}[]"), rules);
    }
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
