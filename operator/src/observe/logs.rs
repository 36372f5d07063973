//! Where log lines go and how they look.

use anyhow::Context as _;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat};

/// Starts logging to standard error. No level writes secrets.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let filter: Targets = log.filter.parse().map_err(|_| {
        anyhow::anyhow!(
            "operator.log.filter {:?} is not a filter; write a level (error, warn, info, debug, trace) or levels per \
             part, e.g. \"info,operator_cluster=debug\"",
            log.filter
        )
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().context("starting the log")
}
