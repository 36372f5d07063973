//! The strict reading of a file: a walk over the parsed text beside the schema finds every mistake with its place;
//! only a file without mistakes is turned into types.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, position};
use crate::{Config, document, rules, value};

/// Words this alike are taken for a slip of the pen.
const ALIKE: f64 = 0.72;

/// The operator reads a file per bridge, thousands of times; the schema is always the same.
static SCHEMA: LazyLock<Value> = LazyLock::new(document::schema);

pub(crate) fn parse(text: &str) -> Result<Config, Vec<ConfigError>> {
    let (table, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        return Err(syntax.iter().map(|error| syntax_error(text, error)).collect());
    }
    let schema = &*SCHEMA;
    let mut walk = Walk { text, errors: Vec::new(), places: BTreeMap::new(), known: all_keys("", schema) };
    walk.table("", schema, table.get_ref(), &(0..0));
    walk.errors.sort_by_key(|error| (error.line, error.column));
    if !walk.errors.is_empty() {
        return Err(walk.errors);
    }
    let config: Config = toml::from_str(text).map_err(|error| vec![unread(text, &error)])?;
    let mut errors: Vec<ConfigError> = rules::check(&config)
        .into_iter()
        .map(|broken| {
            let written = broken.keys.iter().find(|key| walk.places.contains_key(**key));
            let key = written.or(broken.keys.first()).copied().unwrap_or_default();
            let reason = format!("{:?} {}", broken.keys.first().unwrap_or(&""), broken.fault.reason);
            walk.error(key, walk.place(key), reason, broken.fault.remedy)
        })
        .collect();
    errors.sort_by_key(|error| (error.line, error.column));
    if errors.is_empty() { Ok(config) } else { Err(errors) }
}

fn syntax_error(text: &str, error: &toml::de::Error) -> ConfigError {
    let (line, column) = position(text, &error.span().unwrap_or(0..0));
    ConfigError {
        key: String::new(),
        line,
        column,
        reason: format!("not valid TOML: {}", error.message()),
        remedy: "correct this line; texts stand in \"quotes\", sections in [brackets]".to_owned(),
    }
}

/// A mistake that the walk overlooked. The message of the typed reading may repeat a value, so it is left out.
fn unread(text: &str, error: &toml::de::Error) -> ConfigError {
    let (line, column) = position(text, &error.span().unwrap_or(0..0));
    ConfigError {
        key: String::new(),
        line,
        column,
        reason: "this value is not accepted".to_owned(),
        remedy: "compare it with the output of: dingtalk-bridge config example".to_owned(),
    }
}

struct Walk<'a> {
    text: &'a str,
    errors: Vec<ConfigError>,
    /// Where each key stands.
    places: BTreeMap<String, Range<usize>>,
    /// Every key there is, with its sections.
    known: Vec<String>,
}

