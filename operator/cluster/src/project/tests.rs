use proptest::prelude::*;
use serde_json::json;

use super::*;

const US: &str = "operator/spec";

fn live(mut object: Value, entries: &[(&str, &str, &str, Value)]) -> Value {
    let entries: Vec<Value> = entries
        .iter()
        .map(|(manager, operation, subresource, fields)| {
            json!({"manager": manager, "operation": operation, "subresource": subresource, "apiVersion": "v1",
                "fieldsType": "FieldsV1", "fieldsV1": fields})
        })
        .collect();
    object["metadata"]["managedFields"] = entries.into();
    object
}

fn canonical_text(value: &Value) -> String {
    String::from_utf8(canonical(value)).unwrap()
}

#[test]
fn the_canonical_form_has_content_only() {
    let object = json!({"kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"uid": "u", "name": "a", "namespace": "b", "resourceVersion": "5"},
        "data": {"b": "2", "a": "é\n", "n": null}, "list": [3, 1.5, true, null, {"y": {}, "x": []}]});
    assert_eq!(
        canonical_text(&object),
        r#"{"data":{"a":"é\n","b":"2"},"list":[3,1.5,true,null,{"x":[],"y":{}}]}"#
    );
    let labelled = json!({"metadata": {"name": "a", "labels": {"name": "x"}}, "spec": {"kind": "k", "metadata": {"name": "n"}}});
    assert_eq!(
        canonical_text(&labelled),
        r#"{"metadata":{"labels":{"name":"x"}},"spec":{"kind":"k","metadata":{"name":"n"}}}"#
    );
}

#[test]
fn only_our_applied_fields_count() {
    let object = live(
        json!({"metadata": {"name": "a", "labels": {"ours": "1", "theirs": "2"}}, "data": {"a": "1", "b": "2"}, "status": {"ok": true}}),
        &[
            (US, "Apply", "", json!({"f:metadata": {"f:labels": {"f:ours": {}}}, "f:data": {"f:a": {}}})),
            (US, "Update", "", json!({"f:data": {"f:b": {}}})),
            (US, "Apply", "status", json!({"f:status": {"f:ok": {}}})),
            ("kubectl", "Apply", "", json!({"f:metadata": {"f:labels": {"f:theirs": {}}}})),
        ],
    );
    assert_eq!(
        project(&object, US, None),
        json!({"metadata": {"labels": {"ours": "1"}}, "data": {"a": "1"}})
    );
    assert_eq!(project(&object, US, Some("status")), json!({"status": {"ok": true}}));
    assert_eq!(project(&object, "nobody", None), json!({}));
}

#[test]
fn what_a_real_server_made_of_objects_is_what_was_wanted() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("recorded.json")).unwrap();
    assert_eq!(recorded.len(), 3);
    for pair in recorded {
        let (wanted, live) = (&pair["wanted"], &pair["live"]);
        assert_eq!(canonical_text(&project(live, US, None)), canonical_text(wanted));
        // Somebody else is in there, too, and the server's defaults are.
        assert!(!managers(live, US).is_empty() && canonical(live).len() > canonical(wanted).len());
    }
}

#[test]
fn list_items_are_found_by_key_value_and_index() {
    let object = live(
        json!({"metadata": {"finalizers": ["x/y", "a/b", "c/d"],
                "ownerReferences": [{"uid": "1", "name": "n", "controller": true}, {"uid": "2", "name": "m"}]},
            "spec": {"ports": [{"port": 80, "protocol": "UDP", "x": 1}, {"port": 80, "protocol": "TCP", "x": 2}], "odd": [1, 2, 3]}}),
        &[(
            US,
            "Apply",
            "",
            json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"c/d\"": {}, "v:\"x/y\"": {}},
                    "f:ownerReferences": {"k:{\"uid\":\"1\"}": {}}},
                "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:x": {}}}, "f:odd": {"i:1": {}}}}),
        )],
    );
    assert_eq!(
        project(&object, US, None),
        json!({"metadata": {"finalizers": ["x/y", "c/d"], "ownerReferences": [{"uid": "1", "name": "n", "controller": true}]},
            "spec": {"ports": [{"port": 80, "x": 2}], "odd": [2]}})
    );
}

