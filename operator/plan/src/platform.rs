//! The platform's defaults: what the chart's values say for every bridge.
//!
//! (to be written)

/// The platform's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Platform {}

/// Why the platform's file was refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PlatformError(pub String);
