//! A real Synapse: installed from the Python package index, one process, SQLite, no rate limits.

mod config;
mod install;

pub use config::SynapseOptions;
pub use install::{Installed, VERSION, ensure_installed};

use crate::http::{free_port, http_client};
use crate::matrix_client::{MatrixClient, send};
use crate::process::{Launch, Process};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for the first answer; an idle machine needs 2 to 4 s, a busy one several times that.
const START: Duration = Duration::from_secs(120);
/// Synapse stores what it has in memory when it is told to end.
const STOP: Duration = Duration::from_secs(20);
const SHARED_SECRET: &str = "shared-secret-of-the-tests";

/// A homeserver in a directory of its own; killed when dropped.
pub struct Synapse {
    /// `http://127.0.0.1:port`
    pub base_url: String,
    /// The part after the colon of user ids.
    pub server_name: String,
    dir: PathBuf,
    installed: Installed,
    process: Option<Process>,
}

impl Synapse {
    /// Makes sure that Synapse is there; see [`ensure_installed`].
    pub async fn ensure_installed(cache_dir: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<Installed> {
        ensure_installed(cache_dir, progress).await
    }

    /// Writes the configuration into `dir`, starts the server, and waits until it answers.
    pub async fn start(
        installed: &Installed,
        dir: &Path,
        registration: Option<&Path>,
        options: &SynapseOptions,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let port = options.port.map_or_else(free_port, Ok)?;
        let registration = registration.map(Path::canonicalize).transpose().context("registration file")?;
        config::write(&dir, port, registration.as_deref(), SHARED_SECRET, options)?;
        let mut synapse = Self {
            base_url: format!("http://127.0.0.1:{port}"),
            server_name: options.server_name.clone(),
            dir,
            installed: installed.clone(),
            process: None,
        };
        if !synapse.dir.join("signing.key").exists() {
            let mut keys = synapse.launch().arg("--generate-keys").start()?;
            let status = keys.wait_exit(START).await?;
            if !status.success() {
                bail!("Synapse could not make its keys ({status}):\n{}", keys.output()?);
            }
        }
        synapse.resume().await?;
        Ok(synapse)
    }

    fn launch(&self) -> Launch {
        Launch::new(&self.installed.python, self.dir.join("console.log"))
            .args(["-m", "synapse.app.homeserver", "-c"])
            .arg(self.dir.join("homeserver.yaml"))
            .current_dir(&self.dir)
            .env_remove("PYTHONPATH")
    }

    /// Starts it again after [`Synapse::stop`] or [`Synapse::kill`], on the same port and database.
    pub async fn resume(&mut self) -> Result<()> {
        let mut process = self.launch().start()?;
        let (http, url) = (http_client()?, format!("{}/_matrix/client/versions", self.base_url));
        let ready = async || http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success());
        let log = self.dir.join("homeserver.log");
        let started = process.wait_ready(START, "Synapse's first answer", ready).await;
        started.with_context(|| format!("see also {}", log.display()))?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it (SIGTERM) and starts it again.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.resume().await
    }

    /// Ends it; data stay.
    pub async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.stop(STOP).await.map(drop),
            None => Ok(()),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().map(drop),
            None => Ok(()),
        }
    }

    /// The running process, for its memory and signals.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Where its files and logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a user through the admin API and returns it logged in.
    pub async fn register_user(&self, name: &str, password: &str, admin: bool) -> Result<MatrixClient> {
        let http = http_client()?;
        let url = format!("{}/_synapse/admin/v1/register", self.base_url);
        let answer = send(http.get(&url)).await.context("nonce")?;
        let nonce = answer.get("nonce").and_then(Value::as_str).context("no nonce")?;
        let role = if admin { "admin" } else { "notadmin" };
        let mac = hmac_sha1_hex(SHARED_SECRET.as_bytes(), [nonce, name, password, role].join("\0").as_bytes());
        let body = json!({"nonce": nonce, "username": name, "password": password, "admin": admin, "mac": mac});
        let answer = send(http.post(&url).json(&body)).await.with_context(|| format!("register {name}"))?;
        let field = |key: &str| answer.get(key).and_then(Value::as_str).with_context(|| format!("no {key}"));
        MatrixClient::with_token(&self.base_url, field("user_id")?, field("access_token")?)
    }
}

/// HMAC-SHA1, here because the `hmac` of this workspace belongs to an older generation of digests than `sha1`.
fn hmac_sha1_hex(key: &[u8], message: &[u8]) -> String {
    let mut block = [0u8; 64];
    if key.len() > block.len() {
        block[..20].copy_from_slice(&Sha1::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let keyed = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha1::new().chain_update(keyed(0x36)).chain_update(message).finalize();
    let outer = Sha1::new().chain_update(keyed(0x5c)).chain_update(inner).finalize();
    outer.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_sha1_follows_rfc_2202() {
        let key = [0x0b; 20];
        assert_eq!(hmac_sha1_hex(&key, b"Hi There"), "b617318655057264e28bc0b6fb378c8ef146be00");
        let long = hmac_sha1_hex(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(long, "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    }
}