#[test]
fn a_leaf_takes_all_unless_others_own_parts_of_it() {
    let ours = json!({"f:spec": {"f:atomic": {}, "f:shared": {}, "f:list": {".": {}}}});
    let theirs = json!({"f:spec": {"f:shared": {"f:x": {}}, "f:list": {"k:{\"name\":\"n\"}": {}}}});
    let spec = json!({"atomic": {"a": {"b": 1}}, "shared": {"x": 1}, "list": [{"name": "n"}]});
    let object = live(json!({"spec": spec}), &[(US, "Apply", "", ours), ("them", "Update", "", theirs)]);
    assert_eq!(
        project(&object, US, None),
        json!({"spec": {"atomic": {"a": {"b": 1}}, "shared": {}, "list": []}})
    );
}

#[test]
fn entries_of_two_versions_of_a_kind_count_together() {
    let object = live(
        json!({"spec": {"a": 1, "b": {"c": 2, "d": 3}}}),
        &[
            (US, "Apply", "", json!({"f:spec": {"f:a": {}, "f:b": {"f:c": {}}}})),
            (US, "Apply", "", json!({"f:spec": {"f:b": {"f:d": {}}}})),
        ],
    );
    assert_eq!(project(&object, US, None), json!({"spec": {"a": 1, "b": {"c": 2, "d": 3}}}));
}

#[test]
fn nonsense_in_managed_fields_is_not_ours() {
    for entries in [
        json!(null),
        json!("x"),
        json!([1, {"manager": US, "operation": "Apply", "fieldsV1": 5}]),
        json!([{}]),
    ] {
        let object = json!({"metadata": {"managedFields": entries}, "data": {"a": "1"}});
        assert_eq!(project(&object, US, None), json!({}));
    }
    let object = live(
        json!({"data": {"a": "1"}, "list": [1]}),
        &[(
            US,
            "Apply",
            "",
            json!({"f:data": {"k:{": {}, "q:1": {}, "plain": {}, "f:a": {"f:deep": {}}}, "f:list": {"v:]": {}}}),
        )],
    );
    assert_eq!(project(&object, US, None), json!({"data": {"a": "1"}, "list": []}));
}

#[test]
fn managers_are_named_once_and_newest_first() {
    let entry = |manager: &str, time: &str, subresource: &str| json!({"manager": manager, "time": time, "subresource": subresource});
    let object = json!({"metadata": {"managedFields": [
        entry("old", "2026-01-01T00:00:00Z", ""), entry(US, "2026-01-04T00:00:00Z", ""), entry("old", "2026-01-02T00:00:00Z", ""),
        entry("new", "2026-01-03T00:00:00Z", ""), entry("kubelet", "2026-01-05T00:00:00Z", "status")]}});
    assert_eq!(managers(&object, US), ["new", "old"]);
}

// A small model of server-side apply, over objects whose lists of maps have the key `name` and whose lists of texts are
// sets, as most lists of Kubernetes are. Lists of numbers stand for atomic ones.

fn is_keyed(items: &[Value]) -> bool {
    items.iter().all(|item| item.get("name").is_some()) && !items.is_empty()
}

fn is_set(items: &[Value]) -> bool {
    items.iter().all(Value::is_string) && !items.is_empty()
}

fn step_of(item: &Value) -> String {
    match item.get("name") {
        Some(name) => format!("k:{}", json!({"name": name})),
        None => format!("v:{item}"),
    }
}

/// The set of fields of an applied value, as `fieldsV1`.
fn fields(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (format!("f:{name}"), fields(member)))
            .collect::<Object>()
            .into(),
        Value::Array(items) if is_keyed(items) => {
            let steps = items.iter().map(|item| {
                let mut below = fields(item);
                below["."] = json!({});
                (step_of(item), below)
            });
            steps.collect::<Object>().into()
        }
        Value::Array(items) if is_set(items) => {
            items.iter().map(|item| (step_of(item), json!({}))).collect::<Object>().into()
        }
        _ => json!({}),
    }
}

