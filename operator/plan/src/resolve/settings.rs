//! The bridge's configuration file: the platform's settings, over them those of `spec`, over them what the operator
//! itself knows. The result is read by the same code as in the bridge, so that no file is written which it refuses.

use bridge_config::{Config, ConfigError};
use dingtalk_crds::DingTalkBridgeSpec;
use serde_json::Value as Json;
use toml::{Table, Value};

use super::names::Names;
use crate::{
    Platform, files,
    rotation::Beside,
    workspace::{CredentialsFrom, DatabaseFrom, Homeserver, Invalid, webhook_url},
};

/// What belongs to the operator in the configuration, with the field of `spec` for it where there is one. A section
/// stands for all its keys.
const OWN: [(&str, Option<&str>); 24] = [
    ("workspace.name", Some("spec.displayName")),
    ("workspace", Some("spec.workspace")),
    ("homeserver.url", Some("spec.homeserver.url")),
    ("homeserver.server_name", Some("spec.homeserver.serverName")),
    ("homeserver.registration", None),
    ("homeserver.other_registration", None),
    ("homeserver.ca_file", Some("spec.homeserver.caConfigMapRef")),
    ("appservice.listen", None),
    ("appservice.url", None),
    ("appservice.webhook_url", Some("spec.host")),
    ("dingtalk.api_base", Some("spec.dingtalk.apiBase")),
    ("dingtalk.oapi_base", Some("spec.dingtalk.oapiBase")),
    ("dingtalk.ca_file", Some("spec.dingtalk.caConfigMapRef")),
    ("dingtalk.receive", Some("spec.dingtalk.receive")),
    ("dingtalk.corp_id", Some("spec.dingtalk.corpID")),
    ("dingtalk.credentials", Some("spec.dingtalk.credentials")),
    ("dingtalk.webhook", Some("spec.dingtalk.webhook")),
    ("dingtalk.webhook_generation", None),
    ("encryption.enabled", Some("spec.encryption.enabled")),
    ("encryption.wait_for_keys", Some("spec.encryption.waitForKeys")),
    ("database.url", Some("spec.database")),
    ("database.url_file", Some("spec.database")),
    ("permissions", Some("spec.permissions")),
    ("security", None),
];

/// What the operator knows.
pub(super) struct Own<'a> {
    pub names: &'a Names<'a>,
    pub homeserver: &'a Homeserver,
    pub dingtalk_ca: bool,
    pub credentials: Option<&'a CredentialsFrom>,
    pub webhook: bool,
    pub database: &'a DatabaseFrom,
    pub beside: &'a Beside,
}

/// The file's text and what the bridge reads in it.
pub(super) fn config(
    spec: &DingTalkBridgeSpec,
    platform: &Platform,
    own: &Own<'_>,
) -> Result<(String, Config), Invalid> {
    let mut table = Table::new();
    for (settings, origin) in [(Some(&platform.settings), PLATFORM), (spec.settings.as_ref(), SPEC)] {
        let Some(settings) = settings else { continue };
        refuse_own_keys(settings, origin)?;
        let converted = to_table(settings, origin)?;
        merge(&mut table, converted);
    }
    write_own_keys(&mut table, spec, platform, own)?;
    let text = format!(
        "# Written by the operator from the DingTalkBridge {}; what is changed here is undone.\n{table}",
        own.names.name
    );
    match Config::parse(&text) {
        Ok(config) => Ok((text, config)),
        Err(errors) => Err(refused(errors.first(), spec, platform)),
    }
}

const PLATFORM: &str = "the platform's settings";
const SPEC: &str = "spec.settings";

/// The operator's part of the file wins, so a key of the user's there would be lost without a word.
fn refuse_own_keys(settings: &serde_json::Map<String, Json>, origin: &str) -> Result<(), Invalid> {
    for (key, field) in OWN.into_iter().chain([("health", None)]) {
        let found = match key.split_once('.') {
            Some((section, name)) => settings.get(section).and_then(|section| section.get(name)),
            None => settings.get(key),
        };
        if found.is_some() {
            let remedy = field.map_or_else(|| "remove it".to_owned(), |field| format!("set {field} instead"));
            return Err(Invalid::setting(format!("{origin}.{key} is the operator's own: {remedy}")));
        }
    }
    Ok(())
}

