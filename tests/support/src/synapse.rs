//! A real Synapse on SQLite for one test, without any rate limit.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use reqwest::Method;
use serde_json::{Map, Value, json};
use sha1::{Digest as _, Sha1};

pub use crate::venv::{Installation, Package};
use crate::{MatrixClient, Process, Spawn, UserSession, hex, random_bytes, waiting::Patience};

/// What the first answer may take, on a busy machine.
const START: Duration = Duration::from_mins(2);
/// What an orderly end may take.
const STOP: Duration = Duration::from_secs(20);
/// The secret that accounts are made with; the server listens on this machine only.
const SECRET: &str = "for tests on this machine";

/// Starts Synapse with a table that it makes on PostgreSQL only. On SQLite it looks for it, too, and then no client can
/// synchronise any more, when it was ended between two writes of events that went on at the same time.
const LAUNCH: &str = "import runpy, sqlite3, sys
database = sqlite3.connect(sys.argv.pop(1))
database.execute('CREATE TABLE IF NOT EXISTS instance_map (instance_id INTEGER PRIMARY KEY, instance_name TEXT UNIQUE)')
database.close()
runpy.run_module('synapse.app.homeserver', run_name='__main__', alter_sys=True)";

/// A Synapse to be started.
#[derive(Debug, Clone)]
pub struct SynapseOptions {
    /// Its folder: configuration, database, media and logs. It is made if it is missing; one that was used before
    /// goes on with its rooms.
    pub dir: PathBuf,
    /// The name in its user ids; no DNS is needed.
    pub server_name: String,
    /// The port that it listens on.
    pub port: u16,
    /// Registration files of application services.
    pub registrations: Vec<PathBuf>,
    /// The version of new rooms; Synapse's default otherwise.
    pub room_version: Option<String>,
    /// Whether encryption news go to application services (MSC3202, MSC2409).
    pub encryption_extensions: bool,
}

/// A running Synapse. Dropping it kills it; its folder stays.
#[derive(Debug)]
pub struct Synapse {
    spawn: Spawn,
    process: Process,
    base_url: String,
}

impl Synapse {
    /// Writes the configuration, starts the server and waits for its first answer.
    pub async fn start(installation: &Installation, options: SynapseOptions) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let python = Spawn::new(installation.python());
        Self::start_at(python, options, address.ip(), format!("http://{address}")).await
    }

    /// The same for a server in another network: its interpreter as it is started there, the address that it
    /// listens on there, and its address as this process reaches it.
    pub async fn start_at(
        python: Spawn,
        options: SynapseOptions,
        listen: IpAddr,
        base_url: String,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.dir).with_context(|| format!("making {}", options.dir.display()))?;
        // The paths in the configuration must not depend on a working folder.
        let dir = options.dir.canonicalize()?;
        let file = dir.join("homeserver.yaml");
        write(&file, &configuration(&dir, &options, listen, &base_url)?)?;
        write(&dir.join("log.yaml"), &logging(&dir))?;
        let key = dir.join("signing.key");
        if !key.exists() {
            // What --generate-keys would write, without two seconds of Python.
            let seed = STANDARD_NO_PAD.encode(random_bytes::<32>()?);
            std::fs::write(&key, format!("ed25519 a_test {seed}\n"))?;
        }
        let spawn = python
            .args(["-c", LAUNCH])
            .arg(database(&dir))
            .arg("-c")
            .arg(&file)
            .folder(&dir)
            .log(dir.join("synapse.out"));
        let process = launch(&spawn, &base_url).await?;
        Ok(Self { spawn, process, base_url })
    }

    /// Ends the server if it runs, and starts it again. This is also the way to load changed registration files.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        self.process = launch(&self.spawn, &self.base_url).await?;
        Ok(())
    }

    /// Ends the server in good order. It can be started again.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.process.terminate(STOP).await?;
        Ok(())
    }

    /// Kills the server in the middle of its work. It can be started again.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.process.kill().await?;
        Ok(())
    }

    /// The address for clients and application services.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The server's process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Makes an account and logs it in.
    pub async fn register_user(
        &self,
        name: &str,
        password: &str,
        admin: bool,
    ) -> anyhow::Result<UserSession> {
        let url = format!("{}/_synapse/admin/v1/register", self.base_url);
        let http = crate::http_client()?;
        let nonce: Value = http.get(&url).send().await?.error_for_status()?.json().await?;
        let nonce = nonce["nonce"].as_str().context("Synapse gave no nonce")?;
        let role = if admin { "admin" } else { "notadmin" };
        let mac = hmac_sha1(SECRET.as_bytes(), [nonce, name, password, role].join("\0").as_bytes());
        let body =
            json!({"nonce": nonce, "username": name, "password": password, "admin": admin, "mac": hex(&mac)});
        let answer = http.post(&url).json(&body).send().await?;
        let (status, answer) = (answer.status(), answer.json::<Value>().await?);
        let text = |key: &str| {
            let value = answer[key].as_str();
            value.map(str::to_owned).with_context(|| format!("registering {name}: {status} {answer}"))
        };
        Ok(UserSession {
            user_id: text("user_id")?,
            access_token: text("access_token")?,
            password: password.to_owned(),
            device_id: text("device_id")?,
        })
    }

    /// A client for an account of this server.
    pub fn client(&self, session: &UserSession) -> anyhow::Result<MatrixClient> {
        MatrixClient::from_session(&self.base_url, session)
    }
}

