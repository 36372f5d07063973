//! One form of JSON for every object, so that what is wanted and what the cluster has can be compared by a digest.
//!
//! Keys are sorted, there is no white space, and what names an object is left out: `apiVersion`, `kind`,
//! `metadata.name` and `metadata.namespace` are the same on both sides, and the server does not count them among the
//! fields that somebody manages.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::Digest;

/// The canonical text of an object.
pub(crate) fn canonical(object: &Value) -> String {
    let mut text = String::with_capacity(2048);
    write(object, Place::Root, &mut text);
    text
}

impl Digest {
    /// The digest of an object: of one that is wanted, or of one from the cluster after everything was taken out of it
    /// that is not the operator's.
    pub fn of(object: &Value) -> Self {
        Self::of_bytes(canonical(object).as_bytes())
    }

    /// The digest of any bytes, e.g. of a value in a Secret.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first 16 hexadecimal digits.
    pub fn short(&self) -> String {
        format!("{self:?}")
    }
}

/// Where in an object a map stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    Metadata,
    Inside,
}

impl Place {
    fn leaves_out(self, key: &str) -> bool {
        match self {
            Self::Root => matches!(key, "apiVersion" | "kind"),
            Self::Metadata => matches!(key, "name" | "namespace"),
            Self::Inside => false,
        }
    }
}

fn write(value: &Value, place: Place, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().filter(|key| !place.leaves_out(key)).collect();
            keys.sort_unstable();
            text.push('{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                let inner =
                    if place == Place::Root && key == "metadata" { Place::Metadata } else { Place::Inside };
                write(&fields[key], inner, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(item, Place::Inside, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_and_names_do_not_matter_and_everything_else_does() {
        let wanted = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "a", "namespace": "b", "labels": {"y": "2", "x": "1"}},
            "data": {"name": "bmFtZQ==", "kind": "x"},
        });
        let live = json!({
            "data": {"kind": "x", "name": "bmFtZQ=="},
            "metadata": {"labels": {"x": "1", "y": "2"}},
        });
        assert_eq!(
            canonical(&wanted),
            r#"{"data":{"kind":"x","name":"bmFtZQ=="},"metadata":{"labels":{"x":"1","y":"2"}}}"#
        );
        assert_eq!(Digest::of(&wanted), Digest::of(&live));
        assert_ne!(Digest::of(&wanted), Digest::of(&json!({"metadata": {"labels": {"x": "1"}}})));
        assert_ne!(Digest::of(&json!({"a": [1, 2]})), Digest::of(&json!({"a": [2, 1]})));
    }
}
