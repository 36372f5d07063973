//! The strict reading of the platform's file.

use dingtalk_crds::RegistrationMode;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::{Platform, RouteType};
use crate::{nearest::nearest, quantity::Quantity, template::Template};

/// Why the platform's file was refused; a line per mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlatformError(pub String);

impl Platform {
    /// Reads the file.
    ///
    /// # Errors
    /// When a key is unknown, a template names an unknown placeholder or a value has the wrong form. Every unknown key
    /// is named.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let options = serde_saphyr::options! { with_snippet: false };
        let found: Option<Value> = serde_saphyr::from_str_with_options(text, options.clone())
            .map_err(|error| PlatformError(error.to_string()))?;
        let Some(found) = found else { return Ok(Self::default()) };
        let mut unknown = Vec::new();
        unknown_keys("", &found, &Self::schema(), &mut unknown);
        if !unknown.is_empty() {
            return Err(PlatformError(unknown.join("\n")));
        }
        let platform: Self = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| PlatformError(error.to_string()))?;
        let wrong = platform.mistakes();
        if wrong.is_empty() { Ok(platform) } else { Err(PlatformError(wrong.join("\n"))) }
    }

    /// The schema of the file, in one piece; the chart's values use it.
    pub fn schema() -> Value {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        settings.into_generator().into_root_schema_for::<Self>().to_value()
    }

    /// What no type says.
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut refuse = |wrong: bool, sentence: &str| {
            if wrong {
                mistakes.push(sentence.to_owned());
            }
        };
        let circular = |template: &Template, names: &[&str]| names.iter().any(|name| template.uses(name));
        refuse(
            circular(&self.host_template, &["host", "serverName"]),
            "hostTemplate uses {host} or {serverName}, which are made from it; use {workspace}, {name}, {namespace} and {baseDomain}",
        );
        refuse(
            circular(&self.homeserver.server_name_template, &["serverName"]),
            "homeserver.serverNameTemplate uses {serverName}, which is made from it; use {host}",
        );
        refuse(
            Quantity::parse(&self.storage.size).is_none(),
            "storage.size is not an amount; write e.g. 1Gi",
        );
        refuse(
            self.route.type_ == RouteType::Gateway && self.route.gateway.parent_refs.is_empty(),
            "route.type is Gateway, but route.gateway.parentRefs is empty; name the Gateway that routes attach to",
        );
        refuse(
            self.homeserver.registration.mode == RegistrationMode::Secret
                && self.homeserver.registration.admin_api.is_some(),
            "homeserver.registration.adminAPI is used with mode AdminAPI only; set the mode or remove it",
        );
        mistakes
    }
}

/// Names every key that the schema does not know, with the one that was probably meant.
fn unknown_keys(path: &str, found: &Value, schema: &Value, unknown: &mut Vec<String>) {
    // An optional section is a choice between the section and nothing.
    let branch = schema["anyOf"]
        .as_array()
        .and_then(|branches| branches.iter().find(|one| one["properties"].is_object()));
    let schema = branch.unwrap_or(schema);
    match found {
        Value::Object(fields) => {
            let Some(properties) = schema["properties"].as_object() else { return };
            for (key, value) in fields {
                let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if let Some(property) = properties.get(key) {
                    unknown_keys(&place, value, property, unknown);
                } else if let Some(meant) = nearest(key, properties.keys().map(String::as_str)) {
                    unknown.push(format!("unknown key {place:?}; did you mean {meant:?}?"));
                } else {
                    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                    unknown
                        .push(format!("unknown key {place:?}; remove it; known here: {}", known.join(", ")));
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                unknown_keys(&format!("{path}[{at}]"), item, &schema["items"], unknown);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(Platform::parse("").unwrap(), Platform::default());
        assert_eq!(Platform::parse("{}").unwrap(), Platform::default());
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest_known_one() {
        let error = Platform::parse(
            "basedomain: a.example\nhomeserver: {registration: {mode: Secret, adminApi: {}}}\nimage: {pullSecrets: [{nam: x}]}\nzzz: 1\n",
        )
        .unwrap_err()
        .to_string();
        for part in [
            r#"unknown key "basedomain"; did you mean "baseDomain"?"#,
            r#"unknown key "homeserver.registration.adminApi"; did you mean "adminAPI"?"#,
            r#"unknown key "image.pullSecrets[0].nam"; did you mean "name"?"#,
            r#"unknown key "zzz"; remove it; known here: baseDomain"#,
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for (text, part) in [
            ("hostTemplate: '{host}.example'", "hostTemplate uses {host}"),
            ("hostTemplate: '{wrkspace}.example'", "did you mean {workspace}?"),
            ("homeserver: {serverNameTemplate: '{serverName}'}", "serverNameTemplate"),
            ("storage: {size: big}", "storage.size"),
            ("route: {type: Gateway}", "parentRefs"),
            ("route: {type: Nothing}", "Nothing"),
            (
                "homeserver: {registration: {mode: Secret, adminAPI: {tokenSecretRef: {name: a, key: b}}}}",
                "adminAPI",
            ),
            ("image: [", ""),
        ] {
            let error = Platform::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = serde_saphyr::to_string(&Platform::default()).unwrap();
        assert_eq!(Platform::parse(&text).unwrap(), Platform::default());
    }
}
