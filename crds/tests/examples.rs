//! The examples are what the API server takes.

#![cfg(test)]

use std::{collections::BTreeSet, fs, path::Path};

use dingtalk_crds::{DingTalkBridge, definition};
use regex::Regex;
use serde_json::Value;

/// All examples, by file name.
fn examples() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut examples: Vec<(String, Value)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("# "), "{}: says nothing about what it is for", path.display());
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, serde_saphyr::from_str(&text).unwrap())
        })
        .collect();
    examples.sort_by(|left, right| left.0.cmp(&right.0));
    examples
}

fn schema() -> Value {
    definition().unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn every_example_is_valid() {
    let schema = schema();
    for (name, example) in examples() {
        let mut faults = Vec::new();
        check(&example["spec"], &schema["properties"]["spec"], "spec", &mut faults);
        assert!(faults.is_empty(), "{name}: {faults:#?}");
        let read: DingTalkBridge = serde_json::from_value(example.clone()).unwrap();
        let written = serde_json::to_value(&read.spec).unwrap();
        assert_eq!(written, example["spec"], "{name}: something was not understood");
    }
}

/// What a structural schema demands of a value.
fn check(value: &Value, schema: &Value, path: &str, faults: &mut Vec<String>) {
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            faults.push(format!("{path}: {what}"));
        }
    };
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::Null => "null",
    };
    demand(schema["type"] == kind, "wrong type");
    if let Some(choices) = schema["enum"].as_array() {
        demand(choices.contains(value), "not one of the choices");
    }
    if let (Some(text), Some(pattern)) = (value.as_str(), schema["pattern"].as_str()) {
        demand(Regex::new(pattern).unwrap().is_match(text), "pattern");
    }
    if let (Some(text), Some(most)) = (value.as_str(), schema["maxLength"].as_u64()) {
        demand(text.chars().count() as u64 <= most, "too long");
    }
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        demand(!value[required].is_null(), "a required field is missing");
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
        match schema["properties"].get(name).or_else(|| schema.get("additionalProperties")) {
            Some(schema) if schema.is_object() => check(inner, schema, &path, faults),
            _ if free => {}
            _ => faults.push(format!("{path}: unknown field")),
        }
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        check(item, &schema["items"], &format!("{path}[{at}]"), faults);
    }
}

#[test]
fn every_field_is_in_an_example() {
    let mut known = BTreeSet::new();
    fields(&schema()["properties"]["spec"], "spec", &mut known);
    let mut shown = BTreeSet::new();
    for (_, example) in examples() {
        names(&example["spec"], "spec", &mut shown);
    }
    // It is `true` or absent; the absence of a route has nothing to show.
    known.remove("spec.route.disabled");
    let missing: Vec<&String> = known.iter().filter(|field| !shown.contains(*field)).collect();
    assert!(missing.is_empty(), "in no example: {missing:?}");
}

fn fields(schema: &Value, path: &str, known: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        fields(field, &path, known);
        known.insert(path);
    }
    if schema["items"].is_object() {
        fields(&schema["items"], path, known);
    }
}

fn names(value: &Value, path: &str, shown: &mut BTreeSet<String>) {
    for (name, field) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        names(field, &path, shown);
        shown.insert(path);
    }
    for item in value.as_array().into_iter().flatten() {
        names(item, path, shown);
    }
}
