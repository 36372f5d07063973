//! The operator's file: the platform's defaults and the operator's own settings.

use std::{net::SocketAddr, path::Path, time::Duration};

use operator_plan::{Platform, RolloutSettings};
use serde::Deserialize;

/// The file, read strictly.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct File {
    /// Defaults for every bridge.
    pub(crate) platform: serde_json::Value,
    /// The operator itself.
    #[serde(default)]
    pub(crate) operator: Settings,
}

/// The operator's own settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    /// Namespaces whose objects are looked after; none means the operator's own.
    pub(crate) namespaces: Vec<String>,
    /// Who works when several run.
    pub(crate) leader_election: LeaderElection,
    /// Probes and metrics.
    pub(crate) health: Health,
    /// What is written to standard error.
    pub(crate) log: Log,
    /// Most objects worked on at the same time.
    pub(crate) concurrency: usize,
    /// How often each object is looked at although nothing is known to have changed; from memory, no request is made.
    pub(crate) resync_hours: u64,
    /// How changes of the platform reach the bridges.
    pub(crate) rollout: RolloutSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            leader_election: LeaderElection::default(),
            health: Health::default(),
            log: Log::default(),
            concurrency: 32,
            resync_hours: 10,
            rollout: RolloutSettings::default(),
        }
    }
}

impl Settings {
    /// The time between two looks without a reason.
    pub(crate) fn resync(&self) -> Duration {
        Duration::from_hours(self.resync_hours.clamp(1, 24 * 7))
    }
}

/// Who works when several run.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LeaderElection {
    /// Without it this process works at once; only one may run then.
    pub(crate) enabled: bool,
    /// Name of the Lease in the operator's namespace.
    pub(crate) lease_name: String,
}

impl Default for LeaderElection {
    fn default() -> Self {
        Self { enabled: true, lease_name: "dingtalk-operator".to_owned() }
    }
}

/// Probes and metrics.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Health {
    /// Where `/livez`, `/readyz` and `/metrics` are answered.
    pub(crate) listen: SocketAddr,
}

impl Default for Health {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([0, 0, 0, 0], 8081)) }
    }
}

/// What is written to standard error.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Log {
    /// A level, or a level per part.
    pub(crate) filter: String,
    /// `json` or `text`.
    pub(crate) format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Json }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// The file's content, checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// Defaults for every bridge.
    pub(crate) platform: Platform,
    /// The operator itself.
    pub(crate) settings: Settings,
}

/// Reads the file. An error names it, the place and what to write.
pub(crate) fn read(path: &Path) -> anyhow::Result<Config> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| anyhow::anyhow!("{name}: {error}; name the file with --config FILE"))?;
    parse(&text).map_err(|error| anyhow::anyhow!("{name}: {error}"))
}

/// Reads the file's text.
pub(crate) fn parse(text: &str) -> anyhow::Result<Config> {
    let file: File = serde_saphyr::from_str(text)?;
    // Its own reading names every unknown key with the nearest known one.
    let platform = Platform::parse(&serde_saphyr::to_string(&file.platform)?)
        .map_err(|error| anyhow::anyhow!("section platform: {error}"))?;
    let settings = file.operator;
    anyhow::ensure!(
        (1..=512).contains(&settings.concurrency),
        "operator.concurrency is {}; write a number from 1 to 512",
        settings.concurrency
    );
    let mistakes = settings.rollout.mistakes();
    anyhow::ensure!(mistakes.is_empty(), "operator.{}", mistakes.join("\noperator."));
    Ok(Config { platform, settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = "platform: {image: {reference: 'registry.example/dingtalk-bridge:1'}}\n";

    #[test]
    fn what_is_not_said_has_a_default() {
        let config = parse(SMALLEST).unwrap();
        assert_eq!(config.settings.concurrency, 32);
        assert!(config.settings.leader_election.enabled);
        assert_eq!(config.settings.log.format, LogFormat::Json);
    }

    #[test]
    fn an_unknown_key_is_named() {
        for (text, key) in [
            ("operator: {namespace: [a]}\n", "namespace"),
            ("operator: {health: {port: 1}}\n", "port"),
            ("operater: {}\n", "operater"),
        ] {
            let error = parse(&format!("{SMALLEST}{text}")).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn numbers_have_bounds() {
        let error = parse(&format!("{SMALLEST}operator: {{concurrency: 0}}\n")).unwrap_err().to_string();
        assert!(error.contains("operator.concurrency"), "{error}");
    }
}
