//! The operator's program with a file of settings, as an account.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Value, json};
use test_support::{Metrics, Spawn};

use crate::Account;

/// The operator's file, with homeservers at a port of this machine, one per workspace below a path of its own.
pub fn settings(namespaces: &[&str], homeservers: u16, filter: &str) -> Value {
    json!({
        "platform": {
            "baseDomain": "demo.localhost",
            "homeserver": {"urlTemplate": format!("http://127.0.0.1:{homeservers}/{{workspace}}")},
            "admins": ["@admin:{serverName}"],
            "route": {"type": "Ingress", "ingress": {"className": "skipper"}},
            "image": {"reference": "docker.io/local/dingtalk-bridge:none", "pullPolicy": "Never"},
            "storage": {"size": "128Mi"},
        },
        "operator": {"namespaces": namespaces, "log": {"format": "text", "filter": filter}},
    })
}

/// An operator that can be started, more than once.
#[derive(Clone, Debug)]
pub struct Program {
    /// How it is started.
    pub spawn: Spawn,
    /// Its file.
    pub config: PathBuf,
    /// What it says.
    pub log: PathBuf,
    port: u16,
    http: reqwest::Client,
}

impl Program {
    /// Writes its files into a folder, under the account's name or another one. Each process of an account needs a
    /// name of its own.
    pub fn prepare(
        program: &Path,
        folder: &Path,
        name: &str,
        account: &Account,
        mut settings: Value,
    ) -> anyhow::Result<Self> {
        test_support::install_crypto();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let port = test_support::free_port()?;
        settings["operator"]["health"] = json!({"listen": format!("127.0.0.1:{port}")});
        let write = |ending: &str, content: &Value| {
            let path = folder.join(format!("{name}.{ending}"));
            std::fs::write(&path, content.to_string())
                .with_context(|| format!("writing {}", path.display()))?;
            anyhow::Ok(path)
        };
        let (config, access) = (write("yaml", &settings)?, write("kubeconfig", &account.kubeconfig)?);
        let log = folder.join(format!("{name}.log"));
        let spawn = Spawn::new(program)
            .arg("run")
            .arg("--config")
            .arg(&config)
            .arg("--kubeconfig")
            .arg(&access)
            // Names of bridges are unknown here. A cluster's resolver says so at once, that of a machine may be silent.
            .env("RES_OPTIONS", "timeout:1 attempts:1")
            .env("POD_NAMESPACE", &account.home)
            .env("POD_NAME", name)
            .log(&log);
        Ok(Self { spawn, config, log, port, http })
    }

    /// What a page answers, if anybody does.
    pub async fn page(&self, path: &str) -> Option<(u16, String)> {
        let answer = self.http.get(format!("http://127.0.0.1:{}{path}", self.port)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// A value of its metrics; the sum of those with at least these labels.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let (_, page) = self.page("/metrics").await?;
        Metrics::parse(&page).ok()?.value(name, labels)
    }

    /// Whether it is the one that works.
    pub async fn leads(&self) -> bool {
        self.metric("dingtalk_operator_leader", &[]).await.is_some_and(|leader| leader > 0.5)
    }
}
