//! Schema, example and page, printed from the types.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::Config;

/// The JSON schema of the file, all in one piece (no references) and without `null`, which TOML does not have.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
    drop_null(&mut schema);
    schema
}

/// Makes optional settings look like what they are in TOML: there or absent, never `null`. The default of a whole
/// section goes too: its keys have theirs.
fn drop_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        Value::Object(map) => {
            let section = map.contains_key("properties");
            if map.get("default").is_some_and(|default| default.is_null() || section) {
                let _ = map.shift_remove("default");
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    let _ = map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(branches)) = map.get_mut("anyOf") {
                branches.retain(|branch| branch["type"] != "null");
                if let [only] = branches.as_slice() {
                    let only = only.clone();
                    let _ = map.shift_remove("anyOf");
                    for (key, inner) in only.as_object().into_iter().flatten() {
                        let _ = map.entry(key.clone()).or_insert_with(|| inner.clone());
                    }
                }
            }
            map.values_mut().for_each(drop_null);
        }
        _ => {}
    }
}

/// The texts that a setting can have, if it is a choice.
pub(crate) fn choices(schema: &Value) -> Vec<&str> {
    let listed = schema["enum"].as_array().into_iter().flatten();
    let described = schema["oneOf"].as_array().into_iter().flatten().map(|branch| &branch["const"]);
    listed.chain(described).filter_map(Value::as_str).collect()
}

/// A value that a setting may have, as TOML: its example, else its default, else one of its kind.
pub(crate) fn sample(schema: &Value) -> String {
    let given = schema["examples"].get(0).or_else(|| schema.get("default"));
    let general = match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("integer" | "number"), _) => Value::from(1),
        (Some("boolean"), _) => Value::from(true),
        (Some("array"), _) => Value::Array(vec![]),
        (_, Some("path")) => Value::from("/etc/dingtalk-bridge/name"),
        (_, Some("user-pattern")) => Value::from("@alice:acme.example"),
        (_, Some("allowed-host")) => Value::from("dingtalk.com"),
        _ => Value::from(choices(schema).first().copied().unwrap_or("…")),
    };
    to_toml(given.unwrap_or(&general))
}

fn to_toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(to_toml).collect::<Vec<_>>().join(", ")),
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}

/// One setting or one section, as it is printed.
enum Item<'a> {
    Section { path: String, schema: &'a Value, optional: bool },
    Key { path: String, name: &'a str, schema: &'a Value, required: bool },
}

/// All sections and keys in the order of the types; the keys of a section come before its inner sections.
fn items(schema: &Value) -> Vec<Item<'_>> {
    fn walk<'a>(path: &str, schema: &'a Value, items: &mut Vec<Item<'a>>) {
        let properties: Vec<_> = schema["properties"].as_object().into_iter().flatten().collect();
        let (sections, keys): (Vec<_>, Vec<_>) =
            properties.into_iter().partition(|(_, property)| property["properties"].is_object());
        let required = |name: &str| {
            schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
        };
        for (name, property) in keys {
            items.push(Item::Key {
                path: format!("{path}.{name}"),
                name,
                schema: property,
                required: required(name),
            });
        }
        for (name, property) in sections {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let optional = !path.is_empty();
            items.push(Item::Section { path: inner.clone(), schema: property, optional });
            walk(&inner, property, items);
        }
    }
    let mut all = Vec::new();
    walk("", schema, &mut all);
    all
}

