//! Values: documented, typed, and refused with a sentence when they are wrong.

use std::path::Path;

use charts_test::{root, values_schema};
use serde_json::Value;

use crate::helm;

#[test]
fn helm_has_nothing_to_say_about_the_charts() {
    for file in helm::values_files() {
        let Some(outcome) = helm::lint(helm::OPERATOR, &file) else { return };
        outcome.unwrap_or_else(|said| panic!("{}:\n{said}", file.display()));
    }
    let none = root().join(helm::CRDS).join("values.yaml");
    helm::lint(helm::CRDS, &none).unwrap().unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn a_missing_registry_is_refused_with_what_to_set() {
    let Some(said) = helm::refusal("") else { return };
    assert!(said.contains("--set images.registry="), "{said}");
}

#[test]
fn an_unknown_key_is_refused_by_its_name_and_place() {
    for (values, place, key) in [
        ("replica: 3", "", "replica"),
        ("images: {repository: x}", "images", "repository"),
        ("watch: {namespace: [a]}", "watch/namespaces", "namespace"),
        ("pod: {resources: {limits: {disk: 1Gi}}}", "pod/resources/limits", "disk"),
        ("monitoring: {alerts: {enable: true}}", "monitoring/alerts", "enable"),
        ("platform: {basedomain: a.example}", "platform", "basedomain"),
        ("platform: {route: {ingress: {class: a}}}", "platform/route/ingress", "class"),
    ] {
        let Some(said) = helm::refusal(&format!("{}{values}\n", helm::LEAST.replace("images", "global")))
        else {
            return;
        };
        assert!(said.contains(&format!("'{key}'")), "{values}: {said}");
        let place = place.split('/').next().unwrap();
        assert!(said.contains(place), "{values}: {said}");
    }
}

#[test]
fn a_value_that_cannot_work_is_refused_before_anything_is_installed() {
    for (values, key) in [
        ("replicas: 0", "replicas"),
        ("replicas: two", "replicas"),
        ("watch: {namespaces: [Upper]}", "namespaces"),
        ("watch: {namespaces: '*'}", "namespaces"),
        ("operator: {log: {format: xml}}", "format"),
        ("operator: {healthAddress: localhost}", "healthAddress"),
        ("pod: {resources: {limits: {memory: lots}}}", "memory"),
        ("monitoring: {serviceMonitor: {interval: often}}", "interval"),
    ] {
        let Some(said) = helm::refusal(&format!("{}{values}\n", helm::LEAST)) else { return };
        assert!(said.contains(key), "{values}: {said}");
    }
    let Some(said) = helm::refusal("images: {registry: 'https://registry.example.com'}\n") else { return };
    assert!(said.contains("registry"), "{said}");
}

#[test]
fn the_chart_of_the_definitions_takes_no_values() {
    let Some(outcome) = helm::render_as("crds", helm::CRDS, "anything: 1\n") else { return };
    assert!(outcome.err().unwrap().contains("anything"));
}

fn values_text() -> String {
    std::fs::read_to_string(root().join(helm::OPERATOR).join("values.yaml")).unwrap()
}

/// The key that a line sets, with its indentation.
fn key(line: &str) -> Option<(usize, &str)> {
    let trimmed = line.trim_start();
    let (key, rest) = trimmed.split_once(':')?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric());
    (is_key && (rest.is_empty() || rest.starts_with(' '))).then_some((line.len() - trimmed.len(), key))
}

#[test]
fn every_key_in_the_values_has_a_comment() {
    let text = values_text();
    let lines: Vec<&str> = text.lines().collect();
    let mut keys = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some((indentation, key)) = key(line) else { continue };
        keys += 1;
        let above = lines[at - 1];
        assert!(
            above.starts_with(&format!("{}# ", " ".repeat(indentation))) && above.ends_with('.'),
            "values.yaml:{}: {key} has no comment that ends with a full stop",
            at + 1
        );
    }
    assert!(keys > 30, "{keys}");
}

/// Every place that the schema knows, such as `images.tag`.
fn places(schema: &Value, whole: &Value, path: &str, found: &mut Vec<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => whole.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.push(path.clone());
        places(field, whole, &path, found);
    }
}

pub(crate) fn known_places() -> Vec<String> {
    let schema = values_schema();
    let mut found = Vec::new();
    places(&schema, &schema, "", &mut found);
    found
}

/// The places of a text of values, and of these the ones whose content stands on the same line. A key that is commented
/// out counts.
fn places_of_text(text: &str) -> (Vec<String>, Vec<String>) {
    let mut stack: Vec<(usize, String)> = Vec::new();
    let (mut found, mut inline) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let indentation = line.len() - line.trim_start().len();
        let line = line
            .trim_start()
            .strip_prefix("# ")
            .map_or(line.to_owned(), |rest| " ".repeat(indentation) + rest);
        let Some((indentation, key)) = key(&line) else { continue };
        stack.retain(|(outer, _)| *outer < indentation);
        stack.push((indentation, key.to_owned()));
        let place = stack.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(".");
        if !line.ends_with(':') {
            inline.push(format!("{place}."));
        }
        found.push(place);
    }
    (found, inline)
}

#[test]
fn the_values_show_every_key_that_the_schema_knows() {
    let (shown, inline) = places_of_text(&values_text());
    let is_shown =
        |place: &String| shown.contains(place) || inline.iter().any(|outer| place.starts_with(outer));
    // This one is given by Helm, not by people.
    let missing: Vec<String> =
        known_places().into_iter().filter(|place| place != "global" && !is_shown(place)).collect();
    assert!(missing.is_empty(), "values.yaml does not show {missing:?}");
}

#[test]
fn every_key_that_the_schema_knows_is_described() {
    let schema = values_schema();
    assert_described(&schema, "");
}

fn assert_described(schema: &Value, path: &str) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        assert!(field["description"].is_string(), "{path}");
        assert_described(field, &path);
    }
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        assert_described(definition, name);
    }
}

#[test]
fn the_full_values_set_every_switch() {
    let read =
        |path: &Path| -> Value { serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap() };
    let folder = root().join(helm::OPERATOR);
    let full = read(&folder.join("ci/full-values.yaml"));
    let defaults = read(&folder.join("values.yaml"));
    for place in known_places() {
        let pointer = format!("/{}", place.replace('.', "/"));
        if defaults.pointer(&pointer).is_some_and(Value::is_boolean) {
            assert!(full.pointer(&pointer).is_some(), "{place} is not in full-values.yaml");
        }
    }
}
