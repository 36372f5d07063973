//! The projection: of an object, what one manager applied, and a digest of it.
//!
//! The API server notes in `metadata.managedFields` which fields each manager owns. Cut down to the fields that are ours,
//! the object in the cluster has the same canonical JSON as what we applied, for as long as nobody changes or takes one of
//! them. So one comparison of digests tells that there is nothing to write, whatever others added beside it.
//!
//! # The canonical form
//!
//! Left out: `apiVersion`, `kind`, the fields of `metadata` that the server writes or that are the object's address (see
//! [`ADDRESS`]), `metadata` itself when nothing else is in it, and members that are `null`. Members are sorted by the
//! bytes of their names; lists keep their order; there is no white space; numbers and strings are as `serde_json` prints them.
//!
//! # What the wanted object has to look like
//!
//! It is compared with what the server stored, so it has to be spelt as the server spells it:
//!
//! - quantities in canonical form: `1Gi` and `500m`, not `1024Mi` and `0.5`;
//! - `data` instead of `stringData`;
//! - no empty map, list or text where the kind's Go type omits empty ones: `labels: {}`, the `value` of a container's `env`
//!   (but `emptyDir: {}` and empty texts in a `ConfigMap` stay);
//! - within lists that one manager owns as a whole, also what the server would fill in: the `protocol` of a
//!   `NetworkPolicy`'s ports, `group`, `kind` and `weight` of an `HTTPRoute`'s references.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Fields of `metadata` that no manager owns, or that name the object.
pub const ADDRESS: [&str; 10] = [
    "name",
    "namespace",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "selfLink",
    "managedFields",
];

type Object = Map<String, Value>;

/// SHA-256 of [`canonical`].
pub fn digest(object: &Value) -> [u8; 32] {
    Sha256::digest(canonical(object)).into()
}

/// The canonical form of an object: of a wanted one, or of a projection.
pub fn canonical(object: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    match object {
        Value::Object(members) => write_members(&mut out, members, Place::Top),
        other => write(&mut out, other),
    }
    out
}

/// The digest of what `manager` applied to the object itself, not to a subresource.
pub fn live_digest(live: &Value, manager: &str) -> [u8; 32] {
    digest(&project(live, manager, None))
}

/// What `manager` owns of an object by server-side apply: the object itself or one of its subresources. An object of
/// which it owns nothing is `{}`.
pub fn project(live: &Value, manager: &str, subresource: Option<&str>) -> Value {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for entry in entries(live) {
        let Some(fields) = entry.get("fieldsV1").and_then(Value::as_object) else { continue };
        let is_own = text(entry, "manager") == manager
            && text(entry, "operation") == "Apply"
            && text(entry, "subresource") == subresource.unwrap_or_default();
        if is_own { own.push(fields) } else { others.push(fields) }
    }
    if own.iter().all(|fields| fields.is_empty()) {
        return Value::Object(Object::new());
    }
    cut(live, &own, &others)
}

/// Names of the managers that own fields of the object itself, other than `except`; who wrote last comes first.
pub fn managers(live: &Value, except: &str) -> Vec<String> {
    let mut found: Vec<(&str, &str)> = entries(live)
        .filter(|entry| text(entry, "subresource").is_empty() && text(entry, "manager") != except)
        .map(|entry| (text(entry, "time"), text(entry, "manager")))
        .collect();
    found.sort_by(|one, other| other.cmp(one));
    let mut names: Vec<String> = Vec::new();
    for (_, name) in found {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn entries(live: &Value) -> impl Iterator<Item = &Value> {
    live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// `value` cut down to the fields in `own`, the sets of one place in the tree, one per entry of the manager. `others`
/// are the other managers' sets of the same place.
fn cut(value: &Value, own: &[&Object], others: &[&Object]) -> Value {
    let mut steps = own.iter().flat_map(|fields| fields.keys()).filter(|step| *step != ".").peekable();
    if steps.peek().is_none() {
        // Nothing below is named: the value is owned as a whole, unless others own parts of it. Then it is a map or list
        // that each manager fills for itself, and ours was empty.
        let shared = others.iter().any(|fields| fields.keys().any(|step| step != "."));
        return match value {
            Value::Object(_) if shared => Value::Object(Object::new()),
            Value::Array(_) if shared => Value::Array(Vec::new()),
            whole => whole.clone(),
        };
    }
    match value {
        Value::Object(members) => {
            let mut kept = Object::new();
            for step in steps {
                let Some(name) = step.strip_prefix("f:") else { continue };
                let Some(member) = members.get(name) else { continue };
                if !kept.contains_key(name) {
                    kept.insert(name.to_owned(), cut(member, &below(own, step), &below(others, step)));
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => {
            let selectors: Vec<(&String, Selector)> =
                steps.filter_map(|step| Some((step, Selector::read(step)?))).collect();
            let kept = items.iter().enumerate().filter_map(|(index, item)| {
                let (step, _) = selectors.iter().find(|(_, selector)| selector.selects(index, item))?;
                Some(cut(item, &below(own, step), &below(others, step)))
            });
            Value::Array(kept.collect())
        }
        scalar => scalar.clone(),
    }
}

/// The sets one step further down.
fn below<'a>(sets: &[&'a Object], step: &str) -> Vec<&'a Object> {
    sets.iter().filter_map(|fields| fields.get(step)?.as_object()).collect()
}

/// Which item of a list a step names.
enum Selector {
    /// `k:`: the one with these values.
    Keys(Object),
    /// `v:`: the one that is this value.
    Value(Value),
    /// `i:`: the one at this place.
    Index(usize),
}

impl Selector {
    fn read(step: &str) -> Option<Self> {
        let (kind, rest) = step.split_once(':')?;
        match kind {
            "k" => serde_json::from_str(rest).ok().map(Self::Keys),
            "v" => serde_json::from_str(rest).ok().map(Self::Value),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    fn selects(&self, index: usize, item: &Value) -> bool {
        match self {
            Self::Keys(keys) => keys.iter().all(|(name, value)| item.get(name) == Some(value)),
            Self::Value(value) => item == value,
            Self::Index(wanted) => index == *wanted,
        }
    }
}

/// Where in an object a map stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Top,
    Metadata,
    Inside,
}

impl Place {
    /// Whether a member belongs to the canonical form.
    fn keeps(self, name: &str, value: &Value) -> bool {
        !value.is_null()
            && match self {
                Self::Top if name == "metadata" => value.as_object().is_none_or(|members| {
                    members.iter().any(|(name, value)| Self::Metadata.keeps(name, value))
                }),
                Self::Top => !matches!(name, "apiVersion" | "kind"),
                Self::Metadata => !ADDRESS.contains(&name),
                Self::Inside => true,
            }
    }
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Object(members) => write_members(out, members, Place::Inside),
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write(out, item);
            }
            out.push(b']');
        }
        // Scalars, whose printing into memory does not fail.
        scalar => drop(serde_json::to_writer(out, scalar)),
    }
}

fn write_members(out: &mut Vec<u8>, members: &Object, place: Place) {
    let mut sorted: Vec<(&String, &Value)> =
        members.iter().filter(|(name, value)| place.keeps(name, value)).collect();
    sorted.sort_by_key(|(name, _)| *name);
    out.push(b'{');
    for (index, (name, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        drop(serde_json::to_writer(&mut *out, name));
        out.push(b':');
        match value {
            Value::Object(members) if place == Place::Top && name == "metadata" => {
                write_members(out, members, Place::Metadata);
            }
            value => write(out, value),
        }
    }
    out.push(b'}');
}

#[cfg(test)]
#[path = "project/tests.rs"]
mod tests;