async fn launch(spawn: &Spawn, base_url: &str) -> anyhow::Result<Process> {
    let process = spawn.start().await?;
    let client = MatrixClient::from_token(base_url, "", "")?;
    let mut patience = Patience::new(START);
    let versions = async || client.request(Method::GET, &["versions"], &[], None).await.ok();
    while patience.hear(versions()).await.is_none() {
        process.wait_on(&mut patience, "Synapse's first answer").await?;
    }
    Ok(process)
}

/// YAML is a superset of JSON.
fn write(path: &Path, content: &Value) -> anyhow::Result<()> {
    std::fs::write(path, format!("{content:#}\n")).with_context(|| format!("writing {}", path.display()))
}

fn database(dir: &Path) -> PathBuf {
    dir.join("homeserver.db")
}

fn configuration(
    dir: &Path,
    options: &SynapseOptions,
    listen: IpAddr,
    base_url: &str,
) -> anyhow::Result<Value> {
    let registrations = options.registrations.iter().map(|file| {
        file.canonicalize().with_context(|| format!("the registration {} cannot be read", file.display()))
    });
    let registrations = registrations.collect::<anyhow::Result<Vec<_>>>()?;
    let mut all = json!({
        "server_name": options.server_name,
        "public_baseurl": format!("{base_url}/"),
        "report_stats": false,
        "signing_key_path": dir.join("signing.key"),
        "media_store_path": dir.join("media"),
        "pid_file": dir.join("synapse.pid"),
        "log_config": dir.join("log.yaml"),
        "suppress_key_server_warning": true,
        "trusted_key_servers": [],
        "macaroon_secret_key": SECRET,
        "form_secret": SECRET,
        "registration_shared_secret": SECRET,
        "database": {"name": "sqlite3", "args": {"database": database(dir)}},
        "listeners": [{
            "port": options.port,
            "type": "http",
            "bind_addresses": [listen],
            "resources": [{"names": ["client"]}],
        }],
        "app_service_config_files": registrations,
        "presence": {"enabled": false},
        "max_upload_size": "50M",
        // Hashing a password the slow way is of no use here.
        "bcrypt_rounds": 4,
    });
    let entries = all.as_object_mut().context("not an object")?;
    entries.append(&mut no_limits());
    if let Some(version) = &options.room_version {
        entries.insert("default_room_version".into(), version.as_str().into());
    }
    if options.encryption_extensions {
        let features =
            json!({"msc3202_transaction_extensions": true, "msc2409_to_device_messages_enabled": true});
        entries.insert("experimental_features".into(), features);
    }
    Ok(all)
}

/// Every limit that Synapse has, far out of a test's reach.
fn no_limits() -> Map<String, Value> {
    const LIMITS: &[(&str, &[&str])] = &[
        ("rc_message", &[]),
        ("rc_registration", &[]),
        ("rc_registration_token_validity", &[]),
        ("rc_login", &["address", "account", "failed_attempts"]),
        ("rc_admin_redaction", &[]),
        ("rc_joins", &["local", "remote"]),
        ("rc_joins_per_room", &[]),
        ("rc_invites", &["per_room", "per_user", "per_issuer"]),
        ("rc_media_create", &[]),
        ("rc_room_creation", &[]),
        ("rc_key_requests", &[]),
        ("rc_user_directory", &[]),
        ("rc_profile", &[]),
        ("rc_presence", &["per_user"]),
    ];
    let none = json!({"per_second": 100_000, "burst_count": 100_000});
    let limits = LIMITS.iter().map(|(name, kinds)| {
        let kinds: Map<_, _> = kinds.iter().map(|kind| ((*kind).to_owned(), none.clone())).collect();
        ((*name).to_owned(), if kinds.is_empty() { none.clone() } else { kinds.into() })
    });
    limits.collect()
}

fn logging(dir: &Path) -> Value {
    json!({
        "version": 1,
        "disable_existing_loggers": false,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s"}},
        "handlers": {
            "file": {"class": "logging.FileHandler", "formatter": "line", "filename": dir.join("synapse.log")},
        },
        "root": {"level": "WARNING", "handlers": ["file"]},
    })
}

/// RFC 2104. The workspace's `hmac` is of another generation than its `sha1`.
fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    const BLOCK: usize = 64;
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..20].copy_from_slice(&Sha1::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |byte: u8| block.map(|own| own ^ byte);
    let inner = Sha1::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha1::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hmac_is_that_of_rfc_2202() {
        for (key, message, expected) in [
            (&b"Jefe"[..], &b"what do ya want for nothing?"[..], "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (&[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
            (
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            ),
        ] {
            assert_eq!(hex(&hmac_sha1(key, message)), expected);
        }
    }

    #[test]
    fn a_registration_that_is_not_there_is_named() {
        let options = SynapseOptions {
            dir: "/nowhere".into(),
            server_name: "localhost.test".into(),
            port: 1,
            registrations: vec!["/nowhere/registration.yaml".into()],
            room_version: None,
            encryption_extensions: false,
        };
        let error =
            configuration(&options.dir, &options, Ipv4Addr::LOCALHOST.into(), "").unwrap_err().to_string();
        assert!(error.contains("/nowhere/registration.yaml"), "{error}");
    }
}