fn to_table(settings: &serde_json::Map<String, Json>, path: &str) -> Result<Table, Invalid> {
    settings.iter().map(|(key, value)| Ok((key.clone(), to_toml(value, &format!("{path}.{key}"))?))).collect()
}

fn to_toml(value: &Json, path: &str) -> Result<Value, Invalid> {
    let wrong = |what: &str, remedy: &str| Invalid::setting(format!("{path} is {what}: {remedy}"));
    Ok(match value {
        Json::Null => return Err(wrong("null", "write a value, or remove the line")),
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Integer(whole),
            None => {
                return Err(wrong(
                    "not a whole number",
                    "no setting of the bridge is one, write it without a fraction",
                ));
            }
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::Array(
            items
                .iter()
                .enumerate()
                .map(|(at, item)| to_toml(item, &format!("{path}[{at}]")))
                .collect::<Result<_, _>>()?,
        ),
        Json::Object(fields) => Value::Table(to_table(fields, path)?),
    })
}

/// Tables are merged key by key, everything else is replaced.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Sets keys of one section.
struct Section<'t>(&'t mut Table);

impl Section<'_> {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn set_if(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }
}

/// The section of this name; a value that is no section is the user's mistake.
fn section<'t>(table: &'t mut Table, name: &str) -> Result<Section<'t>, Invalid> {
    match table.entry(name).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(section) => Ok(Section(section)),
        _ => Err(Invalid::setting(format!("{SPEC}.{name} must be a section: write its keys below it"))),
    }
}

fn write_own_keys(
    table: &mut Table,
    spec: &DingTalkBridgeSpec,
    platform: &Platform,
    own: &Own<'_>,
) -> Result<(), Invalid> {
    let names = own.names;
    let mut workspace = section(table, "workspace")?;
    workspace.set("id", spec.workspace.as_str());
    workspace.set_if("name", spec.display_name.as_deref());

    let mut homeserver = section(table, "homeserver")?;
    homeserver.set("url", own.homeserver.url.as_str());
    homeserver.set("server_name", own.homeserver.server_name.as_str());
    homeserver.set("registration", files::secret(files::REGISTRATION));
    if own.beside.other_registration {
        homeserver.set("other_registration", files::secret(files::OTHER_REGISTRATION));
    }
    homeserver.set_if("ca_file", own.homeserver.ca.as_ref().map(|_| files::ca(files::HOMESERVER_CA)));

    let mut appservice = section(table, "appservice")?;
    appservice.set("listen", format!("0.0.0.0:{}", dingtalk_crds::names::HTTP_PORT));
    appservice.set(
        "url",
        format!(
            "http://{}.{}.svc:{}",
            dingtalk_crds::names::child(names.name),
            names.namespace,
            dingtalk_crds::names::HTTP_PORT
        ),
    );
    appservice.set("webhook_url", webhook_url(names.known_host()));

    let given = spec.dingtalk.as_ref();
    let mut dingtalk = section(table, "dingtalk")?;
    let default = &platform.dingtalk;
    dingtalk.set_if(
        "api_base",
        given.and_then(|given| given.api_base.clone()).or_else(|| default.api_base.clone()),
    );
    dingtalk.set_if(
        "oapi_base",
        given.and_then(|given| given.oapi_base.clone()).or_else(|| default.oapi_base.clone()),
    );
    let receive = given.and_then(|given| given.receive).or(default.receive);
    dingtalk.set_if("receive", receive.map(dingtalk_crds::Receive::word));
    dingtalk.set_if("corp_id", given.and_then(|given| given.corp_id.clone()));
    dingtalk.set_if("ca_file", own.dingtalk_ca.then(|| files::ca(files::DINGTALK_CA)));
    if let (Some(hosts), false) = (&default.session_hosts, dingtalk.0.contains_key("session_hosts")) {
        dingtalk.set("session_hosts", hosts.clone());
    }
    dingtalk.set_if("credentials", own.credentials.map(credentials));
    if own.webhook {
        let mut webhook = Table::new();
        Section(&mut webhook).set("token_file", files::secret(files::WEBHOOK_TOKEN));
        Section(&mut webhook).set("aes_key_file", files::secret(files::WEBHOOK_AES_KEY));
        dingtalk.set("webhook", webhook);
    }
    let generation = own.beside.webhook_generation;
    dingtalk.set_if("webhook_generation", (generation > 0).then_some(i64::from(generation)));

    let (given, default) = (spec.encryption.as_ref(), &platform.encryption);
    let enabled = given.and_then(|given| given.enabled).or(default.enabled);
    let wait = given.and_then(|given| given.wait_for_keys.as_ref()).or(default.wait_for_keys.as_ref());
    if enabled.is_some() || wait.is_some() {
        let mut encryption = section(table, "encryption")?;
        encryption.set_if("enabled", enabled);
        encryption.set_if("wait_for_keys", wait.map(String::as_str));
    }

    let mut database = section(table, "database")?;
    match own.database {
        DatabaseFrom::PostgreSql(_) => database.set("url_file", files::secret(files::DATABASE_URL)),
        DatabaseFrom::Sqlite { .. } => database.set("url", files::SQLITE_URL),
    }

    let mut security = section(table, "security")?;
    security.set("sealing_key_file", files::secret(files::SEALING_KEY));
    if !own.beside.old_keys.is_empty() {
        let paths: Vec<String> = own.beside.old_keys.iter().map(|key| files::secret(key)).collect();
        security.set("old_sealing_key_files", paths);
    }

    let given = spec.permissions.as_ref();
    let admins = match given.and_then(|given| given.admins.clone()) {
        Some(admins) => admins,
        None => names.admins()?,
    };
    let mut permissions = section(table, "permissions")?;
    permissions.set("admins", admins);
    permissions.set_if("users", given.and_then(|given| given.users.clone()));

    let mut health = section(table, "health")?;
    health.set("listen", format!("0.0.0.0:{}", dingtalk_crds::names::HEALTH_PORT));
    health.set("status_token_file", files::secret(files::STATUS_TOKEN));
    Ok(())
}

