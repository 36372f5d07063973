//! Signed JSON: its canonical form, and whether a signature is good.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;

/// The canonical form: members by name, nothing between them.
pub(crate) fn canonical(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    value.to_string()
}

/// What is signed of an object.
pub(crate) fn unsigned(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(members) = &mut object {
        members.remove("signatures");
        members.remove("unsigned");
    }
    object
}

/// A signing key: `ed25519:…` and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct VerifyKey {
    pub(crate) id: String,
    bytes: Vec<u8>,
}

impl VerifyKey {
    /// A key under its id.
    pub(crate) fn new(id: &str, base64: &str) -> Option<Self> {
        id.strip_prefix("ed25519:")?;
        let bytes = STANDARD_NO_PAD.decode(base64.trim_end_matches('=')).ok()?;
        (bytes.len() == 32).then(|| Self { id: id.to_owned(), bytes })
    }

    /// The only key of a cross-signing key.
    pub(crate) fn of(key: &Value) -> Option<Self> {
        let keys = key.get("keys")?.as_object().filter(|keys| keys.len() == 1)?;
        let (id, base64) = keys.iter().next()?;
        Self::new(id, base64.as_str()?)
    }

    /// The part of the id behind the algorithm.
    pub(crate) fn version(&self) -> &str {
        self.id.split_once(':').map_or("", |(_, version)| version)
    }

    /// Whether somebody has signed an object with it.
    pub(crate) fn has_signed(&self, object: &Value, user: &str) -> bool {
        let signature = object.get("signatures").and_then(|all| all.get(user)?.get(&self.id)?.as_str());
        let signature = signature.and_then(|text| STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok());
        let text = canonical(&unsigned(object));
        let key = UnparsedPublicKey::new(&ED25519, &self.bytes);
        signature.is_some_and(|signature| key.verify(text.as_bytes(), &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_canonical_form_is_that_of_the_specification() {
        let value = json!({"本": 2, "日": 1, "b": "2\n", "a": {"d": [1, null, {}], "c": true}});
        assert_eq!(canonical(&value), r#"{"a":{"c":true,"d":[1,null,{}]},"b":"2\n","日":1,"本":2}"#);
    }

    #[test]
    fn the_examples_of_the_specification_are_good_and_others_are_not() {
        // Appendices, "Cryptographic Test Vectors".
        let key = VerifyKey::new("ed25519:1", "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI").unwrap();
        let mut object = json!({"one": 1, "two": "Two", "signatures": {"domain": {"ed25519:1":
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"}}});
        assert!(key.has_signed(&object, "domain"));
        assert!(!key.has_signed(&object, "other"));
        object["two"] = "2".into();
        assert!(!key.has_signed(&object, "domain"));
        assert!(VerifyKey::new("ed25519:1", "short").is_none() && VerifyKey::new("x:1", "").is_none());
    }
}
