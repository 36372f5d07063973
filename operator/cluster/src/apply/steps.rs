//! Steps of a JSON patch for what an object has besides its content. Each tests what it was made for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Adds a finalizer to those in `there`; no step when it is among them.
pub fn add_finalizer(there: &[String], finalizer: &str) -> Vec<Value> {
    const PATH: &str = "/metadata/finalizers";
    if there.iter().any(|name| name == finalizer) {
        return Vec::new();
    }
    if there.is_empty() {
        // `add` would replace a list that is there; a test for `null` passes only when there is none.
        return vec![
            json!({"op": "test", "path": PATH, "value": null}),
            json!({"op": "add", "path": PATH, "value": [finalizer]}),
        ];
    }
    vec![
        json!({"op": "test", "path": PATH, "value": there}),
        json!({"op": "add", "path": format!("{PATH}/-"), "value": finalizer}),
    ]
}

/// Takes a finalizer from those in `there`; no step when it is not among them.
pub fn remove_finalizer(there: &[String], finalizer: &str) -> Vec<Value> {
    let Some(place) = there.iter().position(|name| name == finalizer) else { return Vec::new() };
    let path = format!("/metadata/finalizers/{place}");
    vec![json!({"op": "test", "path": path, "value": finalizer}), json!({"op": "remove", "path": path})]
}

/// Makes an annotation what `value` says, beside those in `there`; no step when it is.
pub fn annotate(there: Option<&BTreeMap<String, String>>, name: &str, value: Option<&str>) -> Vec<Value> {
    const PATH: &str = "/metadata/annotations";
    let path = format!("{PATH}/{}", name.replace('~', "~0").replace('/', "~1"));
    let before = there.and_then(|there| there.get(name)).map(String::as_str);
    match (before, value) {
        (before, value) if before == value => Vec::new(),
        (Some(before), Some(value)) => vec![
            json!({"op": "test", "path": path, "value": before}),
            json!({"op": "replace", "path": path, "value": value}),
        ],
        (Some(before), None) => {
            vec![json!({"op": "test", "path": path, "value": before}), json!({"op": "remove", "path": path})]
        }
        (None, Some(value)) if there.is_none_or(BTreeMap::is_empty) => vec![
            json!({"op": "test", "path": PATH, "value": null}),
            json!({"op": "add", "path": PATH, "value": {name: value}}),
        ],
        (None, Some(value)) => vec![
            json!({"op": "test", "path": path, "value": null}),
            json!({"op": "add", "path": path, "value": value}),
        ],
        (None, None) => Vec::new(),
    }
}
