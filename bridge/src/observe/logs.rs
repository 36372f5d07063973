//! Where log lines go and how they look.

use bridge_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. No level writes secrets or message bodies.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| {
        anyhow::anyhow!("log.filter {:?} is not a filter: {error}; try \"info\"", log.filter)
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).init(),
        LogFormat::Text => subscriber.with_ansi(false).init(),
    }
    Ok(())
}
