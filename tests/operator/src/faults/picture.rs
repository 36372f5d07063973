//! What an operator has made in a namespace, so that two can be compared.

use std::{collections::BTreeMap, fmt};

use operator_cluster::project;
use serde_json::Value;

use crate::{Admin, KINDS};

/// All children with the fields that the operator owns, and all statuses, without what is chance or the namespace's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture(BTreeMap<String, String>);

impl Picture {
    /// Looks at everything.
    pub async fn take(admin: &Admin, namespace: &str) -> anyhow::Result<Self> {
        let mut all = BTreeMap::new();
        let (label, manager) = dingtalk_crds::names::MANAGED_BY;
        for (kind, ..) in KINDS {
            for child in admin.list(kind, namespace, &format!("{label}={manager}")).await? {
                let mut own = project::project(&child, dingtalk_crds::names::FIELD_MANAGER, None);
                if child["metadata"]["deletionTimestamp"].is_string() {
                    own["leaves"] = true.into();
                }
                all.insert(name_of(kind, &child), without_chance(kind, own, namespace));
            }
        }
        for bridge in admin.list("DingTalkBridge", namespace, "").await? {
            let (metadata, status) = (&bridge["metadata"], &bridge["status"]);
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let mut conditions: Vec<String> = conditions
                // Whether Deployments are followed is their controller's matter, and there is none.
                .filter(|condition| condition["type"] != "Progressing")
                .map(|condition| {
                    format!("{}={} {}", condition["type"], condition["status"], condition["reason"])
                })
                .collect();
            conditions.sort();
            let is_current = status["observedGeneration"] == metadata["generation"];
            let text = format!("{} current={is_current} {}", bridge["spec"], conditions.join(", "));
            all.insert(name_of("DingTalkBridge", &bridge), text.replace(namespace, "NAMESPACE"));
        }
        Ok(Self(all))
    }

    /// What there is of an object.
    pub(super) fn of(&self, kind: &str, name: &str) -> Option<&str> {
        self.0.get(&format!("{kind} {name}")).map(String::as_str)
    }

    /// How many objects are in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What differs from another one, which should be the same.
    pub fn differences(&self, wanted: &Self) -> Differences {
        let names = self.0.keys().chain(wanted.0.keys().filter(|name| !self.0.contains_key(*name)));
        let differing = names.filter(|name| self.0.get(*name) != wanted.0.get(*name));
        let shown = |picture: &Self, name: &String| {
            picture.0.get(name).cloned().unwrap_or_else(|| "not there".to_owned())
        };
        Differences(differing.map(|name| (name.clone(), shown(self, name), shown(wanted, name))).collect())
    }
}

/// Names of objects, with what is there and what should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differences(Vec<(String, String, String)>);

impl Differences {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, is, wanted) in &self.0 {
            writeln!(f, "{name}:\n  is     {is}\n  should {wanted}")?;
        }
        Ok(())
    }
}

fn name_of(kind: &str, object: &Value) -> String {
    format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or_default())
}

/// Secrets are random, UIDs are chance, and digests follow from both.
fn without_chance(kind: &str, mut object: Value, namespace: &str) -> String {
    if kind == "Secret" {
        for value in object["data"].as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            *value = "*".into();
        }
    }
    blank(&mut object);
    object.to_string().replace(namespace, "NAMESPACE")
}

fn blank(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == "uid" { *member = "*".into() } else { blank(member) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blank),
        Value::String(text) if is_digest(text) => "*".clone_into(text),
        _ => {}
    }
}

fn is_digest(text: &str) -> bool {
    text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn chance_and_namespace_are_left_out_and_the_rest_is_not() {
        let object = |host: &str, uid: &str, token: &str, number: u8| {
            json!({"metadata": {"ownerReferences": [{"uid": uid}]}, "spec": {"host": host, "n": number},
                "data": {"token": token}})
        };
        let one = without_chance("Secret", object("t-one.example", "1", "abc", 1), "t-one");
        assert_eq!(one, without_chance("Secret", object("t-two.example", "2", "xyz", 1), "t-two"));
        assert_ne!(one, without_chance("Secret", object("t-one.example", "1", "abc", 2), "t-one"));
        let map = |text| without_chance("ConfigMap", object("t-one.example", "1", text, 1), "t-one");
        assert_ne!(map("a"), map("b"));
    }

    #[test]
    fn differences_name_the_object_and_both_sides() {
        let picture = |text: &str| Picture(BTreeMap::from([("Secret a".to_owned(), text.to_owned())]));
        assert!(picture("1").differences(&picture("1")).is_empty());
        let shown = picture("1").differences(&Picture::default()).to_string();
        assert_eq!(shown, "Secret a:\n  is     1\n  should not there\n");
    }
}
