//! From the release before this one: an upgrade is one `helm upgrade`, without deleting anything first.

use operator_plan::Platform;
use serde_json::Value;

use crate::helm::{self, Object};

/// What the chart rendered at the release before, with the least values.
fn previous() -> Vec<Object> {
    let file = charts_test::root().join("tests/charts/previous/dingtalk-operator.yaml");
    helm::objects(&std::fs::read_to_string(file).unwrap())
}

fn same<'a>(objects: &'a [Object], as_: &Object) -> Option<&'a Object> {
    let place = |object: &Object| {
        [object.text("/kind"), object.text("/metadata/namespace"), object.text("/metadata/name")]
            .map(str::to_owned)
    };
    objects.iter().find(|object| place(object) == place(as_))
}

#[test]
fn no_object_of_the_release_before_goes_or_changes_what_the_cluster_never_changes() {
    let Some(now) = helm::render(helm::LEAST) else { return };
    let previous = previous();
    assert!(previous.len() > 10);
    for old in &previous {
        let new = same(&now, old).unwrap_or_else(|| panic!("an upgrade would delete {old}"));
        // Refused by the API server when they change.
        let fixed: &[&str] = match old.kind() {
            "Deployment" => &["/spec/selector"],
            "RoleBinding" => &["/roleRef"],
            "Service" => &["/spec/clusterIP", "/spec/type"],
            _ => &[],
        };
        for pointer in fixed {
            assert_eq!(old.at(pointer), new.at(pointer), "{old}{pointer}");
        }
        assert_eq!(old.text("/apiVersion"), new.text("/apiVersion"), "{old}");
    }
}

/// Paths of all keys of a value.
fn keys(value: &Value, path: &str, all: &mut Vec<String>) {
    for (key, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{key}");
        keys(inner, &path, all);
        all.push(path);
    }
}

#[test]
fn the_operators_file_of_the_release_before_is_still_read_and_still_says_the_same() {
    let Some(now) = helm::render(helm::LEAST) else { return };
    let (old, new) = (crate::file::file(&previous()), crate::file::file(&now));
    let platform = |file: &Value| Platform::parse(&file["platform"].to_string()).unwrap();
    assert_eq!(platform(&old), platform(&new), "with the same values every bridge would be rolled out again");
    let mut before = Vec::new();
    keys(&old["operator"], "/operator", &mut before);
    for path in before {
        assert!(new.pointer(&path).is_some(), "{path} is not known any more");
    }
}
