//! The definition that a cluster serves, held against the one that this program was built with.
//!
//! They differ between an upgrade of the definition and one of the operator. A field that the cluster does not know is
//! dropped by it without a word, so the operator leaves it out and says so.

use serde_json::Value;

/// Where a served definition and this program's differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Fields that the cluster does not know: its definition is older.
    pub lacking: Vec<String>,
    /// Fields that this program does not know: the cluster's definition is newer.
    pub unknown: Vec<String>,
}

impl Difference {
    /// Compares; `served` is the schema of the kind as the API server publishes it (OpenAPI v3).
    #[must_use]
    pub fn of(served: &Value) -> Self {
        let mut difference = Self::default();
        let Ok(definition) = crate::definition() else { return difference };
        let own = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        if keeps_all(served) {
            return difference;
        }
        for section in ["spec", "status"] {
            walk(section, &own["properties"][section], &served["properties"][section], &mut difference);
        }
        difference
    }

    /// Whether both know the same.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.lacking.is_empty() && self.unknown.is_empty()
    }

    /// Sentences for people, one per direction; none when there is no difference.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if !self.lacking.is_empty() {
            sentences.push(format!(
                "the cluster's definition of DingTalkBridge is older than this operator: it lacks {}; upgrade the chart dingtalk-operator-crds",
                listed(&self.lacking)
            ));
        }
        if !self.unknown.is_empty() {
            sentences.push(format!(
                "the cluster's definition of DingTalkBridge is newer than this operator: {} has no effect; upgrade the chart dingtalk-operator",
                listed(&self.unknown)
            ));
        }
        sentences
    }

    /// Takes the fields out of a status that the cluster would drop.
    pub fn prune(&self, status: &mut Value) {
        for path in self.lacking.iter().filter_map(|path| path.strip_prefix("status.")) {
            let steps: Vec<&str> = path.split('.').collect();
            remove(status, &steps);
        }
    }
}

/// The first few of many names.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

/// Whether a schema says that what it does not name is kept as well.
fn keeps_all(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

/// Every name below `own` and `served` that only one of them has; below such a name nothing more is told.
fn walk(path: &str, own: &Value, served: &Value, difference: &mut Difference) {
    let names = |schema: &Value| -> Vec<String> {
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let (ours, theirs) = (names(own), names(served));
    for name in &ours {
        let below = format!("{path}.{name}");
        if keeps_all(served) && !theirs.contains(name) {
            continue;
        }
        if theirs.contains(name) {
            walk(&below, &own["properties"][name], &served["properties"][name], difference);
        } else {
            difference.lacking.push(below);
        }
    }
    let unknown = theirs.iter().filter(|name| !ours.contains(name));
    difference.unknown.extend(unknown.map(|name| format!("{path}.{name}")));
    if own["items"].is_object() && served["items"].is_object() {
        walk(&format!("{path}[]"), &own["items"], &served["items"], difference);
    }
}

fn remove(value: &mut Value, steps: &[&str]) {
    let Some((first, rest)) = steps.split_first() else { return };
    let (name, is_list) = first.strip_suffix("[]").map_or((*first, false), |name| (name, true));
    if rest.is_empty() && !is_list {
        if let Some(fields) = value.as_object_mut() {
            fields.remove(name);
        }
        return;
    }
    match value.get_mut(name) {
        Some(Value::Array(items)) if is_list => items.iter_mut().for_each(|item| remove(item, rest)),
        Some(inner) if !is_list => remove(inner, rest),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn served(change: impl FnOnce(&mut Value)) -> Difference {
        let definition = crate::definition().unwrap();
        let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        change(&mut schema);
        Difference::of(&schema)
    }

    fn properties<'a>(schema: &'a mut Value, path: &str) -> &'a mut serde_json::Map<String, Value> {
        schema.pointer_mut(path).and_then(Value::as_object_mut).unwrap()
    }

    #[test]
    fn the_own_definition_differs_in_nothing() {
        let difference = served(|_| {});
        assert!(difference.is_none() && difference.sentences().is_empty(), "{difference:?}");
    }

    #[test]
    fn an_older_definition_is_named_and_its_fields_are_left_out() {
        let difference = served(|schema| {
            properties(schema, "/properties/status/properties").remove("image");
            properties(schema, "/properties/status/properties/homeserver/properties").remove("url");
            properties(schema, "/properties/status/properties/conditions/items/properties").remove("message");
            properties(schema, "/properties/spec/properties").remove("suspend");
        });
        let lacking =
            ["spec.suspend", "status.conditions[].message", "status.homeserver.url", "status.image"];
        let mut found = difference.lacking.clone();
        found.sort_unstable();
        assert_eq!(found, lacking);
        assert!(difference.sentences()[0].contains("older"), "{:?}", difference.sentences());
        let mut status = json!({
            "image": "i", "version": "v", "homeserver": {"url": "u", "serverName": "s"},
            "conditions": [{"type": "Ready", "message": "m"}, {"type": "Paused", "message": "m"}],
        });
        difference.prune(&mut status);
        let kept = json!({
            "version": "v", "homeserver": {"serverName": "s"}, "conditions": [{"type": "Ready"}, {"type": "Paused"}],
        });
        assert_eq!(status, kept);
    }

    #[test]
    fn what_a_loose_definition_keeps_is_not_lacking() {
        let loose = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        assert!(Difference::of(&loose).is_none());
        let difference = served(|schema| {
            let spec = properties(schema, "/properties/spec");
            spec.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
            properties(schema, "/properties/spec/properties").remove("suspend");
            properties(schema, "/properties/status/properties").remove("image");
        });
        assert_eq!(difference.lacking, ["status.image"]);
    }

    #[test]
    fn a_newer_definition_is_named() {
        let difference = served(|schema| {
            properties(schema, "/properties/spec/properties")
                .insert("later".to_owned(), json!({"type": "string"}));
        });
        assert_eq!(difference.unknown, ["spec.later"]);
        assert!(difference.sentences()[0].contains("newer"), "{:?}", difference.sentences());
    }
}
