//! Synapse: installed from the Python package index into a virtual environment of the build folder, on SQLite.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;
use serde_json::json;
use tokio::process::Command;

use crate::{files, process::Recipe};

/// The version that everything is tried against.
const VERSION: &str = "1.163.2";

/// The virtual environment with Synapse, installed at most once per build folder.
pub(crate) async fn install(target: &Path, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<PathBuf> {
    let folder = target.join(format!("synapse-{VERSION}"));
    let python = folder.join("bin/python");
    let done = folder.join("installed");
    if done.is_file() {
        return Ok(python);
    }
    progress(&format!("Installing Synapse {VERSION} from PyPI into {} (about a minute).", folder.display()));
    std::fs::create_dir_all(target).with_context(|| target.display().to_string())?;
    // Whatever an interrupted attempt left is written over.
    let remedy =
        "Synapse needs Python 3.10 or newer with venv (as root on Debian: apt-get install -y python3-venv)";
    run("python3", &["-m", "venv", "--clear", &folder.display().to_string()]).await.context(remedy)?;
    let package = format!("matrix-synapse=={VERSION}");
    run(
        &python.display().to_string(),
        &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &package],
    )
    .await
    .context("installing Synapse from the Python package index")?;
    std::fs::write(&done, "").with_context(|| done.display().to_string())?;
    Ok(python)
}

async fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("starting {program}"))?;
    anyhow::ensure!(
        output.status.success(),
        "`{program} {}` failed ({}):\n{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(())
}

/// Writes Synapse's files into a folder and says how it is started.
pub(crate) async fn prepare(
    python: &Path,
    dir: &Path,
    server_name: &str,
    port: u16,
    room_version: Option<&str>,
    registration: &Path,
) -> anyhow::Result<Recipe> {
    let folder = dir.join("synapse");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let inside = |name: &str| folder.join(name).display().to_string();
    let generous = json!({"per_second": 10000, "burst_count": 10000});
    let logging = json!({
        "version": 1,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "root": {"level": "WARNING", "handlers": ["console"]},
        "disable_existing_loggers": false,
    });
    // JSON is YAML too.
    let mut config = json!({
        "server_name": server_name,
        "public_baseurl": format!("http://127.0.0.1:{port}/"),
        "listeners": [{
            "port": port, "bind_addresses": ["127.0.0.1"], "type": "http", "tls": false, "x_forwarded": false,
            "resources": [{"names": ["client", "media"], "compress": false}],
        }],
        "database": {"name": "sqlite3", "args": {"database": inside("homeserver.db")}},
        "log_config": inside("log.yaml"),
        "signing_key_path": inside("signing.key"),
        "media_store_path": inside("media"),
        "pid_file": inside("synapse.pid"),
        "macaroon_secret_key": files::letters(32)?,
        "form_secret": files::letters(32)?,
        "report_stats": false,
        "trusted_key_servers": [],
        "federation_domain_whitelist": [],
        "enable_registration": true,
        "enable_registration_without_verification": true,
        "app_service_config_files": [registration.display().to_string()],
        "rc_message": generous,
        "rc_registration": generous,
        "rc_login": {"address": generous, "account": generous, "failed_attempts": generous},
        "rc_joins": {"local": generous, "remote": generous},
        "rc_joins_per_room": generous,
        "rc_invites": {"per_room": generous, "per_user": generous, "per_issuer": generous},
        "rc_room_creation": generous,
        "presence": {"enabled": false},
    });
    if let Some(version) = room_version {
        config["default_room_version"] = version.into();
    }
    let config_file = inside("homeserver.yaml");
    std::fs::write(&config_file, config.to_string()).with_context(|| config_file.clone())?;
    std::fs::write(inside("log.yaml"), logging.to_string()).with_context(|| inside("log.yaml"))?;
    run(
        &python.display().to_string(),
        &["-m", "synapse.app.homeserver", "--config-path", &config_file, "--generate-keys"],
    )
    .await
    .context("making Synapse's signing key")?;
    Ok(Recipe {
        name: "Synapse",
        program: python.to_owned(),
        arguments: ["-m", "synapse.app.homeserver", "--config-path", &config_file]
            .map(str::to_owned)
            .to_vec(),
        log: dir.join("synapse.log"),
    })
}
