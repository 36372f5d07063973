//! Where log lines go and how they look.

use anyhow::Context as _;
use bridge_config::{Log, LogFormat};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging to standard error. No level writes secrets or message bodies.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let filter = filter(&log.filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().context("starting the log")
}

/// A level, or levels per part. The larger filters that look at spans and fields are left out: they cost memory
/// and a second engine for regular expressions.
fn filter(text: &str) -> anyhow::Result<Targets> {
    let wrong = || {
        anyhow::anyhow!(
            "log.filter {text:?} is not a filter; write a level (error, warn, info, debug, trace) or levels per part, \
             e.g. \"info,bridge_matrix=debug\""
        )
    };
    // A word alone would be taken for a part of which everything is wanted.
    let is_known = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    anyhow::ensure!(text.split(',').all(is_known), wrong());
    text.parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_filter_is_a_level_with_exceptions() {
        let levels = filter("info,bridge_matrix=debug,sqlx=off").unwrap();
        assert!(levels.would_enable("dingtalk_bridge::relay", &Level::INFO));
        assert!(!levels.would_enable("dingtalk_bridge::relay", &Level::DEBUG));
        assert!(levels.would_enable("bridge_matrix::client", &Level::DEBUG));
        assert!(!levels.would_enable("sqlx::query", &Level::ERROR));
    }

    #[test]
    fn what_is_no_filter_is_refused_with_an_example() {
        for wrong in ["loud", "info,bridge_matrix=loud", "a=b=c"] {
            let refusal = filter(wrong).unwrap_err().to_string();
            assert!(refusal.contains("bridge_matrix=debug"), "{refusal}");
        }
    }
}