impl Walk<'_> {
    fn error(&self, key: &str, place: Range<usize>, reason: String, remedy: String) -> ConfigError {
        let (line, column) = position(self.text, &place);
        ConfigError { key: key.to_owned(), line, column, reason, remedy }
    }

    fn report(&mut self, key: &str, place: &Range<usize>, reason: String, remedy: impl Into<String>) {
        let error = self.error(key, place.clone(), reason, remedy.into());
        self.errors.push(error);
    }

    /// The place of a key, or of the nearest section around it that is written.
    fn place(&self, key: &str) -> Range<usize> {
        let mut key = key;
        loop {
            if let Some(place) = self.places.get(key) {
                return place.clone();
            }
            match key.rsplit_once('.') {
                Some((section, _)) => key = section,
                None => return 0..0,
            }
        }
    }

    fn table(&mut self, path: &str, schema: &Value, table: &DeTable<'_>, at: &Range<usize>) {
        let empty = serde_json::Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        let mut meant = Vec::new();
        for (name, found) in table {
            let key = join(path, name.get_ref());
            let place = name.span();
            let _ = self.places.insert(key.clone(), place.clone());
            if let Some(property) = properties.get(name.get_ref().as_ref()) {
                self.value(&key, property, found, &place);
            } else {
                let nearest = self.unknown(&key, found.get_ref(), properties, &place);
                // What stands in a misspelt section is looked at as well, so that one reading finds everything.
                let section = nearest.as_deref().and_then(|key| key.rsplit('.').next()).unwrap_or_default();
                if let (Some(nearest), Some(property), DeValue::Table(inner)) =
                    (&nearest, properties.get(section), found.get_ref())
                    && property["properties"].is_object()
                    && !table.contains_key(section)
                {
                    self.table(nearest, property, inner, &place);
                }
                meant.extend(nearest);
            }
        }
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in required.filter(|name| !table.contains_key(*name)) {
            let key = join(path, name);
            let property = &properties[name];
            if meant.contains(&key) {
                continue;
            }
            if property["properties"].is_object() {
                self.table(&key, property, &DeTable::new(), at);
            } else {
                let example = document::sample(property);
                let section = if path.is_empty() { String::new() } else { format!(" under [{path}]") };
                let remedy = format!("add, e.g., {name} = {example}{section}");
                self.report(&key, at, format!("missing key {key:?}"), remedy);
            }
        }
    }

    /// Reports an unknown key; returns the key that was probably meant, so that it is not called missing as well.
    fn unknown(
        &mut self,
        key: &str,
        found: &DeValue<'_>,
        properties: &serde_json::Map<String, Value>,
        place: &Range<usize>,
    ) -> Option<String> {
        let (path, name) = key.rsplit_once('.').unwrap_or(("", key));
        let what = if found.is_table() { "section" } else { "key" };
        let reason = format!("unknown {what} {key:?}");
        let by_file = format!("{name}_file");
        if properties.contains_key(&by_file) {
            let meant = join(path, &by_file);
            self.report(key, place, reason, format!("secrets stand in files: name the file by {meant:?}"));
            return Some(meant);
        }
        let here = properties
            .keys()
            .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), known), join(path, known)))
            .filter(|(alike, _)| *alike >= ALIKE)
            .max_by(|left, right| left.0.total_cmp(&right.0));
        let elsewhere = || self.known.iter().find(|known| known.rsplit('.').next() == Some(name)).cloned();
        let best = match here {
            Some((alike, meant)) if alike > 0.9 => Some(meant),
            here => elsewhere().or(here.map(|(_, meant)| meant)),
        };
        let remedy = if let Some(meant) = &best {
            format!("did you mean {meant:?}?")
        } else {
            let known: Vec<&str> = properties.keys().map(String::as_str).collect();
            format!("remove it; known here: {}", known.join(", "))
        };
        self.report(key, place, reason, remedy);
        best
    }

    fn value(&mut self, key: &str, schema: &Value, found: &Spanned<DeValue<'_>>, at: &Range<usize>) {
        let place = found.span();
        match (kind(schema), found.get_ref()) {
            (Kind::Table, DeValue::Table(table)) => self.table(key, schema, table, at),
            (Kind::List, DeValue::Array(items)) => {
                for item in items {
                    self.value(key, &schema["items"], item, at);
                }
            }
            (Kind::Text, DeValue::String(text)) => self.text(key, schema, text, &place),
            (Kind::Integer, DeValue::Integer(number)) => {
                let number = i128::from_str_radix(number.as_str(), number.radix()).ok();
                self.integer(key, schema, number, &place);
            }
            (Kind::Boolean, DeValue::Boolean(_)) => {}
            (wanted, found) => {
                let reason = format!("{key:?} must be {}, not {}", wanted.name(), type_name(found));
                self.report(key, &place, reason, wanted.remedy(key, schema));
            }
        }
    }

    fn text(&mut self, key: &str, schema: &Value, text: &str, place: &Range<usize>) {
        let choices = document::choices(schema);
        if !choices.is_empty() && !choices.contains(&text) {
            let nearest = choices
                .iter()
                .copied()
                .max_by(|a, b| strsim::jaro_winkler(text, a).total_cmp(&strsim::jaro_winkler(text, b)));
            let listed = choices.iter().map(|choice| format!("{choice:?}")).collect::<Vec<_>>().join(" or ");
            let remedy = format!("write e.g. {:?}", nearest.unwrap_or_default());
            self.report(key, place, format!("{key:?} must be {listed}"), remedy);
            return;
        }
        if text.trim().is_empty() && schema["format"].is_null() && choices.is_empty() {
            self.report(key, place, format!("{key:?} is empty"), "write a text, or remove the line");
            return;
        }
        if let Some(Err(fault)) = schema["format"].as_str().and_then(|format| value::check(format, text)) {
            self.report(key, place, format!("{key:?} {}", fault.reason), fault.remedy);
        }
    }

    fn integer(&mut self, key: &str, schema: &Value, number: Option<i128>, place: &Range<usize>) {
        let bound = |name: &str| schema[name].as_f64();
        let least = bound("minimum").unwrap_or(0.0);
        let most = bound("maximum").unwrap_or(f64::from(u32::MAX));
        #[allow(clippy::cast_precision_loss, reason = "compared with bounds far below the exact range")]
        let inside = number.is_some_and(|number| (least..=most).contains(&(number as f64)));
        if !inside {
            let reason = format!("{key:?} is out of range");
            self.report(key, place, reason, format!("write a number from {least} to {most}"));
        }
    }
}

/// The types of a value that the configuration uses.
#[derive(Clone, Copy)]
enum Kind {
    Table,
    List,
    Text,
    Integer,
    Boolean,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Table => "a section",
            Self::List => "a list",
            Self::Text => "a text",
            Self::Integer => "a number",
            Self::Boolean => "true or false",
        }
    }

    fn remedy(self, key: &str, schema: &Value) -> String {
        match self {
            Self::Table => format!("write its keys under a line [{key}]"),
            Self::List => format!("write e.g. {}", document::sample(schema)),
            Self::Text => format!("write it in quotes, e.g. {}", document::sample(schema)),
            Self::Integer | Self::Boolean => {
                format!("write it without quotes, e.g. {}", document::sample(schema))
            }
        }
    }
}

fn kind(schema: &Value) -> Kind {
    match schema["type"].as_str() {
        Some("object") => Kind::Table,
        Some("array") => Kind::List,
        Some("integer" | "number") => Kind::Integer,
        Some("boolean") => Kind::Boolean,
        _ => Kind::Text,
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Every key of a schema that is no section.
pub(crate) fn all_keys(path: &str, schema: &Value) -> Vec<String> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .flat_map(|(name, property)| {
            let key = join(path, name);
            if property["properties"].is_object() { all_keys(&key, property) } else { vec![key] }
        })
        .collect()
}