fn credentials(from: &CredentialsFrom) -> Table {
    let mut table = Table::new();
    let mut section = Section(&mut table);
    match from {
        CredentialsFrom::Secret(_) => {
            section.set("app_key_file", files::secret(files::APP_KEY));
            section.set("agent_id_file", files::secret(files::AGENT_ID));
        }
        CredentialsFrom::Parts { app_key, agent_id, .. } => {
            section.set("app_key", app_key.as_str());
            section.set("agent_id", agent_id.as_str());
        }
    }
    section.set("app_secret_file", files::secret(files::APP_SECRET));
    table
}

/// What the bridge says of the file, with the place where its cause was written.
fn refused(error: Option<&ConfigError>, spec: &DingTalkBridgeSpec, platform: &Platform) -> Invalid {
    let Some(error) = error else { return Invalid::setting("the configuration is refused without a reason") };
    let key = error.key.as_str();
    let within =
        |section: &str| key == section || key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
    let own = match key {
        "permissions.admins" => Some("spec.permissions.admins"),
        "permissions.users" => Some("spec.permissions.users"),
        "workspace.id" => Some("spec.workspace"),
        _ => OWN.into_iter().find(|(own, _)| within(own)).and_then(|(_, field)| field),
    };
    let place = match own {
        Some(field) => field.to_owned(),
        None if spec.settings.as_ref().is_some_and(|settings| written(settings, key)) => {
            format!("{SPEC}.{key}")
        }
        None if written(&platform.settings, key) => format!("{PLATFORM}.{key}"),
        None => format!("{SPEC}.{key}"),
    };
    Invalid::setting(format!("{place}: {}; {}", error.reason, error.remedy))
}

/// Whether a key stands in the settings.
fn written(settings: &serde_json::Map<String, Json>, key: &str) -> bool {
    let mut names = key.split('.');
    let first = names.next().and_then(|name| settings.get(name));
    names.fold(first, |at, name| at.and_then(|value| value.get(name))).is_some()
}
