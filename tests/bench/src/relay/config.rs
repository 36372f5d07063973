//! The configuration of our own bridge.

use std::path::Path;

use anyhow::Context as _;

use crate::{
    app::{AGENT_ID, APP_KEY, APP_SECRET, CORP_ID},
    relay::rig::{ADMIN, Places, SERVER, Setup, WORKSPACE},
};

/// Writes configuration and secrets into a folder; the path of the configuration.
pub(super) fn write(dir: &Path, places: &Places, setup: Setup<'_>) -> anyhow::Result<String> {
    let Places { address, second: health, homeserver, dingtalk } = places;
    let Setup { postgresql, encryption, .. } = setup;
    let secret = |name: &str, content: &str| -> anyhow::Result<String> {
        let path = dir.join(name);
        std::fs::write(&path, content).with_context(|| path.display().to_string())?;
        Ok(path.display().to_string())
    };
    let app_secret = secret("app-secret", APP_SECRET)?;
    let token = secret("webhook-token", "bench0123456789abcdefghij")?;
    let aes_key = secret("webhook-aes-key", &format!("{}A", "b".repeat(42)))?;
    let sealing_key = secret("sealing-key", &"5e".repeat(32))?;
    let folder = dir.display();
    let database = match postgresql {
        Some(address) => format!("url_file = \"{}\"", secret("database-url", address)?),
        None => format!("url = \"sqlite://{folder}/bridge.db\""),
    };
    let config = format!(
        r#"[workspace]
id = "{WORKSPACE}"
[homeserver]
url = "{homeserver}"
server_name = "{SERVER}"
registration = "{folder}/registration.yaml"
[appservice]
listen = "{address}"
url = "http://{address}"
webhook_url = "http://{address}/bridges/dingtalk/webhook"
[dingtalk]
api_base = "{dingtalk}"
oapi_base = "{dingtalk}"
corp_id = "{CORP_ID}"
[dingtalk.credentials]
app_key = "{APP_KEY}"
app_secret_file = "{app_secret}"
agent_id = "{AGENT_ID}"
[dingtalk.webhook]
token_file = "{token}"
aes_key_file = "{aes_key}"
[database]
{database}
[security]
sealing_key_file = "{sealing_key}"
[permissions]
admins = ["{ADMIN}"]
[health]
listen = "{health}"
[encryption]
enabled = {encryption}
[log]
filter = "warn"
"#
    );
    secret("bridge.toml", &config)
}
