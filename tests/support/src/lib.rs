//! What all suites across crates share: processes, ports, waiting, a Matrix client, a real Synapse, a TCP proxy that
//! breaks on demand, and a reader of metrics. Nothing here knows the bridge.

pub mod fault_proxy;
mod http;
pub mod matrix_client;
pub mod metrics;
pub mod process;
pub mod synapse;
mod wait;

pub use fault_proxy::FaultProxy;
pub use http::{free_port, http_client, install_crypto};
pub use matrix_client::MatrixClient;
pub use metrics::Metrics;
pub use process::{Launch, Process};
pub use synapse::Synapse;
pub use wait::{wait_for, wait_until};
