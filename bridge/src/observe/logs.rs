//! Where log lines go and how they look.

use anyhow::Context as _;
use bridge_config::{Log, LogFormat};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// A part whose warnings are about single messages, of which the bridge tells itself where they matter; one that comes a second
/// time is no matter at all. They are wanted with `debug`, or by name.
const TALKATIVE: &str = "matrix_sdk_crypto";

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
    let levels: Targets = text.parse().map_err(|_| wrong())?;
    let usual =
        levels.default_level().is_some_and(|level| (LevelFilter::WARN..=LevelFilter::INFO).contains(&level));
    let named = text.contains(TALKATIVE);
    Ok(if usual && !named { levels.with_target(TALKATIVE, LevelFilter::ERROR) } else { levels })
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
    fn what_one_part_says_of_single_messages_is_left_out_unless_it_is_wanted() {
        let is_told =
            |text: &str| filter(text).unwrap().would_enable("matrix_sdk_crypto::store", &Level::WARN);
        assert!(["info", "warn", "error", "off", "info,sqlx=off"].iter().all(|text| !is_told(text)));
        assert!(
            ["debug", "trace", "info,matrix_sdk_crypto=warn", "off,matrix_sdk_crypto=info"]
                .iter()
                .all(|text| is_told(text))
        );
        assert!(filter("info").unwrap().would_enable("matrix_sdk_crypto::store", &Level::ERROR));
        assert!(!filter("off").unwrap().would_enable("matrix_sdk_crypto::store", &Level::ERROR));
    }

    #[test]
    fn what_is_no_filter_is_refused_with_an_example() {
        for wrong in ["loud", "info,bridge_matrix=loud", "a=b=c"] {
            let refusal = filter(wrong).unwrap_err().to_string();
            assert!(refusal.contains("bridge_matrix=debug"), "{refusal}");
        }
    }
}
