//! The files of a world: the bridge's configuration and its secrets.

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use bridge_config::Config;
use toml::{Table, Value};

/// What the configuration is made from.
pub(crate) struct Names<'a> {
    pub(crate) server_name: &'a str,
    pub(crate) homeserver_url: &'a str,
    pub(crate) sandbox_url: &'a str,
    /// Port for transactions and the webhook.
    pub(crate) port: u16,
    /// Port for probes and metrics.
    pub(crate) health_port: u16,
    pub(crate) admin: &'a str,
    pub(crate) log_filter: &'a str,
    /// Whether the webhook's token and key are files.
    pub(crate) webhook: bool,
    /// Address of a PostgreSQL database; without it the database is a file.
    pub(crate) postgresql: Option<&'a str>,
    /// Whether the bridge receives over Stream and has no webhook.
    pub(crate) stream: bool,
    /// Whether it takes part in encrypted rooms.
    pub(crate) encryption: bool,
    /// More settings, as TOML; they win.
    pub(crate) more: &'a str,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) config: PathBuf,
    pub(crate) registration: PathBuf,
    pub(crate) database: String,
}

impl Files {
    /// Writes the configuration and what it names; the registration is made by the bridge itself.
    pub(crate) fn write(dir: &Path, names: &Names<'_>) -> anyhow::Result<Self> {
        let files = Self {
            config: dir.join("bridge.toml"),
            registration: dir.join("registration.yaml"),
            database: match names.postgresql {
                Some(address) => address.to_owned(),
                None => format!("sqlite://{}", dir.join("bridge.db").display()),
            },
        };
        let database = match names.postgresql {
            Some(address) => ("url_file", text(&secret(&dir.join("database-url"), address)?)),
            None => ("url", files.database.as_str().into()),
        };
        let webhook_url = format!("http://127.0.0.1:{}{}", names.port, bridge_config::WEBHOOK_PATH);
        let sealing_key = secret(&dir.join("sealing-key"), &hex(random()?))?;
        let mut dingtalk =
            table([("api_base", names.sandbox_url.into()), ("oapi_base", names.sandbox_url.into())]);
        if names.webhook {
            let token = secret(&dir.join("webhook-token"), &letters(24)?)?;
            let aes_key = secret(&dir.join("webhook-aes-key"), &aes_key()?)?;
            let webhook = table([("token_file", text(&token)), ("aes_key_file", text(&aes_key))]);
            dingtalk.insert("webhook".to_owned(), webhook.into());
        }
        let mut appservice = table([("url", format!("http://127.0.0.1:{}", names.port).into())]);
        if names.stream {
            dingtalk.insert("receive".to_owned(), "stream".into());
        } else {
            appservice.insert("webhook_url".to_owned(), webhook_url.into());
        }
        let listen = |port: u16| Value::from(format!("127.0.0.1:{port}"));
        appservice.insert("listen".to_owned(), listen(names.port));
        let sections = [
            ("workspace", table([("id", "demo".into()), ("name", "Demo".into())])),
            (
                "homeserver",
                table([
                    ("url", names.homeserver_url.into()),
                    ("server_name", names.server_name.into()),
                    ("registration", text(&files.registration)),
                ]),
            ),
            ("appservice", appservice),
            ("dingtalk", dingtalk),
            ("database", table([database])),
            ("security", table([("sealing_key_file", text(&sealing_key))])),
            ("permissions", table([("admins", vec![names.admin].into())])),
            ("health", table([("listen", listen(names.health_port))])),
            ("log", table([("filter", names.log_filter.into())])),
        ];
        let mut config: Table =
            sections.into_iter().map(|(name, table)| (name.to_owned(), table.into())).collect();
        if names.encryption {
            config.insert("encryption".to_owned(), table([("enabled", true.into())]).into());
        }
        lay_over(&mut config, names.more.parse().context("reading the additional settings")?);
        let written = toml::to_string(&config).context("writing the configuration")?;
        if let Err(faults) = Config::parse(&written) {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            anyhow::bail!("the world's configuration is refused: {}", faults.join("; "));
        }
        std::fs::write(&files.config, written).with_context(|| files.config.display().to_string())?;
        Ok(files)
    }
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Puts settings over others, section by section.
fn lay_over(config: &mut Table, more: Table) {
    for (key, value) in more {
        match (config.get_mut(&key), value) {
            (Some(Value::Table(section)), Value::Table(more)) => lay_over(section, more),
            (_, value) => {
                config.insert(key, value);
            }
        }
    }
}

fn text(path: &Path) -> Value {
    Value::from(path.display().to_string())
}

/// Writes a file that only its owner may read.
pub(crate) fn secret(path: &Path, content: &str) -> anyhow::Result<PathBuf> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).with_context(|| path.display().to_string())?;
    file.write_all(content.as_bytes()).with_context(|| path.display().to_string())?;
    Ok(path.to_owned())
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(bytes)
}

/// Random letters and digits.
pub(crate) fn letters(count: usize) -> anyhow::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes = random::<64>()?;
    Ok(bytes.iter().take(count).map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

fn hex(bytes: [u8; 32]) -> String {
    let [high, low] = [&bytes[..16], &bytes[16..]]
        .map(|half| half.iter().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte)));
    format!("{high:032x}{low:032x}")
}

/// 43 letters and digits that are the base64 text of 32 bytes: of the last one only four bits count.
fn aes_key() -> anyhow::Result<String> {
    const LAST: &[u8; 16] = b"AEIMQUYcgkosw048";
    let last = LAST[usize::from(random::<1>()?[0] % 16)];
    Ok(format!("{}{}", letters(42)?, char::from(last)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_written_configuration_is_what_the_bridge_reads() {
        let dir = tempfile::tempdir().unwrap();
        let names = Names {
            server_name: "demo.localhost",
            homeserver_url: "http://127.0.0.1:8008",
            sandbox_url: "http://127.0.0.1:8900",
            port: 8080,
            health_port: 9090,
            admin: "@admin:demo.localhost",
            log_filter: "info",
            webhook: true,
            postgresql: None,
            stream: false,
            encryption: false,
            more: "[queue]\nfirst_pause = \"50ms\"\n[log]\nformat = \"json\"",
        };
        let files = Files::write(dir.path(), &names).unwrap();
        let config = Config::parse(&std::fs::read_to_string(&files.config).unwrap()).unwrap();
        assert!(config.permissions.is_admin("@admin:demo.localhost"));
        assert_eq!(config.bot_user_id(), "@dingtalkbot:demo.localhost");
        assert_eq!(config.log.format, bridge_config::LogFormat::Json);
        assert_eq!(std::fs::read_to_string(dir.path().join("webhook-aes-key")).unwrap().len(), 43);
        let postgresql = Names { postgresql: Some("postgres://bridge:secret@127.0.0.1/bridge"), ..names };
        let files = Files::write(dir.path(), &postgresql).unwrap();
        let written = std::fs::read_to_string(&files.config).unwrap();
        assert!(written.contains("url_file") && !written.contains("secret@"), "{written}");
        for secret in ["sealing-key", "webhook-token", "webhook-aes-key", "database-url"] {
            let mode = std::fs::metadata(dir.path().join(secret)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{secret}");
        }
    }
}
