//! Reading DingTalk's JSON leniently and without building trees.
//!
//! Types drift between documentation and life (API.md section 10, point 9) and the same field comes in several
//! spellings (point 12), so a body is not mapped onto a struct: the wanted fields are picked out of it as raw text
//! and read as what they are. Skipping is iterative, so nesting cannot exhaust the stack.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text is not a JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAnObject;

struct Pick<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(index) = map.next_key_seed(Name(self.0))? {
            match index.and_then(|index| found.get_mut(index)) {
                // The first of several equal names counts; null is as good as absent.
                Some(place @ None) => {
                    let value: &'de RawValue = map.next_value()?;
                    *place = (value.get() != "null").then_some(value);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Reads a key as its place in the list of wanted names.
struct Name<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> serde::de::DeserializeSeed<'de> for Name<'_, N> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for Name<'_, N> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

/// The values of the fields named, in the order of the names; `None` for what is absent or null.
pub(crate) fn pick<'a, const N: usize>(
    json: &'a str,
    names: &[&str; N],
) -> Result<[Option<&'a RawValue>; N], NotAnObject> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = reader.deserialize_map(Pick(names)).map_err(|_| NotAnObject)?;
    reader.end().map_err(|_| NotAnObject)?;
    Ok(found)
}

/// The JSON of a value that should be an object, written as one or as text that holds one; empty when it is neither.
pub(crate) fn object(value: Option<&RawValue>) -> Cow<'_, str> {
    match value.map(RawValue::get) {
        Some(object) if object.starts_with('{') => Cow::Borrowed(object),
        Some(_) => text(value).filter(|text| text.trim_start().starts_with('{')).unwrap_or_default(),
        None => Cow::Borrowed(""),
    }
}

/// As [`pick`]; nothing is found in what is not an object.
pub(crate) fn pick_any<'a, const N: usize>(json: &'a str, names: &[&str; N]) -> [Option<&'a RawValue>; N] {
    if json.is_empty() { [None; N] } else { pick(json, names).unwrap_or([None; N]) }
}

/// A text; a number or truth value as it is written. `None` for anything else.
pub(crate) fn text(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let raw = value?.get();
    match raw.as_bytes().first()? {
        b'"' => match serde_json::from_str::<&str>(raw) {
            Ok(plain) => Some(Cow::Borrowed(plain)),
            Err(_) => serde_json::from_str::<String>(raw).ok().map(Cow::Owned),
        },
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(raw)),
    }
}

/// As [`text`], without what is blank.
pub(crate) fn filled(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    text(value).filter(|text| !text.trim().is_empty())
}

/// A whole number written as number or text; fractions are cut off.
pub(crate) fn number(value: Option<&RawValue>) -> Option<i64> {
    let text = text(value)?;
    let text = text.trim();
    #[allow(
        clippy::cast_precision_loss,
        reason = "only the bounds are compared, and they are far from the edge"
    )]
    let whole = |real: f64| (real.is_finite() && real.abs() < i64::MAX as f64).then_some(real as i64);
    text.parse().ok().or_else(|| text.parse().ok().and_then(whole))
}

/// The elements of an array; none when it is not one.
pub(crate) fn elements(value: Option<&RawValue>) -> Vec<&RawValue> {
    value.and_then(|value| serde_json::from_str(value.get()).ok()).unwrap_or_default()
}

/// `text` cut to at most `bytes` bytes at a character boundary, without control characters other than newline and
/// tab.
pub(crate) fn clip(text: &str, bytes: usize) -> String {
    let end = text.floor_char_boundary(bytes);
    text[..end].chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_picked_whatever_their_type() {
        let json = r#"{"a":"x\ny","b":12,"A":true,"c":{"d":[1]},"a":"second","n":null}"#;
        let [a, b, upper, c, n, absent] = pick(json, &["a", "b", "A", "c", "n", "z"]).unwrap();
        assert_eq!(text(a).as_deref(), Some("x\ny"));
        assert_eq!(number(b), Some(12));
        assert_eq!(text(upper).as_deref(), Some("true"));
        assert_eq!(text(c), None);
        assert!(n.is_none() && absent.is_none());
    }

    #[test]
    fn objects_hide_in_texts() {
        let json = r#"{"a":"{\"b\":\"c\"}","d":{"b":7},"e":3}"#;
        let [a, d, e] = pick(json, &["a", "d", "e"]).unwrap();
        assert_eq!(text(pick_any(&object(a), &["b"])[0]).as_deref(), Some("c"));
        assert_eq!(number(pick_any(&object(d), &["b"])[0]), Some(7));
        assert!(pick_any(&object(e), &["b"])[0].is_none());
    }

    #[test]
    fn numbers_are_read_from_text_and_bounded() {
        let json = r#"{"a":"1758799999911","b":1e400,"c":99999999999999999999,"d":4.9,"e":"soon"}"#;
        let found = pick(json, &["a", "b", "c", "d", "e"]).unwrap().map(number);
        assert_eq!(found, [Some(1_758_799_999_911), None, None, Some(4), None]);
    }

    #[test]
    fn deep_nesting_is_skipped() {
        let deep = format!(r#"{{"x":{}{},"a":1}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(number(pick(&deep, &["a"]).unwrap()[0]), Some(1));
        assert_eq!(pick("[1]", &["a"]).unwrap_err(), NotAnObject);
        assert_eq!(pick("{} x", &["a"]).unwrap_err(), NotAnObject);
    }
}