/// Adds what `more` has to `base`; what both have stays as `base` has it.
fn add(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (name, value) in more {
                match base.get_mut(name) {
                    Some(there) => add(there, value),
                    None => drop(base.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(base), Value::Array(more)) if is_keyed(more) && (base.is_empty() || is_keyed(base)) => {
            for item in more {
                match base.iter_mut().find(|there| step_of(there) == step_of(item)) {
                    Some(there) => add(there, item),
                    None => base.insert(0, item.clone()),
                }
            }
        }
        (Value::Array(base), Value::Array(more)) if is_set(more) && (base.is_empty() || is_set(base)) => {
            for item in more {
                if !base.contains(item) {
                    base.insert(0, item.clone());
                }
            }
        }
        _ => {}
    }
}

/// What kind of value stands in a place: one place of a kind of object has only one.
fn sort(value: &Value) -> u8 {
    match value {
        Value::Object(_) => 0,
        Value::Array(items) if is_keyed(items) => 1,
        Value::Array(items) if is_set(items) => 2,
        _ => 3,
    }
}

/// Takes from `theirs` what cannot stand beside `ours` in one schema.
fn fit(theirs: &mut Value, ours: &Value) -> bool {
    if sort(theirs) != sort(ours) {
        return false;
    }
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            theirs.retain(|name, value| ours.get(name).is_none_or(|there| fit(value, there)));
        }
        (Value::Array(theirs), Value::Array(ours)) if is_keyed(ours) => {
            for item in theirs {
                if let Some(there) = ours.iter().find(|there| step_of(there) == step_of(item)) {
                    fit(item, there);
                }
            }
        }
        _ => {}
    }
    true
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zé\"\\\\ ]{0,6}".prop_map(Value::from),
        prop::collection::vec(0..9_i64, 1..4).prop_map(Value::from),
    ]
}

fn named(items: std::collections::BTreeMap<String, Value>) -> Value {
    let items = items.into_iter().map(|(name, extra)| json!({"name": name, "extra": extra}));
    Value::Array(items.collect())
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::btree_map("[a-f.]{1,2}", inner.clone(), 1..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
            prop::collection::btree_map("[a-f]{1,2}", inner, 1..4).prop_map(named),
            prop::collection::btree_set("[a-f\"]{1,2}", 1..4).prop_map(|items| items.into_iter().collect()),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-d]", value(), 1..4).prop_map(|spec| {
        json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "labels": {"l": "1"}},
            "spec": Value::Object(spec.into_iter().collect())})
    })
}

/// The object in the cluster after we applied `ours` and others added what `theirs` has more.
fn cluster(ours: &Value, theirs: &Value) -> Value {
    let (mut there, mut theirs) = (ours.clone(), theirs.clone());
    fit(&mut theirs, ours);
    add(&mut there, &theirs);
    for part in ["uid", "resourceVersion"] {
        there["metadata"][part] = json!("5");
    }
    let own = |object: &Value| {
        let mut own = object.clone();
        own["metadata"].as_object_mut().unwrap().remove("name");
        own.as_object_mut().unwrap().retain(|name, _| name == "spec" || name == "metadata");
        fields(&own)
    };
    live(there, &[(US, "Apply", "", own(ours)), ("them", "Update", "", own(&theirs))])
}

/// Changes in `there` the first scalar that `ours` has, other than a name.
fn disturb(there: &mut Value, ours: &Value) -> bool {
    match (there, ours) {
        (Value::Object(there), Value::Object(ours)) => {
            ours.iter().any(|(name, value)| name != "name" && disturb(&mut there[name], value))
        }
        (Value::Array(there), Value::Array(ours)) if is_keyed(ours) => ours.iter().any(|item| {
            let same = there.iter_mut().find(|there| step_of(there) == step_of(item));
            same.is_some_and(|there| disturb(there, item))
        }),
        (there, _) => {
            *there = json!("disturbed by somebody");
            true
        }
    }
}

proptest! {
    #[test]
    fn after_an_apply_nothing_is_to_be_written(ours in object(), theirs in object()) {
        let there = cluster(&ours, &theirs);
        prop_assert_eq!(canonical_text(&project(&there, US, None)), canonical_text(&ours));
        prop_assert_eq!(live_digest(&there, US), digest(&ours));
    }

    #[test]
    fn a_change_of_our_field_shows(ours in object(), theirs in object()) {
        let mut there = cluster(&ours, &theirs);
        prop_assume!(disturb(&mut there["spec"], &ours["spec"]));
        prop_assert_ne!(live_digest(&there, US), digest(&ours));
    }

    #[test]
    fn the_order_of_members_and_steps_means_nothing(ours in object(), theirs in object()) {
        fn turn(value: &Value) -> Value {
            match value {
                Value::Object(members) => members.iter().rev().map(|(name, member)| (name.clone(), turn(member))).collect::<Object>().into(),
                Value::Array(items) => items.iter().map(turn).collect(),
                scalar => scalar.clone(),
            }
        }
        let there = cluster(&ours, &theirs);
        prop_assert_eq!(live_digest(&turn(&there), US), digest(&turn(&ours)));
    }
}