/// The doc comment as one line per paragraph.
fn paragraphs(schema: &Value) -> Vec<String> {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// A commented file that the bridge accepts: required keys are written, everything else stands behind `#` with its
/// default or an example.
pub fn example() -> String {
    let schema = schema();
    let mut text = String::from(
        "# Configuration of the DingTalk bridge. Lines with #key are optional and show\n\
         # the default, or an example where there is none.\n\
         # Printed by: dingtalk-bridge config example\n",
    );
    let mut hidden = false;
    for item in items(&schema) {
        match item {
            Item::Section { path, schema, optional } => {
                hidden = optional;
                text.push('\n');
                comment(&mut text, schema, "");
                let mark = if optional { "#" } else { "" };
                let _ = writeln!(text, "{mark}[{path}]");
            }
            Item::Key { name, schema, required, .. } => {
                let default = schema.get("default").map(to_toml);
                let note = match (&default, required) {
                    (_, true) => " Required.",
                    (Some(_), _) => "",
                    (None, _) => " No default.",
                };
                comment(&mut text, schema, note);
                let mark = if hidden || !required { "#" } else { "" };
                let _ = writeln!(text, "{mark}{name} = {}", default.unwrap_or_else(|| sample(schema)));
            }
        }
    }
    text
}

/// Writes a doc comment as TOML comment, wrapped at 100 characters.
fn comment(text: &mut String, schema: &Value, note: &str) {
    let mut paragraphs = paragraphs(schema);
    if let Some(last) = paragraphs.last_mut() {
        last.push_str(note);
    }
    for paragraph in paragraphs {
        let mut line = String::from("#");
        for word in paragraph.split(' ') {
            if line.chars().count() + word.chars().count() >= 100 {
                let _ = writeln!(text, "{line}");
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        let _ = writeln!(text, "{line}");
    }
}

/// The page `docs/configuration.md`.
pub fn markdown() -> String {
    let schema = schema();
    let mut text = String::from(
        "<!-- Generated by `cargo xtask generate` from bridge/config; do not edit. -->\n\n\
         # Configuration\n\n\
         The bridge reads one TOML file. `dingtalk-bridge config check` reads it like `run` does and names every \
         mistake with its line and a remedy; `config example` prints a commented file, `config schema` a JSON schema \
         for editors.\n\n\
         - An unknown key is an error, and the nearest known key is named.\n\
         - Secrets are never written into this file: it names the files that hold them.\n\
         - Times are a number and a unit, `ms`, `s`, `m`, `h` or `d`, also combined: `\"1h30m\"`.\n\
         - Sizes are a number and `B`, `KiB`, `MiB` or `GiB`.\n\n\
         The smallest file:\n\n```toml\n",
    );
    text.push_str(&smallest(&schema));
    text.push_str("```\n");
    for item in items(&schema) {
        match item {
            Item::Section { path, schema, optional } => {
                let level = if optional { "###" } else { "##" };
                let _ = writeln!(text, "\n{level} `[{path}]`\n");
                if optional {
                    text.push_str("Optional section. ");
                }
                let _ = writeln!(text, "{}\n", paragraphs(schema).join("\n\n"));
                text.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
            }
            Item::Key { path, name, schema, required } => {
                debug_assert!(path.ends_with(name));
                let default = match schema.get("default") {
                    Some(default) => format!("`{}`", to_toml(default)),
                    None if required => "required".to_owned(),
                    None => "none".to_owned(),
                };
                let mut meaning = paragraphs(schema).join("<br>");
                if schema["examples"].is_array() {
                    let _ = write!(meaning, " Example: `{}`", sample(schema));
                }
                let _ = writeln!(text, "| `{name}` | {} | {default} | {meaning} |", value_kind(schema));
            }
        }
    }
    text
}

/// Only what is required.
fn smallest(schema: &Value) -> String {
    let mut text = String::new();
    let mut section = None;
    for item in items(schema) {
        match item {
            Item::Section { path, optional, .. } => section = (!optional).then_some(path),
            Item::Key { name, schema, required: true, path } => {
                let Some(of) = path.rsplit_once('.').map(|(of, _)| of) else { continue };
                if section.as_deref() == Some(of) {
                    let blank = if text.is_empty() { "" } else { "\n" };
                    let _ = writeln!(text, "{blank}[{of}]");
                    section = Some(format!("{of}."));
                }
                if section.as_deref() == Some(&format!("{of}.")) {
                    let _ = writeln!(text, "{name} = {}", sample(schema));
                }
            }
            Item::Key { .. } => {}
        }
    }
    text
}

/// What kind of value a setting has, for people.
fn value_kind(schema: &Value) -> String {
    let choices = choices(schema);
    if !choices.is_empty() {
        return choices.iter().map(|choice| format!("`{choice:?}`")).collect::<Vec<_>>().join(" or ");
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("array"), _) => match schema["items"]["format"].as_str() {
            Some("path") => "list of paths".to_owned(),
            Some("allowed-host") => "list of hosts".to_owned(),
            Some("user-pattern") => "list of persons and servers".to_owned(),
            _ => "list".to_owned(),
        },
        (Some("integer" | "number"), _) => match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
            (Some(least), Some(most)) => format!("number, {least} to {most}"),
            _ => "number".to_owned(),
        },
        (Some("boolean"), _) => "true or false".to_owned(),
        (_, Some(format)) => match format {
            "base-url" => "address",
            "time-span" => "time",
            "byte-size" => "size",
            "socket-address" => "address and port",
            "server-name" => "server name",
            "localpart" => "local part",
            "name" => "short name",
            "agent-id" => "number as text",
            "database-url" => "database address",
            "schema-name" => "name of a schema",
            "name-template" => "text with `{name}`",
            other => other,
        }
        .to_owned(),
        _ => "text".to_owned(),
    }
}
