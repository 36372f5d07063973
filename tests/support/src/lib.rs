//! What tests of any program need: processes that never outlive the test, waiting without sleeping,
//! a real Synapse, a real PostgreSQL, a Matrix client for a person, a proxy that breaks the network, and a reader of metrics.
//!
//! Nothing here knows the bridge. The [`process`], [`postgres`] and [`synapse`] modules are for Linux.

pub mod debian;
pub mod encrypting;
pub mod matrix_client;
pub mod metrics;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod synapse;

mod node;
mod pipes;
mod venv;
mod waiting;

pub use encrypting::{EncryptingClient, Software};
pub use matrix_client::{MatrixClient, MatrixError, Member, RoomOptions, UserSession};
pub use metrics::Metrics;
pub use node::{JsSdk, NodeModules};
pub use postgres::{Elsewhere, Postgres, PostgresOptions};
pub use process::{Process, Spawn, Usage, usage};
pub use proxy::{FaultProxy, Mode};
pub use synapse::{Installation, Package, Synapse, SynapseOptions};
pub use waiting::{free_port, wait_until};

/// Makes ring the process's TLS provider; the HTTP client has none of its own. Calling it again does nothing.
pub fn install_crypto() {
    // An error says that there is a provider already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An HTTP client for local servers: no proxy of the environment between, no request without an end.
fn http_client() -> anyhow::Result<reqwest::Client> {
    install_crypto();
    Ok(reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_mins(1)).build()?)
}

/// As many random bytes as asked for, as hexadecimal digits.
fn random_hex<const BYTES: usize>() -> anyhow::Result<String> {
    Ok(hex(&random_bytes::<BYTES>()?))
}

fn random_bytes<const BYTES: usize>() -> anyhow::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(bytes)
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
