//! Texts of the platform with placeholders, e.g. `{workspace}.{baseDomain}`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::nearest::nearest;

/// What a placeholder can stand for, in the order in which they are resolved.
pub(crate) const PLACEHOLDERS: [&str; 6] =
    ["name", "namespace", "workspace", "baseDomain", "host", "serverName"];

/// A text with placeholders, all of which are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(String);

impl Template {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, String> {
        for placeholder in placeholders(text) {
            let name = placeholder?;
            if !PLACEHOLDERS.contains(&name) {
                let hint = nearest(name, PLACEHOLDERS).unwrap_or("workspace");
                return Err(format!(
                    "unknown placeholder {{{name}}} in {text:?}; did you mean {{{hint}}}? Known: {}",
                    PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(", ")
                ));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it has this placeholder.
    pub(crate) fn uses(&self, name: &str) -> bool {
        placeholders(&self.0).any(|placeholder| placeholder == Ok(name))
    }

    /// The text with the values put in; `Err` names a placeholder that has none.
    pub(crate) fn render<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Result<String, String> {
        let mut text = String::with_capacity(self.0.len() + 32);
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            text.push_str(before);
            text.push_str(value(name).ok_or_else(|| name.to_owned())?);
            rest = after;
        }
        text.push_str(rest);
        Ok(text)
    }
}

/// The names between braces; an error for a brace without its partner.
fn placeholders(text: &str) -> impl Iterator<Item = Result<&str, String>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let at = rest.find(['{', '}'])?;
        let wrong = || {
            Some(Err(format!(
                "a brace without its partner in {text:?}; write placeholders like {{workspace}}"
            )))
        };
        if rest[at..].starts_with('}') {
            rest = "";
            return wrong();
        }
        let Some((name, after)) = rest[at + 1..].split_once('}') else {
            rest = "";
            return wrong();
        };
        rest = after;
        Some(Ok(name))
    })
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.0
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in() {
        let template = Template::parse("http://synapse-{workspace}.{namespace}.svc:8008").unwrap();
        let values = |name: &str| match name {
            "workspace" => Some("acme"),
            "namespace" => Some("tenants"),
            _ => None,
        };
        assert_eq!(template.render(values).unwrap(), "http://synapse-acme.tenants.svc:8008");
        assert!(template.uses("workspace") && !template.uses("host"));
        assert_eq!(Template::parse("{baseDomain}").unwrap().render(values), Err("baseDomain".to_owned()));
    }

    #[test]
    fn a_slip_of_the_pen_is_found_at_reading() {
        let error = Template::parse("{workspce}.example").unwrap_err();
        assert!(
            error.contains("unknown placeholder {workspce}") && error.contains("did you mean {workspace}?"),
            "{error}"
        );
        for wrong in ["{workspace", "workspace}", "{{workspace}}", "{}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
