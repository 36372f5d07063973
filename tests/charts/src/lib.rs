//! What the charts take and what the operator's account may do, as far as it is not said by the product itself: the
//! schema of the chart's values and its dashboards, printed by `cargo xtask generate`, and the reading of an API server's audit log.

pub mod audit;
mod dashboards;
mod values;

pub use dashboards::{DASHBOARDS, Dashboard};
pub use values::values_schema;

use std::path::PathBuf;

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
